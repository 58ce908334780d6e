"""One change from its plan to its outcomes: policy, preview, approval, intent, performance, reconciliation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from assistant.ledger.approval import Approver, Decision, Preview, commands_of, digest_of
from assistant.ledger.done import Done
from assistant.ledger.journal import Entry, Journal
from assistant.ledger.policy import Policy, must_ask, needs_two, only_permitted
from assistant.ledger.reading import entries_of
from assistant.ledger.reconcile import reconcile
from assistant.ledger.redact import redact, redacted
from assistant.ledger.retry import Retry
from tools.base import Call, Item, Outcome, Plan, ToolContext, ToolResult, WriteTool, status_of
from tools.slurm.backend import Operation
from tools.slurm.errors import OutcomeUnknown, SlurmError, SlurmUnreachable

Progress = Callable[[Call, Item, int, int], None]
"""Called after each operation: the call, its item, how many are done, how many there are."""


def no_progress(call: Call, item: Item, done: int, total: int) -> None:
    """Nobody watches."""


@dataclass(frozen=True)
class Ledger:
    """What carrying out needs; ``context`` gives the cluster, the caller and the clock anew for each call.

    ``reads`` does so for tools that only read, where answers may be shared; a change is planned, previewed and looked
    up with ``context`` alone.
    """

    context: Callable[[], ToolContext]
    journal: Journal
    approver: Approver
    policy: Policy = field(default_factory=Policy)
    retry: Retry = field(default_factory=Retry)
    progress: Progress = no_progress
    reads: Callable[[], ToolContext] | None = None

    def looking(self) -> ToolContext:
        return (self.reads or self.context)()


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the journal a call stands; ``after_reading`` when it was decided after reading the cluster's data."""

    run: str
    seq: int
    after_reading: bool = False


class Stopped(KeyboardInterrupt):
    """Ctrl-C, once everything has its outcome in the journal; ``done`` is what the call came to."""

    def __init__(self, done: Done) -> None:
        super().__init__()
        self.done = done


def planned(ledger: Ledger, tool: WriteTool, call: Call, ctx: ToolContext) -> tuple[Plan, tuple[Item, ...]]:
    """The plan as far as the caller may carry it out, and the refusals. Raises SlurmError, ValidationError."""
    args = tool.Arguments.model_validate(call.arguments, context={"now": ctx.now})
    plan = ledger.retry.read(lambda: tool.plan(args, ctx))
    return ledger.retry.read(lambda: only_permitted(plan, ctx.caller, ctx.backend))


