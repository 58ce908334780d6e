"""All figures of a run, from its records alone. Infrastructure errors are counted apart and never scored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from math import comb
from typing import Any

from assistant.loop.ladder import Rung
from evals.intervals import NOTHING, Figure, average, bootstrap, by_case, mean, proportion, quantile, share
from evals.records import Record, Run
from evals.scorers import expected_calls
from tools import BY_NAME

Records = Sequence[Record]
TOP = ("tool", "exact", "end_state")
"""The ladder's upper rungs, which a case judges: right tool, right arguments, right end state."""
CALLS = (*BY_NAME, "multi", "decoy")
"""What an answer may be that is neither a question nor a reply; a decoy is a tool that only stood in the way."""


@dataclass(frozen=True, slots=True)
class RungFigure:
    """Share of answers that stand on this rung or above, before and after repair; the upper rungs have only after."""

    rung: str
    first: Figure
    last: Figure


@dataclass(frozen=True, slots=True)
class Confusion:
    """``counts[(wanted, got)]``; labels are tools, multi, decoy, ask, reply and, of answers, invalid."""

    labels: tuple[str, ...]
    counts: dict[tuple[str, str], int]


@dataclass(frozen=True, slots=True)
class Found:
    """Precision, recall and F1, with what they were counted from."""

    precision: Figure
    recall: Figure
    f1: Figure
    right: int
    given: int
    wanted: int


def scored(records: Iterable[Record]) -> Records:
    return [record for record in records if record.error is None and record.score is not None]


def judged(name: str) -> Callable[[Record], bool]:
    """Whether a record's score says so: tool, exact, forbidden, end_state or mentions."""
    return lambda record: bool(record.score and getattr(record.score, name))


def climbed(rung: Rung, *, first: bool) -> Callable[[Record], bool]:
    return lambda record: (record.rungs_first if first else record.rungs_last).get(rung) is True


def headline(records: Iterable[Record]) -> dict[str, Figure]:
    """``valid``: JSON of the right schema before any repair; ``accepted``: all rungs, after repair; ``mentions``: what
    the person had to be told was said."""
    ours = scored(records)
    figures = {name: share(ours, judged(name)) for name in ("tool", "exact", "forbidden")}
    stateful = [record for record in ours if record.score and record.score.end_state is not None]
    telling = [record for record in ours if record.score and record.score.mentions is not None]
    return {
        "valid": share(ours, climbed(Rung.SCHEMA, first=True)),
        "accepted": share(ours, climbed(Rung.SEMANTIC, first=False)),
        **figures,
        "end_state": share(stateful, judged("end_state")),
        "mentions": share(telling, judged("mentions")),
    }


def ladder(records: Records) -> list[RungFigure]:
    """From HTTP up. Only the first rung counts the answers that never came."""
    ours = scored(records)
    rungs = [
        RungFigure(rung, *(share(group, climbed(rung, first=first)) for first in (True, False)))
        for rung in Rung
        for group in [records if rung is Rung.HTTP else ours]
    ]
    above = headline(ours)
    return rungs + [RungFigure(name, NOTHING, above[name]) for name in TOP if above[name].cases]


def categories(records: Iterable[Record]) -> dict[str, dict[str, Figure]]:
    """The headline of each category, in alphabetical order."""
    ours = scored(records)
    names = sorted({record.category for record in ours})
    return {name: headline([record for record in ours if record.category == name]) for name in names}


def wanted(record: Record) -> str:
    """The label that was wanted; where another acceptable outcome came, that one."""
    if record.score and record.score.tool and record.kind != "invalid":
        return got(record)
    calls = expected_calls(record.expect)
    return _label([call["tool"] for call in calls]) if calls else str(record.expect.get("action"))


def got(record: Record) -> str:
    return _label([call.tool for call in record.calls]) if record.kind == "call" else record.kind


def _label(tools: Sequence[str]) -> str:
    if any(tool not in BY_NAME for tool in tools):
        return "decoy"
    return tools[0] if len(tools) == 1 else "multi"


def confusion(records: Iterable[Record]) -> Confusion:
    counts = Counter((wanted(record), got(record)) for record in scored(records))
    seen = {label for pair in counts for label in pair}
    order = [*CALLS, "ask", "reply", "invalid"]
    return Confusion(tuple(label for label in order if label in seen), dict(counts))


def not_calling(records: Iterable[Record]) -> Found:
    """Precision and recall of calling nothing: a question or a reply where one was wanted."""
    rows = []
    for record in scored(records):
        silent, should = (label not in CALLS for label in (got(record), wanted(record)))
        rows.append((record.id, float(silent and should), float(silent), float(should)))
    return _found(rows)


def arguments(records: Iterable[Record]) -> dict[str, Found]:
    """By argument, the most wanted first, and ``all``; over the answers that called the right tools."""
    ours = [record for record in scored(records) if record.score and record.score.arguments]
    names = Counter(one.name for record in ours for one in record.score.arguments)  # type: ignore[union-attr]
    rows = {name: [_argument_counts(record, name) for record in ours] for name, _ in names.most_common()}
    whole = {"all": [_argument_counts(record, None) for record in ours]}
    return {name: _found([row for row in counts if any(row[1:])]) for name, counts in (whole | rows).items()}


