"""``sask eval pressure``: one thing is made harder step by step, and each step is a run of its own that can be resumed.

``DIR/AXIS/VALUE`` holds the run of one step, as ``sask eval run`` writes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assistant.errors import ConfigError
from evals import metrics
from evals.intervals import NOTHING, Figure
from evals.manifest import longest_context
from evals.options import Options
from evals.records import Manifest, Run, read_manifest, read_run
from evals.runner import Unfinished, Watch
from evals.runner import run as run_all
from evals.subject import subject

AXES: dict[str, tuple[float, ...]] = {
    "concurrency": (1, 2, 4, 8, 16, 32, 64, 128, 256),
    "context": (0, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000),
    "tools": (4, 8, 12, 17, 24, 32, 40),
    "temperature": (0.0, 0.3, 0.7, 1.0, 1.5),
}
"""Questions in flight; tokens of talk before the request; tools offered; sampling temperature."""
UNKNOWN_CONTEXT = 40_000
"""Tokens that a model is taken to read where its server does not say."""


@dataclass(frozen=True, slots=True)
class Step:
    """One point of a curve; ``lost``: questions the server did not answer; ``median`` and ``p95`` in seconds."""

    value: float
    answers: int
    lost: int
    valid: Figure
    accepted: Figure
    exact: Figure
    median: Figure
    p95: Figure
    prompt_tokens: float
    per_second: float
    """Answers a second, by Little's law: questions in flight over the mean time of an answer."""


@dataclass(frozen=True, slots=True)
class Curve:
    axis: str
    steps: tuple[Step, ...]


def pressure(
    base: Options, directory: Path, axes: Iterable[str], progress: Callable[[str], AbstractContextManager[Watch]]
) -> list[Curve]:
    """Every step of every axis, or what is still missing of them; ``base.limit`` cases each.

    A step that the server cannot bear is a result, and the next one is tried. Raises what ``evals.runner.run`` raises,
    but for Unfinished.
    """
    for axis in axes:
        for value in steps_of(axis, base, directory):
            with progress(f"{axis} {value:g}") as watch:
                _step(base, directory, axis, value, watch)
    return curves(directory)


def axes_of(words: Sequence[str]) -> list[str]:
    """Raises ConfigError for an axis that there is not."""
    if unknown := [word for word in words if word not in AXES]:
        raise ConfigError(f"axis {unknown[0]!r} is unknown", f"valid: {', '.join(AXES)}")
    return list(words or AXES)


def steps_of(axis: str, base: Options, directory: Path) -> Iterable[float]:
    """The values in rising order; those of ``context`` end where the model's own context does."""
    if axis != "context":
        yield from AXES[axis]
        return
    yield 0
    tested = subject(base)
    asked = max((one.prompt_tokens for one in read_run(_place(directory, axis, 0)).scored), default=0)
    most = (longest_context(base, tested.model) or UNKNOWN_CONTEXT) - asked - tested.model.max_tokens
    yield from (value for value in AXES[axis][1:] if value < 0.8 * most)
    if most > 100:
        yield math.floor(0.8 * most)  # a token is not exactly four letters


def _step(base: Options, directory: Path, axis: str, value: float, watch: Watch) -> None:
    changes: dict[str, Any] = {axis: value if axis == "temperature" else int(value) or None}
    if axis == "concurrency":  # enough questions to have that many in flight twice over
        changes["repeats"] = max(base.repeats, math.ceil(2 * value / (base.limit or 1)))
    try:
        run_all(Options.model_validate(base.model_dump() | changes), _place(directory, axis, value), watch)
    except Unfinished:
        return


def _place(directory: Path, axis: str, value: float) -> Path:
    return directory / axis / f"{value:g}"


def is_pressure(directory: Path) -> bool:
    return any((directory / axis).is_dir() for axis in AXES)


def curves(directory: Path) -> list[Curve]:
    """What has been measured so far. Raises ValueError for a step that cannot be read."""
    found = []
    for axis in AXES:
        places = sorted((directory / axis).glob("*/manifest.json"), key=lambda path: float(path.parent.name))
        if places:
            runs = [read_run(path.parent) for path in places]
            found.append(Curve(axis, tuple(_point(float(run.directory.name), run) for run in runs)))
    return found


def first_manifest(directory: Path) -> Manifest:
    """Of any step: model, engine and machine are those of all. Raises ValueError."""
    for place in (place for axis in AXES for place in (directory / axis).glob("*/manifest.json")):
        return read_manifest(place.parent)
    raise ValueError(f"{directory} holds no step that was begun")


def _point(value: float, run: Run) -> Step:
    head, costs = metrics.headline(run.records), metrics.costs(run.records)
    seconds, workers = costs.get("seconds", {}), Options.model_validate(run.manifest.flags).workers
    mean = seconds.get("mean", NOTHING).value
    tokens = costs.get("prompt_tokens", {}).get("mean", NOTHING).value
    return Step(
        value=value,
        answers=len(run.scored),
        lost=len(run.errors),
        valid=head["valid"],
        accepted=head["accepted"],
        exact=head["exact"],
        median=seconds.get("p50", NOTHING),
        p95=seconds.get("p95", NOTHING),
        prompt_tokens=tokens or 0.0,
        per_second=workers / mean if mean else 0.0,
    )
