"""Jobs that wait for others, and what becomes of them when those are cancelled."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tools.base import ToolContext
from tools.picking import Picked, base_id, covers, pick, states_of
from tools.slurm.errors import UnknownJob
from tools.slurm.models import Job

# A cancelled job has not ended well: sbatch(1), --dependency. Every other type is satisfied by its end.
_NEEDS_SUCCESS = ("afterok", "aftercorr")
Ending = dict[str, list[str]]
"""Ids that are cancelled, by the job that they are of."""


def after_cancel(picked: Sequence[Picked], pending: Sequence[Job]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(jobs that would never start, jobs that would start now), of those in the queue that are not cancelled too."""
    ending: Ending = {}
    for one in picked:
        ending.setdefault(base_id(one.asked), []).append(one.asked)
    waiting = [job for job in pending if job.dependency and not _is_among(ending, job.id)]
    lost = {job.id for job in waiting if "?" not in job.dependency and _needs(job, ending)}
    while more := {job.id for job in waiting if job.id not in lost and _waits_for(job, lost)}:
        lost |= more
    freed = [job.id for job in waiting if job.id not in lost and _refers(job, ending)]
    return tuple(sorted(lost, key=_number)), tuple(freed)


def parts(dependency: str) -> list[tuple[str, str]]:
    """(type, id) pairs of ``afterok:1(unfulfilled),afterany:2_*``; the id is empty for singleton."""
    found = []
    for part in re.split(r"[,?]", dependency):
        kind, *ids = part.partition("(")[0].split(":")
        found += [(kind, re.sub(r"\+\d+$|_\*$|\(.*", "", one)) for one in ids] or [(kind, "")]
    return found


def _needs(job: Job, ending: Ending) -> bool:
    return any(kind in _NEEDS_SUCCESS and _is_among(ending, one) for kind, one in parts(job.dependency))


def _refers(job: Job, ending: Ending) -> bool:
    return any(one and _is_among(ending, one) for _, one in parts(job.dependency))


def _waits_for(job: Job, lost: set[str]) -> bool:
    bases = {base_id(one) for one in lost}
    return "?" not in job.dependency and any(one and base_id(one) in bases for _, one in parts(job.dependency))


def _is_among(ending: Ending, job_id: str) -> bool:
    """Whether a job, or any task of it, is cancelled."""
    return any(covers(asked, job_id) or job_id == base_id(job_id) for asked in ending.get(base_id(job_id), ()))


def _number(job_id: str) -> int:
    return int(base_id(job_id))


def dependency_notes(dependency: str, ctx: ToolContext) -> list[str]:
    """What Slurm would not say of a dependency. Raises ``UnknownJob``: Slurm takes a job that it does not know for
    one that has ended well, and starts at once (tried on 22.05).
    """
    named = [(kind, one) for kind, one in parts(dependency) if one and not one.startswith("$")]
    picked, unknown = pick(list(dict.fromkeys(one for _, one in named)), ctx)
    if unknown:
        raise UnknownJob(f"dependency {dependency}: {unknown[0].message}")
    by_id = {one.asked: one for one in picked}
    notes = []
    for kind, job_id in named:
        one = by_id[job_id]
        state = states_of(one.jobs)
        if one.forgotten:
            notes.append(
                f"Slurm has forgotten {job_id} (it ended {state}) and takes the dependency on it for satisfied"
            )
        elif kind in _NEEDS_SUCCESS and not one.live and state not in ("COMPLETED", "COMPLETING"):
            notes.append(f"{job_id} ended {state}: {kind} can never be satisfied")
        elif not one.live:
            notes.append(f"{job_id} is {state} already")
    return notes
