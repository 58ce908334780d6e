"""The queue and the history as one list without duplicates."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tools.slurm.backend import Backend
from tools.slurm.errors import AccountingUnavailable
from tools.slurm.models import Job, JobQuery, Page
from tools.slurm.paging import ENDED, page_of

LOOK_BACK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Found:
    """The first jobs in order: running, other live ones, pending by priority, ended from the latest on."""

    page: Page
    since: datetime | None = None
    """Where the history begins; None when only the queue was read."""
    notes: tuple[str, ...] = ()


def find_jobs(backend: Backend, query: JobQuery, now: datetime, most: int) -> Found:
    """Jobs of the queue; with a past state or a period also of accounting.

    ``states`` are present states; a period holds the jobs that were in the system at some time in it. Accounting
    hears of an end some seconds late, so what slurmctld still remembers of ended jobs (MinJobAge, slurm.conf(5)) is
    read too; without accounting that is all, with a note.
    """
    past = query.since or query.until or any(state in ENDED for state in query.states)
    if not past:
        return Found(backend.page(replace(query, since=None, until=None), most))
    since = query.since or (query.until or now) - LOOK_BACK
    remembered = backend.queue(replace(query, states=query.states or ("all",), since=None, until=None))
    known = [job for job in remembered if _within(job, since, query.until)]
    try:
        ended = _ended(backend, replace(query, since=since, until=query.until or now + timedelta(minutes=1)))
    except AccountingUnavailable as away:
        note = f"no accounting ({away.message}): only what slurmctld still remembers of ended jobs"
        return Found(page_of(known, most), since, (note,))
    return Found(page_of([*known, *_not_in(remembered, ended)], most), since)


def same_job(one: str) -> str:
    """An id without an array's throttle: ``5_[2-9%3]`` and ``5_[2-9]`` are the same."""
    return re.sub(r"%\d+(?=\]$)", "", one)


def _ended(backend: Backend, query: JobQuery) -> list[Job]:
    """Ended jobs only: what accounting calls running may have ended while slurmdbd was away."""
    states = tuple(state for state in query.states if state in ENDED)
    if query.states and not states:
        return []
    found = backend.history(replace(query, states=states))
    return [job for job in found if job.state in (states or ENDED)]


def _within(job: Job, since: datetime, until: datetime | None) -> bool:
    begun = until is None or job.submit_time is None or job.submit_time <= until
    return begun and not (job.state in ENDED and job.end_time is not None and job.end_time < since)


def _not_in(remembered: Iterable[Job], ended: Iterable[Job]) -> list[Job]:
    """A requeued job is live again, though accounting also has its earlier end."""
    known = {same_job(job.id) for job in remembered}
    return [job for job in {same_job(job.id): job for job in ended}.values() if same_job(job.id) not in known]
