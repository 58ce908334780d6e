"""Stopping and steering jobs: cancel_jobs, control_jobs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import Field, model_validator

from tools.base import Arguments, Caller, Item, Outcome, Plan, ToolContext, WriteTool
from tools.dependents import after_cancel
from tools.impact import blast_of, rows_before, seen_after
from tools.picking import Picked, base_id, by_filter, permitted, pick, states_of
from tools.slurm.backend import Operation
from tools.slurm.errors import InvalidRequest, PermissionRefused
from tools.slurm.models import Job, JobQuery
from tools.steering import UNDO, Action, require_operator, sorted_out
from tools.values import JobIds, Name, SignalName, State

CANCELLABLE = ("PENDING", "CONFIGURING", "RUNNING", "SUSPENDED")
_UNDO_SHOWN = 5


class CancelJobsArguments(Arguments):
    job_ids: JobIds | None = Field(None, description="job ids")
    user: Name | None = Field(None, description='"me" for the caller\'s own jobs')
    name: Name | None = Field(None, description="job name")
    states: list[State] | None = Field(None, description="PENDING, RUNNING, SUSPENDED")
    partition: Name | None = Field(None, description="partition")
    signal: SignalName | None = Field(None, description="send this signal instead of ending the job: USR1")

    @model_validator(mode="after")
    def says_which(self) -> CancelJobsArguments:
        if not (self.job_ids or self.user or self.name or self.states or self.partition):
            raise ValueError("say which jobs: job_ids, or a filter by user, name, states or partition")
        return self


class CancelJobs(WriteTool):
    name = "cancel_jobs"
    description = "Cancel jobs by id or by filter, or send them a signal."
    Arguments = CancelJobsArguments
    examples: ClassVar = (
        ("cancel all my pending jobs", {"user": "me", "states": ["PENDING"]}),
        ("kill 48121 and 48130", {"job_ids": ["48121", "48130"]}),
        ("cancel tasks 3 to 7 of array 48200", {"job_ids": ["48200_[3-7]"]}),
        ("send USR1 to 48121", {"job_ids": ["48121"], "signal": "USR1"}),
    )

    def plan(self, args: CancelJobsArguments, ctx: ToolContext) -> Plan:
        _check_filter(args)
        picked, skipped, notes = _asked_for(args, ctx)
        chosen, more = _cancellable(args, picked, ctx.caller)
        chosen, deaf = _reachable(args, chosen, ctx)
        jobs = [job for _, records in chosen for job in records]
        never, freed = ((), ()) if args.signal else after_cancel([one for one, _ in chosen], _waiting(ctx, jobs))
        return Plan(
            operations=tuple(_operation(args, one, records) for one, records in chosen),
            blast=blast_of(chosen, ends=not args.signal, dependents=never),
            before=rows_before(jobs),
            notes=(*notes, *_cancel_notes(args, jobs, freed)),
            skipped=(*skipped, *more, *deaf),
            undo=_resubmit(jobs) if jobs and not args.signal else (),
        )

    def after(self, args: CancelJobsArguments, ctx: ToolContext, items: Sequence[Item]) -> dict[str, Any]:
        return seen_after(items, ctx)


def _check_filter(args: CancelJobsArguments) -> None:
    if wrong := [state for state in args.states or () if state not in CANCELLABLE]:
        raise InvalidRequest(
            f"{', '.join(wrong)} jobs cannot be cancelled; valid: {', '.join(CANCELLABLE)}", valid=CANCELLABLE
        )
    if args.signal and not args.signal.isalnum():
        raise InvalidRequest(f"signal {args.signal!r}: scancel takes a name or number alone, such as USR1")


def _asked_for(args: CancelJobsArguments, ctx: ToolContext) -> tuple[list[Picked], list[Item], tuple[str, ...]]:
    """What the ids and the filter mean, what is not to be had, and notes."""
    if args.job_ids:
        found, unknown = pick(args.job_ids, ctx)
        mine, denied = permitted(found, ctx.caller)
        return mine, [*unknown, *denied], ()
    caller = ctx.caller
    user = _user(args, caller)
    notes: tuple[str, ...] = ()
    if not user and not caller.is_admin:
        user, notes = caller.user, (f"only {caller.user}'s own jobs: {caller.user} is no operator of Slurm",)
    if user not in ("", caller.user) and not caller.is_admin and not caller.coordinates:
        raise PermissionRefused(f"{caller.user} may not cancel jobs of {user}: only {user} or an operator of Slurm may")
    states = tuple(args.states or (("RUNNING",) if args.signal else CANCELLABLE))
    query = JobQuery(user=user, name=args.name or "", partition=args.partition or "", states=states)
    picked, left = by_filter(query, ctx, whole=not (args.states or args.partition or args.signal))
    return picked, [], (*notes, *left, *(() if picked else (f"no job matches: {_said(args, user)}",)))


def _said(args: CancelJobsArguments, user: str) -> str:
    words = {"user": user, "name": args.name, "states": ",".join(args.states or ()), "partition": args.partition}
    return ", ".join(f"{key} {value}" for key, value in words.items() if value)


def _cancellable(
    args: CancelJobsArguments, picked: Sequence[Picked], caller: Caller
) -> tuple[list[tuple[Picked, list[Job]]], list[Item]]:
    """Each operation's jobs; the filter narrows ids too. What is left of an id is an item with the reason."""
    chosen: list[tuple[Picked, list[Job]]] = []
    items: list[Item] = []
    for one in picked:
        fits = [job for job in one.live if _fits(args, caller, job)]
        if not fits:
            items.append(_not_cancelled(args, one))
        elif args.states:
            chosen += [(one, [job for job in fits if job.state == s]) for s in dict.fromkeys(job.state for job in fits)]
        else:
            chosen.append((one, fits))
    return chosen, items