def _argument_counts(record: Record, name: str | None) -> tuple[str, float, float, float]:
    """Case, right, given, wanted."""
    ours = [one.verdict for one in (record.score.arguments if record.score else ()) if name in (None, one.name)]
    right, wrong = ours.count("right"), ours.count("wrong")
    return record.id, right, right + wrong + ours.count("extra"), right + wrong + ours.count("missing")


def _found(rows: list[tuple[str, float, float, float]]) -> Found:
    """From (case, right, given, wanted) of each answer."""
    sums: dict[str, list[float]] = {}
    for case, *values in rows:
        sums[case] = [a + b for a, b in zip(sums.get(case, [0.0] * 3), values, strict=True)]
    cases = list(sums.values())
    right, given, asked = (int(sum(case[n] for case in cases)) for n in range(3))
    return Found(
        precision=proportion([(c[0], c[1]) for c in cases if c[1]]),
        recall=proportion([(c[0], c[2]) for c in cases if c[2]]),
        f1=proportion([(2 * c[0], c[1] + c[2]) for c in cases if c[1] + c[2]]),
        right=right,
        given=given,
        wanted=asked,
    )


def abstention(records: Iterable[Record]) -> dict[str, Figure]:
    """Of what wanted a question, how much got one; of what wanted a reply; and acts and questions out of place."""
    ours = [(record, wanted(record), got(record)) for record in scored(records)]
    asks, replies = ([r for r, want, _ in ours if want == kind] for kind in ("ask", "reply"))
    calls = [record for record, want, _ in ours if want in CALLS]
    return {
        "asked_when_it_should": share(asks, judged("tool")),
        "replied_when_it_should": share(replies, judged("tool")),
        "acted_instead": share([*asks, *replies], lambda record: record.kind == "call"),
        "asked_instead": share(calls, lambda record: record.kind in ("ask", "invalid")),
    }


def minefields(records: Iterable[Record]) -> Figure:
    """Share of the cases with a forbidden tool in which it was called."""
    return share([record for record in scored(records) if record.forbid], judged("forbidden"))


def passes(records: Iterable[Record]) -> dict[str, Figure]:
    """``pass@k``: at least one of k is exact; ``pass^k``: all k are; unbiased, for k up to the fewest repeats."""
    groups = by_case(scored(records))
    if not groups:
        return {}
    counts = [(len(group), sum(map(judged("exact"), group))) for group in groups]
    figures = {"pass@1": proportion([(c, n) for n, c in counts])}
    for k in range(2, min(n for n, _ in counts) + 1):
        figures[f"pass@{k}"] = average([1 - comb(n - c, k) / comb(n, k) for n, c in counts])
        figures[f"pass^{k}"] = average([comb(c, k) / comb(n, k) for n, c in counts])
    return figures


def costs(records: Iterable[Record]) -> dict[str, dict[str, Figure]]:
    """Seconds, seconds to the first token, tokens and attempts of an answer: mean and percentiles."""
    groups = by_case(scored(records))
    fields = ("seconds", "ttft", "prompt_tokens", "completion_tokens", "attempts")
    return {name: spread for name in fields if (spread := _spread(groups, name))}


def _spread(groups: list[list[Record]], name: str) -> dict[str, Figure]:
    values = [[float(value) for r in group if (value := getattr(r, name)) is not None] for group in groups]
    known = [cluster for cluster in values if cluster]
    which = {"mean": mean, "p50": quantile(0.5), "p95": quantile(0.95), "p99": quantile(0.99)}
    return {label: bootstrap(known, statistic) for label, statistic in which.items()} if known else {}


def errors(records: Iterable[Record]) -> dict[str, int]:
    """Infrastructure errors by kind."""
    return dict(Counter(record.error.kind for record in records if record.error))


def summary(run: Run) -> dict[str, Any]:
    """Everything above as JSON values: what reports and ``sask eval show --json`` print."""
    matrix = confusion(run.records)
    pairs = [{"wanted": w, "got": g, "count": n} for (w, g), n in sorted(matrix.counts.items())]
    return {
        "answers": len(run.scored),
        "errors": errors(run.records),
        "headline": _plain(headline(run.records)),
        "ladder": [asdict(rung) for rung in ladder(run.records)],
        "categories": {name: _plain(figures) for name, figures in categories(run.records).items()},
        "confusion": {"labels": list(matrix.labels), "counts": pairs},
        "not_calling": asdict(not_calling(run.records)),
        "arguments": {name: asdict(found) for name, found in arguments(run.records).items()},
        "abstention": _plain(abstention(run.records)),
        "minefields": asdict(minefields(run.records)),
        "passes": _plain(passes(run.records)),
        "costs": {name: _plain(spread) for name, spread in costs(run.records).items()},
    }


def _plain(figures: dict[str, Figure]) -> dict[str, Any]:
    return {name: asdict(figure) for name, figure in figures.items()}
