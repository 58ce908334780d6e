"""Approvals from another door: the open questions in the journal, and a yes or a no to one of them.

A yes is worth what the preview showed: the call is planned anew, and carried out only where the same digest results.
Whoever says yes needs the right to it in Slurm, and under dual control is another person than the one who asked.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import Row, select

from assistant.errors import JournalError, RequestRefused
from assistant.ledger.approval import AskLater, Preview
from assistant.ledger.carry import Place
from assistant.ledger.done import Done
from assistant.ledger.execute import LedgerExecutor
from assistant.ledger.journal import Journal
from assistant.ledger.policy import may_approve, needs_two
from assistant.ledger.reading import calls_of, entries_of, find_run, iso
from assistant.ledger.redact import has_hidden
from assistant.ledger.resume import check_cluster, resume
from assistant.ledger.schema import approvals, runs
from tools.base import Blast, Call, Caller, Item, Outcome, ToolContext, ToolResult, status_of

Answered = tuple[str, tuple[Done, ...]]
_WITHDRAWN = "withdrawn: asked anew with other arguments"


def pending(journal: Journal) -> list[dict[str, Any]]:
    """Oldest first: ``{"id", "run", "call", "asked_by", "request", "cluster", "digest", "created", "expires",
    "preview"}``; what has expired is closed first."""
    journal.expire()
    what = (approvals, runs.c.user.label("asked_by"), runs.c.request, runs.c.cluster)
    query = select(*what).join(runs, runs.c.id == approvals.c.run).where(approvals.c.state == "pending")
    with journal.store.transaction() as db:
        rows = db.execute(query.order_by(approvals.c.created, approvals.c.id)).all()
    return [_view(row) for row in rows]


def _view(row: Row[Any]) -> dict[str, Any]:
    who = {"asked_by": row.asked_by, "request": row.request, "cluster": row.cluster}
    when = {"created": iso(row.created), "expires": iso(row.expires)}
    return {"id": row.id, "run": row.run, "call": row.seq, **who, "digest": row.digest, **when, "preview": row.preview}


def preview_from(kept: dict[str, Any]) -> Preview:
    """The preview as it was shown, from what the journal keeps of it."""
    return Preview(**{**kept, "blast": Blast(**kept["blast"])})


def find_approval(journal: Journal, approval: str) -> Row[Any]:
    """The approval with this id, or the only one whose id begins so. Raises JournalError."""
    journal.expire()
    query = select(approvals).where(approvals.c.id.startswith(approval, autoescape=True)).limit(2)
    with journal.store.transaction() as db:
        rows = db.execute(query).all() if approval else []
    if len(rows) != 1:
        what = "several approvals begin with" if rows else "no approval"
        raise JournalError(f"{what} {approval!r} in the journal {journal.where}", "`sask approvals` lists them")
    return rows[0]


def approve(executor: LedgerExecutor, approval: str, reason: str = "") -> Answered:
    """Say yes, then carry it out: the run's id and its calls.

    No calls come back where only the yes was recorded: a job must be submitted by the one whose it will be, with
    ``sask resume``. Raises JournalError, RequestRefused, Interrupted.
    """
    ledger, ctx = executor.ledger, executor.ledger.context()
    row, run = _open(executor, approval, ctx)
    _may_say_yes(executor, row, run, ctx.caller)
    _answer(ledger.journal, row, approved=True, by=ctx.caller.user, reason=reason)
    own = run.user == ctx.caller.user
    left = [call.tool for call in calls_of(ledger.journal, run.id) if call.status != "ok"]
    if not own and "submit_job" in left:
        return run.id, ()
    acting = replace(ledger, approver=AskLater(), context=ledger.context if own else lambda: _as(ledger.context(), run))
    return resume(replace(executor, ledger=acting), run.id)


def deny(executor: LedgerExecutor, approval: str, reason: str = "") -> Answered:
    """Say no: the call's items are denied, and nothing of it is taken up any more. Raises as ``approve`` does."""
    ctx, journal = executor.ledger.context(), executor.ledger.journal
    row, run = _open(executor, approval, ctx)
    if not ctx.caller.is_admin and ctx.caller.user != run.user:
        raise RequestRefused(f"{ctx.caller.user} may not deny what {run.user} asked for", "an operator of Slurm may")
    journal.claim(run.id)
    try:
        _answer(journal, row, approved=False, by=ctx.caller.user, reason=reason)
        return run.id, (
            _denied(journal, row, f"not approved by {ctx.caller.user}" + (f": {reason}" if reason else "")),
        )
    finally:
        journal.release(run.id)


