"""Taking up what was left: finish it, find out what is unknown, do again only what certainly did not happen.

A call of which nothing was ever sent is done afresh (planned, previewed, approved). One that was begun goes on with
the very operations in the journal, and so does not grow by jobs that came since.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Row

from assistant.errors import RequestRefused
from assistant.ledger.approval import commands_of, digest_of
from assistant.ledger.carry import Place, Prepared, Stopped, finish, preview_of, with_key
from assistant.ledger.done import Done
from assistant.ledger.execute import Interrupted, LedgerExecutor, cluster_of
from assistant.ledger.journal import Entry
from assistant.ledger.policy import only_permitted
from assistant.ledger.reading import calls_of, entries_of, find_run, is_left
from assistant.ledger.reconcile import base_id, look_up
from assistant.ledger.redact import has_hidden
from tools.base import Blast, Call, Item, Outcome, Plan, ReadTool, ToolResult, WriteTool
from tools.slurm.backend import Backend
from tools.slurm.errors import SlurmError


def resume(executor: LedgerExecutor, run: str) -> tuple[str, tuple[Done, ...]]:
    """Finish a run: ``(its id, all its calls)``. Raises JournalError, RequestRefused, Interrupted."""
    journal, ctx = executor.ledger.journal, executor.ledger.context()
    row = find_run(journal, run)
    if row.user != ctx.caller.user and not ctx.caller.is_admin:
        raise RequestRefused(f"run {row.id} is of {row.user}", "only they or an operator of Slurm may resume it")
    check_cluster(row, ctx.backend)
    journal.claim(row.id)
    done: list[Done] = []
    try:
        rows = calls_of(journal, row.id)
        for call in rows:
            warned = any(isinstance(executor.tools.get(c.tool), ReadTool) for c in rows if c.seq < call.batch)
            done.append(_Rest(executor, call, done[call.batch - 1 :], warned).take_up())
    except KeyboardInterrupt as stop:
        done += [stop.done] if isinstance(stop, Stopped) else []
        raise Interrupted(row.id, tuple(done)) from None
    finally:
        journal.release(row.id)
    return row.id, tuple(done)


def check_cluster(run: Row[Any], backend: Backend) -> None:
    """Raises RequestRefused where the run was on another cluster than the one that answers here."""
    here = cluster_of(backend)
    if run.cluster and here and run.cluster != here:
        raise RequestRefused(f"run {run.id} was on cluster {run.cluster}, this is {here}", f"go to {run.cluster}")


def undo(executor: LedgerExecutor, run: str) -> tuple[str, tuple[Done, ...]]:
    """Cancel what a run submitted, as a run of its own, previewed and approved like any change."""
    row = find_run(executor.ledger.journal, run)
    entries = [e for of_call in entries_of(executor.ledger.journal, row.id).values() for e in of_call]
    submits = [e.item for e in entries if e.operation.verb == "submit" and e.item]
    jobs = [base_id(item.id) for item in submits if item.outcome is Outcome.OK]
    if not jobs:
        hint = f"`sask show {row.id}` names what it changed and how to change it back"
        raise RequestRefused(f"run {row.id} submitted no job, and only submissions can be undone", hint)
    calls = (Call("cancel_jobs", {"job_ids": list(dict.fromkeys(jobs))}),)
    return executor.run(f"undo {row.id}", calls)


@dataclass(frozen=True)
class _Rest:
    """One call of a run that is taken up again; ``earlier`` are the calls before it of the same Action, ``warned``
    says that the Action was decided after reading the cluster's data."""

    executor: LedgerExecutor
    row: Row[Any]
    earlier: Sequence[Done]
    warned: bool = False

    def take_up(self) -> Done:
        entries = entries_of(self.executor.ledger.journal, self.row.run).get(self.row.seq, [])
        call = Call(self.row.tool, self.row.arguments)
        if self.row.state == "done" and not any(map(is_left, entries)):
            return self._as_it_was(call, entries)
        place = Place(self.row.run, self.row.seq, self.warned)
        if any(entry.intended for entry in entries):
            return self._go_on(call, place, entries)
        if has_hidden(call.arguments):
            return self._cannot(call, place, entries)
        self.executor.ledger.journal.forget(place.run, place.seq)
        return self.executor.next(call, place, self.earlier)

    def _as_it_was(self, call: Call, entries: Sequence[Entry]) -> Done:
        items = tuple(entry.item for entry in entries if entry.item)
        return Done(call, ToolResult(self.row.status, items, self.row.data, tuple(self.row.commands)))

    def _cannot(self, call: Call, place: Place, entries: Sequence[Entry]) -> Done:
        """The journal keeps no secrets, so that what had one in it cannot be said again."""
        journal = self.executor.ledger.journal
        journal.forget(place.run, place.seq)
        text = "it carried a secret, which the journal does not keep: ask for it again"
        return self.executor.skip(call, place, Item("", Outcome.SKIPPED, text, "secret_not_kept"))

    def _go_on(self, call: Call, place: Place, entries: Sequence[Entry]) -> Done:
        """Look up what may have happened, then do what is left."""
        ledger = self.executor.ledger
        tool = self.executor.tools[call.tool]
        assert isinstance(tool, WriteTool)
        todo: list[Entry] = []
        for entry in filter(is_left, entries):
            item = self._looked_up(entry)
            if item is None and has_hidden(entry.operation.fields):
                text = "not done: it carried a secret, which the journal does not keep; ask for it again"
                item = Item(entry.operation.target or entry.key, Outcome.SKIPPED, text, "secret_not_kept")
            if item is None:
                ledger.journal.reopen(entry)
                todo.append(with_key(replace(entry, state="planned", item=None)))
            elif item != entry.item:
                ledger.journal.settle(entry, item)
        return self._finish(tool, call, place, todo)

    def _looked_up(self, entry: Entry) -> Item | None:
        """The outcome, or None when the operation may be done (again)."""
        ledger = self.executor.ledger
        unsent = entry.state == "planned" or (entry.item and entry.item.outcome is not Outcome.UNKNOWN)
        if unsent:
            return None
        ctx = ledger.context()
        try:
            item = look_up(ctx.backend, entry, ledger.retry, ctx.caller.user, ledger.journal.clock())
        except SlurmError as error:
            name = entry.operation.target or entry.key
            return Item(name, Outcome.UNKNOWN, f"Slurm cannot be asked: {error.message}", "outcome_unknown", True)
        found = item.outcome.value if item else "not done"
        ledger.journal.event(entry.run, "looked_up", entry.seq, key=entry.key, found=found)
        return item

    def _finish(self, tool: WriteTool, call: Call, place: Place, todo: Sequence[Entry]) -> Done:
        ledger = self.executor.ledger
        ctx = ledger.context()
        jobs = len({entry.operation.target for entry in todo})
        note = f"what run {place.run} left over"
        whole = Plan(tuple(entry.operation for entry in todo), Blast(jobs), notes=(note,))
        plan, refused = only_permitted(whole, ctx.caller, ctx.backend)
        denied = {item.id: item for item in refused}
        for entry in todo:
            if item := denied.get(entry.operation.target):
                ledger.journal.settle(entry, item)
        entries = tuple(entry for entry in todo if entry.operation.target not in denied)
        preview = preview_of(ledger, call, plan, ctx, place)
        return finish(ledger, Prepared(tool, call, place, entries, plan, preview), lambda: self._again(call, plan))

    def _again(self, call: Call, plan: Plan) -> str:
        """The operations stand fixed in the journal: what they are approved for cannot change under them."""
        return digest_of(call, plan, commands_of(self.executor.ledger.context().backend, plan.operations))
