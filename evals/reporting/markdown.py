"""Short Markdown for pull requests and model cards. Words of a case are code spans: no link, mention or HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence

from evals import metrics
from evals.intervals import NOTHING, Figure
from evals.records import Run
from evals.reporting.compare import Comparison, Difference
from evals.reporting.failing import FELL, failing
from evals.reporting.matrix import Row, same_sets
from evals.reporting.wording import got_text, percent, points, printable, seconds, shortened, size

MOST = 10
"""Cases that a summary lists before it only counts."""

HEAD = {
    "exact": "exact call", "tool": "right tool", "end_state": "right end state", "valid": "valid JSON at once",
    "accepted": "accepted after repair", "mentions": "says what it must", "forbidden": "forbidden effect",
}  # fmt: skip


def summary(run: Run, against: Comparison | None = None, tolerance: float = 0.0) -> str:
    """Headline, categories, what fell; with ``against``, what changed since (its ``b`` is this run)."""
    sets = ", ".join(f"{code(one.name)} ({one.count})" for one in run.manifest.datasets)
    state = "" if run.manifest.finished else " (not finished)"
    errors = f"; {len(run.errors)} not scored (the server's errors)" if run.errors else ""
    parts = [f"### {code(run.manifest.model.name)} on {sets}", f"{len(run.scored)} answers{errors}{state}."]
    if run.scored:
        parts += [_headline(run, against), _changes(against, tolerance)] if against else [_headline(run, None)]
        parts += [_categories(run), _fallen(run)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _headline(run: Run, against: Comparison | None) -> str:
    before = {one.measure.name: one for one in against.differences} if against else {}
    rows = []
    for name, figure in metrics.headline(run.records).items():
        if figure.cases:
            row = [HEAD[name], f"**{share(figure)}**", within(figure)]
            rows.append((name, row + ([_change(before.get(name))] if against else [])))
    rows.sort(key=lambda row: list(HEAD).index(row[0]))
    spread = metrics.costs(run.records).get("seconds", {})
    cells = [row for _, row in rows]
    if spread:
        p95 = spread["p95"].value or 0.0
        last = ["median latency", f"**{seconds(spread['p50'].value or 0.0)}**", f"p95 {seconds(p95)}"]
        cells.append(last + [""] * bool(against))
    return table(["", "", "95 %", *(["change"] if against else [])], cells)


def _change(one: Difference | None) -> str:
    if one is None or one.verdict == "the same":
        return ""
    mark = {"better": " ✔", "worse": " ✘"}.get(one.verdict, "")
    return f"{points(one.change)} points{mark}"


def _changes(against: Comparison, tolerance: float) -> str:
    beyond = against.regressions(tolerance)
    lost = [one for one in against.changed if one.lost]
    lines = []
    if beyond:
        told = ", ".join(f"{one.measure.label} {points(one.change)} points" for one in beyond)
        lines.append(f"**Regression** beyond {percent(tolerance)}: {told}.\n")
    if lost:
        lines.append(f"{len(lost)} of {against.pairs} cases came out worse than in {code(str(against.a.directory))}:\n")
        lines += [
            f"- {code(one.a.id)} {code(shortened(one.a.request, 90))} lost {', '.join(one.lost)}: "
            f"{code(shortened(got_text(one.b), 120))}"
            for one in lost[:MOST]
        ]
        lines += [f"- and {len(lost) - MOST} more"] if len(lost) > MOST else []
    return "\n".join(lines) or f"No case came out worse than in {code(str(against.a.directory))}."


def _categories(run: Run) -> str:
    rows = [
        [code(name), str(one["exact"].cases), f"{share(one['exact'])} ({within(one['exact'])})", share(one["tool"]),
         share(one["forbidden"]) if one["forbidden"].value else ""]
        for name, one in metrics.categories(run.records).items()
    ]  # fmt: skip
    body = table(["category", "cases", "exact", "right tool", "forbidden"], rows)
    return f"<details><summary>By category</summary>\n\n{body}\n\n</details>"


def _fallen(run: Run) -> str:
    found = failing(run)
    counts = {name: sum(one.rung == name for one in found) for name in FELL}
    told = ", ".join(f"{FELL[name]} {count}" for name, count in counts.items() if count)
    return f"What was wrong first: {told}." if told else "Every answer is what its case wants."


def matrix_table(rows: Sequence[Row]) -> str:
    """Models × quantisations. Columns that nobody fills are left out."""
    columns = {
        "model": [code(row.model) for row in rows],
        "weights": [row.quantisation for row in rows],
        "engine": [code(row.engine) if row.engine else "" for row in rows],
        "sets": [code(row.datasets) for row in rows],
        "conditions": [code(row.conditions) if row.conditions else "" for row in rows],
        **{HEAD[name]: [_cell(row.figures.get(name, NOTHING)) for row in rows] for name in HEAD},
        "median": [_time(row.median) for row in rows],
        "p95": [_time(row.p95) for row in rows],
        "first token": [_time(row.ttft) for row in rows],
        "memory": [size(row.memory) if row.memory else "" for row in rows],
    }
    filled = {name: cells for name, cells in columns.items() if any(cells)}
    note = "" if same_sets(list(rows)) else "\n\nNot all were asked the same sets: compare with care."
    lines = [[cells[n] for cells in filled.values()] for n in range(len(rows))]
    return table(list(filled), lines) + note + "\n"


def _cell(figure: Figure) -> str:
    return f"{share(figure)} ({within(figure)})" if figure.value is not None else ""


def _time(figure: Figure) -> str:
    return seconds(figure.value) if figure.value is not None else ""


def share(figure: Figure) -> str:
    return "–" if figure.value is None else percent(figure.value)


def within(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return ""
    return f"{100 * figure.low:.1f} – {100 * figure.high:.1f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells may hold any text on one line: GFM (4.10) reads an escaped bar as a bar, in code spans too."""
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def code(text: str) -> str:
    """A code span that nothing in the text can end (CommonMark 6.1)."""
    text = printable(text) or " "
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{text}{space}{fence}"
