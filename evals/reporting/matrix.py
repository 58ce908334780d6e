"""Many runs as one table: models × quantisations, with what each costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from evals import metrics
from evals.intervals import NOTHING, Figure
from evals.options import HOW
from evals.records import Run
from evals.reporting.wording import quantisation

_ASKED_OF = HOW | {"datasets", "model", "model_name", "stream"}


@dataclass(frozen=True, slots=True)
class Row:
    """One run. ``conditions`` are the flags and the sampling in which the runs of the table differ; seconds, bytes."""

    directory: str
    model: str
    quantisation: str
    engine: str
    datasets: str
    conditions: str
    answers: int
    figures: dict[str, Figure]
    median: Figure
    p95: Figure
    ttft: Figure
    memory: int | None


def matrix(runs: list[Run]) -> list[Row]:
    """A row a run, by model, then quantisation, then conditions."""
    told = [_conditions(run) for run in runs]
    differing = {name for one in told for name, value in one.items() if any(o.get(name) != value for o in told)}
    rows = [_row(run, {n: v for n, v in one.items() if n in differing}) for run, one in zip(runs, told, strict=True)]
    return sorted(rows, key=lambda row: (row.model.casefold(), row.quantisation, row.conditions, row.directory))


def _conditions(run: Run) -> dict[str, Any]:
    flags = {name: value for name, value in run.manifest.flags.items() if name not in _ASKED_OF}
    return {name: value for name, value in (flags | run.manifest.sampling).items() if value is not None}


def _row(run: Run, conditions: dict[str, Any]) -> Row:
    manifest = run.manifest
    costs = metrics.costs(run.records)
    return Row(
        directory=str(run.directory),
        model=manifest.model.name,
        quantisation=quantisation(manifest.model),
        engine=manifest.model.engine,
        datasets=", ".join(f"{one.name} ({one.count})" for one in manifest.datasets),
        conditions=", ".join(f"{name} {value}" for name, value in sorted(conditions.items())),
        answers=len(run.scored),
        figures=metrics.headline(run.records),
        median=costs.get("seconds", {}).get("p50", NOTHING),
        p95=costs.get("seconds", {}).get("p95", NOTHING),
        ttft=costs.get("ttft", {}).get("p50", NOTHING),
        memory=manifest.model.memory,
    )


def same_sets(rows: list[Row]) -> bool:
    """Whether all were asked the same; figures of different sets are not to be compared."""
    return len({row.datasets for row in rows}) <= 1
