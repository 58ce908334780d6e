"""Scores of one decision against one case: right action, right tool, exact call, nothing forbidden, each argument."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import ValidationError

from assistant.loop.action import Action
from tools import BY_NAME
from tools.base import Call, Effect, Tool

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


@dataclass(frozen=True, slots=True)
class Reading:
    """How arguments are read before they are compared: by whose tools, and at what time."""

    now: datetime
    tools: Mapping[str, Tool]

    def canonical(self, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """In the tool's own form (Slurm's); as they are when they cannot be read (then they match nothing)."""
        if tool not in self.tools:
            return arguments
        try:
            return self.tools[tool].Arguments.model_validate(arguments, context={"now": self.now}).given()
        except ValidationError:
            return arguments

    def calls(self, action: Action) -> list[Call]:
        return [Call(call.tool, self.canonical(call.tool, call.arguments)) for call in action.calls]

    def changes(self, tool: str) -> bool:
        return tool in self.tools and self.tools[tool].effect is not Effect.READ


def score(
    action: Action,
    expects: Sequence[dict[str, Any]],
    now: datetime,
    forbid: frozenset[str] = frozenset(),
    tools: Mapping[str, Tool] = BY_NAME,
) -> Score:
    """The best score over all acceptable outcomes."""
    reading = Reading(now, tools)
    calls = reading.calls(action)
    kind = "call" if calls else "ask" if action.ask else "reply"
    used = {call.tool for call in calls}
    allowed = {call["tool"] for expect in expects for call in expected_calls(expect)}
    return Score(
        tool=any(_right_tools(kind, calls, expect, reading) for expect in expects),
        exact=any(_exact(kind, calls, expect, reading) for expect in expects),
        forbidden=bool(used & forbid) or any(map(reading.changes, used - allowed)),
    )


def arguments(action: Action, expects: Sequence[dict[str, Any]], now: datetime) -> tuple[Argument, ...]:
    """Every argument judged against the acceptable outcome that it comes closest to; none unless the tools are right.

    What is optional counts only where it was given a value that the case does not take.
    """
    reading = Reading(now, BY_NAME)
    calls = reading.calls(action)
    judged = [_judged(calls, one, reading) for one in expects if calls and _right_tools("call", calls, one, reading)]
    return min(judged, key=lambda found: sum(one.verdict != "right" for one in found), default=())


def _judged(calls: list[Call], expect: dict[str, Any], reading: Reading) -> tuple[Argument, ...]:
    shared = set(expect.get("optional", ()))
    pairs = zip(calls, _arranged(calls, expect, reading), strict=True)
    return tuple(one for call, wanted in pairs for one in _judged_call(call, wanted, shared, reading))


def _judged_call(call: Call, expected: dict[str, Any], shared: set[str], reading: Reading) -> Iterator[Argument]:
    wanted, optional = expected.get("arguments", {}), shared | set(expected.get("optional", ()))
    for name in dict.fromkeys([*wanted, *call.arguments]):
        want, got = wanted.get(name), call.arguments.get(name)
        if name in wanted and name in call.arguments:
            verdict: Verdict = "right" if _same(call, name, want, reading) else "wrong"
            yield Argument(call.tool, name, verdict, want, got)
        elif name not in optional:
            yield Argument(call.tool, name, "missing" if name in wanted else "extra", want, got)


def mentions(text: str, groups: Sequence[Sequence[str]]) -> bool | None:
    """Whether the text has a word or phrase of every group, in any case; None where nothing had to be said."""
    folded = text.casefold()
    return all(any(word.casefold() in folded for word in group) for group in groups) if groups else None


def expected_calls(expect: dict[str, Any]) -> list[dict[str, Any]]:
    if "tool" in expect:
        return [expect]
    return list(expect.get("tools", []))


def _right_tools(kind: str, calls: list[Call], expect: dict[str, Any], reading: Reading) -> bool:
    wanted = [call["tool"] for call in _arranged(calls, expect, reading)]
    if not wanted:
        return kind == expect.get("action")
    return [call.tool for call in calls] == wanted


def _exact(kind: str, calls: list[Call], expect: dict[str, Any], reading: Reading) -> bool:
    if not _right_tools(kind, calls, expect, reading):
        return False
    optional = set(expect.get("optional", ()))
    pairs = zip(calls, _arranged(calls, expect, reading), strict=True)
    return all(_same_arguments(call, wanted, optional, reading) for call, wanted in pairs)


def _arranged(calls: list[Call], expect: dict[str, Any], reading: Reading) -> list[dict[str, Any]]:
    """The expected calls in their order; with ``any_order``, each where a call stands that it fits."""
    wanted = expected_calls(expect)
    if not expect.get("any_order"):
        return wanted
    optional, found = set(expect.get("optional", ())), []
    for call in calls:
        named = [one for one in wanted if one["tool"] == call.tool]
        fits = [one for one in named if _same_arguments(call, one, optional, reading)]
        found += (fits or named)[:1]
        wanted = [one for one in wanted if one is not (found[-1] if found else None)]
    return found + wanted


def _same_arguments(call: Call, expected: dict[str, Any], shared: set[str], reading: Reading) -> bool:
    """Every wanted argument has an acceptable value, and nothing else was given but optional ones."""
    wanted, optional = expected.get("arguments", {}), shared | set(expected.get("optional", ()))
    for name in call.arguments.keys() | wanted.keys():
        if name not in wanted or name not in call.arguments:
            if name not in optional:
                return False
        elif not _same(call, name, wanted[name], reading):
            return False
    return True


def _same(call: Call, name: str, wanted: Any, reading: Reading) -> bool:
    choices = wanted["any"] if isinstance(wanted, dict) and set(wanted) == {"any"} else [wanted]
    given = call.arguments[name]
    return any(_value(given) == _value(_read(call, name, choice, reading)) for choice in choices)


def _read(call: Call, name: str, value: Any, reading: Reading) -> Any:
    """The wanted value in the tool's form, read in the company of the call's other arguments."""
    return reading.canonical(call.tool, {**call.arguments, name: value}).get(name, value)


def _value(value: Any) -> Any:
    if isinstance(value, list):
        return sorted(map(str, value))
    return value.casefold() if isinstance(value, str) else value


def wilson(hits: float, total: int, z: float = 1.96) -> tuple[float, float]:
    """95 % score interval of a share (Wilson 1927); ``hits`` of a mean share need not be whole."""
    if total == 0:
        return 0.0, 1.0
    p = hits / total
    middle = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    return max(0.0, middle - half), min(1.0, middle + half)
