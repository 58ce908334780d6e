"""The order of a list of jobs, and its first page: running, other live ones, pending by priority, ended from the
latest on; within these by number."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from tools.slurm.models import Job, Page

ENDED = frozenset(
    {"COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE"}
)
_ORDER = ("RUNNING", "COMPLETING", "SUSPENDED", "CONFIGURING", "PENDING")


def ordered(jobs: Iterable[Job]) -> list[Job]:
    return sorted(jobs, key=_key)


def page_of(jobs: Sequence[Job], most: int) -> Page:
    """A page of jobs that were read whole."""
    return Page(tuple(ordered(jobs)[:most]), len(jobs), by_state((job.state, job.array_size) for job in jobs))


def by_state(counted: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Sums of (state, how many), the most first."""
    counts: Counter[str] = Counter()
    for state, count in counted:
        counts[state] += count
    return dict(counts.most_common())


def rank(state: str) -> int:
    if state in ENDED:
        return len(_ORDER) + 1
    return _ORDER.index(state) if state in _ORDER else len(_ORDER)


def numbers(job_id: str) -> tuple[int, ...]:
    """``(5, 2)`` of ``5_2``, ``5_[2-9]`` and ``5+2``."""
    return tuple(int(part) for part in re.findall(r"\d+", job_id)[:2])


def _key(job: Job) -> tuple[int, float, tuple[int, ...]]:
    if job.state in ENDED:
        return rank(job.state), -(job.end_time.timestamp() if job.end_time else 0), numbers(job.id)
    return rank(job.state), -float(job.priority or 0) if job.state == "PENDING" else 0.0, numbers(job.id)
