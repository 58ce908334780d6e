"""What Slurm lets one change in a job's nodes and time limit (scontrol(1), SPECIFICATIONS FOR UPDATE COMMAND, JOBS)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tools.base import Caller, ToolContext
from tools.checks import partitions_for
from tools.durations import read_seconds, slurm_duration
from tools.picking import STARTED, Picked, states_of
from tools.slurm.errors import AccountingUnavailable, InvalidRequest, LimitRefused, PermissionRefused
from tools.slurm.models import UNLIMITED, Job


@dataclass(frozen=True, slots=True)
class Change:
    """One field's change: the operation's value, what was and will be, how to take it back (None: impossible)."""

    name: str
    value: Any
    before: Any
    after: Any
    back: Any = None
    by_hand: str = ""
    """What a person can do where ``back`` is None."""
    notes: list[str] = field(default_factory=list)

    @property
    def is_one(self) -> bool:
        return bool(self.before != self.after)


def node_change(one: Picked, nodes: int, ctx: ToolContext) -> Change:
    """Raises ``InvalidRequest`` for what Slurm would not do."""
    job = one.live[0]
    if all(record.state == "PENDING" for record in one.live):
        return _pending_nodes(one, job, nodes, ctx)
    if len(one.live) > 1:
        raise InvalidRequest(f"{one.asked} is {states_of(one.live)}: name one task, such as {job.id}")
    if nodes > job.nodes:
        raise InvalidRequest(
            f"job {one.asked} runs on {job.nodes} nodes: Slurm cannot add nodes to a running job, only take some away. "
            f"Submit it anew with {nodes} nodes, going on from a checkpoint",
            code="cannot_grow",
        )
    if job.state != "RUNNING":
        raise InvalidRequest(f"job {one.asked} is {job.state}: only a running or pending job's nodes can be changed")
    notes = [
        f"it keeps {nodes} of {job.node_list}, and Slurm chooses which: processes on the others end, "
        "and a node once given back cannot be had again",
        f"inside the job, the variables of slurm_job_{one.asked}_resize.sh (scontrol writes it when it runs there) "
        "tell later srun commands of the new size",
    ]
    gone = "nodes that a running job gave back cannot be had again"
    return Change("nodes", nodes, job.nodes, nodes, by_hand=gone, notes=notes if nodes < job.nodes else [])


def _pending_nodes(one: Picked, job: Job, nodes: int, ctx: ToolContext) -> Change:
    partitions = partitions_for(job.partition, ctx)
    sizes = [min(p.total_nodes, p.max_nodes) if p.max_nodes and p.max_nodes > 0 else p.total_nodes for p in partitions]
    if sizes and nodes > max(sizes):
        raise InvalidRequest(
            f"job {one.asked}: {nodes} nodes is more than partition {job.partition} has or allows ({max(sizes)})"
        )
    # A single number is the minimum alone, and Slurm refuses one above the maximum that the job was submitted with.
    return Change("nodes", f"{nodes}-{nodes}", job.nodes, nodes, f"{job.nodes}-{job.nodes}")


def time_change(one: Picked, asked: str, ctx: ToolContext) -> Change:
    """Raises ``InvalidRequest``, ``PermissionRefused`` (longer while it runs), ``LimitRefused`` (MaxTime)."""
    new = _new_limit(one, asked)
    running = [job for job in one.live if job.state in STARTED]
    longer = [job for job in running if _exceeds(new, job.time_limit)]
    if longer and not ctx.caller.is_admin:
        raise PermissionRefused(_longer(one, longer, ctx.caller))
    limits = list(dict.fromkeys(job.time_limit for job in one.live))
    before = ", ".join(slurm_duration(UNLIMITED if limit is None else limit) for limit in limits)
    # What an owner has shortened, an operator alone can make longer again.
    back = before if len(limits) == 1 and (ctx.caller.is_admin or not running) else None
    notes = _time_notes(one, running, new, ctx)
    return Change("time_limit", slurm_duration(new), before, slurm_duration(new), back, _earlier_limits(one), notes)


def _earlier_limits(one: Picked) -> str:
    """Commands that give every record its old limit back; for a running job an operator has to type them."""
    lines = [
        f"scontrol update JobId={one.target([job])} TimeLimit={slurm_duration(job.time_limit)}"
        for job in one.live
        if job.time_limit is not None
    ]
    return "; ".join(lines) + " (for a job that runs, only by an operator)"


def _new_limit(one: Picked, asked: str) -> int:
    """In seconds, of whole minutes as Slurm keeps it."""
    limits = {job.time_limit for job in one.live}
    present = one.live[0].time_limit
    present = UNLIMITED if present is None else present
    if asked[0] not in "+-":
        return _whole_minutes(read_seconds(asked))
    if len(limits) > 1:
        known = ", ".join(slurm_duration(limit) for limit in sorted(limit or 0 for limit in limits))
        raise InvalidRequest(f"the tasks of {one.asked} have several limits ({known}): name one, or give a new limit")
    if present == UNLIMITED:
        raise InvalidRequest(f"job {one.asked} has no time limit: give a new one instead of a change")
    new = present + (1 if asked[0] == "+" else -1) * read_seconds(asked[1:])
    if new <= 0:
        raise InvalidRequest(f"job {one.asked} has a limit of {slurm_duration(present)}: {asked} leaves nothing of it")
    return _whole_minutes(new)


def _whole_minutes(seconds: int) -> int:
    return seconds if seconds == UNLIMITED else -(-seconds // 60) * 60


def _exceeds(new: int, limit: int | None) -> bool:
    if limit is None or limit == UNLIMITED:
        return False
    return new == UNLIMITED or new > limit


def _longer(one: Picked, running: list[Job], caller: Caller) -> str:
    limit = slurm_duration(running[0].time_limit or 0)
    text = (
        f"job {running[0].id} is running with a limit of {limit}: only an operator or administrator of Slurm can give "
        f"a running job more time, and {caller.user} is neither. Ask your administrators"
    )
    if waiting := [job for job in one.live if job.state == "PENDING"]:
        text += f"; the tasks that still wait can be changed alone: {one.target(waiting)}"
    return text


def _time_notes(one: Picked, running: list[Job], new: int, ctx: ToolContext) -> list[str]:
    notes = [
        f"{job.id} has run for {slurm_duration(job.elapsed)} already: with this limit Slurm ends it at once"
        for job in running
        if job.elapsed and new != UNLIMITED and new <= job.elapsed
    ]
    allowed = [p.max_time for p in partitions_for(one.live[0].partition, ctx)]
    if allowed and all(_exceeds(new, limit) for limit in allowed):
        most = slurm_duration(max(limit or 0 for limit in allowed))
        text = f"partition {one.live[0].partition} allows {most} at most (MaxTime)"
        outranks = ctx.caller.is_admin or one.live[0].account in ctx.caller.coordinates
        if not running and not outranks:
            raise LimitRefused(f"job {one.asked}: {slurm_duration(new)} is too long, {text}")
        notes.append(f"{text}: " + ("an operator may go beyond" if running else "it would stay pending"))
    return notes + ([] if running else _qos_notes(one.live[0], new, ctx))


def _qos_notes(job: Job, new: int, ctx: ToolContext) -> list[str]:
    try:
        limits = [qos.max_wall for qos in ctx.backend.qos() if qos.name == job.qos]
    except AccountingUnavailable:
        return []
    return [
        f"QoS {job.qos} allows {slurm_duration(limit)} at most (MaxWall): it would stay pending"
        for limit in limits
        if limit is not None and _exceeds(new, limit)
    ]
