"""What became of a change whose answer was lost: found out by looking, never by sending it again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from assistant.ledger.journal import Entry
from assistant.ledger.retry import Retry
from tools.base import Item, Outcome
from tools.durations import read_memory, read_seconds
from tools.slurm.backend import Backend, Operation
from tools.slurm.errors import AccountingUnavailable, SlurmError, UnknownJob
from tools.slurm.models import Job, JobQuery

ENDED = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "COMPLETING", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
    "PREEMPTED", "TIMEOUT",
}  # fmt: skip
REPEATABLE = frozenset({"cancel", "hold", "release", "suspend", "resume", "update_job", "update_node"})
"""Verbs that do no more when they are done twice (scancel, scontrol: all set a state, none adds to one)."""


def reconcile(backend: Backend, entry: Entry, retry: Retry) -> Item:
    """The outcome of an operation that may have happened: ok when Slurm shows it, else unknown."""
    try:
        if entry.operation.verb == "submit":
            return _found(retry.read(lambda: _sought(backend, entry.key)), entry)
        happened = retry.read(lambda: observed(backend, entry))
    except _NotYet as error:
        return _unknown(entry, f"the answer was lost; {error.message}")
    except SlurmError as error:
        return _unknown(entry, f"the answer was lost, and Slurm cannot be asked: {error.message}")
    if happened:
        return Item(entry.operation.target, Outcome.OK, "the answer was lost; Slurm shows that it was done")
    shown = "Slurm does not show it done" if happened is False else "Slurm's state cannot tell"
    return _unknown(entry, f"the answer was lost; {shown}")


class _NotYet(SlurmError):
    """Slurm may still be writing the job down."""

    transient = True


def _sought(backend: Backend, key: str) -> list[Job]:
    if jobs := backend.find_by_key(key):
        return jobs
    raise _NotYet("no job carries the key of this submission")


def _found(jobs: Sequence[Job], entry: Entry) -> Item:
    ids = sorted({base_id(job.id) for job in jobs}, key=int)
    if len(ids) == 1 and all(map(_refused, jobs)):
        text = f"the answer was lost; Slurm refused it ({jobs[0].reason}): job {ids[0]} never ran"
        return Item(ids[0], Outcome.FAILED, text, "refused")
    if len(ids) == 1:
        return Item(ids[0], Outcome.OK, "the answer was lost; the job was found by its key")
    return _unknown(entry, f"several jobs carry its key: {', '.join(ids)}")


def _refused(job: Job) -> bool:
    """slurmctld keeps a record of what it refused for its resources: FAILED, BadConstraints, no node (22.05)."""
    return job.state == "FAILED" and job.reason == "BadConstraints" and not job.node_list


def _unknown(entry: Entry, message: str) -> Item:
    text = f"{message}. `sask resume {entry.run}` looks again"
    return Item(entry.operation.target or entry.key, Outcome.UNKNOWN, text, "outcome_unknown", True)


def look_up(backend: Backend, entry: Entry, retry: Retry, user: str, now: float) -> Item | None:
    """Later, on resume: ok, unknown, or None when it certainly did not happen and may be done (again).

    ``user`` made the change, ``now`` is in seconds since the epoch. Raises SlurmError when Slurm cannot be asked.
    """
    if entry.operation.verb == "submit":
        if jobs := retry.read(lambda: backend.find_by_key(entry.key)):
            return _found(jobs, entry)
        return None if _never_submitted(backend, entry, retry, user, now) else _unknown(entry, _NO_PROOF)
    happened = retry.read(lambda: observed(backend, entry))
    if happened:
        return Item(entry.operation.target, Outcome.OK, "Slurm shows that it was done")
    repeatable = entry.operation.verb in REPEATABLE and not entry.operation.fields.get("signal")
    return None if repeatable else _unknown(entry, "Slurm's state cannot tell whether it was done")


_NO_PROOF = (
    "no job carries its key, but that it never ran is not proven (it was sent too recently, accounting does not "
    "answer, or jobs without a key were submitted at that time)"
)


def _never_submitted(backend: Backend, entry: Entry, retry: Retry, user: str, now: float) -> bool:
    """True only on proof: time enough has passed, and accounting shows no job that could be it.

    A job leaves the queue ``MinJobAge`` seconds after its end (man slurm.conf), so that the queue alone proves
    nothing; and accounting keeps comments only where ``AccountingStoreFlags`` has ``job_comment``.
    """
    if entry.intended is None:
        return True
    if now - entry.intended < retry.settle:
        return False
    sent = datetime.fromtimestamp(entry.intended)
    window = JobQuery(user=user, since=sent - timedelta(seconds=60), until=datetime.fromtimestamp(now))
    try:
        jobs = retry.read(lambda: backend.history(window))
    except AccountingUnavailable:
        return False
    return not any(_could_be(job, entry, sent, retry.settle) for job in jobs)


def _could_be(job: Job, entry: Entry, sent: datetime, settle: float) -> bool:
    name = entry.operation.fields.get("job_name")
    if "sask:" in job.comment or (name and job.name and job.name != name):
        return False
    late = timedelta(seconds=settle + 60)
    return job.submit_time is None or sent - timedelta(seconds=60) <= job.submit_time <= sent + late


def observed(backend: Backend, entry: Entry) -> bool | None:
    """Whether Slurm's state shows the operation done; None where the state cannot tell. Raises SlurmError."""
    operation = entry.operation
    if operation.verb == "update_node":
        return _node_shows(backend, operation)
    try:
        jobs = backend.job(operation.target)
    except UnknownJob:
        return True if operation.verb == "cancel" and not operation.fields.get("signal") else None
    return all(shows) if None not in (shows := [_job_shows(job, operation, entry.intended) for job in jobs]) else None


