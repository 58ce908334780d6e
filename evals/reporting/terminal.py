"""A comparison and a matrix for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evals.reporting.compare import Changed, Comparison, Difference
from evals.reporting.wording import expected_text, got_text, listed, percent, points, printable, shortened

if TYPE_CHECKING:
    from rich.console import Console

STYLES = {"better": "green", "worse": "red"}
WIDEST = 150


def show_comparison(comparison: Comparison, tolerance: float, out: Console) -> None:
    a, b = comparison.a, comparison.b
    out.print(f"A  {printable(str(a.directory))}  {printable(a.manifest.model.name)}")
    out.print(f"B  {printable(str(b.directory))}  {printable(b.manifest.model.name)}")
    out.print(f"{comparison.pairs} cases in both", style="bold")
    if comparison.left_out:
        out.print(f"left out, the server failed in one of the runs: {listed(comparison.left_out)}", style="yellow")
    head = f"{'':<24}{'A':>9}{'B':>9}{'B − A':>9}  {'95 %':<16}{'won':>5}{'lost':>6}{'p':>8}"
    out.print(f"\n{head}", style="dim")
    for one in comparison.differences:
        out.print(_line(one), style=STYLES.get(one.verdict))
    for changed in comparison.changed:
        _show_changed(changed, out)
    out.print()
    out.print(*_verdict(comparison, tolerance))


def _line(one: Difference) -> str:
    within = f"{points(one.low)} to {points(one.high)}"
    shares = f"{percent(one.a):>9}{percent(one.b):>9}{points(one.change):>9}"
    return f"{one.measure.label:<24}{shares}  {within:<16}{one.won:>5}{one.lost:>6}{one.p:>8.3f}  {one.verdict}"


def _show_changed(one: Changed, out: Console) -> None:
    told = " · ".join(f"{word} {', '.join(names)}" for word, names in (("lost", one.lost), ("won", one.won)) if names)
    out.print(f"\n{printable(one.a.id)}  {told}", style="red" if one.lost else "green")
    rows = (
        ("request", one.a.request),
        ("expected", expected_text(one.a)),
        ("A", got_text(one.a)),
        ("B", got_text(one.b)),
    )
    for label, text in rows:
        out.print(f"  {label:<9}{shortened(printable(text), WIDEST)}")


def _verdict(comparison: Comparison, tolerance: float) -> tuple[str, str]:
    """The last line, and its style."""
    if beyond := comparison.regressions(tolerance):
        told = ", ".join(f"{one.measure.label} {points(one.change)} points" for one in beyond)
        chance = "" if any(one.verdict == "worse" for one in beyond) else "; it may be chance"
        return f"Regression beyond {percent(tolerance)}: {told}{chance}", "red"
    clear = [f"{one.measure.label} is {one.verdict}" for one in comparison.differences if one.verdict in STYLES]
    return (
        f"No regression beyond {percent(tolerance)}. {'; '.join(clear) or 'Nothing differs by more than chance'}.",
        "",
    )
