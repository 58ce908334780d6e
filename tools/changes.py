"""What update_job may change in which state, and how to say what was there before."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tools.base import ToolContext
from tools.checks import check_names, partitions_for
from tools.dependents import dependency_notes
from tools.durations import slurm_duration
from tools.picking import Picked, one_id, states_of
from tools.sizes import Change
from tools.slurm.errors import InvalidRequest, PermissionRefused
from tools.slurm.models import UNLIMITED, Job
from tools.slurm.parse.values import mebibytes
from tools.views import clock, memory_text, time_text

# Slurm answers "Job is no longer pending execution" to a change of anything else (tried on 22.05).
WHILE_RUNNING = ("job_name", "nice")
_SAME_NAME = ("partition", "qos", "account", "nice", "constraint", "gpus")


def check_update(one: Picked, fields: Mapping[str, Any], ctx: ToolContext) -> tuple[list[Job], list[str]]:
    """The records that can be changed so, and notes. Raises a ``SlurmError`` for what Slurm would refuse."""
    jobs = one.live
    late = [name for name in fields if name not in WHILE_RUNNING]
    notes: list[str] = []
    if late and (started := [job for job in jobs if job.state != "PENDING"]):
        jobs = [job for job in jobs if job.state == "PENDING"]
        if not jobs:
            raise InvalidRequest(
                f"job {one.asked} is {states_of(started)}: {', '.join(late)} can only be changed while it is pending "
                f"(while it runs: {', '.join(WHILE_RUNNING)}, and resize_job's time_limit and fewer nodes)",
                code="not_pending",
            )
        notes.append(
            f"only the tasks that still wait are changed ({one.target(jobs)}): the rest is {states_of(started)}"
        )
    job = jobs[0]
    if fields.get("nice", 0) < 0 and not (ctx.caller.is_admin or job.account in ctx.caller.coordinates):
        raise PermissionRefused(f"a nice value below 0 needs an operator of Slurm, and {ctx.caller.user} is none")
    check_names(
        {**fields, **({"account": job.account} if "qos" in fields and "account" not in fields else {})}, job.user, ctx
    )
    if fields.get("dependency"):
        notes += dependency_notes(fields["dependency"], ctx)
    return jobs, notes + _notes(job, fields, ctx)


def _notes(job: Job, fields: Mapping[str, Any], ctx: ToolContext) -> list[str]:
    notes = []
    if "nice" in fields and job.state != "PENDING":
        notes.append("nice only counts while a job waits: it would matter after a requeue")
    if partition := fields.get("partition"):
        limits = [p.max_time for p in partitions_for(partition, ctx)]
        asked = job.time_limit
        if asked is not None and limits and all(_below(limit, asked) for limit in limits):
            most = slurm_duration(max(limit or 0 for limit in limits))
            notes.append(
                f"its time limit {slurm_duration(asked)} is above what {partition} allows ({most}): "
                "it would stay pending until resize_job makes it shorter"
            )
    return notes


def _below(limit: int | None, asked: int) -> bool:
    return limit is not None and limit != UNLIMITED and (asked == UNLIMITED or asked > limit)


def updates(one: Picked, jobs: Sequence[Job], fields: Mapping[str, Any], ctx: ToolContext) -> list[Change]:
    """One change a field, with the value that takes it back."""
    job = ctx.backend.job(one_id(jobs[0].id))[0]
    changes = []
    for name, value in fields.items():
        before = present(job, name, ctx)
        per_cpu = job.raw.get("MinMemoryCPU") if name == "mem" else None
        by_hand = f"scontrol update JobId={one.target(jobs)} MinMemoryCPU={int(mebibytes(per_cpu or '') or 0)}"
        changes.append(Change(name, value, before, value, None if per_cpu else before, by_hand))
    return changes


def present(job: Job, name: str, ctx: ToolContext) -> Any:
    """A field's value now, as update_job would write it (memory per CPU says so, because it could not)."""
    if name in _SAME_NAME:
        return getattr(job, name)
    if name == "job_name":
        return job.name
    if name == "dependency":
        return re.sub(r"\([^)]*\)", "", job.dependency)
    if name == "begin":
        return time_text(job.eligible_time) if job.eligible_time and job.eligible_time > clock(ctx) else "now"
    per_cpu = job.raw.get("MinMemoryCPU")
    return f"{per_cpu} per CPU" if per_cpu else memory_text(job.mem_mb)
