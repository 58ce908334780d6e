"""The queue and the history as one list without duplicates."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tools.slurm.backend import Backend
from tools.slurm.errors import AccountingUnavailable
from tools.slurm.models import Job, JobQuery
from tools.views import ENDED

LOOK_BACK = timedelta(days=7)
_ORDER = ("RUNNING", "COMPLETING", "SUSPENDED", "CONFIGURING", "PENDING")


@dataclass(frozen=True, slots=True)
class Found:
    """Jobs in order: running, other live ones, pending by priority, ended from the latest on."""

    jobs: list[Job]
    since: datetime | None = None
    """Where the history begins; None when only the queue was read."""
    notes: tuple[str, ...] = ()


def find_jobs(backend: Backend, query: JobQuery, now: datetime) -> Found:
    """Jobs of the queue; with a past state or a period also of accounting.

    ``states`` are present states; a period holds the jobs that were in the system at some time in it. Without
    accounting there is only what slurmctld still remembers (MinJobAge, slurm.conf(5)), with a note.
    """
    past = query.since or query.until or any(state in ENDED for state in query.states)
    if not past:
        return Found(_ordered(backend.queue(replace(query, since=None, until=None))))
    since = query.since or (query.until or now) - LOOK_BACK
    live = _live(backend, query)
    try:
        ended = _ended(backend, replace(query, since=since, until=query.until or now + timedelta(minutes=1)))
        return Found(_ordered([*live, *_not_in(live, ended)]), since)
    except AccountingUnavailable as away:
        note = f"no accounting ({away.message}): only what slurmctld still remembers of ended jobs"
    recent = backend.queue(replace(query, states=query.states or ("all",), since=None, until=None))
    kept = [job for job in recent if job.state not in ENDED or (job.end_time or now) >= since]
    return Found(_ordered(_before(kept, query.until)), since, (note,))


def same_job(one: str) -> str:
    """An id without an array's throttle: ``5_[2-9%3]`` and ``5_[2-9]`` are the same."""
    return re.sub(r"%\d+(?=\]$)", "", one)


def _live(backend: Backend, query: JobQuery) -> list[Job]:
    states = tuple(state for state in query.states if state not in ENDED)
    if query.states and not states:
        return []
    return _before(backend.queue(replace(query, states=states, since=None, until=None)), query.until)


def _ended(backend: Backend, query: JobQuery) -> list[Job]:
    """Ended jobs only: what accounting calls running may have ended while slurmdbd was away."""
    states = tuple(state for state in query.states if state in ENDED)
    if query.states and not states:
        return []
    found = backend.history(replace(query, states=states))
    return [job for job in found if job.state in (states or ENDED)]


def _before(jobs: Iterable[Job], until: datetime | None) -> list[Job]:
    return [job for job in jobs if until is None or job.submit_time is None or job.submit_time <= until]


def _not_in(live: Iterable[Job], ended: Iterable[Job]) -> list[Job]:
    """A requeued job is live again, though accounting also has its earlier end."""
    known = {same_job(job.id) for job in live}
    return [job for job in {same_job(job.id): job for job in ended}.values() if same_job(job.id) not in known]


def _ordered(jobs: Iterable[Job]) -> list[Job]:
    def key(job: Job) -> tuple[int, float, tuple[int, ...]]:
        numbers = tuple(int(part) for part in re.findall(r"\d+", job.id)[:2])
        if job.state in ENDED:
            return len(_ORDER) + 1, -(job.end_time.timestamp() if job.end_time else 0), numbers
        place = _ORDER.index(job.state) if job.state in _ORDER else len(_ORDER)
        return place, -float(job.priority or 0) if job.state == "PENDING" else 0.0, numbers

    return sorted(jobs, key=key)
