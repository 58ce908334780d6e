"""What a change touches, in numbers and rows: the blast of a plan and the jobs in its preview."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tools.base import Blast, Item, Outcome, ToolContext
from tools.picking import Picked, base_id
from tools.slurm.models import Job, JobQuery
from tools.views import bounded, job_row

Chosen = Sequence[tuple[Picked, Sequence[Job]]]
"""What was asked for, each with those of its records that an operation touches."""
# The scheduler changes these from minute to minute: an approval must not be void for that.
_UNSTEADY = ("start_time", "end_time", "reason")
_MORE = "list_jobs shows the rest"


def rows_before(jobs: Sequence[Job]) -> dict[str, Any]:
    """The jobs of a preview, without what changes by itself while somebody makes up their mind."""
    return bounded([steady_row(job) for job in jobs], "jobs", _MORE)


def steady_row(job: Job) -> dict[str, Any]:
    return {key: value for key, value in job_row(job).items() if key not in _UNSTEADY}


def blast_of(chosen: Chosen, *, ends: bool = False, dependents: Iterable[str] = ()) -> Blast:
    """``ends``: the work done so far is thrown away, so the node-hours of it count."""
    jobs = [job for _, records in chosen for job in records]
    return Blast(
        jobs=len({base_id(job.id) for job in jobs}),
        tasks=sum(one.tasks(records) for one, records in chosen),
        users=tuple(dict.fromkeys(job.user for job in jobs)),
        nodes=sum(job.nodes for job in jobs if job.node_list),
        node_hours=round(sum(used_node_hours(job) for job in jobs), 2) if ends else 0.0,
        dependents=tuple(dependents),
    )


def used_node_hours(job: Job) -> float:
    return (job.elapsed or 0) * job.nodes / 3600 if job.node_list else 0.0


def seen_after(items: Sequence[Item], ctx: ToolContext) -> dict[str, Any]:
    """Slurm's view of the jobs that an operation succeeded for."""
    ids = tuple(dict.fromkeys(base_id(item.id) for item in items if item.outcome is Outcome.OK))
    jobs = ctx.backend.queue(JobQuery(ids=ids)) if ids else []
    return bounded([job_row(job) for job in jobs], "jobs", _MORE)
