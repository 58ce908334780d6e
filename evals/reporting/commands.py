"""``sask eval report``, ``compare`` and ``matrix``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from evals.records import Run

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="directory of a run")]
Tolerance = Annotated[
    float, typer.Option(min=0, max=1, help="share by which B may be worse before it counts as a regression")
]
PAGE = "report.html"


def register(app: typer.Typer) -> None:
    """Adds the commands to ``sask eval``."""
    for command in (report, compare, matrix):
        app.command()(command)


def report(
    directory: Directory,
    html: Annotated[Path | None, typer.Option(help="a page to look at; DIR/report.html if nothing is named")] = None,
    markdown: Annotated[Path | None, typer.Option(help="a summary for a pull request; - for standard output")] = None,
    json: Annotated[
        Path | None, typer.Option(help="every figure and every failing case; - for standard output")
    ] = None,
    inspect: Annotated[Path | None, typer.Option(help="a log for inspect_ai; - for standard output")] = None,
    against: Annotated[Path | None, typer.Option(metavar="DIR", help="the run to compare with, in Markdown")] = None,
    tolerance: Tolerance = 0.02,
) -> None:
    """Write a run's report: a page, Markdown, JSON, a log for inspect_ai; of `sask eval pressure`, page and JSON."""
    with told():
        if _is_pressure(directory):
            write_pressure(directory, html, json)
            return
        run = _read(directory)
        if not (html or markdown or json or inspect):
            html = directory / PAGE
        if html:
            write(html, _page(run))
        if markdown:
            write(markdown, _summary(run, against, tolerance))
        if json:
            write(json, _document(run))
        if inspect:
            write(inspect, _log(run))


def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="directory of the run before")],
    b: Annotated[Path, typer.Argument(metavar="B", help="directory of the run after")],
    tolerance: Tolerance = 0.02,
    json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Pair two runs case by case: what was won, what was lost, what is more than chance; 1 on a regression."""
    from assistant.doors.render import console, print_json
    from evals.reporting.compare import as_document
    from evals.reporting.compare import compare as compare_runs
    from evals.reporting.terminal import show_comparison

    with told():
        found = compare_runs(_read(a), _read(b))
    if json:
        print_json(as_document(found, tolerance))
    else:
        show_comparison(found, tolerance, console())
    if found.regressions(tolerance):
        raise typer.Exit(1)


def matrix(
    directories: Annotated[list[Path], typer.Argument(metavar="DIR…", help="directories of runs")],
    json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Print runs as one Markdown table: accuracy, validity, latency, memory."""
    from dataclasses import asdict

    from assistant.doors.render import print_json
    from evals.reporting.markdown import matrix_table
    from evals.reporting.matrix import matrix as rows_of

    with told():
        rows = rows_of([_read(directory) for directory in directories])
    if json:
        print_json([asdict(row) for row in rows])
    else:
        print(matrix_table(rows), end="")


def _is_pressure(directory: Path) -> bool:
    from evals.pressure import is_pressure

    return is_pressure(directory)


def write_pressure(directory: Path, html: Path | None = None, json: Path | None = None) -> None:
    """The table on standard output, unless JSON goes there; the page, and the JSON if a file is named."""
    from json import dumps

    from evals.pressure import curves, first_manifest
    from evals.reporting.pressure import as_document, page, table
    from evals.store import RunError

    try:
        found = curves(directory)
        told = first_manifest(directory)
    except ValueError as error:
        raise RunError(str(error), "measure that step again: `sask eval pressure`") from error
    if str(json) != "-":
        print("\n".join(table(found)))
    if json:
        write(json, dumps(as_document(found), indent=1) + "\n")
    if html or not json:
        write(html or directory / PAGE, page(found, told))


def _page(run: Run) -> str:
    from evals.reporting.html import page

    return page(run)


def _summary(run: Run, against: Path | None, tolerance: float) -> str:
    from evals.reporting.compare import compare as compare_runs
    from evals.reporting.markdown import summary

    return summary(run, compare_runs(_read(against), run) if against else None, tolerance)


def _document(run: Run) -> str:
    import json

    from evals.metrics import summary
    from evals.reporting.failing import as_document, failing

    document: dict[str, Any] = {"manifest": run.manifest.model_dump(mode="json"), **summary(run)}
    return json.dumps(document | {"failing": [as_document(one) for one in failing(run)]}, indent=1) + "\n"


def _log(run: Run) -> str:
    import json

    from evals.reporting.inspect_log import inspect_log

    return json.dumps(inspect_log(run)) + "\n"


def _read(directory: Path) -> Run:
    from evals.records import read_run
    from evals.store import RunError

    try:
        return read_run(directory)
    except ValueError as error:
        raise RunError(str(error), "give the directory that `sask eval run --out` wrote") from error


def write(path: Path, text: str) -> None:
    """To a file, whose name is told on standard error, or to standard output."""
    from evals.store import RunError

    if str(path) == "-":
        print(text, end="")
        return
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}", "name another file") from error
    typer.echo(f"written: {path}", err=True)


@contextmanager
def told() -> Iterator[None]:
    """Errors that a person can meet, in words and with their exit code."""
    from assistant.doors.failing import explain
    from assistant.errors import AssistantError

    try:
        yield
    except AssistantError as error:
        raise typer.Exit(explain(error, as_json=False)) from error
