"""What a model might say to a case: the right thing, the same in other words, and what goes wrong in practice."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

from evals.bfcl.cases import Asked, variants
from evals.bfcl.checker import Calls

Spoiler = Callable[[Asked, Calls], Calls | None]


def answers(case: Asked) -> Iterator[tuple[str, str]]:
    """(kind, what the model says), in the loop's form; kinds that would change nothing are left out."""
    perfect = right(case)
    yield "silence", '{"reply": "Nothing here does that."}'
    yield "no JSON", '{"' + case.functions[0]["name"] + '": {'
    if not case.truth:
        yield "called", said([{case.functions[0]["name"]: {}}])
        return
    yield "right", said(perfect)
    for kind, spoil in SPOILERS.items():
        spoilt = spoil(case, copy.deepcopy(perfect))
        if spoilt is not None and spoilt != perfect:
            yield kind, said(spoilt)


def said(calls: Calls) -> str:
    return json.dumps(calls[0] if len(calls) == 1 else {"steps": calls})


def right(case: Asked) -> Calls:
    """The first of the right values of every argument that may not be left out."""
    calls: Calls = []
    for ((name, arguments),) in (one.items() for one in case.truth):
        needed = set(_function(case, name)["parameters"].get("required", ()))
        chosen = {key: values for key, values in arguments.items() if "" not in values or key in needed}
        calls.append({name: {key: next(variants(_first(values))) for key, values in chosen.items()}})
    return calls


def _first(values: list[Any]) -> Any:
    return next((one for one in values if one != ""), "")


def _function(case: Asked, name: str) -> dict[str, Any]:
    return next((one for one in case.functions if one["name"] == name), case.functions[0])


def _all_given(case: Asked, calls: Calls) -> Calls:
    """The optional arguments too."""
    for call, truth in zip(calls, case.truth, strict=True):
        ((name, arguments),) = truth.items()
        known = _function(case, name)["parameters"].get("properties", {})
        more = {key: _first(values) for key, values in arguments.items() if key in known and _first(values) != ""}
        call[name] = {key: next(variants(value)) for key, value in more.items()} | call[name]
    return calls


def _reworded(case: Asked, calls: Calls) -> Calls:
    """The same words in capitals, with other punctuation."""
    return _each_value(calls, lambda value: value.upper().replace(" ", "-") if isinstance(value, str) else value)


def _other_values(case: Asked, calls: Calls) -> Calls:
    return _each_value(calls, _other)


def _other(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 41
    if isinstance(value, str):
        return f"{value}quux"
    return [*value, *value[-1:], *value[-1:]] if isinstance(value, list) else value | {"quux": 1}


def _other_type(case: Asked, calls: Calls) -> Calls:
    return _each_value(calls, lambda value: {"value": value} if isinstance(value, str) else str(value))


def _each_value(calls: Calls, change: Callable[[Any], Any]) -> Calls:
    """Changed in the first argument of the last call."""
    ((name, arguments),) = calls[-1].items()
    if arguments:
        key = next(iter(arguments))
        calls[-1] = {name: arguments | {key: change(arguments[key])}}
    return calls


def _missing(case: Asked, calls: Calls) -> Calls:
    ((_, arguments),) = calls[-1].items()
    if arguments:
        del arguments[next(iter(arguments))]
    return calls


def _extra(case: Asked, calls: Calls) -> Calls:
    ((_, arguments),) = calls[0].items()
    arguments["quux"] = 1
    return calls


def _other_function(case: Asked, calls: Calls) -> Calls:
    ((name, arguments),) = calls[0].items()
    others = [one["name"] for one in case.functions if one["name"] != name]
    calls[0] = {others[0] if others else f"{name}_quux": arguments}
    return calls


def _backwards(case: Asked, calls: Calls) -> Calls:
    return calls[::-1]


def _one_left_out(case: Asked, calls: Calls) -> Calls | None:
    return calls[:-1] or None


def _one_more(case: Asked, calls: Calls) -> Calls | None:
    """The first call with another value: not the same call twice, which the loop takes for one."""
    spoilt = _other_values(case, copy.deepcopy(calls[:1]))
    return [*calls, *spoilt] if spoilt != calls[:1] and len(calls) < 8 else None


SPOILERS: dict[str, Spoiler] = {
    "optional given": _all_given,
    "reworded": _reworded,
    "other value": _other_values,
    "other type": _other_type,
    "argument missing": _missing,
    "argument invented": _extra,
    "other function": _other_function,
    "backwards": _backwards,
    "call missing": _one_left_out,
    "call too many": _one_more,
}
