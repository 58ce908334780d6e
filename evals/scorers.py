"""Scores of one decision against one case: right action, right tool, exact call, nothing forbidden, each argument."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import ValidationError

from assistant.loop.action import Action
from tools import BY_NAME
from tools.base import Call, Effect

Verdict = Literal["right", "wrong", "missing", "extra"]


@dataclass(frozen=True, slots=True)
class Score:
    """``tool``: the right tools in the right order, or rightly none; ``exact``: with every argument that matters."""

    tool: bool
    exact: bool
    forbidden: bool
    """A tool that the case forbids, or a write where the right answer is a question, a refusal or a read."""


@dataclass(frozen=True, slots=True)
class Argument:
    """What became of one argument of one call; ``want`` is the case's value, ``got`` the call's, or None."""

    tool: str
    name: str
    verdict: Verdict
    want: Any = None
    got: Any = None


def score(
    action: Action, expects: Sequence[dict[str, Any]], now: datetime, forbid: frozenset[str] = frozenset()
) -> Score:
    """The best score over all acceptable outcomes."""
    calls = _canonical_calls(action, now)
    kind = "call" if calls else "ask" if action.ask else "reply"
    used = {call.tool for call in calls}
    writes = {tool for tool in used if BY_NAME[tool].effect is not Effect.READ}
    allowed = {call["tool"] for expect in expects for call in expected_calls(expect)}
    return Score(
        tool=any(_right_tools(kind, calls, expect) for expect in expects),
        exact=any(_exact(kind, calls, expect, now) for expect in expects),
        forbidden=bool(used & forbid) or bool(writes - allowed),
    )


def arguments(action: Action, expects: Sequence[dict[str, Any]], now: datetime) -> tuple[Argument, ...]:
    """Every argument judged against the acceptable outcome that it comes closest to; none unless the tools are right.

    What is optional counts only where it was given a value that the case does not take.
    """
    calls = _canonical_calls(action, now)
    judged = [_judged(calls, expect, now) for expect in expects if calls and _right_tools("call", calls, expect)]
    return min(judged, key=lambda found: sum(one.verdict != "right" for one in found), default=())


def _judged(calls: list[Call], expect: dict[str, Any], now: datetime) -> tuple[Argument, ...]:
    shared = set(expect.get("optional", ()))
    pairs = zip(calls, expected_calls(expect), strict=True)
    return tuple(one for call, wanted in pairs for one in _judged_call(call, wanted, shared, now))


def _judged_call(call: Call, expected: dict[str, Any], shared: set[str], now: datetime) -> Iterator[Argument]:
    wanted, optional = expected.get("arguments", {}), shared | set(expected.get("optional", ()))
    for name in dict.fromkeys([*wanted, *call.arguments]):
        want, got = wanted.get(name), call.arguments.get(name)
        if name in wanted and name in call.arguments:
            verdict: Verdict = "right" if _same(call, name, want, now) else "wrong"
            yield Argument(call.tool, name, verdict, want, got)
        elif name not in optional:
            yield Argument(call.tool, name, "missing" if name in wanted else "extra", want, got)


def _canonical_calls(action: Action, now: datetime) -> list[Call]:
    return [Call(call.tool, canonical(call.tool, call.arguments, now)) for call in action.calls]


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
