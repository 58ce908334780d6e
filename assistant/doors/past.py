"""``sask runs | show | export | resume | undo``: the journal from a terminal."""

from __future__ import annotations

from typing import Any

from assistant.doors.render import console, print_json, show_data
from tools.base import Outcome


def runs(limit: int, *, as_json: bool) -> None:
    from assistant import app
    from assistant.ledger.journal import Journal
    from assistant.ledger.reading import list_runs

    rows = list_runs(Journal(app.load().journal), limit)
    if as_json:
        print_json(rows)
    elif rows:
        keys = ("run", "created", "status", "left", "tools", "request")
        show_data({"runs": [{key: _short(row[key]) for key in keys} for row in rows]}, console(), indent="")
    else:
        console().print("no runs yet")


def _short(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else text[:59] + "…"


def show(run: str, *, as_json: bool) -> None:
    from assistant import app
    from assistant.ledger import reading
    from assistant.ledger.journal import Journal

    document = _with_undo(reading.show(Journal(app.load().journal), run))
    if as_json:
        print_json(document)
    else:
        show_data(document, console(), indent="")


def export(run: str) -> None:
    from assistant import app
    from assistant.ledger import reading
    from assistant.ledger.journal import Journal

    print_json(_with_undo(reading.export(Journal(app.load().journal), run)))


def _with_undo(document: dict[str, Any]) -> dict[str, Any]:
    """The journal keeps the undo that the preview showed; by now a submission has its id."""
    from tools.submit import SubmitJob, undo_of

    for call in document["calls"]:
        made = [item["id"] for item in call["items"] if item["outcome"] == Outcome.OK]
        if call["tool"] == SubmitJob.name and made and call["plan"]:
            call["plan"] = {**call["plan"], "undo": [undo_of(job_id) for job_id in made]}
    return document


def take_up(what: str, run: str, *, yes: bool, later: bool, as_json: bool) -> None:
    """``resume`` or ``undo``; exits with what became of it."""
    from assistant import app
    from assistant.doors.stopping import told
    from assistant.doors.talk import approver, finish
    from assistant.ledger import resume

    executor = app.executor(app.load(), approver(yes, later))
    with told(as_json=as_json):
        the_run, done = (resume.resume if what == "resume" else resume.undo)(executor, run)
    finish(the_run, done, as_json=as_json)
