"""When: estimate_start."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, model_validator

from tools.asked import fields_of
from tools.base import Arguments, Item, Outcome, ReadTool, ToolContext, ToolResult
from tools.capacity import gpu_types
from tools.names import check_names, require
from tools.picking import records_of
from tools.slurm.errors import InvalidRequest
from tools.slurm.models import Job
from tools.submit import Resources
from tools.values import JobId
from tools.views import Row, clock, duration_text, ran, said, time_text
from tools.whatif import ROUGH


class EstimateOf(Arguments):
    job_id: JobId | None = Field(None, description="a pending job; or else the resources of a job to be")


class EstimateStartArguments(Resources, EstimateOf):
    @model_validator(mode="after")
    def says_of_what(self) -> EstimateStartArguments:
        if not self.given():
            raise ValueError("give a job_id, or the resources that a job would ask for")
        return self


class EstimateStart(ReadTool):
    name = "estimate_start"
    description = "Estimate when a pending job, or a job with such resources, would start."
    Arguments = EstimateStartArguments
    examples: ClassVar = (
        ("when could I get 4 h100 nodes for a day?", {"nodes": 4, "gpu_type": "h100", "time_limit": "1-00:00:00"}),
        ("when will 48121 start?", {"job_id": "48121"}),
    )

    def run(self, args: EstimateStartArguments, ctx: ToolContext) -> ToolResult:
        """``{"job_id"?, "start_time"?, "wait"?, "nodes"?, "source"?, "notes"?}``.

        With both a job and resources: when that job would start if it asked for these. Raises what a real
        submission would raise.
        """
        before = len(ctx.backend.commands())
        wanted = {key: value for key, value in args.given().items() if key != "job_id"}
        self._check(wanted, ctx)
        if args.job_id is None:
            return ToolResult("ok", (), _of_resources(wanted, ctx), ran(ctx, before))
        data = _of_job(args.job_id, wanted, ctx)
        return ToolResult("ok", (Item(args.job_id, Outcome.OK),), data, ran(ctx, before))

    def _check(self, wanted: Row, ctx: ToolContext) -> None:
        check_names(
            ctx.backend, partition=wanted.get("partition"), qos=wanted.get("qos"), account=wanted.get("account")
        )
        if kind := wanted.get("gpu_type"):
            require("GPU type", [kind], [known.lower() for known in gpu_types(ctx.backend.nodes())])


def _of_resources(wanted: dict[str, Any], ctx: ToolContext) -> Row:
    estimate = ctx.backend.test_submit({**wanted, "command": "true"})
    wait = (estimate.start_time - clock(ctx)).total_seconds() if estimate.start_time else None
    return said(
        {
            "asked": wanted,
            "start_time": time_text(estimate.start_time),
            "wait": duration_text(max(wait, 0.0)) if wait is not None else None,
            "nodes": estimate.nodes,
            "source": "sbatch --test-only",
            "notes": [ROUGH],
        }
    )


def _of_job(job_id: str, wanted: dict[str, Any], ctx: ToolContext) -> Row:
    records = records_of(job_id, ctx)
    job = next((one for one in records if one.state in ("PENDING", "CONFIGURING")), None)
    if job is None:
        return _started(records[0], wanted)
    if wanted:
        return {"job_id": job.id, **_of_resources({**fields_of(job), **wanted}, ctx)}
    told = ctx.backend.expected_start(job.id.partition("_[")[0])
    data: Row = {"job_id": job.id, "reason": told.reason or job.reason}
    if told.start_time is None:
        note = f"the scheduler has no start time for it ({job.reason or 'not looked at yet'}): see diagnose_job"
        return data | {"notes": [note]}
    wait = max((told.start_time - clock(ctx)).total_seconds(), 0)
    found = {"start_time": time_text(told.start_time), "wait": duration_text(wait), "nodes": told.nodes}
    return said({**data, **found, "source": "squeue --start"})


def _started(job: Job, wanted: dict[str, Any]) -> Row:
    """A job that has begun, or never will: no estimate."""
    if wanted:
        raise InvalidRequest(f"job {job.id} is {job.state}: it does not wait for a start any more")
    note = f"job {job.id} is {job.state}: it " + ("has started" if job.start_time else "never started")
    return said({"job_id": job.id, "state": job.state, "start_time": time_text(job.start_time), "notes": [note]})
