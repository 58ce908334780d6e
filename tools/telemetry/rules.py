"""A GPU's figures against the rules of ``rules.toml``."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from tools.telemetry.model import Mark

Pairs = Sequence[tuple[str, str]]
"""(field, value as it was printed) of one GPU, in order; a field may come more than once (MIG instances)."""
Form = Literal["xml", "text", "dcgm"]
_WORDS = {"yes": 1.0, "active": 1.0, "true": 1.0, "no": 0.0, "not active": 0.0, "false": 0.0}
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_SILENT = frozenset({"", "n/a", "not supported", "requested functionality has been deprecated"})
BLANK = 0x7FFFFFF0
"""DCGM's values from here up (32 bit, 64 bit) stand for "not supported", "not found", … (dcgm_structs.h)."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of ``rules.toml``, which says what the fields mean."""

    id: str
    verdict: str
    label: str
    summary: str
    fix: str
    source: str
    xml: frozenset[str]
    text: frozenset[str]
    dcgm: frozenset[str]
    above: float = 0.0
    mask: int = 0
    fine: frozenset[str] = frozenset()
    bad: frozenset[str] = frozenset()

    def fields(self, form: Form) -> frozenset[str]:
        return {"xml": self.xml, "text": self.text, "dcgm": self.dcgm}[form]


@cache
def load_rules() -> tuple[Rule, ...]:
    """All rules, in the file's order."""
    data = tomllib.loads((files("tools.telemetry") / "rules.toml").read_text(encoding="utf-8"))
    return tuple(Rule(**(entry | _sets(entry))) for entry in data["rule"])


def _sets(entry: dict[str, Any]) -> dict[str, frozenset[str]]:
    """The lists of an entry; fields in lower case, since drivers disagree about it (Ecc Errors, ECC Errors)."""
    fields = {key: frozenset(name.lower() for name in entry[key]) for key in ("xml", "text", "dcgm")}
    return fields | {key: frozenset(entry.get(key, ())) for key in ("fine", "bad")}


def judge(gpu: str, pairs: Pairs, form: Form) -> tuple[Mark, ...]:
    """What a GPU's figures say; ``gpu`` is its name for people. One mark a rule, with the first field that fired."""
    marks = []
    for rule in load_rules():
        wanted = rule.fields(form)
        told = (pair for pair in pairs if pair[0].lower() in wanted or "*" in wanted)
        if fired := next((pair for pair in told if _fires(rule, pair[1], form)), None):
            evidence = f"{gpu}: {fired[0]} = {fired[1]}"
            marks.append(Mark(rule.id, rule.verdict, rule.label, rule.summary, rule.fix, evidence, gpu))
    return tuple(marks)


def number(text: str) -> float | None:
    """``12``, ``85 C``, ``Yes`` (1), ``Not Active`` (0); None for what is no figure, DCGM's blanks included."""
    word = text.strip().lower()
    if word in _WORDS:
        return _WORDS[word]
    found = _NUMBER.match(word)
    value = float(found[0]) if found else None
    return None if value is None or value >= BLANK else value


def _fires(rule: Rule, text: str, form: Form) -> bool:
    word = text.strip()
    if word.lower().strip("[]") in _SILENT:
        return False
    if rule.bad:
        return word in rule.bad
    if rule.fine:
        return word not in rule.fine
    value = number(word)
    if value is None:
        return False
    return bool(int(value) & rule.mask) if rule.mask and form == "dcgm" else value > rule.above


def first(pairs: Pairs, names: Iterable[str]) -> str:
    """The value of the first of these fields that is there; "" for none."""
    told = dict(reversed(pairs))
    return next((told[name] for name in names if name in told), "")
