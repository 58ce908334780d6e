"""``sask runs | show | export | resume | undo``: the journal from a terminal."""

from __future__ import annotations

from assistant.doors.render import console, print_json, show_data


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

    document = reading.show(Journal(app.load().journal), run)
    if as_json:
        print_json(document)
    else:
        show_data(document, console(), indent="")


def export(run: str) -> None:
    from assistant import app
    from assistant.ledger import reading
    from assistant.ledger.journal import Journal

    print_json(reading.export(Journal(app.load().journal), run))


def take_up(what: str, run: str, *, yes: bool, as_json: bool) -> None:
    """``resume`` or ``undo``; exits with what became of it."""
    from assistant import app
    from assistant.doors.talk import approver, finish
    from assistant.ledger import resume

    executor = app.executor(app.load(), approver(yes))
    the_run, done = (resume.resume if what == "resume" else resume.undo)(executor, run)
    finish(the_run, done, as_json=as_json)
