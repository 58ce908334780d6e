"""``sask approvals | approve | deny``: changes that were left for a yes from another terminal, or another person."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="print one JSON document")]
Later = Annotated[bool, typer.Option("--later", help="leave changes for `sask approve`, from any terminal")]
Approval = Annotated[str, typer.Argument(help="its id, or the beginning of it; `sask approvals` lists them")]
Reason = Annotated[str, typer.Option("--reason", help="why; it is kept")]


def approvals(json: Json = False) -> None:
    """List the changes that wait for a yes: who asked, what exactly would run, what it would touch, until when."""
    from assistant import app
    from assistant.doors.render import console, print_json, show_preview
    from assistant.ledger import later
    from assistant.ledger.journal import Journal

    rows = later.pending(Journal(app.load().journal))
    if json:
        print_json(rows)
        return
    out = console()
    for row in rows:
        out.print(f"approval {row['id']}, until {row['expires']}: {row['asked_by']} asked: {row['request']}")
        show_preview(later.preview_from(row["preview"]), out)
        out.print(f"  digest: {row['digest']}", style="dim")
    out.print("`sask approve ID` or `sask deny ID` answers" if rows else "nothing waits for an approval")


def approve(approval: Approval, reason: Reason = "", json: Json = False) -> None:
    """Say yes to a change that was left with --later, and carry it out if the cluster is still as it was shown."""
    _answer(approval, yes=True, reason=reason, as_json=json)


def deny(approval: Approval, reason: Reason = "", json: Json = False) -> None:
    """Say no to a change that waits: it is not taken up any more."""
    _answer(approval, yes=False, reason=reason, as_json=json)


def _answer(approval: str, *, yes: bool, reason: str, as_json: bool) -> None:
    """Exits with what became of it."""
    from assistant import app
    from assistant.doors.render import console, print_json
    from assistant.doors.stopping import told
    from assistant.doors.talk import finish
    from assistant.ledger import later

    executor = app.executor(app.load())
    with told(as_json=as_json):
        run, done = (later.approve if yes else later.deny)(executor, approval, reason)
    if done:
        finish(run, done, as_json=as_json)
    text = f"approved; whoever asked submits it with `sask resume {run}`, so that the job is theirs"
    print_json({"run": run, "done": [], "text": text}) if as_json else console().print(text)