def write(ledger: Ledger, tool: WriteTool, call: Call, place: Place) -> Done:
    """Plan, preview, have approved, and perform one call of a write tool. Raises SlurmError (of the plan only)."""
    ctx = ledger.context()
    plan, refused = planned(ledger, tool, call, ctx)
    settled = (*plan.skipped, *refused)
    entries = ledger.journal.plan_items(place.run, place.seq, plan.operations, settled, plan_view(plan))
    entries = [with_key(entry) for entry in entries]
    plan = replace(plan, operations=tuple(entry.operation for entry in entries))

    def again() -> str:
        later = ledger.context()
        fresh, _ = planned(ledger, tool, call, later)
        keyed = [_keyed(o, e.key) for o, e in zip(fresh.operations, entries, strict=False)]
        fresh = replace(fresh, operations=(*keyed, *fresh.operations[len(keyed) :]))
        return digest_of(call, fresh, commands_of(later.backend, fresh.operations))

    preview = preview_of(ledger, call, plan, ctx, place)
    return finish(ledger, Prepared(tool, call, place, tuple(entries), plan, preview), again)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A change that is ready to be asked for: ``entries`` are the operations of ``plan`` in the journal."""

    tool: WriteTool
    call: Call
    place: Place
    entries: tuple[Entry, ...]
    plan: Plan
    preview: Preview


def finish(ledger: Ledger, change: Prepared, again: Callable[[], str]) -> Done:
    """Ask, perform, look at the result. ``again`` gives the digest of the same plan made anew."""
    call, place, journal = change.call, change.place, ledger.journal
    ran: list[str] = []
    stopped = False
    try:
        if refusal := ask(ledger, place, change.preview, again) if change.entries else None:
            settle_all(ledger, change.entries, refusal)
        else:
            perform_all(ledger, call, change.entries, ran)
    except KeyboardInterrupt:
        stopped = True
        _cut_short(ledger, place)
    items = tuple(entry.item for entry in entries_of(journal, place.run).get(place.seq, []) if entry.item)
    data = {} if stopped else _after(ledger, change.tool, call, items)
    result = ToolResult(status_of(items), items, redacted(data), tuple(map(redact, ran)))
    journal.close_call(place.run, place.seq, result)
    done = Done(call, result, change.plan, change.preview.commands)
    if stopped:
        raise Stopped(done)
    return done


def preview_of(ledger: Ledger, call: Call, plan: Plan, ctx: ToolContext, place: Place) -> Preview:
    """What a person is shown: secrets are out of it, but the digest is over the whole."""
    commands = commands_of(ctx.backend, plan.operations)
    return Preview(
        call.tool,
        redacted(call.arguments),
        tuple(map(redact, commands)),
        plan.blast,
        tuple(map(redact, plan.notes)),
        tuple(map(redact, plan.undo)),
        digest_of(call, plan, commands),
        must_ask(ledger.policy, plan.blast, ctx.caller, place.after_reading),
        redacted(plan.before),
        place.run,
        ctx.caller.user,
        needs_two(ledger.policy, call.tool),
    )


def ask(ledger: Ledger, place: Place, preview: Preview, again: Callable[[], str]) -> Item | None:
    """None when an approval was given and spent on this very change, else why not, as an item without an id."""
    journal, digest = ledger.journal, preview.digest
    void = False
    for given in journal.approved(place.run, place.seq):
        alone = preview.two_people and journal.approver_of(given) == preview.user
        if not alone and journal.use(given, digest):
            return None
        void = journal.void(given) or void
        journal.event(place.run, "approval_void", place.seq, approval=given)
    approval = journal.ask(place.run, place.seq, digest, asdict(preview), ledger.policy.approval_minutes)
    decision = Decision(False, later=True) if preview.two_people else ledger.approver.decide(preview)
    if decision.later:
        return Item("", Outcome.SKIPPED, _waits(approval, preview, void=void), "awaiting_approval")
    if not journal.decide(approval, decision.approved, decision.approver, decision.reason):
        return Item("", Outcome.DENIED, "the approval came too late; ask again", "approval_expired")
    if not decision.approved:
        return Item("", Outcome.DENIED, _denial(decision), "denied")
    if decision.attended and (changed := _changed(digest, again)):
        journal.event(place.run, "world_changed", place.seq, approval=approval, found=changed)
        text = f"not done: the cluster has changed since the preview ({changed}); `sask resume {place.run}` asks anew"
        return Item("", Outcome.DENIED, text, "world_changed")
    if not journal.use(approval, digest):
        return Item("", Outcome.DENIED, "the approval has expired; ask again", "approval_expired")
    return None


def _waits(approval: str, preview: Preview, *, void: bool) -> str:
    anew = "the cluster has changed since it was approved, so it is asked anew: " if void else ""
    other = f" by another operator than {preview.user}" if preview.two_people else ""
    return f"{anew}not done yet, it waits for `sask approve {approval}`{other} (or `sask deny {approval}`)"


def _denial(decision: Decision) -> str:
    by = f" by {decision.approver}" if decision.approver else ""
    return f"not approved{by}" + (f": {decision.reason}" if decision.reason else "")


def _changed(digest: str, again: Callable[[], str]) -> str:
    try:
        return "" if again() == digest else "another plan results now"
    except SlurmError as error:
        return error.message


def perform_all(ledger: Ledger, call: Call, entries: Sequence[Entry], ran: list[str]) -> None:
    """Each operation in order, its intent in the journal before and its outcome after. Once Slurm is out of reach
    the rest is left for ``sask resume``. What ran is added to ``ran``."""
    backend = ledger.context().backend
    for number, entry in enumerate(entries, 1):
        ledger.journal.intend(entry)
        before = len(backend.commands())
        item, in_reach = perform(ledger, entry)
        ran += backend.commands()[before:]
        ledger.journal.settle(entry, item)
        ledger.progress(call, clean(item), number, len(entries))
        if not in_reach:
            why = Item("", Outcome.SKIPPED, "not tried: Slurm is out of reach", "not_tried")
            return settle_all(ledger, entries[number:], why)


def perform(ledger: Ledger, entry: Entry) -> tuple[Item, bool]:
    """One operation to its outcome, and whether Slurm is within reach; a lost answer is looked up, never resent."""
    backend = ledger.context().backend
    operation = entry.operation
    name = operation.target or entry.key
    try:
        receipt = ledger.retry.write(lambda: backend.perform(operation))
    except OutcomeUnknown:
        return reconcile(backend, entry, ledger.retry), True
    except SlurmError as error:
        return failed(error, name), not isinstance(error, SlurmUnreachable)
    return Item(receipt.id or name, Outcome.OK, receipt.message), True


def failed(error: SlurmError, name: str) -> Item:
    """An error as an outcome, with the valid names where it has some."""
    valid = f" (valid: {', '.join(error.valid[:30])})" if error.valid and error.valid[0] not in error.message else ""
    return Item(name, Outcome.FAILED, f"{error.message}{valid}", error.code, error.transient)


def settle_all(ledger: Ledger, entries: Sequence[Entry], why: Item) -> None:
    """The same outcome for operations that were not performed."""
    for entry in entries:
        ledger.journal.settle(entry, replace(why, id=entry.operation.target or entry.key))


def _cut_short(ledger: Ledger, place: Place) -> None:
    """After Ctrl-C: what was sent and not answered is unknown, what was not sent is left."""
    for entry in entries_of(ledger.journal, place.run).get(place.seq, []):
        if entry.item is None:
            ledger.journal.settle(entry, _cut_off(entry))
    ledger.journal.event(place.run, "interrupted", place.seq)


def _cut_off(entry: Entry) -> Item:
    name = entry.operation.target or entry.key
    if entry.state == "started":
        text = f"interrupted while it was under way; `sask resume {entry.run}` looks what became of it"
        return Item(name, Outcome.UNKNOWN, text, "outcome_unknown", True)
    return Item(name, Outcome.SKIPPED, f"interrupted; `sask resume {entry.run}` goes on", "interrupted")


def _after(ledger: Ledger, tool: WriteTool, call: Call, items: tuple[Item, ...]) -> dict[str, Any]:
    """Slurm's own view of the result; it may fail without taking anything back."""
    if items and not any(item.outcome is Outcome.OK for item in items):
        return {}
    ctx = ledger.context()
    args = tool.Arguments.model_validate(call.arguments, context={"now": ctx.now})
    try:
        return ledger.retry.read(lambda: tool.after(args, ctx, items))
    except SlurmError as error:
        return {"not_verified": error.message}


def plan_view(plan: Plan) -> dict[str, Any]:
    """What the journal keeps of a plan beside its operations."""
    return {"blast": asdict(plan.blast), "before": plan.before, "notes": list(plan.notes), "undo": list(plan.undo)}


def with_key(entry: Entry) -> Entry:
    """The key travels with a submission, in the job's comment."""
    return replace(entry, operation=_keyed(entry.operation, entry.key))


def _keyed(operation: Operation, key: str) -> Operation:
    if operation.verb != "submit":
        return operation
    comment = " ".join(filter(None, [operation.fields.get("comment"), key]))
    return replace(operation, fields={**operation.fields, "comment": comment})


def clean(item: Item) -> Item:
    """An item without secrets, for a screen or a model; the journal keeps it so anyway."""
    return replace(item, id=redact(item.id), message=redact(item.message))
