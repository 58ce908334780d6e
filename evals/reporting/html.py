"""A run as one HTML page: nothing is fetched, nothing but its own script may run, and every word of a case is text."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from evals import metrics
from evals.intervals import Figure
from evals.metrics import RungFigure
from evals.records import Run
from evals.reporting import charts, wording
from evals.reporting.failing import FELL, RUNGS, Failing, counted, failing


@dataclass(frozen=True, slots=True)
class Tile:
    """A headline figure; ``tone`` is good, bad or plain."""

    label: str
    figure: Figure
    note: str
    tone: str = "plain"


@dataclass(frozen=True, slots=True)
class Stage:
    """A rung of the funnel: how many stand on it before and after repair, how many it lost since the rung below."""

    rung: str
    label: str
    first: Figure
    last: Figure
    fell: tuple[str, str]
    first_piece: tuple[str, str] | None
    last_piece: tuple[str, str]


def page(run: Run) -> str:
    """The whole document."""
    script = _source("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    found = failing(run)
    return render(
        "page.html.j2",
        **_head(run),
        **_figures(run),
        failing=found,
        filters=_filters(found),
        words=FELL,
        script=script,
        script_hash=f"sha256-{digest}",
    )


def render(template: str, **values: Any) -> str:
    """A template of this package with the common style; every value is text, never markup."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(_source), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": wording.percent, "seconds": wording.seconds, "size": wording.size}
    return environment.get_template(template).render(style=_source("page.css"), **values)


def _source(name: str) -> str:
    return files("evals.reporting").joinpath(name).read_text(encoding="utf-8")


def _head(run: Run) -> dict[str, Any]:
    manifest = run.manifest
    flags = {name: value for name, value in manifest.flags.items() if value not in (None, "", [])}
    return {
        "manifest": manifest,
        "quantisation": wording.quantisation(manifest.model),
        "answers": len(run.scored),
        "cases": len({record.id for record in run.scored}),
        "errors": run.errors,
        "told": {"sampling": manifest.sampling, "flags": flags, "packages": manifest.packages},
        "machine": {
            name: wording.size(value) if name == "memory" and isinstance(value, int) else value
            for name, value in manifest.machine.items()
        },
    }


def _figures(run: Run) -> dict[str, Any]:
    ours = metrics.scored(run.records)
    costs, arguments = metrics.costs(ours), metrics.arguments(ours)
    rows_of = [row for row in arguments.items() if row[0] != "all"]
    matrix = metrics.confusion(ours)
    rows = [label for label in matrix.labels if any(wanted == label for wanted, _ in matrix.counts)]
    columns = [label for label in matrix.labels if any(got == label for _, got in matrix.counts)]
    return {
        "tiles": tiles(run),
        "stages": stages(run),
        "categories": metrics.categories(ours),
        "rows": rows,
        "columns": columns,
        "counts": matrix.counts,
        "totals": {row: sum(matrix.counts.get((row, column), 0) for column in columns) for row in rows},
        "silent": metrics.not_calling(ours),
        "abstention": metrics.abstention(ours),
        "passes": metrics.passes(ours),
        "arguments": arguments,
        "argument_rows": {
            "flawed": [row for row in rows_of if row[1].f1.value != 1.0],
            "perfect": [row for row in rows_of if row[1].f1.value == 1.0],
        },
        "costs": costs,
        "latency": charts.latency(
            [record.seconds for record in ours], [record.ttft for record in ours if record.ttft is not None]
        ),
    }


def tiles(run: Run) -> list[Tile]:
    head = metrics.headline(run.records)
    bad = "bad" if head["forbidden"].value else "good"
    found = [
        Tile("exact call", head["exact"], "right tools, every argument right"),
        Tile("right tool", head["tool"], "in the right order, or rightly none"),
        Tile("valid at once", head["valid"], "JSON of the tool's schema before any repair"),
        Tile("accepted", head["accepted"], "grounded and meaningful, after repair"),
        Tile("forbidden", head["forbidden"], "changed what should have been left alone", bad),
    ]
    if head["end_state"].cases:
        found.insert(2, Tile("right end state", head["end_state"], "Slurm ended as the case wants"))
    if head["mentions"].cases:
        found.append(Tile("says what it must", head["mentions"], "the person is told what the case names"))
    repeated = [(name, figure) for name, figure in metrics.passes(run.records).items() if "^" in name]
    if repeated:
        found.append(Tile(repeated[-1][0], repeated[-1][1], f"exact in all {repeated[-1][0][5:]} repeats"))
    return found


def stages(run: Run) -> list[Stage]:
    found = metrics.ladder(run.records)
    return [_stage(*three) for three in zip([None, *found], found, [*found[1:], None], strict=False)]


def _stage(below: RungFigure | None, here: RungFigure, above: RungFigure | None) -> Stage:
    """A rung between its neighbours; only an answer after repair is judged, so the upper rungs have no first."""
    first, last = here.first.value, here.last.value or 0.0
    next_first = above.first.value if above else None
    next_last = above.last.value or 0.0 if above else last
    return Stage(
        rung=here.rung,
        label=RUNGS[here.rung],
        first=here.first,
        last=here.last,
        fell=(_fall(below.first, here.first), _fall(below.last, here.last)) if below else ("", ""),
        first_piece=None if first is None else charts.funnel_piece(first, first if next_first is None else next_first),
        last_piece=charts.funnel_piece(last, next_last),
    )


def _fall(before: Figure, here: Figure) -> str:
    """How many points were lost since the rung below; empty for none."""
    if before.value is None or here.value is None or here.value >= before.value:
        return ""
    return wording.points(here.value - before.value)


def _filters(found: list[Failing]) -> dict[str, list[tuple[str, int]]]:
    order = list(RUNGS)
    fell = dict(counted(one.rung for one in found))
    return {
        "category": counted(one.record.category for one in found),
        "tag": counted(tag for one in found for tag in one.record.tags),
        "rung": [(name, fell[name]) for name in order if name in fell],
        "wanted": counted(one.wanted for one in found),
        "got": counted(one.got for one in found),
        "argument": counted(name for one in found for name in {wrong.name for wrong in one.wrong}),
    }
