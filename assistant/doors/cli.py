"""``sask``: the terminal's door. Only typer is imported here; each command brings what it needs when it runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from assistant.doors import doctor, models, sandbox, serve
from assistant.doors.approvals import Later, approvals, approve, deny
from assistant.doors.argv import NOTHING_CHANGED, Commands, Interrupted, wants_json, with_ask
from assistant.doors.oncall import command as oncall
from assistant.doors.slack import command as slack

EPILOG = (
    "Exit codes: 0 done · 1 something failed or is unknown · 2 bad input: request, arguments, settings · 3 denied, or "
    "a question came back · 4 no model · 5 journal unusable, or no such run · 6 Slurm or the sandbox out of reach, "
    "nothing done · 130 Ctrl-C. Settings: `sask config`."
)

app = typer.Typer(
    name="sask",
    cls=Commands,
    rich_markup_mode=None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help='Say what you want of this Slurm cluster in plain words: sask "what is running?"\n\n'
    "Anything that is no command is a request, `sask -` reads one from standard input. Reads run at once; "
    "changes are shown, with the exact commands, and wait for your yes.",
    epilog=EPILOG,
)
app.add_typer(sandbox.app, name="sandbox")

Json = Annotated[bool, typer.Option("--json", help="print one JSON document")]
JsonLines = Annotated[bool, typer.Option("--json", help="print one JSON document a request, on a line of its own")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="make changes without asking (the policy may still ask)")]
DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="show what would be done, and do nothing")]
Model = Annotated[
    str | None, typer.Option("--model", "-m", help="`embedded`, or the URL of an OpenAI-compatible server")
]


@app.callback()
def of_all(
    backend: Annotated[
        str | None, typer.Option(envvar="SASK_BACKEND", help="the way to Slurm: cli (its commands), rest, or auto")
    ] = None,
    cluster: Annotated[str | None, typer.Option(envvar="SASK_CLUSTER", help="one of the clusters in settings")] = None,
) -> None:
    os.environ.update({f"SASK_{name}": value for name, value in (("BACKEND", backend), ("CLUSTER", cluster)) if value})


@app.command()
def ask(
    words: Annotated[list[str], typer.Argument(help="the request; - reads it from standard input")],
    yes: Yes = False,
    later: Later = False,
    dry_run: DryRun = False,
    json: Json = False,
    model: Model = None,
) -> None:
    """Carry out a request in plain words (the word `ask` may be left out)."""
    from assistant.doors import talk
    from assistant.doors.words import piped

    text = piped() if words == ["-"] else " ".join(words)
    talk.ask(text, yes=yes, later=later, dry_run=dry_run, as_json=json, model=model)


@app.command()
def chat(yes: Yes = False, dry_run: DryRun = False, json: JsonLines = False, model: Model = None) -> None:
    """Talk: one request a line, `that job` means the last one; /quit or Ctrl-D ends, Ctrl-C gives up a request."""
    from assistant.doors import talk

    talk.chat(yes=yes, dry_run=dry_run, as_json=json, model=model)


@app.command()
def plan(
    words: Annotated[list[str] | None, typer.Argument(help="the request")] = None,
    json: Json = False,
    user: Annotated[str, typer.Option(help="who asks")] = "me",
    admin: Annotated[bool, typer.Option("--admin", help="the caller is an operator or administrator")] = False,
    now: Annotated[str | None, typer.Option(help="ISO time to count from")] = None,
    batch: Annotated[
        Path | None, typer.Option(help='JSONL of {"id", "request", "context"}; - is standard input')
    ] = None,
    model: Model = None,
) -> None:
    """Show what would be called, and carry nothing out; needs no cluster."""
    from assistant.doors import planning

    if batch is not None:
        planning.batch(batch, model)
    else:
        planning.one(" ".join(words or ()), user=user, is_admin=admin, now=now, as_json=json, model=model)


@app.command()
def call(
    tool: Annotated[str, typer.Argument(help="name of a tool; `sask tools` lists them")],
    arguments: Annotated[str, typer.Option("--json", help="its arguments as a JSON object")] = "{}",
    yes: Yes = False,
    later: Later = False,
    dry_run: DryRun = False,
    text: Annotated[bool, typer.Option("--text", help="print for people instead of JSON")] = False,
) -> None:
    """Run one tool, without any model."""
    from assistant.doors import talk

    talk.call(tool, arguments, yes=yes, later=later, dry_run=dry_run, as_json=not text)


@app.command()
def tools(json: Json = False) -> None:
    """List the tools: what they do, whether they change anything, their arguments."""
    from assistant.doors import planning

    planning.tools(as_json=json)


@app.command()
def runs(limit: Annotated[int, typer.Option(min=1)] = 20, json: Json = False) -> None:
    """List the latest requests and what became of them."""
    from assistant.doors import past

    past.runs(limit, as_json=json)


@app.command()
def show(run: Annotated[str, typer.Argument(help="a run's id, its beginning, or `last`")], json: Json = False) -> None:
    """Show one run: its calls, what was done, what is left."""
    from assistant.doors import past

    past.show(run, as_json=json)


@app.command()
def export(
    run: Annotated[str, typer.Argument(help="a run's id, its beginning, or `last`")],
    json: Annotated[bool, typer.Option("--json", help="it is JSON anyway")] = True,
) -> None:
    """Print a run as JSON that can be kept, replayed, or made an evaluation case."""
    from assistant.doors import past

    past.export(run)


@app.command()
def resume(
    run: Annotated[str, typer.Argument(help="a run's id, its beginning, or `last`")],
    yes: Yes = False,
    later: Later = False,
    json: Json = False,
) -> None:
    """Finish what a run left: find out what is unknown, do again only what certainly did not happen."""
    from assistant.doors import past

    past.take_up("resume", run, yes=yes, later=later, as_json=json)


@app.command()
def undo(
    run: Annotated[str, typer.Argument(help="a run's id, its beginning, or `last`")],
    yes: Yes = False,
    later: Later = False,
    json: Json = False,
) -> None:
    """Cancel the jobs that a run submitted."""
    from assistant.doors import past

    past.take_up("undo", run, yes=yes, later=later, as_json=json)


app.command()(approvals)
app.command()(approve)
app.command()(deny)


app.command("serve")(serve.command)
app.command("models")(models.command)
app.command("doctor")(doctor.command)
app.command("oncall")(oncall.command)
app.command("slack")(slack.command)


@app.command()
def mcp(
    http: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="over HTTP there, not standard input")] = None,
    token_file: Annotated[Path | None, typer.Option(help="file with the bearer token that HTTP clients show")] = None,
) -> None:
    """Offer the tools to other agents (Model Context Protocol); changes wait for a person's yes. Needs no model."""
    from assistant.doors import mcp as door

    door.serve(http, token_file)