def _reachable(
    args: CancelJobsArguments, chosen: list[tuple[Picked, list[Job]]], ctx: ToolContext
) -> tuple[list[tuple[Picked, list[Job]]], list[Item]]:
    """Without the array tasks that Slurm cannot signal: scancel then tries for ever (seen on 22.05)."""
    arrays = tuple(dict.fromkeys(base_id(one.asked) for one, jobs in chosen if args.signal and "_" in jobs[0].id))
    if not arrays or ctx.backend.version() >= (23, 2, 0):
        return chosen, []
    waiting = {base_id(job.id) for job in ctx.backend.queue(JobQuery(ids=arrays, states=("PENDING",)))}
    text = "Slurm cannot signal a task while others of its array are pending: send it once they have started"
    deaf = [one for one, _ in chosen if base_id(one.asked) in waiting]
    return [pair for pair in chosen if pair[0] not in deaf], [
        Item(one.asked, Outcome.FAILED, text, "array_is_pending") for one in deaf
    ]


def _fits(args: CancelJobsArguments, caller: Caller, job: Job) -> bool:
    if (user := _user(args, caller)) and user != job.user:
        return False
    if args.name and job.name not in (args.name, *args.name.split(",")):
        return False
    # a pending job may name several partitions, and so may the filter
    if args.partition and not set(args.partition.split(",")) & set(job.partition.split(",")):
        return False
    return (not args.states or job.state in args.states) and (not args.signal or job.state == "RUNNING")


def _user(args: CancelJobsArguments, caller: Caller) -> str:
    return caller.user if args.user == "me" else args.user or ""


def _not_cancelled(args: CancelJobsArguments, one: Picked) -> Item:
    if not one.live:
        return Item(one.asked, Outcome.SKIPPED, f"already {states_of(one.jobs)}", "already_ended")
    if args.signal:
        text = f"{one.asked} is {states_of(one.live)}: a signal needs a job that runs"
        return Item(one.asked, Outcome.FAILED, text, "wrong_state")
    return Item(one.asked, Outcome.SKIPPED, f"does not match the filter: it is {states_of(one.live)}", "no_match")


def _operation(args: CancelJobsArguments, one: Picked, jobs: Sequence[Job]) -> Operation:
    fields: dict[str, Any] = {"signal": args.signal} if args.signal else {}
    if args.states:
        fields["state"] = jobs[0].state  # so that a job which starts meanwhile is left alone
    return Operation("cancel", one.target(jobs), fields)


def _waiting(ctx: ToolContext, jobs: Sequence[Job]) -> list[Job]:
    return ctx.backend.queue(JobQuery(states=("PENDING",))) if jobs else []


def _cancel_notes(args: CancelJobsArguments, jobs: Sequence[Job], freed: Sequence[str]) -> list[str]:
    notes = [f"{', '.join(freed[:10])} wait for the end of these jobs and may start then"] if freed else []
    if args.signal and jobs and args.signal not in ("KILL", "9"):
        notes.append(
            f"{args.signal} goes to the job's steps (srun); the batch script itself does not get it (scancel(1))"
        )
    return notes


def _resubmit(jobs: Sequence[Job]) -> tuple[str, ...]:
    lines = ["a cancel cannot be undone; to run it again, with the options that it had:"]
    scripts = {job.id.partition("_")[0]: job for job in jobs}
    for job_id, job in list(scripts.items())[:_UNDO_SHOWN]:
        where = shlex.quote(job.working_directory or ".")
        saved = f"scontrol write batch_script {job_id} job-{job_id}.sh  # soon: then sbatch job-{job_id}.sh"
        again = f"sbatch {job.command}" if job.command else saved
        lines.append(f"cd {where} && {again}")
    return tuple(lines)


class ControlJobsArguments(Arguments):
    action: Action = Field(description="what to do")
    job_ids: JobIds = Field(description="job ids")


class ControlJobs(WriteTool):
    name = "control_jobs"
    description = "Hold, release, requeue, suspend or resume jobs."
    Arguments = ControlJobsArguments
    examples: ClassVar = (
        ("hold 48121 and 48122", {"action": "hold", "job_ids": ["48121", "48122"]}),
        ("release 48121", {"action": "release", "job_ids": ["48121"]}),
        ("requeue job 48130", {"action": "requeue", "job_ids": ["48130"]}),
        ("suspend 48140", {"action": "suspend", "job_ids": ["48140"]}),
    )

    def plan(self, args: ControlJobsArguments, ctx: ToolContext) -> Plan:
        require_operator(args.action, ctx.caller)
        picked, unknown = pick(args.job_ids, ctx)
        mine, denied = permitted(picked, ctx.caller)
        chosen, items, notes = sorted_out(args.action, mine, ctx)
        operations = tuple(Operation(args.action, one.target(records)) for one, records in chosen)
        return Plan(
            operations=operations,
            blast=blast_of(chosen, ends=args.action == "requeue"),
            before=rows_before([job for _, records in chosen for job in records]),
            notes=tuple(notes),
            skipped=(*unknown, *denied, *items),
            undo=_undo(args.action, operations, ctx),
        )

    def after(self, args: ControlJobsArguments, ctx: ToolContext, items: Sequence[Item]) -> dict[str, Any]:
        return seen_after(items, ctx)


def _undo(action: Action, operations: Sequence[Operation], ctx: ToolContext) -> tuple[str, ...]:
    if not operations or action not in UNDO:
        return ("a requeue cannot be undone: the work since the start is gone",) if operations else ()
    back = [ctx.backend.render(Operation(UNDO[action], one.target)) for one in operations[:_UNDO_SHOWN]]
    return tuple(shlex.join(argv) for commands in back for argv in commands)
