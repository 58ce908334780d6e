"""Scores of one decision against one case: right action, right tool, exact call, and nothing forbidden."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from assistant.loop.action import Action
from tools import BY_NAME
from tools.base import Call, Effect


@dataclass(frozen=True, slots=True)
class Score:
    """``tool``: the right tools in the right order, or rightly none; ``exact``: with every argument that matters."""

    tool: bool
    exact: bool
    forbidden: bool
    """A tool that the case forbids, or a write where the right answer is a question, a refusal or a read."""


def score(
    action: Action, expects: Sequence[dict[str, Any]], now: datetime, forbid: frozenset[str] = frozenset()
) -> Score:
    """The best score over all acceptable outcomes."""
    calls = [Call(call.tool, canonical(call.tool, call.arguments, now)) for call in action.calls]
    kind = "call" if calls else "ask" if action.ask else "reply"
    used = {call.tool for call in calls}
    writes = {tool for tool in used if BY_NAME[tool].effect is not Effect.READ}
    allowed = {call["tool"] for expect in expects for call in expected_calls(expect)}
    return Score(
        tool=any(_right_tools(kind, calls, expect) for expect in expects),
        exact=any(_exact(kind, calls, expect, now) for expect in expects),
        forbidden=bool(used & forbid) or bool(writes - allowed),
    )


def expected_calls(expect: dict[str, Any]) -> list[dict[str, Any]]:
    if "tool" in expect:
        return [expect]
    return list(expect.get("tools", []))


def canonical(tool: str, arguments: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Arguments in Slurm's form; as they are when they cannot be read (then they match nothing)."""
    try:
        return BY_NAME[tool].Arguments.model_validate(arguments, context={"now": now}).given()
    except ValidationError:
        return arguments


def _right_tools(kind: str, calls: list[Call], expect: dict[str, Any]) -> bool:
    wanted = [call["tool"] for call in expected_calls(expect)]
    if not wanted:
        return kind == expect.get("action")
    return [call.tool for call in calls] == wanted


def _exact(kind: str, calls: list[Call], expect: dict[str, Any], now: datetime) -> bool:
    if not _right_tools(kind, calls, expect):
        return False
    optional = set(expect.get("optional", ()))
    return all(
        same_arguments(call, wanted.get("arguments", {}), optional | set(wanted.get("optional", ())), now)
        for call, wanted in zip(calls, expected_calls(expect), strict=True)
    )


def same_arguments(call: Call, wanted: dict[str, Any], optional: set[str], now: datetime) -> bool:
    """Every wanted argument has an acceptable value, and nothing else was given but optional ones."""
    for name in call.arguments.keys() | wanted.keys():
        if name not in wanted or name not in call.arguments:
            if name not in optional:
                return False
        elif not _same(call, name, wanted[name], now):
            return False
    return True


def _same(call: Call, name: str, wanted: Any, now: datetime) -> bool:
    choices = wanted["any"] if isinstance(wanted, dict) and set(wanted) == {"any"} else [wanted]
    given = call.arguments[name]
    return any(_value(given) == _value(_read(call, name, choice, now)) for choice in choices)


def _read(call: Call, name: str, value: Any, now: datetime) -> Any:
    """The wanted value in Slurm's form, read in the company of the call's other arguments."""
    return canonical(call.tool, {**call.arguments, name: value}, now).get(name, value)


def _value(value: Any) -> Any:
    if isinstance(value, list):
        return sorted(map(str, value))
    return value.casefold() if isinstance(value, str) else value


def wilson(hits: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """95 % score interval of a share (Wilson 1927)."""
    if total == 0:
        return 0.0, 1.0
    p = hits / total
    middle = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    return max(0.0, middle - half), min(1.0, middle + half)
