"""The curves of ``sask eval pressure``: a page, a table, JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from evals.intervals import Figure
from evals.pressure import Curve, Step
from evals.records import Manifest
from evals.reporting.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Tick, nice_step
from evals.reporting.html import render
from evals.reporting.wording import percent, seconds

TITLES = {
    "concurrency": ("Concurrency", "questions in flight"),
    "context": ("Length of the prompt", "tokens of other talk before the request"),
    "tools": ("Size of the schema", "tools offered, decoys among them beyond our own"),
    "temperature": ("Temperature", "sampling temperature"),
}


@dataclass(frozen=True, slots=True)
class Line:
    """``path`` through the points, ``band`` around them (their 95 % intervals); ``dots`` have a text each."""

    name: str
    path: str
    band: str
    dots: tuple[tuple[float, float, str], ...]


@dataclass(frozen=True, slots=True)
class Drawing:
    lines: tuple[Line, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]


@dataclass(frozen=True, slots=True)
class Panel:
    axis: str
    title: str
    what: str
    steps: tuple[Step, ...]
    validity: Drawing
    latency: Drawing


def page(found: Sequence[Curve], manifest: Manifest) -> str:
    """A self-contained document, without a script."""
    panels = [_panel(curve) for curve in found]
    return render("pressure.html.j2", panels=panels, manifest=manifest)


def table(found: Sequence[Curve]) -> list[str]:
    """Lines for a terminal."""
    lines = []
    for curve in found:
        lines.append(f"{TITLES[curve.axis][0]}: {TITLES[curve.axis][1]}")
        lines.append(f"  {'':>8}  {'valid':>7}  {'exact':>7}  {'median':>8}  {'p95':>8}  {'a second':>8}  lost")
        lines += [f"  {_row(step)}" for step in curve.steps]
    return lines


def _row(step: Step) -> str:
    shares = [_share(one) for one in (step.valid, step.exact)]
    times = [_time(one) for one in (step.median, step.p95)]
    cells = [f"{step.value:>8g}", *(f"{one:>7}" for one in shares), *(f"{one:>8}" for one in times)]
    return "  ".join([*cells, f"{step.per_second:>8.3g}", str(step.lost or "")]).rstrip()


def _share(figure: Figure) -> str:
    return "–" if figure.value is None else percent(figure.value)


def _time(figure: Figure) -> str:
    return "–" if figure.value is None else seconds(figure.value)


def as_document(found: Sequence[Curve]) -> dict[str, Any]:
    return {curve.axis: [asdict(step) for step in curve.steps] for curve in found}


def _panel(curve: Curve) -> Panel:
    title, what = TITLES[curve.axis]
    steps = curve.steps
    shares = {"valid JSON at once": [step.valid for step in steps], "exact call": [step.exact for step in steps]}
    times = {"median": [step.median for step in steps], "p95": [step.p95 for step in steps]}
    longest = max([one.value or 0.0 for one in times["p95"]] + [1e-3])
    unit = nice_step(longest)
    marks = [n * unit for n in range(int(longest / unit) + 2)]
    values = [step.value for step in steps]
    return Panel(
        curve.axis,
        title,
        what,
        steps,
        _drawing(values, shares, 1.0, [(0.25 * n, f"{25 * n} %") for n in range(5)], percent),
        _drawing(values, times, marks[-1], [(mark, seconds(mark) if mark else "0") for mark in marks], seconds),
    )


def _drawing(
    values: Sequence[float], named: dict[str, list[Figure]], top: float, up: list[tuple[float, str]], say: Any
) -> Drawing:
    """The points stand at equal distances: their values double, or are few."""
    places = [_across(n, len(values)) for n in range(len(values))]
    lines = []
    for name, figures in named.items():
        known = [
            (x, value, one) for x, value, one in zip(places, values, figures, strict=True) if one.value is not None
        ]
        dots = tuple((x, _up(one.value or 0.0, top), f"{value:g}: {say(one.value)}") for x, value, one in known)
        lines.append(
            Line(name, _path([(x, y) for x, y, _ in dots]), _band([(x, one) for x, _, one in known], top), dots)
        )
    across = tuple(Tick(x, f"{value:g}") for x, value in zip(places, values, strict=True))
    return Drawing(tuple(lines), across, tuple(Tick(_up(at, top), label) for at, label in up))


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points) if points else ""


def _band(points: Sequence[tuple[float, Figure]], top: float) -> str:
    """Along the upper ends and back along the lower ones; an end that is not known is the value itself."""
    upper = [(x, _up(one.value or 0.0 if one.high is None else one.high, top)) for x, one in points]
    lower = [(x, _up(one.value or 0.0 if one.low is None else one.low, top)) for x, one in points]
    return _path([*upper, *reversed(lower)]) + "Z" if points else ""


def _across(number: int, count: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (number + 0.5) / max(1, count)


def _up(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(1.0, value / top)
