"""``sask eval``: measure a model on sets of requests. Each command brings what it needs when it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

from evals.bfcl.commands import bfcl
from evals.reporting.commands import register

app = typer.Typer(
    name="eval",
    rich_markup_mode=None,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Measure a model: how valid its JSON is, how right its choice, how sure we are.",
    epilog="Exit codes: 0 done · 1 a regression · 2 bad input · 3 the model went away, resume the run · 4 no model.",
)
Directory = Annotated[Path, typer.Argument(metavar="DIR", help="directory of a run")]


@app.command()
def run(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="where it is written; an unfinished run is taken up")
    ],
    datasets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="DATASET", help="bundled sets or case files; requests_dev if none; state and talks need the sandbox"
        ),
    ] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="`embedded`, or an OpenAI-compatible URL")] = "embedded",
    model_name: Annotated[str, typer.Option(help="name of the model at that URL; the first it lists if left out")] = "",
    concurrency: Annotated[int | None, typer.Option(min=1, help="questions in flight: 64, 1 for embedded")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="how often each case is asked")] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="only the first cases")] = None,
    constrain: Annotated[bool, typer.Option("--constrain/--no-constrain", help="the server decodes by schema")] = True,
    ground: Annotated[bool, typer.Option("--ground/--no-ground", help="narrow to what was said, and check it")] = True,
    retry: Annotated[bool, typer.Option("--retry/--no-retry", help="show the model its mistake, twice at most")] = True,
    tools: Annotated[
        int | None,
        typer.Option(min=1, help="how many tools are offered, decoys among them beyond our own; all of ours"),
    ] = None,
    context: Annotated[
        int | None, typer.Option(min=1, metavar="TOKENS", help="so much talk of other things before each request")
    ] = None,
    temperature: Annotated[float | None, typer.Option(min=0, max=2)] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="of one answer")] = None,
    thinking: Annotated[bool | None, typer.Option("--thinking/--no-thinking", help="chat template's switch")] = None,
    stream: Annotated[bool, typer.Option("--stream", help="stream answers, to time the first token")] = False,
    cache: Annotated[Path | None, typer.Option(help="directory of answers that are not asked for again")] = None,
) -> None:
    """Ask every case of the sets and score the answers; run it again to go on where it stopped."""
    from evals.options import Options

    given = {name: value for name, value in locals().items() if name in Options.model_fields and name != "datasets"}
    _run(Options(datasets=tuple(datasets or ("requests_dev",)), **given), out)


@app.command()
def resume(directory: Directory) -> None:
    """Ask for what an unfinished run still lacks."""
    from evals.options import Options

    with _told():
        flags = _manifest(directory).flags
    _run(Options.model_validate(flags), directory)


@app.command()
def pressure(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="`embedded`, or an OpenAI-compatible URL")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="where it is written; what is missing there is asked")
    ],
    axes: Annotated[
        list[str] | None, typer.Option("--axis", help="concurrency, context, tools or temperature; again for more; all")
    ] = None,
    dataset: Annotated[str, typer.Option(help="the set that is asked, over and over")] = "requests_dev",
    cases: Annotated[int, typer.Option(min=1, help="cases of each step")] = 64,
    model_name: Annotated[str, typer.Option(help="name of the model at that URL; the first it lists if left out")] = "",
) -> None:
    """Measure validity and latency against concurrency, prompt length, schema size, temperature; DIR/report.html."""
    from evals.options import Options
    from evals.pressure import axes_of
    from evals.pressure import pressure as measure
    from evals.progress import progress
    from evals.reporting.commands import write_pressure

    base = Options(datasets=(dataset,), model=model, model_name=model_name, limit=cases)
    with _told(), _kept(f"sask eval pressure {quote(model)} --out {quote(str(out))}"):
        measure(base, out, axes_of(axes or ()), progress)
        write_pressure(out)


@app.command()
def show(
    directory: Directory,
    misses: Annotated[bool, typer.Option("--misses", help="also every answer that is not exact")] = False,
    json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Print a run's figures: the ladder, categories, choices, arguments, costs."""
    with _told():
        _show(directory, misses=misses, as_json=json)


def _run(options: Any, directory: Path) -> None:
    from evals.progress import progress
    from evals.runner import run as run_all

    with _told(), _kept(f"sask eval resume {quote(str(directory))}"):
        with progress() as watch:
            run_all(options, directory, watch)
        _show(directory)


@contextmanager
def _kept(again: str) -> Iterator[None]:
    """Ctrl-C ends with the command that goes on."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"sask: interrupted; the answers are kept: {again}", err=True)
        raise typer.Exit(130) from None


def _show(directory: Path, *, misses: bool = False, as_json: bool = False) -> None:
    from assistant.doors.render import console, print_json
    from evals.metrics import summary
    from evals.show import show as show_run

    read = _read(directory)
    if as_json:
        print_json(summary(read))
    else:
        show_run(read, console(), misses=misses)


def _manifest(directory: Path) -> Any:
    from evals.records import read_manifest
    from evals.store import RunError

    try:
        return read_manifest(directory)
    except ValueError as error:
        raise RunError(str(error), "give the directory that `sask eval run --out` wrote") from error


def _read(directory: Path) -> Any:
    from evals.records import read_run
    from evals.store import RunError

    try:
        return read_run(directory)
    except ValueError as error:
        raise RunError(str(error), "give the directory that `sask eval run --out` wrote") from error


@contextmanager
def _told() -> Iterator[None]:
    """Errors that a person can meet, in words and with their exit code."""
    from assistant.doors.failing import explain
    from assistant.errors import AssistantError

    try:
        yield
    except AssistantError as error:
        raise typer.Exit(explain(error, as_json=False)) from error


register(app)
app.command()(bfcl)


def main() -> None:
    """``python -m evals.commands``: the same without the rest of ``sask``."""
    app(prog_name="sask eval")


if __name__ == "__main__":
    main()
