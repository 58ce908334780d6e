"""Where the lines of a drawing go: pure geometry, in the units of an SVG's view box."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from evals.intervals import percentile
from evals.reporting.wording import seconds

WIDTH, HEIGHT = 640.0, 264.0
LEFT, RIGHT, TOP, BOTTOM = 44.0, 24.0, 40.0, 34.0
STEPS = 200
"""A curve of more answers than this is drawn through as many of their quantiles."""


@dataclass(frozen=True, slots=True)
class Tick:
    """``at`` is an x or a y; ``end`` keeps the words inside the drawing."""

    at: float
    label: str
    end: bool = False


@dataclass(frozen=True, slots=True)
class Curve:
    name: str
    points: str


@dataclass(frozen=True, slots=True)
class Latency:
    """The share of answers that were there within so many seconds."""

    curves: tuple[Curve, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    marks: tuple[Tick, ...]


def latency(total: Sequence[float], first: Sequence[float]) -> Latency | None:
    """Of the whole answer, and of its first token where that was timed; seconds, in any order. None without any."""
    if not total:
        return None
    longest = max([*total, *first, 1e-3])
    step = nice_step(longest)
    end = step * math.ceil(longest / step - 1e-9)
    named = [("whole answer", sorted(total)), ("first token", sorted(first))]
    quantiles = [(name, percentile(sorted(total), at)) for name, at in (("median", 0.5), ("p95", 0.95))]
    return Latency(
        curves=tuple(Curve(name, _steps(values, end)) for name, values in named if values),
        across=tuple(Tick(_x(n * step, end), seconds(n * step) if n else "0") for n in range(round(end / step) + 1)),
        up=tuple(Tick(_y(share), f"{100 * share:.0f} %") for share in (0.0, 0.25, 0.5, 0.75, 1.0)),
        marks=tuple(Tick(_x(at, end), f"{name} {seconds(at)}", _x(at, end) > 0.8 * WIDTH) for name, at in quantiles),
    )


def nice_step(longest: float) -> float:
    """1, 2 or 5 times a power of ten, so that four to ten of them reach ``longest`` (> 0)."""
    power = 10.0 ** math.floor(math.log10(longest / 4))
    return max(power * factor for factor in (1, 2, 5) if power * factor <= longest / 4 * (1 + 1e-9))


def _steps(ordered: Sequence[float], end: float) -> str:
    """A staircase: it rises where an answer came."""
    count = len(ordered)
    if count > STEPS:
        ordered, count = [percentile(ordered, n / (STEPS - 1)) for n in range(STEPS)], STEPS
    path = [f"M{_x(0, end):.1f},{_y(0):.1f}"]
    path += [f"H{_x(value, end):.1f}V{_y(n / count):.1f}" for n, value in enumerate(ordered, 1)]
    return "".join([*path, f"H{_x(end, end):.1f}"])


def _x(value: float, end: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * value / end


def _y(share: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share


def funnel_piece(width: float, following: float) -> tuple[str, str]:
    """Points of a rung's band and of its neck down to the next; widths are shares, the view box is 100 by 40."""
    return _quad(width, width, 0, 28), _quad(width, following, 28, 40)


def _quad(upper: float, lower: float, top: float, bottom: float) -> str:
    """A trapezoid around x = 50."""
    corners = [(50 - 50 * upper, top), (50 + 50 * upper, top), (50 + 50 * lower, bottom), (50 - 50 * lower, bottom)]
    return " ".join(f"{x:.2f},{y:.0f}" for x, y in corners)