def editable(executor: LedgerExecutor, approval: str) -> Row[Any]:
    """The open question, for somebody who may ask it otherwise. Raises JournalError, RequestRefused, SlurmError.

    Whoever edits asks for it: a job stays its owner's to submit, and an operator's edit is the operator's request.
    """
    caller = executor.ledger.context().caller
    row, run = _open(executor, approval, executor.ledger.context())
    own, tool = run.user == caller.user, row.preview["tool"]
    if not own and not may_approve(caller, run.user, row.preview["blast"]["users"]):
        raise RequestRefused(f"{caller.user} may not edit what {run.user} asked for", "an operator of Slurm may")
    if not own and tool == "submit_job":
        raise RequestRefused(f"the job would be {run.user}'s, so only {run.user} may edit it", "approve or deny it")
    if has_hidden(row.preview["arguments"]):
        raise RequestRefused("a secret was taken out of it, so it cannot be edited", "deny it and ask anew")
    if any(entry.intended for entry in entries_of(executor.ledger.journal, run.id).get(row.seq, [])):
        raise RequestRefused("a part of it was carried out already", f"`sask show {run.id}` says which")
    return row


def amend(executor: LedgerExecutor, approval: str, arguments: dict[str, Any]) -> Answered:
    """Withdraw the question and ask it anew with other arguments: the run it is in now, and the call.

    The new plan is made first, so that what cannot be done leaves the old question as it is. Raises as ``editable``.
    """
    row, ledger = editable(executor, approval), executor.ledger
    journal, user = ledger.journal, ledger.context().caller.user
    call, run = Call(row.preview["tool"], arguments), find_run(journal, row.run)
    _check_plan(executor, call)
    if run.user != user:
        deny(executor, row.id, _WITHDRAWN)
        return executor.run(run.request, (call,))
    journal.claim(run.id)
    try:
        _answer(journal, row, approved=False, by=user, reason=_WITHDRAWN)
        journal.amend(run.id, row.seq, arguments)
        return run.id, (executor.carry(call, Place(run.id, row.seq)),)
    finally:
        journal.release(run.id)


def _check_plan(executor: LedgerExecutor, call: Call) -> None:
    """Raises RequestRefused where nothing would come of the call, with what speaks against it."""
    _, (done,) = replace(executor, dry_run=True).run("", (call,))
    if not any(item.code == "dry_run" for item in done.result.items):
        why = "; ".join(dict.fromkeys(item.message for item in done.result.items if item.message))
        raise RequestRefused(why or "nothing would be done", "what was asked before still waits for its yes")


def _denied(journal: Journal, row: Row[Any], why: str) -> Done:
    call = next(call for call in calls_of(journal, row.run) if call.seq == row.seq)
    for entry in entries_of(journal, row.run).get(row.seq, []):
        if entry.item and entry.item.code == "awaiting_approval":
            journal.settle(entry, Item(entry.item.id, Outcome.DENIED, why, "denied"))
    items = tuple(e.item for e in entries_of(journal, row.run).get(row.seq, []) if e.item)
    result = ToolResult(status_of(items), items)
    journal.close_call(row.run, row.seq, result)
    return Done(Call(call.tool, call.arguments), result)


def _open(executor: LedgerExecutor, approval: str, ctx: ToolContext) -> tuple[Row[Any], Row[Any]]:
    """The approval that can still be decided, and its run. Raises RequestRefused where it is closed already."""
    journal = executor.ledger.journal
    row = find_approval(journal, approval)
    run = find_run(journal, row.run)
    if row.state != "pending":
        by = f" by {row.approver}" if row.approver else ""
        hint = "`sask approvals` lists what is open"
        if row.state == "expired":
            hint = f"`sask resume {row.run} --later` asks anew"
        raise RequestRefused(f"approval {row.id} is {row.state}{by}, it is no longer open", hint)
    check_cluster(run, ctx.backend)
    return row, run


def _may_say_yes(executor: LedgerExecutor, row: Row[Any], run: Row[Any], caller: Caller) -> None:
    tool, policy = row.preview["tool"], executor.ledger.policy
    if (row.preview.get("two_people") or needs_two(policy, tool)) and caller.user == run.user:
        text = f"{tool} needs a second person here: {run.user} asked for it and may not approve it alone"
        raise RequestRefused(text, "another operator of Slurm may")
    if not may_approve(caller, run.user, row.preview["blast"]["users"]):
        raise RequestRefused(
            f"{caller.user} may not approve what {run.user} asked for", "an operator of Slurm may, with `sask approve`"
        )


def _answer(journal: Journal, row: Row[Any], *, approved: bool, by: str, reason: str) -> None:
    if not journal.decide(row.id, approved, by, reason):
        raise RequestRefused(f"approval {row.id} was decided or expired just now", f"`sask show {row.run}` says how")


def _as(ctx: ToolContext, run: Row[Any]) -> ToolContext:
    """The context of the one who asked, with the rights that Slurm gives them now: "me" stays the same person, and
    nothing is planned that they may not do. Slurm itself still judges by the one who carries it out."""
    level, accounts = ctx.backend.admin_level(run.user), ctx.backend.coordinated_accounts(run.user)
    return replace(ctx, caller=Caller(run.user, level, accounts))
