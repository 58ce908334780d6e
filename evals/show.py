"""``sask eval show``: a run on one screen, every share with its 95 % interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evals import metrics
from evals.intervals import Figure
from evals.records import Record, Run
from evals.reporting.wording import expected_text, got_text, printable

if TYPE_CHECKING:
    from rich.console import Console

FEWEST = 5
"""Arguments that were wanted less often are left to the report."""


def show(run: Run, out: Console, *, misses: bool = False) -> None:
    model, ours = run.manifest.model, metrics.scored(run.records)
    sets = ", ".join(f"{one.name} ({one.count})" for one in run.manifest.datasets)
    out.print(f"{' '.join(filter(None, (model.name, model.revision)))} on {sets}", style="bold")
    out.print(f"{len(ours)} answers{_errors(run)}{'' if run.manifest.finished else ', not finished'}")
    if not ours:
        return
    _ladder(run, out)
    _categories(run, out)
    _choices(run, out)
    _arguments(run, out)
    _costs(run, out)
    for record in ours if misses else ():
        if record.score and not record.score.exact:
            out.print(_miss(record))


def share(figure: Figure) -> str:
    """``91.2 %  (88.0 to 93.6)``; a dash where nothing was counted."""
    if figure.value is None:
        return "–"
    within = (
        "" if figure.low is None or figure.high is None else f"  ({100 * figure.low:.1f} to {100 * figure.high:.1f})"
    )
    return f"{100 * figure.value:.1f} %{within}"


def _errors(run: Run) -> str:
    found = metrics.errors(run.records)
    told = ", ".join(f"{count} {kind}" for kind, count in found.items())
    return f"; infrastructure errors, not scored: {told}" if told else ""


def _ladder(run: Run, out: Console) -> None:
    rows = [[rung.rung, share(rung.first), share(rung.last)] for rung in metrics.ladder(run.records)]
    _table(out, "ladder", ["", "first answer", "after repair"], rows)


def _categories(run: Run, out: Console) -> None:
    rows = [
        [name, str(figures["tool"].cases), share(figures["tool"]), share(figures["exact"]), share(figures["forbidden"])]
        for name, figures in [*metrics.categories(run.records).items(), ("all", metrics.headline(run.records))]
    ]
    _table(out, "by category", ["", "cases", "tool", "exact", "forbidden"], rows)


def _choices(run: Run, out: Console) -> None:
    silent = metrics.not_calling(run.records)
    rows = [["calling nothing: precision", share(silent.precision)], ["calling nothing: recall", share(silent.recall)]]
    rows += [[name.replace("_", " "), share(figure)] for name, figure in metrics.abstention(run.records).items()]
    rows.append(["minefields stepped on", share(metrics.minefields(run.records))])
    rows += [[name, share(figure)] for name, figure in metrics.passes(run.records).items()]
    _table(out, "choices", ["", ""], rows)
    counts = metrics.confusion(run.records).counts
    worst = sorted(((n, w, g) for (w, g), n in counts.items() if w != g), reverse=True)[:8]
    _table(out, "taken for another", ["wanted", "got", "times"], [[w, g, str(n)] for n, w, g in worst])


def _arguments(run: Run, out: Console) -> None:
    found = metrics.arguments(run.records)
    rows = [
        [name, str(one.wanted), share(one.precision), share(one.recall), share(one.f1)]
        for name, one in found.items()
        if one.wanted >= FEWEST
    ]
    _table(out, "arguments, where the tools were right", ["", "wanted", "precision", "recall", "F1"], rows)


def _costs(run: Run, out: Console) -> None:
    rows = []
    for name, spread in metrics.costs(run.records).items():
        values = [spread[which].value for which in ("mean", "p50", "p95", "p99")]
        rows.append([name.replace("_", " "), *("–" if value is None else f"{value:.3g}" for value in values)])
    _table(out, "costs of an answer", ["", "mean", "p50", "p95", "p99"], rows)


def _table(out: Console, title: str, head: list[str], rows: list[list[str]]) -> None:
    if not rows:
        return
    widths = [max(len(row[n]) for row in [head, *rows]) for n in range(len(head))]
    out.print(f"\n{title}", style="bold")
    for row in [head, *rows] if any(head) else rows:
        out.print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _miss(record: Record) -> str:
    mark = "args" if record.score and record.score.tool else "TOOL"
    request = printable(record.request)[:160]
    want, answer = printable(expected_text(record))[:300], printable(got_text(record))[:300]
    return f"{mark} {printable(record.id)} {request}\n     want {want}\n     got  {answer}"