@app.command()
def config(json: Json = False, model: Model = None) -> None:
    """Show every setting, its value, and where it comes from."""
    from assistant.doors import serving

    serving.config(as_json=json, model=model)


@app.command("diagnose-log")
def diagnose_log(
    file: Annotated[Path | None, typer.Argument(help="the log; left out or -: standard input")] = None,
    state: Annotated[str | None, typer.Option(help="the job's state, as sacct has it")] = None,
    exit_code: Annotated[str | None, typer.Option(help="the job's exit code: 1:0, 0:9, 137")] = None,
    batch: Annotated[Path | None, typer.Option(help='JSONL of {"id", "text" or "file", "state", "exit_code"}')] = None,
    json: Json = False,
) -> None:
    """Say why a job failed, from its log alone; needs no cluster and no model."""
    from assistant.doors import logs

    if batch is not None:
        logs.batch(batch)
    else:
        logs.one(file, state, exit_code, as_json=json)


@app.command(
    "eval",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def evaluate(ctx: typer.Context) -> None:
    """Measure a model on sets of requests; `sask eval --help` says how."""
    from assistant.doors import plugins

    plugins.run("eval", ctx.args)


def main(argv: list[str] | None = None) -> None:
    """The console script. No traceback reaches a user: errors become one message and an exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        app(args=with_ask(arguments), standalone_mode=True)
    except SystemExit:
        raise  # the usual way out, which must not import the error trees below
    except (Interrupted, KeyboardInterrupt) as stop:
        _leave(str(stop) or NOTHING_CHANGED, 130)
    except _expected() as error:
        from assistant.doors.failing import explain

        sys.exit(explain(error, as_json=wants_json(arguments)))


def _expected() -> tuple[type[Exception], ...]:
    """Our error trees; imported only when something was raised."""
    from assistant.errors import AssistantError
    from tools.slurm.errors import SlurmError

    return AssistantError, SlurmError


def _leave(text: str, code: int) -> None:
    typer.echo(f"sask: {text}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
