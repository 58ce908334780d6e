"""The one form in which every model answers: tool calls, a question back, or a reply; and its JSON schema.

    {"show_job": {"job_id": "7"}}                              one call: the tool's name holds its arguments
    {"steps": [{"submit_job": {…}}, {"submit_job": {…}}]}      several, in order
    {"ask": "Which job?"}    {"reply": "…"}

It costs a third fewer tokens than ``{"tool": …, "arguments": …}``, and the name comes first, so that a constrained
decoder is inside the right tool's schema from the first token on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tools.base import Call

MAX_CALLS = 8
RESERVED = ("steps", "ask", "reply")


@dataclass(frozen=True, slots=True)
class Action:
    """Exactly one of the three is set."""

    calls: tuple[Call, ...] = ()
    ask: str = ""
    reply: str = ""


def action_schema(
    tools: Mapping[str, dict[str, Any]], *, ask: tuple[str, ...] | None = (), reply: tuple[str, ...] = ()
) -> dict[str, Any]:
    """JSON schema of an Action over ``tools`` (name → schema of its arguments).

    ``ask`` and ``reply`` close the texts to given keys, for models that cannot write; empty means free text, and
    ``None`` that nothing is to be asked.
    """
    words = [_only(name, _text(keys)) for name, keys in (("ask", ask), ("reply", reply)) if keys is not None]
    if not tools:
        return {"anyOf": words}
    call = {"anyOf": [_only(name, arguments) for name, arguments in tools.items()]}
    several = {"type": "array", "items": {"$ref": "#/$defs/call"}, "minItems": 2, "maxItems": MAX_CALLS}
    return {"$defs": {"call": call}, "anyOf": [{"$ref": "#/$defs/call"}, _only("steps", several), *words]}


def _only(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {name: schema}, "required": [name], "additionalProperties": False}


def _text(keys: tuple[str, ...]) -> dict[str, Any]:
    return {"enum": list(keys)} if keys else {"type": "string", "minLength": 1}


def raw_calls(data: Any) -> list[tuple[Any, Any]] | None:
    """(name, arguments) pairs of an answer that means calls, judged by nobody yet; ``None`` if it means none."""
    if not isinstance(data, dict) or len(data) != 1:
        return None
    ((name, value),) = data.items()
    if name in ("ask", "reply"):
        return None
    steps = value if name == "steps" and isinstance(value, list) else [data]
    return [next(iter(step.items())) if isinstance(step, dict) and len(step) == 1 else (step, None) for step in steps]


def merged(calls: tuple[Call, ...]) -> tuple[Call, ...]:
    """The same thing done to several jobs is one call with a list (so one approval), however a model split it."""
    if "$" in str([call.arguments for call in calls]):  # `$2` counts calls
        return calls
    found: list[Call] = []
    for call in calls:
        before = found[-1] if found else None
        if before and call == before:
            continue
        if before and call.tool == before.tool and _apart_from_ids(call) == _apart_from_ids(before) is not None:
            ids = dict.fromkeys([*before.arguments["job_ids"], *call.arguments["job_ids"]])
            found[-1] = Call(call.tool, {**before.arguments, "job_ids": list(ids)})
        else:
            found.append(call)
    return tuple(found)


def _apart_from_ids(call: Call) -> dict[str, Any] | None:
    """The other arguments; ``None`` for a call without a list of jobs."""
    rest = {name: value for name, value in call.arguments.items() if name != "job_ids"}
    return rest if call.arguments.get("job_ids") else None


def encode(action: Action) -> str:
    """The compact text of an Action: what a model is trained to write, and how history is shown to it."""
    calls = [{call.tool: call.arguments} for call in action.calls]
    if calls:
        data: dict[str, Any] = calls[0] if len(calls) == 1 else {"steps": calls}
    else:
        data = {"ask": action.ask} if action.ask else {"reply": action.reply}
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False)
