"""The journal: what was asked, what was meant to be done, and what became of it, written before and after each step.

One run is one request. Its calls hold items (operations with an idempotency key and an outcome), and beside them
stand approvals and events. All text goes through the redactor. Every method raises JournalError.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from assistant.errors import JournalError
from assistant.ledger import process
from assistant.ledger.redact import redact, redacted
from assistant.ledger.schema import approvals, calls, events, items, runs
from assistant.ledger.store import Store
from tools.base import Call, Caller, Item, ToolResult
from tools.slurm.backend import Operation

LEASE_SECONDS = 900
"""After this long without a write, a run that a process of another host holds counts as abandoned."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An operation in the journal: its place, its key, and what is known of it."""

    run: str
    seq: int
    n: int
    key: str
    operation: Operation
    state: str = "planned"
    item: Item | None = None
    intended: float | None = None


class Journal:
    """``url``: any SQLAlchemy URL; empty is SQLite under the user's state directory."""

    def __init__(self, url: str = "", clock: Callable[[], float] = time.time) -> None:
        self.store = Store(url)
        self.clock = clock
        self._token = secrets.token_hex(3)

    @property
    def _owner(self) -> str:
        return process.identity(self._token)

    @property
    def where(self) -> str:
        return self.store.where

    def close(self) -> None:
        self.store.close()

    # ---- runs and calls

    def begin(
        self, request: str, caller: Caller, cluster: str, wanted: Sequence[Call], run: str = ""
    ) -> tuple[str, int]:
        """A new run (or more calls of ``run``), claimed by this process: its id and the seq of the first call."""
        now = self.clock()
        with self.store.transaction() as db:
            if not run:
                run = secrets.token_hex(5)
                person = {"user": caller.user, "level": caller.level, "cluster": cluster}
                db.execute(insert(runs).values(id=run, request=redact(request), created=now, **person))
            self._claim(db, run)
            last = db.execute(select(func.max(calls.c.seq)).where(calls.c.run == run)).scalar()
            first = (last or 0) + 1
            for seq, call in enumerate(wanted, first):
                row = {"tool": redact(call.tool)[:100], "arguments": redacted(call.arguments), "state": "waiting"}
                empty: dict[str, Any] = {"data": {}, "commands": [], "plan": {}}
                db.execute(insert(calls).values(run=run, seq=seq, batch=first, **row, **empty))
        return run, first

    def claim(self, run: str) -> None:
        """Take a run for this process. Raises JournalError where another living process has it."""
        with self.store.transaction() as db:
            self._claim(db, run)

    def release(self, run: str) -> None:
        with self.store.transaction() as db:
            db.execute(update(runs).where(runs.c.id == run, runs.c.owner == self._owner).values(owner=""))

    def _claim(self, db: Connection, run: str) -> None:
        row = db.execute(select(runs).where(runs.c.id == run)).one_or_none()
        if row is None:
            raise JournalError(f"no run {run} in the journal {self.where}", "`sask runs` lists them")
        now = self.clock()
        stale = process.is_gone(row.owner) or (now - row.claimed > LEASE_SECONDS and process.is_elsewhere(row.owner))
        if row.owner not in ("", self._owner) and not stale:
            raise JournalError(f"run {run} is in the hands of {row.owner}", "wait until it ends, or end that process")
        mine = update(runs).where(runs.c.id == run, runs.c.owner == row.owner)
        if db.execute(mine.values(owner=self._owner, claimed=now)).rowcount != 1:
            raise JournalError(f"run {run} was taken by another process just now", "wait until it ends")

    def open_call(self, run: str, seq: int) -> None:
        self._call(run, seq, state="open", started=self.clock())

    def close_call(self, run: str, seq: int, result: ToolResult) -> None:
        """The whole result of a call; items of operations keep the outcome that they have."""
        done = {"status": result.status, "data": redacted(result.data), "commands": redacted(result.commands)}
        self._call(run, seq, state="done", ended=self.clock(), **done)

    def _call(self, run: str, seq: int, **values: Any) -> None:
        with self.store.transaction() as db:
            db.execute(update(calls).where(calls.c.run == run, calls.c.seq == seq).values(**values))
            db.execute(update(runs).where(runs.c.id == run).values(claimed=self.clock()))

    # ---- items

    def plan_items(
        self, run: str, seq: int, operations: Sequence[Operation], settled: Sequence[Item], plan: dict[str, Any]
    ) -> list[Entry]:
        """Write what is meant to be done (state planned) and what needs nothing or was refused (state done)."""
        with self.store.transaction() as db:
            last = db.execute(select(func.max(items.c.n)).where(items.c.run == run, items.c.seq == seq)).scalar()
            start = (last or 0) + 1
            entries = [Entry(run, seq, n, f"sask:{run}.{seq}.{n}", op) for n, op in enumerate(operations, start)]
            for entry in entries:
                op = entry.operation
                what = {"verb": op.verb, "target": op.target, "fields": redacted(op.fields), "id": op.target}
                db.execute(insert(items).values(run=run, seq=seq, n=entry.n, key=entry.key, state="planned", **what))
            for n, item in enumerate(settled, start + len(entries)):
                nothing: dict[str, Any] = {"verb": "", "target": "", "fields": {}, "key": f"sask:{run}.{seq}.{n}"}
                db.execute(insert(items).values(run=run, seq=seq, n=n, state="done", **nothing, **self._outcome(item)))
            where = (calls.c.run == run, calls.c.seq == seq)
            db.execute(update(calls).where(*where).values(plan=redacted(plan), state="open", started=self.clock()))
        return entries

    def intend(self, entry: Entry) -> None:
        """Written before the first RPC of an operation: from now on it may have happened."""
        with self.store.transaction() as db:
            values = {"state": "started", "intended": self.clock()}
            mine = self._at(entry).where(items.c.state != "done")
            if db.execute(mine.values(**values)).rowcount != 1:
                raise JournalError(f"{entry.key} already has its outcome", f"`sask show {entry.run}`")

    def settle(self, entry: Entry, item: Item) -> None:
        """The outcome of one operation."""
        with self.store.transaction() as db:
            db.execute(self._at(entry).values(state="done", **self._outcome(item)))
            db.execute(update(runs).where(runs.c.id == entry.run).values(claimed=self.clock()))

    def forget(self, run: str, seq: int) -> None:
        """Drop the items of a call of which nothing was ever sent, so that it can be planned afresh."""
        with self.store.transaction() as db:
            mine = (items.c.run == run, items.c.seq == seq)
            if db.execute(select(func.count()).where(*mine, items.c.intended.is_not(None))).scalar():
                raise JournalError(f"call {seq} of run {run} was begun", f"`sask show {run}`")
            db.execute(delete(items).where(*mine))

    def amend(self, run: str, seq: int, arguments: dict[str, Any]) -> None:
        """Other arguments for a call of which nothing was ever sent; it is to be planned afresh."""
        self.forget(run, seq)
        self._call(run, seq, arguments=redacted(arguments))

    def reopen(self, entry: Entry) -> None:
        """An operation that is known not to have happened may be tried again, under the same key."""
        with self.store.transaction() as db:
            cleared = {"outcome": "", "message": "", "code": None, "transient": False, "settled": None}
            db.execute(self._at(entry).values(state="planned", id=entry.operation.target, **cleared))

    def _at(self, entry: Entry) -> Any:
        return update(items).where(items.c.run == entry.run, items.c.seq == entry.seq, items.c.n == entry.n)

    def _outcome(self, item: Item) -> dict[str, Any]:
        return {
            "id": redact(item.id),
            "outcome": item.outcome.value,
            "message": redact(item.message),
            "code": item.code,
            "transient": item.transient,
            "settled": self.clock(),
        }

    # ---- approvals

    def ask(self, run: str, seq: int, digest: str, preview: dict[str, Any], minutes: float) -> str:
        """A pending approval, bound to ``digest``; returns its id. An older question about the call is closed."""
        number, now = secrets.token_hex(6), self.clock()
        with self.store.transaction() as db:
            older = (approvals.c.run == run, approvals.c.seq == seq, approvals.c.state == "pending")
            db.execute(update(approvals).where(*older).values(state="expired"))
            row = {"digest": digest, "preview": redacted(preview), "state": "pending"}
            when = {"created": now, "expires": now + 60 * minutes}
            db.execute(insert(approvals).values(id=number, run=run, seq=seq, **row, **when))
        return number

    def decide(self, approval: str, approved: bool, approver: str, reason: str = "") -> bool:
        """Answer a pending approval, from whichever door; False when it is no longer open."""
        values = {"state": "approved" if approved else "denied", "approver": approver, "reason": redact(reason)}
        return self._move(approval, ("pending",), decided=self.clock(), **values)

    def use(self, approval: str, digest: str) -> bool:
        """Spend an approval, once and only for ``digest``; False when it is not good any more."""
        return self._move(approval, ("approved",), digest=digest, state="used", used=self.clock())

    def void(self, approval: str) -> bool:
        """Close an approval that was given for something else than what would be done now."""
        return self._move(approval, ("approved",), state="expired")

    def approved(self, run: str, seq: int) -> tuple[str, ...]:
        """Ids of approvals of a call that were given and not used yet."""
        with self.store.transaction() as db:
            where = (approvals.c.run == run, approvals.c.seq == seq, approvals.c.state == "approved")
            return tuple(db.execute(select(approvals.c.id).where(*where)).scalars())

    def approver_of(self, approval: str) -> str:
        with self.store.transaction() as db:
            return db.execute(select(approvals.c.approver).where(approvals.c.id == approval)).scalar() or ""

    def expire(self) -> None:
        """Close what nobody answered or used in time. A clock that went back closes it too: it fails closed."""
        now = self.clock()
        with self.store.transaction() as db:
            stale = (approvals.c.expires < now) | (approvals.c.created > now + 60)
            open_ = approvals.c.state.in_(("pending", "approved"))
            db.execute(update(approvals).where(open_, stale).values(state="expired"))

    def _move(self, approval: str, states: tuple[str, ...], digest: str = "", **values: Any) -> bool:
        self.expire()
        with self.store.transaction() as db:
            where = [approvals.c.id == approval, approvals.c.state.in_(states)]
            if digest:
                where.append(approvals.c.digest == digest)
            return db.execute(update(approvals).where(*where).values(**values)).rowcount == 1

    # ---- events

    def event(self, run: str, kind: str, seq: int = 0, **detail: Any) -> None:
        """Anything worth keeping that is no outcome: a retry, a reconciliation, an interruption."""
        with self.store.transaction() as db:
            db.execute(insert(events).values(run=run, seq=seq, at=self.clock(), kind=kind, detail=redacted(detail)))
