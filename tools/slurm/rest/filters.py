"""Choosing jobs on our side: slurmrestd has few filters, and none of squeue's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from tools.slurm.cli.queue import holding
from tools.slurm.hostlist import expand
from tools.slurm.models import Job, JobQuery
from tools.slurm.rest.jobs import ended


def root(job_id: str) -> str:
    """The number before ``_`` or ``+``."""
    return job_id.partition("_")[0].partition("+")[0]


def named(job_id: str, jobs: Sequence[Job]) -> list[Job]:
    """Of a job's records those that ``job_id`` means: of ``5_4`` the task, or the record that still holds it."""
    if exact := [job for job in jobs if job.id == job_id]:
        return exact
    base, _, task = job_id.partition("_")
    if "+" in job_id:
        return []
    return holding([f"{base}_[{task}]" if task.isdigit() else job_id], list(jobs))


def in_queue(jobs: Iterable[Job], query: JobQuery) -> list[Job]:
    """As squeue chooses: without ids and states those that have not ended."""
    states = _words(query.states)
    everything = "ALL" in states or (query.ids and not states)
    found = [job for job in jobs if everything or (job.state in states if states else not ended(job))]
    return _matching(found, query)


def in_history(jobs: Iterable[Job], query: JobQuery) -> list[Job]:
    """As sacct chooses; of several rows of a job its last one."""
    states = _words(query.states)
    if query.since and not query.ids and not states:
        # sacct(1), --starttime: what was eligible in the period; slurmrestd also gives what waits for a later time.
        end = query.until or datetime.now()
        jobs = [job for job in jobs if job.eligible_time and job.eligible_time <= end]
    rows = {job.id: job for job in jobs if not states or "ALL" in states or job.state in states}
    return _matching(rows.values(), query)


def history_params(query: JobQuery, *, typed: bool) -> dict[str, str | list[str]]:
    """slurmdbd's own filters. Without ids and ``since`` it is from midnight on, as sacct has it.

    Of a list the typed versions want each part by itself: 24.11 refuses ``step=1%2C2`` and does not parse ``step=1,2``.
    """
    params: dict[str, str | list[str]] = {"skip_steps": "true"}
    if query.ids:
        ids = list(dict.fromkeys(asked.partition("_[")[0] for asked in query.ids))
        params["step"] = ids if typed else ",".join(ids)
    since = query.since or (None if query.ids else datetime.now().replace(hour=0, minute=0, second=0, microsecond=0))
    if since is not None:
        params |= {"start_time": _epoch(since, typed), "end_time": _epoch(query.until or datetime.now(), typed)}
    named = {"partition": query.partition, "account": query.account, "job_name": query.name}
    params |= {key: value for key, value in named.items() if value and value.isprintable()}
    if typed:  # without it a job that has not ended is said to end at the end of the period
        params["disable_truncate_usage_time"] = "true"
    return params | ({"users": query.user.split(",")} if typed and query.user.isprintable() and query.user else {})


def _epoch(when: datetime, typed: bool) -> str:
    """``uts…`` is parse_time(3)'s own form, the same in every time zone; the typed versions want the bare number."""
    return f"{'' if typed else 'uts'}{int(when.timestamp())}"


def _matching(jobs: Iterable[Job], query: JobQuery) -> list[Job]:
    nodes = set(expand(query.node)) if query.node else set()
    found = [
        job
        for job in jobs
        if _asked_for(job, query.ids)
        and _one_of(job.user, query.user)
        and _one_of(job.account, query.account)
        and _one_of(job.qos, query.qos)
        and (_one_of(job.name, query.name) or job.name == query.name)
        and (not query.partition or set(job.partition.split(",")) & set(query.partition.split(",")))
        and (not nodes or nodes & set(expand(job.node_list)))
    ]
    return holding(query.ids, found)


def _asked_for(job: Job, ids: tuple[str, ...]) -> bool:
    return not ids or any(root(job.id) == root(asked) for asked in ids)


def _one_of(value: str, wanted: str) -> bool:
    return not wanted or value in wanted.split(",")


def _words(states: tuple[str, ...]) -> set[str]:
    return {word.upper() for state in states for word in state.split(",")}
