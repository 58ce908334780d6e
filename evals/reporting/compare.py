"""Two runs of the same cases, paired case by case: what was won, what was lost, and what of it is more than chance.

With repeats a case counts once, by its share of right answers. ``p`` is McNemar's exact test over the cases that
differ (with repeats, the sign test over cases, which is the same for one repeat); the interval of the difference
comes from a bootstrap of the pairs, seeded, so that the same two runs always print the same figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from assistant.loop.ladder import Rung
from evals import metrics
from evals.intervals import bootstrap, by_case, mean
from evals.records import Record, Run
from evals.reporting.wording import expected_text, got_text, listed
from evals.store import RunError

ALPHA = 0.05

Verdict = Literal["better", "worse", "no clear difference", "the same"]
Pair = tuple[list[Record], list[Record]]


class NotComparable(RunError):
    """Two runs that did not ask the same; the message says which cases."""


@dataclass(frozen=True, slots=True)
class Measure:
    """``good``: whether more of it is better."""

    name: str
    label: str
    of: Callable[[Record], bool]
    good: bool = True

    def share(self, records: Sequence[Record]) -> float:
        return sum(map(self.of, records)) / len(records)


MEASURES = (
    Measure("tool", "right tool", metrics.judged("tool")),
    Measure("exact", "exact call", metrics.judged("exact")),
    Measure("valid", "valid JSON at once", metrics.climbed(Rung.SCHEMA, first=True)),
    Measure("accepted", "accepted after repair", metrics.climbed(Rung.SEMANTIC, first=False)),
    Measure("forbidden", "forbidden effect", metrics.judged("forbidden"), good=False),
)


@dataclass(frozen=True, slots=True)
class Difference:
    """One measure over the pairs: shares of A and B, the interval of B − A, cases won and lost by B."""

    measure: Measure
    a: float
    b: float
    low: float
    high: float
    won: int
    lost: int
    p: float

    @property
    def change(self) -> float:
        return self.b - self.a

    @property
    def verdict(self) -> Verdict:
        if not self.won and not self.lost:
            return "the same"
        if self.p >= ALPHA:
            return "no clear difference"
        return "better" if self.won > self.lost else "worse"

    def beyond(self, tolerance: float) -> bool:
        """Whether B is worse by more than ``tolerance`` (a share)."""
        return (-self.change if self.measure.good else self.change) > tolerance + 1e-9


@dataclass(frozen=True, slots=True)
class Changed:
    """A case that came out otherwise in B: the measures it won and lost, and one telling answer of each run."""

    won: tuple[str, ...]
    lost: tuple[str, ...]
    a: Record
    b: Record


@dataclass(frozen=True, slots=True)
class Comparison:
    """``changed``: the heaviest losses first. ``left_out``: cases that a run has no answer to (the server's errors)."""

    a: Run
    b: Run
    pairs: int
    differences: tuple[Difference, ...]
    changed: tuple[Changed, ...]
    left_out: tuple[str, ...]

    def regressions(self, tolerance: float) -> tuple[Difference, ...]:
        return tuple(one for one in self.differences if one.beyond(tolerance))


def compare(a: Run, b: Run) -> Comparison:
    """Raises NotComparable unless both asked the same cases."""
    _same_cases(a, b)
    answers = [{group[0].id: group for group in by_case(metrics.scored(run.records))} for run in (a, b)]
    pairs = [(answers[0][name], answers[1][name]) for name in answers[0] if name in answers[1]]
    if not pairs:
        raise NotComparable(f"no case was answered in both {a.directory} and {b.directory}", "resume them first")
    return Comparison(
        a=a,
        b=b,
        pairs=len(pairs),
        differences=tuple(_difference(measure, pairs) for measure in MEASURES),
        changed=tuple(sorted((one for pair in pairs if (one := _changed(pair))), key=_weight)),
        left_out=tuple(sorted({record.id for record in a.records} - (answers[0].keys() & answers[1].keys()))),
    )


def mcnemar(won: int, lost: int) -> float:
    """Two-sided exact p of ``won`` against ``lost`` when both are equally likely (binomial, 1/2)."""
    total = won + lost
    tail: int = sum(math.comb(total, k) for k in range(min(won, lost) + 1))
    return min(1.0, tail / (1 << total) * 2)


def _same_cases(a: Run, b: Run) -> None:
    asked = [{record.id: (record.request, record.turns, record.expect) for record in run.records} for run in (a, b)]
    told = []
    for run, here, there in ((a, asked[0], asked[1]), (b, asked[1], asked[0])):
        if missing := sorted(there.keys() - here.keys()):
            told.append(f"{len(missing)} missing in {run.directory}: {listed(missing)}")
    if other := sorted(name for name in asked[0].keys() & asked[1].keys() if asked[0][name] != asked[1][name]):
        told.append(f"{len(other)} with another request or expectation: {listed(other)}")
    if told:
        unfinished = [run.directory for run in (a, b) if not run.manifest.finished]
        remedy = f"sask eval resume {unfinished[0]}" if unfinished else "compare runs of the same sets"
        raise NotComparable(f"the runs asked different cases; {'; '.join(told)}", remedy)


def _difference(measure: Measure, pairs: Sequence[Pair]) -> Difference:
    shares = [(measure.share(ours), measure.share(theirs)) for ours, theirs in pairs]
    gains = [after - before for before, after in shares]
    up, down = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
    won, lost = (up, down) if measure.good else (down, up)
    spread = bootstrap([(gain,) for gain in gains], mean)
    a, b = (math.fsum(column) / len(shares) for column in zip(*shares, strict=True))
    return Difference(measure, a, b, spread.low or 0.0, spread.high or 0.0, won, lost, mcnemar(won, lost))


def _changed(pair: Pair) -> Changed | None:
    won: list[Measure] = []
    lost: list[Measure] = []
    for measure in MEASURES:
        gain = measure.share(pair[1]) - measure.share(pair[0])
        if gain:
            (won if (gain > 0) == measure.good else lost).append(measure)
    if not won and not lost:
        return None
    a, b = _telling((lost or won)[0], pair)
    return Changed(tuple(one.name for one in won), tuple(one.name for one in lost), a, b)


def _weight(one: Changed) -> int:
    """Losses before gains, and what does harm before what is wrong before what only took a repair."""
    heavy = (("forbidden",), ("tool", "exact"), ("accepted", "valid"))
    return next((n for n, names in enumerate(heavy) if any(name in one.lost for name in names)), len(heavy))


def _telling(measure: Measure, pair: Pair) -> tuple[Record, Record]:
    """An answer of each run that shows how ``measure`` changed."""
    if measure.share(pair[1]) > measure.share(pair[0]):
        return min(pair[0], key=measure.of), max(pair[1], key=measure.of)
    return max(pair[0], key=measure.of), min(pair[1], key=measure.of)


def as_document(comparison: Comparison, tolerance: float) -> dict[str, Any]:
    """What ``--json`` prints."""
    return {
        "a": str(comparison.a.directory),
        "b": str(comparison.b.directory),
        "cases": comparison.pairs,
        "left_out": list(comparison.left_out),
        "tolerance": tolerance,
        "regressions": [one.measure.name for one in comparison.regressions(tolerance)],
        "measures": {one.measure.name: _measure_document(one) for one in comparison.differences},
        "changed": [_changed_document(one) for one in comparison.changed],
    }


def _measure_document(one: Difference) -> dict[str, Any]:
    shares = {"a": one.a, "b": one.b, "difference": one.change, "interval": [one.low, one.high]}
    return shares | {"won": one.won, "lost": one.lost, "p": one.p, "verdict": one.verdict}


def _changed_document(one: Changed) -> dict[str, Any]:
    return {
        "id": one.a.id,
        "category": one.a.category,
        "won": list(one.won),
        "lost": list(one.lost),
        "request": one.a.request,
        "expected": expected_text(one.a),
        "a": got_text(one.a),
        "b": got_text(one.b),
    }
