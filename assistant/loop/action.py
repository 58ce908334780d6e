"""The one form in which every model answers: tool calls, a question back, or a reply; and its JSON schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tools.base import Call

MAX_CALLS = 8


@dataclass(frozen=True, slots=True)
class Action:
    """Exactly one of the three is set."""

    calls: tuple[Call, ...] = ()
    ask: str = ""
    reply: str = ""


def action_schema(
    tools: Mapping[str, dict[str, Any]], *, ask: tuple[str, ...] = (), reply: tuple[str, ...] = ()
) -> dict[str, Any]:
    """JSON schema of an Action over ``tools`` (name → schema of its arguments).

    ``ask`` and ``reply`` close the texts to given keys, for models that cannot write; empty means free text.
    """
    branches = []
    if tools:
        calls = [_object({"tool": {"const": name}, "arguments": arguments}) for name, arguments in tools.items()]
        branches.append(
            _object({"calls": {"type": "array", "items": {"anyOf": calls}, "minItems": 1, "maxItems": MAX_CALLS}})
        )
    branches.append(_object({"ask": _text(ask)}))
    branches.append(_object({"reply": _text(reply)}))
    return {"anyOf": branches}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _text(keys: tuple[str, ...]) -> dict[str, Any]:
    return {"enum": list(keys)} if keys else {"type": "string", "minLength": 1}
