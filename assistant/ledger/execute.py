"""Carrying calls out in order, each with its outcome: the loop's way into the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pydantic import ValidationError

from assistant.ledger.approval import Preview, digest_of
from assistant.ledger.carry import Ledger, Place, Stopped, ask, clean, failed, planned, preview_of, write
from assistant.ledger.done import Done
from assistant.ledger.policy import must_ask, refuse
from assistant.ledger.reading import calls_of
from assistant.ledger.reconcile import base_id
from assistant.ledger.redact import redact, redacted
from assistant.ledger.refs import references, resolved
from tools import BY_NAME
from tools.base import Call, Effect, Item, Outcome, OutsideTool, Plan, ReadTool, Tool, ToolResult, WriteTool, status_of
from tools.slurm.backend import Backend
from tools.slurm.errors import PermissionRefused, SlurmError

DRY_RUN = "dry run: nothing was done"


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, once everything has its outcome in the journal."""

    def __init__(self, run: str, done: tuple[Done, ...]) -> None:
        super().__init__()
        self.run = run
        self.done = done


@dataclass
class LedgerExecutor:
    """``dry_run`` previews writes and performs none; it leaves no trace in the journal."""

    ledger: Ledger
    tools: Mapping[str, Tool] = field(default_factory=lambda: BY_NAME)
    dry_run: bool = False

    def run(self, request: str, calls: tuple[Call, ...], *, run: str = "") -> tuple[str, tuple[Done, ...]]:
        """Carry calls out in order. Slurm's errors become outcomes; raises JournalError, Interrupted."""
        if self.dry_run:
            return run, self._rehearse(calls)
        ctx, journal = self.ledger.looking(), self.ledger.journal
        warned = bool(run) and any(self._reads(row.tool) for row in calls_of(journal, run))
        run, first = journal.begin(request, ctx.caller, cluster_of(ctx.backend), calls, run)
        done: list[Done] = []
        try:
            for seq, call in enumerate(calls, first):
                done.append(self.next(call, Place(run, seq, warned), done))
        except KeyboardInterrupt as stop:
            done += [stop.done] if isinstance(stop, Stopped) else []
            why = Item("", Outcome.SKIPPED, f"interrupted; `sask resume {run}` goes on", "interrupted")
            done += [self.skip(call, Place(run, first + n), why) for n, call in enumerate(calls) if n >= len(done)]
            raise Interrupted(run, tuple(done)) from None
        finally:
            journal.release(run)
        return run, tuple(done)

    def _reads(self, tool: str) -> bool:
        return isinstance(self.tools.get(tool), ReadTool)

    def next(self, call: Call, place: Place, earlier: Sequence[Done]) -> Done:
        """The next call of an Action, after what became of the ``earlier`` ones."""
        if wrong := [number for number in references(call) if not 0 < number <= len(earlier)]:
            text = f"${wrong[0]} stands for no earlier call of this request"
            return self.skip(call, place, Item("", Outcome.FAILED, text, "invalid_arguments"))
        if why := self._blocked(call, earlier):
            return self.skip(call, place, Item("", Outcome.SKIPPED, why, "earlier_failed"))
        return self.carry(resolved(call, _jobs(earlier)), place)

    def carry(self, call: Call, place: Place) -> Done:
        """One call, its ``$1`` already put in; what goes wrong before anything is sent becomes its outcome."""
        if (tool := self.tools.get(call.tool)) is None:
            return self._close(call, place, _not_a_tool(call, self.tools))
        try:
            ctx = self.ledger.looking() if tool.effect is Effect.READ else self.ledger.context()
            if why := refuse(call, ctx.caller, self.ledger.policy, self.tools):
                raise PermissionRefused(why)
            if isinstance(tool, WriteTool):
                return write(self.ledger, tool, call, place)
            assert isinstance(tool, ReadTool)
            if isinstance(tool, OutsideTool) and (item := self._not_approved(tool, call, place)):
                return self._close(call, place, ToolResult(status_of([item]), (item,)))
            return self._read(tool, call, place)
        except ValidationError as error:
            return self._close(call, place, _invalid(call, error))
        except SlurmError as error:
            return self._close(call, place, _refused(call, error))

    def skip(self, call: Call, place: Place, why: Item) -> Done:
        """A call that is not tried (now), with the reason."""
        item = Item(subject(call), why.outcome, why.message, why.code)
        return self._close(call, place, ToolResult(status_of([item]), (item,)))

    def _blocked(self, call: Call, earlier: Sequence[Done]) -> str:
        """Why ``call`` must not be tried after ``earlier``; empty when nothing speaks against it."""
        jobs = _jobs(earlier)
        for number in references(call):
            if number not in jobs:
                return f"not done: it needs the job of call {number} (${number}), and {_cause(number, earlier)}"
        for number, one in enumerate(earlier, 1):
            is_write = isinstance(self.tools.get(call.tool), WriteTool)
            if is_write and one.result.status != "ok" and isinstance(self.tools.get(one.call.tool), WriteTool):
                return f"not done: {_cause(number, earlier)}"
        return ""

    def _read(self, tool: ReadTool, call: Call, place: Place) -> Done:
        self.ledger.journal.open_call(place.run, place.seq)
        return self._close(call, place, self._ask(tool, call))

    def _not_approved(self, tool: OutsideTool, call: Call, place: Place) -> Item | None:
        """None where nothing is changed, or a person has said yes to this very call. Raises ValidationError."""
        if tool.effect is Effect.READ:
            return None
        ctx = self.ledger.context()
        tool.Arguments.model_validate(call.arguments, context={"now": ctx.now})
        plan, commands = Plan(()), (tool.command(call.arguments),)
        preview = Preview(
            tool=call.tool,
            arguments=redacted(call.arguments),
            commands=tuple(map(redact, commands)),
            blast=plan.blast,
            notes=("it changes something outside Slurm, which cannot be undone from here",),
            digest=digest_of(call, plan, commands),
            must_ask=must_ask(self.ledger.policy, plan.blast, ctx.caller, place.after_reading),
            run=place.run,
            user=ctx.caller.user,
        )
        refusal = ask(self.ledger, place, preview, lambda: preview.digest)
        return refusal and replace(refusal, id=call.tool)

    def _ask(self, tool: ReadTool, call: Call) -> ToolResult:
        ctx = self.ledger.looking()
        args = tool.Arguments.model_validate(call.arguments, context={"now": ctx.now})
        result = self.ledger.retry.read(lambda: tool.run(args, ctx))
        items, commands = tuple(map(clean, result.items)), tuple(map(redact, result.commands))
        return ToolResult(result.status, items, redacted(result.data), commands)

    def _close(self, call: Call, place: Place, result: ToolResult) -> Done:
        """A call without operations: its items and its result, in the journal and as the answer."""
        if result.items:
            self.ledger.journal.plan_items(place.run, place.seq, (), result.items, {})
        self.ledger.journal.close_call(place.run, place.seq, result)
        return Done(call, result, commands=result.commands)

    def _rehearse(self, calls: Sequence[Call]) -> tuple[Done, ...]:
        done: list[Done] = []
        for call in calls:
            if call.tool not in self.tools:
                done.append(Done(call, _not_a_tool(call, self.tools)))
                continue
            try:
                done.append(self._preview(call))
            except ValidationError as error:
                done.append(Done(call, _invalid(call, error)))
            except SlurmError as error:
                done.append(Done(call, _refused(call, error)))
        return tuple(done)

    def _preview(self, call: Call) -> Done:
        tool, ctx = self.tools[call.tool], self.ledger.context()
        if why := refuse(call, ctx.caller, self.ledger.policy, self.tools):
            raise PermissionRefused(why)
        if isinstance(tool, OutsideTool) and tool.effect is not Effect.READ:
            tool.Arguments.model_validate(call.arguments, context={"now": ctx.now})
            item = Item(call.tool, Outcome.DENIED, DRY_RUN, "dry_run")
            return Done(call, ToolResult("denied", (item,)), commands=(redact(tool.command(call.arguments)),))
        if isinstance(tool, ReadTool):
            result = self._ask(tool, call)
            return Done(call, result, commands=result.commands)
        assert isinstance(tool, WriteTool)
        if references(call) and call.tool != "submit_job":
            item = Item(subject(call), Outcome.SKIPPED, "it would be done once the job before it has its id", "dry_run")
            return Done(call, ToolResult("denied", (item,)))
        plan, refused = planned(self.ledger, tool, call, ctx)
        would = tuple(Item(o.target or call.tool, Outcome.DENIED, DRY_RUN, "dry_run") for o in plan.operations)
        items = tuple(map(clean, (*would, *plan.skipped, *refused)))
        preview = preview_of(self.ledger, call, plan, ctx, Place("", 0))
        return Done(call, ToolResult("denied" if would else status_of(items), items), plan, preview.commands)


