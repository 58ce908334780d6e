"""Changing a job: resize_job (nodes and time), update_job (the rest)."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import Field, model_validator

from tools.base import Arguments, Item, Outcome, Plan, ToolContext, WriteTool
from tools.changes import check_update, updates
from tools.impact import blast_of, seen_after, steady_row
from tools.picking import Picked, one_id, pick_one
from tools.sizes import Change, node_change, time_change
from tools.slurm.backend import Operation
from tools.slurm.models import Job
from tools.values import Begin, Count, Dependency, JobId, Memory, Name, RelativeDuration, Text, Whole


class ResizeJobArguments(Arguments):
    job_id: JobId = Field(description="job id")
    nodes: Count | None = Field(None, description="new number of nodes")
    time_limit: RelativeDuration | None = Field(
        None, description="new time limit 06:00:00, or a change to it: +6:00:00, -1:00:00"
    )

    @model_validator(mode="after")
    def says_what(self) -> ResizeJobArguments:
        if self.nodes is None and self.time_limit is None:
            raise ValueError("give nodes or time_limit, or both")
        return self


class ResizeJob(WriteTool):
    name = "resize_job"
    description = "Change the number of nodes or the time limit of a pending or running job."
    Arguments = ResizeJobArguments
    examples: ClassVar = (
        ("give 48121 6 more hours", {"job_id": "48121", "time_limit": "+6:00:00"}),
        ("set the time limit of 48121 to 12 hours", {"job_id": "48121", "time_limit": "12:00:00"}),
        ("shrink job 48121 to 2 nodes", {"job_id": "48121", "nodes": 2}),
    )

    def plan(self, args: ResizeJobArguments, ctx: ToolContext) -> Plan:
        one = pick_one(args.job_id, ctx)
        changes = [node_change(one, args.nodes, ctx)] if args.nodes is not None else []
        changes += [time_change(one, args.time_limit, ctx)] if args.time_limit is not None else []
        return _plan(one, one.live, changes, ctx)

    def after(self, args: ResizeJobArguments, ctx: ToolContext, items: Sequence[Item]) -> dict[str, Any]:
        return seen_after(items, ctx)


class UpdateJobArguments(Arguments):
    job_id: JobId = Field(description="job id")
    partition: Name | None = Field(None, description="new partition")
    qos: Name | None = Field(None, description="new quality of service")
    account: Name | None = Field(None, description="new account")
    nice: Whole | None = Field(None, description="new nice value; higher waits longer")
    dependency: Dependency | None = Field(None, description="new dependency; an empty string clears it")
    job_name: Name | None = Field(None, description="new name")
    begin: Begin | None = Field(None, description="not before: ISO time or now+2hours")
    constraint: Text | None = Field(None, description="new node features")
    mem: Memory | None = Field(None, description="new memory per node, with its unit")
    gpus: Count | None = Field(None, description="new total of GPUs")

    @model_validator(mode="after")
    def says_what(self) -> UpdateJobArguments:
        if not self.given().keys() - {"job_id"}:
            raise ValueError("say what to change: " + ", ".join(f for f in type(self).model_fields if f != "job_id"))
        return self


class UpdateJob(WriteTool):
    name = "update_job"
    description = "Change partition, QoS, account, priority, dependency, name, begin or resources of a job."
    Arguments = UpdateJobArguments
    examples: ClassVar = (
        ("move 48121 to the h100 partition", {"job_id": "48121", "partition": "h100"}),
        ("let 48122 wait for 48121 to succeed", {"job_id": "48122", "dependency": "afterok:48121"}),
        ("rename job 48121 to bert-large", {"job_id": "48121", "job_name": "bert-large"}),
        ("remove the dependency of 48122", {"job_id": "48122", "dependency": ""}),
    )

    def plan(self, args: UpdateJobArguments, ctx: ToolContext) -> Plan:
        one = pick_one(args.job_id, ctx)
        fields = {name: value for name, value in args.given().items() if name != "job_id"}
        jobs, notes = check_update(one, fields, ctx)
        return _plan(one, jobs, updates(one, jobs, fields, ctx), ctx, notes)

    def after(self, args: UpdateJobArguments, ctx: ToolContext, items: Sequence[Item]) -> dict[str, Any]:
        return seen_after(items, ctx) | {"values": updates_seen(args, ctx)}


def updates_seen(args: UpdateJobArguments, ctx: ToolContext) -> dict[str, Any]:
    """The changed fields as Slurm has them now."""
    from tools.changes import present

    job = ctx.backend.job(one_id(args.job_id))[0]
    return {name: present(job, name, ctx) for name in args.given() if name != "job_id"}


def _plan(one: Picked, jobs: Sequence[Job], changes: list[Change], ctx: ToolContext, notes: Sequence[str] = ()) -> Plan:
    """All changes are one command: Slurm takes them together."""
    real = [change for change in changes if change.is_one]
    said = tuple(note for change in changes for note in change.notes)
    rows = [{"field": c.name, "before": c.before, "after": c.after} for c in changes]
    before = {"job": steady_row(jobs[0]), "changes": rows}
    if not real:
        same = ", ".join(f"{change.name} is {change.before or 'empty'} already" for change in changes)
        return Plan((), before=before, notes=tuple(notes), skipped=(Item(one.asked, Outcome.SKIPPED, same, "already"),))
    operation = Operation("update_job", one.target(jobs), {change.name: change.value for change in real})
    ctx.backend.render(operation)  # raises for what cannot be said to Slurm
    blast = blast_of([(one, jobs)])
    return Plan((operation,), blast, before, (*notes, *said), undo=_undo(operation.target, real, ctx))


def _undo(target: str, changes: list[Change], ctx: ToolContext) -> tuple[str, ...]:
    back = {change.name: change.back for change in changes if change.back is not None}
    lines = [shlex.join(argv) for argv in ctx.backend.render(Operation("update_job", target, back))] if back else []
    return (*lines, *(change.by_hand for change in changes if change.back is None))
