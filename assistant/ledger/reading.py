"""Reading the journal back: the list of runs, one run as a whole, and a transcript that an evaluation can replay."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, Table, select

from assistant.errors import JournalError
from assistant.ledger.journal import Entry, Journal
from assistant.ledger.schema import approvals, calls, events, items, runs
from tools.base import Item, Outcome, status_of
from tools.slurm.backend import Operation

LEFT_CODES = frozenset(
    {"interrupted", "earlier_failed", "awaiting_approval", "world_changed", "approval_expired", "not_tried"}
)
"""Codes of outcomes that only say "not yet": `sask resume` takes them up again."""


def list_runs(journal: Journal, limit: int = 20) -> list[dict[str, Any]]:
    """Newest first: ``{"run", "request", "user", "cluster", "created", "status", "left", "tools", "submitted"}``.

    ``left`` counts what ``sask resume`` would take up, ``submitted`` are the jobs that ``sask undo`` would cancel.
    """
    with journal.store.transaction() as db:
        rows = db.execute(select(runs).order_by(runs.c.created.desc(), runs.c.id).limit(limit)).all()
        return [_summary(db, row) for row in rows]


def show(journal: Journal, run: str) -> dict[str, Any]:
    """Everything of one run, in order; raises JournalError when there is no such run (or several begin so)."""
    with journal.store.transaction() as db:
        row = find(db, run, journal.where)
        return {
            **_summary(db, row),
            "calls": [_call(db, call) for call in _of(db, calls, row.id, calls.c.seq)],
            "approvals": [_approval(a) for a in _of(db, approvals, row.id, approvals.c.created)],
            "events": [_event(e) for e in _of(db, events, row.id, events.c.id)],
        }


def export(journal: Journal, run: str) -> dict[str, Any]:
    """A transcript: the request, who asked and when, each call with its result, and it as an evaluation case."""
    whole = show(journal, run)
    made = [{"tool": call["tool"], "arguments": call["arguments"]} for call in whole["calls"]]
    case = {
        "id": f"run-{whole['run']}",
        "category": "recorded",
        "request": whole["request"],
        "context": {"user": whole["user"], "now": whole["created"]},
        "expect": {"tools": made},
    }
    return {"format": "slurm-assistant transcript", "version": 1, **whole, "case": case}


def entries_of(journal: Journal, run: str) -> dict[int, list[Entry]]:
    """The operations of a run by call, each with its outcome where it has one."""
    with journal.store.transaction() as db:
        by_call: dict[int, list[Entry]] = {}
        for row in _of(db, items, run, items.c.n):
            operation = Operation(row.verb, row.target, row.fields)
            item = _item(row) if row.state == "done" else None
            entry = Entry(run, row.seq, row.n, row.key, operation, row.state, item, row.intended)
            by_call.setdefault(row.seq, []).append(entry)
        return by_call


def calls_of(journal: Journal, run: str) -> Sequence[Row[Any]]:
    with journal.store.transaction() as db:
        return _of(db, calls, run, calls.c.seq)


def find_run(journal: Journal, run: str) -> Row[Any]:
    """The run with this id, or the only one whose id begins so; ``last`` is the newest. Raises JournalError."""
    with journal.store.transaction() as db:
        return find(db, run, journal.where)


def find(db: Connection, run: str, where: str) -> Row[Any]:
    query = select(runs).order_by(runs.c.created.desc())
    if run != "last":
        query = query.where(runs.c.id.startswith(run, autoescape=True))
    rows = db.execute(query.limit(1 if run == "last" else 2)).all() if run else []
    if len(rows) != 1:
        what = "several runs begin with" if rows else "no run"
        raise JournalError(f"{what} {run!r} in the journal {where}", "`sask runs` lists them")
    return rows[0]


def is_left(entry: Entry) -> bool:
    """Whether there is something to do or to find out about this operation."""
    item = entry.item
    if item is None or item.outcome is Outcome.UNKNOWN:
        return True
    return (item.outcome is Outcome.FAILED and item.transient) or (item.code or "") in LEFT_CODES


def _of(db: Connection, table: Table, run: str, order: Any) -> Sequence[Row[Any]]:
    return db.execute(select(table).where(table.c.run == run).order_by(order)).all()


def _item(row: Row[Any]) -> Item:
    return Item(row.id, Outcome(row.outcome), row.message, row.code, row.transient)


def _summary(db: Connection, row: Row[Any]) -> dict[str, Any]:
    its_calls = _of(db, calls, row.id, calls.c.seq)
    its_items = _of(db, items, row.id, items.c.n)
    begun = {item.seq for item in its_items}
    left = sum(map(_row_left, its_items)) + sum(c.state != "done" and c.seq not in begun for c in its_calls)
    settled = [_item(item) for item in its_items if item.state == "done"]
    return {
        "run": row.id,
        "request": row.request,
        "user": row.user,
        "cluster": row.cluster,
        "created": iso(row.created),
        "status": "open" if any(c.state != "done" for c in its_calls) else status_of(settled),
        "left": left,
        "tools": [call.tool for call in its_calls],
        "submitted": [i.id for i in its_items if i.verb == "submit" and i.outcome == Outcome.OK],
    }


def _row_left(row: Row[Any]) -> bool:
    item = _item(row) if row.state == "done" else None
    return is_left(Entry(row.run, row.seq, row.n, row.key, Operation("cancel"), row.state, item))


def _call(db: Connection, row: Row[Any]) -> dict[str, Any]:
    its = db.execute(select(items).where(items.c.run == row.run, items.c.seq == row.seq).order_by(items.c.n)).all()
    return {
        "tool": row.tool,
        "arguments": row.arguments,
        "state": row.state,
        "status": row.status,
        "plan": row.plan,
        "data": row.data,
        "commands": row.commands,
        "started": iso(row.started),
        "ended": iso(row.ended),
        "items": [_item_view(item) for item in its],
    }


def _item_view(row: Row[Any]) -> dict[str, Any]:
    view = {"id": row.id, "outcome": row.outcome or row.state, "message": row.message, "code": row.code}
    times = {"intended": iso(row.intended), "settled": iso(row.settled)}
    return {**view, "transient": row.transient, "key": row.key, "verb": row.verb, "target": row.target, **times}


def _approval(row: Row[Any]) -> dict[str, Any]:
    view = {"id": row.id, "call": row.seq, "state": row.state, "approver": row.approver, "reason": row.reason}
    return {**view, "digest": row.digest, "created": iso(row.created), "expires": iso(row.expires)}


def _event(row: Row[Any]) -> dict[str, Any]:
    return {"at": iso(row.at), "call": row.seq, "kind": row.kind, "detail": row.detail}


def iso(seconds: float | None) -> str | None:
    """UTC, to the second; None stays None."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