def cluster_of(backend: Backend) -> str:
    """The cluster's name; empty while it cannot be asked, which the calls themselves will say."""
    try:
        return backend.cluster()
    except SlurmError:
        return ""


def subject(call: Call) -> str:
    """What a call is about, as an item's id: its job or node, else the tool."""
    for name in ("job_id", "node", "nodes"):
        if value := call.arguments.get(name):
            return redact(str(value))
    ids = call.arguments.get("job_ids") or [call.tool]
    return redact(",".join(map(str, ids)) if isinstance(ids, list | tuple) else str(ids))  # not validated yet


def _jobs(earlier: Sequence[Done]) -> dict[int, str]:
    """What ``$1``, ``$2`` … stand for: the job of each earlier call that came to a good end."""
    return {n: job for n, one in enumerate(earlier, 1) if one.result.status == "ok" and (job := _job(one))}


def _job(one: Done) -> str:
    ids = [str(one.call.arguments.get("job_id", "")), *(item.id for item in one.result.items)]
    return next((base_id(job) if one.call.tool == "submit_job" else job for job in ids if job[:1].isdigit()), "")


def _cause(number: int, earlier: Sequence[Done]) -> str:
    one = earlier[number - 1]
    if one.result.status == "ok":
        return f"call {number} ({one.call.tool}) has none"
    message = next((f": {i.message}" for i in one.result.items if i.outcome is not Outcome.OK and i.message), "")
    return f"call {number} ({one.call.tool}) ended {one.result.status}{message}"


def _refused(call: Call, error: SlurmError) -> ToolResult:
    item = failed(error, subject(call))
    if isinstance(error, PermissionRefused):
        item = Item(item.id, Outcome.DENIED, item.message, item.code)
    item = Item(item.id, item.outcome, redact(item.message), item.code, item.transient)
    about = {"code": error.code, "message": redact(error.message), "valid": redacted(error.valid[:50])}
    return ToolResult(status_of([item]), (item,), {"error": about})


def _invalid(call: Call, error: ValidationError) -> ToolResult:
    wrong = [
        f"{'.'.join(map(str, e['loc'])) or call.tool}: {e['msg'].removeprefix('Value error, ')}" for e in error.errors()
    ]
    item = Item(subject(call), Outcome.FAILED, redact("; ".join(wrong)), "invalid_arguments")
    return ToolResult("failed", (item,))


def _not_a_tool(call: Call, tools: Mapping[str, Tool]) -> ToolResult:
    text = f"there is no tool {redact(call.tool)!r}; valid: {', '.join(tools)}"
    return ToolResult("failed", (Item(redact(call.tool), Outcome.FAILED, text, "unknown_tool"),))
