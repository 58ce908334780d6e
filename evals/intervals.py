"""Figures with their 95 % intervals, clustered by case: repeats of one case are no new cases."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from evals.records import Record
from evals.scorers import wilson

RESAMPLES, SEED = 500, 20_261_121


@dataclass(frozen=True, slots=True)
class Figure:
    """``value`` is None where nothing was counted; ``cases`` is how many cases it rests on."""

    value: float | None
    low: float | None
    high: float | None
    cases: int


NOTHING = Figure(None, None, None, 0)
Cluster = Sequence[float]
"""What the repeats of one case gave; for shares (hits, asked)."""


def by_case(records: Iterable[Record]) -> list[list[Record]]:
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[record.id].append(record)
    return list(groups.values())


def share(records: Iterable[Record], holds: Callable[[Record], bool]) -> Figure:
    """Share of answers for which it holds."""
    return proportion([(sum(map(holds, group)), len(group)) for group in by_case(records)])


def proportion(counts: Sequence[Cluster]) -> Figure:
    """Of (hits, asked) of each case: Wilson's interval for one answer a case, a bootstrap over cases for several."""
    value = ratio(counts)
    if value is None:
        return NOTHING
    if all(asked == 1 and hits in (0, 1) for hits, asked in counts):
        return _wilson(value, len(counts))
    return never_certain(bootstrap(counts, ratio))


def average(shares: Sequence[float]) -> Figure:
    """Mean of one share (0 to 1) a case, with its bootstrap over cases."""
    return never_certain(bootstrap([(one,) for one in shares], mean))


def never_certain(figure: Figure) -> Figure:
    """A share with Wilson's interval over its cases where those do not differ: a bootstrap would have no width."""
    if figure.value is None or figure.low != figure.high:
        return figure
    return _wilson(figure.value, figure.cases)


def _wilson(share: float, cases: int) -> Figure:
    return Figure(share, *wilson(share * cases, cases), cases)


def bootstrap(clusters: Sequence[Cluster], statistic: Callable[[Sequence[Cluster]], float | None]) -> Figure:
    """``statistic`` of all, with its 2.5th and 97.5th percentile over cases drawn with replacement; seeded.

    One case alone tells nothing of how cases differ: it has no interval.
    """
    if not clusters:
        return NOTHING
    if len(clusters) == 1:
        return Figure(statistic(clusters), None, None, 1)
    chance = random.Random(SEED)
    drawn = [statistic(chance.choices(clusters, k=len(clusters))) for _ in range(RESAMPLES)]
    known = sorted(value for value in drawn if value is not None)
    if not known:
        return Figure(statistic(clusters), None, None, len(clusters))
    return Figure(statistic(clusters), percentile(known, 0.025), percentile(known, 0.975), len(clusters))


def ratio(clusters: Sequence[Cluster]) -> float | None:
    """Of (hits, asked) pairs."""
    asked = sum(cluster[1] for cluster in clusters)
    return sum(cluster[0] for cluster in clusters) / asked if asked else None


def mean(clusters: Sequence[Cluster]) -> float | None:
    values = [value for cluster in clusters for value in cluster]
    return sum(values) / len(values) if values else None


def quantile(at: float) -> Callable[[Sequence[Cluster]], float | None]:
    def of(clusters: Sequence[Cluster]) -> float | None:
        values = sorted(value for cluster in clusters for value in cluster)
        return percentile(values, at) if values else None

    return of


def percentile(ordered: Sequence[float], at: float) -> float:
    """Between the two nearest of the ordered values."""
    place = at * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