def _job_shows(job: Job, operation: Operation, intended: float | None) -> bool | None:
    match operation.verb:
        case "cancel":
            return None if operation.fields.get("signal") else job.state in ENDED
        case "hold":
            return job.priority == 0 or job.reason.startswith("JobHeld")
        case "release":
            return job.priority != 0 and not job.reason.startswith("JobHeld")
        case "suspend":
            return job.state == "SUSPENDED"
        case "resume":
            return job.state == "RUNNING"
        case "requeue":
            since = datetime.fromtimestamp(intended or 0)
            again = job.restarts > 0 and job.start_time is not None and job.start_time >= since
            return True if again or (job.restarts > 0 and job.state == "PENDING") else None
        case "update_job":
            return bool(operation.fields) and all(_same(job, name, value) for name, value in operation.fields.items())
        case _:
            return None


def _same(job: Job, name: str, value: Any) -> bool:
    """Whether a job has the value that an update asked for; what a Job does not carry counts as not shown."""
    match name:
        case "time_limit":
            return job.time_limit is not None and job.time_limit == read_seconds(str(value))
        case "mem":
            return job.mem_mb is not None and read_memory(f"{job.mem_mb}M") == read_memory(str(value))
        case "job_name":
            return job.name == str(value)
        case "nodes" | "gpus" | "nice" | "partition" | "qos" | "account" | "constraint" | "dependency":
            return str(getattr(job, name)) == str(value)
        case _:
            return False


def _node_shows(backend: Backend, operation: Operation) -> bool:
    out = ("DRAIN", "DOWN", "FAIL")
    states = [node.state for node in backend.nodes(operation.target)]
    if str(operation.fields.get("state", "")).upper() == "DRAIN":
        return bool(states) and all("DRAIN" in state for state in states)
    return bool(states) and not any(word in state for state in states for word in out)


def base_id(job_id: str) -> str:
    """``123_4``, ``123_[5-9]``, ``123+0`` → ``123``."""
    return job_id.partition("_")[0].partition("+")[0]
