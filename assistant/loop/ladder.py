"""The ladder from "HTTP 200" to a call that may be made: each rung has a name, and each failure says which.

http → action present → JSON parses → schema-valid → grounded → semantically valid. What fails is never mended by
guessing and never becomes ``{}``: it goes back to the model with the error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import ValidationError

from assistant.loop.action import Action, action_schema, merged, raw_calls
from assistant.loop.grounding import Banned, ungrounded
from assistant.loop.outright import complete
from assistant.loop.said import Said
from tools.base import Call, Tool


class Rung(StrEnum):
    HTTP = "http"
    PRESENT = "present"
    JSON = "json"
    SCHEMA = "schema"
    GROUNDED = "grounded"
    SEMANTIC = "semantic"


@dataclass(frozen=True, slots=True)
class Climb:
    """How far one answer came. ``action`` is set only at the top; ``failed`` names the rung that broke."""

    action: Action | None = None
    failed: Rung | None = None
    error: str = ""
    banned: Banned = field(default_factory=frozenset)
    raw: str = ""


def climb(text: str, tools: Mapping[str, Tool], said: Said, *, grounded: bool = True, copies: bool = False) -> Climb:
    """Take a model's answer up the ladder; arguments leave it in Slurm's own form.

    ``copies``: of a model that only copies words, and leaves some out: what was said outright is filled in.
    """
    if not text.strip():
        return Climb(failed=Rung.PRESENT, error="the answer is empty", raw=text)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        return Climb(failed=Rung.JSON, error=f"the answer is not JSON: {error}", raw=text)
    if error_text := _schema_error(data, tools):
        return Climb(failed=Rung.SCHEMA, error=error_text, raw=text)
    pairs = raw_calls(data)
    if pairs is None:
        return Climb(action=Action(ask=data.get("ask", ""), reply=data.get("reply", "")), raw=text)
    calls = tuple(Call(name, arguments) for name, arguments in pairs)
    facts = [call for call in calls if grounded and tools[call.tool].grounded]
    if found := [v for call in facts for v in ungrounded(call, said)]:
        banned = frozenset((v.tool, v.argument) for v in found)
        return Climb(failed=Rung.GROUNDED, error="; ".join(map(str, found)), banned=banned, raw=text)
    return _semantic(complete(calls, said) if copies else calls, tools, said.now, text)


def _schema_error(data: Any, tools: Mapping[str, Tool]) -> str:
    """The first thing that is wrong, with the valid names; empty when all is well."""
    from jsonschema import Draft202012Validator

    for name, arguments in raw_calls(data) or []:
        if not isinstance(name, str) or name not in tools:
            return f"unknown tool {name!r}; valid: {', '.join(tools)}"
        if error := next(iter(Draft202012Validator(tools[name].schema()).iter_errors(arguments)), None):
            return f"{'.'.join([name, *map(str, error.absolute_path)])}: {error.message}"
    whole = action_schema({name: {"type": "object"} for name in tools})
    error = next(iter(Draft202012Validator(whole).iter_errors(data)), None)
    return f"not an Action: {error.message}" if error else ""


def _semantic(calls: tuple[Call, ...], tools: Mapping[str, Tool], now: datetime, text: str) -> Climb:
    done = []
    for call in calls:
        try:
            done.append(Call(call.tool, settle(tools[call.tool], call.arguments, now)))
        except ValidationError as error:
            banned = frozenset((call.tool, str(e["loc"][0])) for e in error.errors() if e["loc"])
            return Climb(failed=Rung.SEMANTIC, error=worded(call.tool, error), banned=banned, raw=text)
    return Climb(action=Action(calls=merged(tuple(done))), raw=text)


def settle(tool: Tool, arguments: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Arguments in Slurm's own form, in schema order. Raises pydantic's ValidationError."""
    return tool.Arguments.model_validate(arguments, context={"now": now}).given()


def worded(tool: str, error: ValidationError) -> str:
    """One line a mistake, with the bad value: what people and models get to read."""
    lines = []
    for e in error.errors():
        where = ".".join([tool, *(str(part) for part in e["loc"])])
        message = e["msg"].removeprefix("Value error, ")
        shown = (
            f" (got {e['input']!r})" if e["loc"] and repr(e["input"]) not in message and e["type"] != "missing" else ""
        )
        lines.append(f"{where}: {message}{shown}")
    return "; ".join(lines)
