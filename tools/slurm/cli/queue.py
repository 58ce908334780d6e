"""Jobs by squeue, scontrol, sacct and sprio."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from tools.slurm.cli.runner import Runner, operand, option
from tools.slurm.errors import SlurmUnreachable, UnknownJob
from tools.slurm.failures import failure
from tools.slurm.models import Estimate, Job, JobQuery, Step
from tools.slurm.parse import jobs, records, values
from tools.slurm.parse.values import moment, text

# sprio(1), --format: the weighted factors.
_FACTORS = {
    "PRIORITY": "%Y", "SITE": "%S", "AGE": "%A", "ASSOC": "%B", "FAIRSHARE": "%F", "JOBSIZE": "%J", "PARTITION": "%P",
    "QOS": "%Q", "NICE": "%N",
}  # fmt: skip


def queue(runner: Runner, query: JobQuery, separator: str) -> list[Job]:
    """Jobs that slurmctld knows: those not finished, unless ``states`` or ``ids`` ask for others.

    An array's pending tasks are one record. Ended jobs stay for MinJobAge (slurm.conf(5), 300 s by default).
    """
    command = ["squeue", "--all", "--noheader", *squeue_filters(query)]
    command.append(option("Format", ",".join(f"{name}:{separator}" for name in jobs.SQUEUE)))
    answer = runner.ask(command)
    # A job long gone is an error of squeue's; a user without an account here is one too, with exit status 0.
    if query.ids and "Invalid job id specified" in answer.err:
        return []
    if answer.code != 0 or "Invalid user" in answer.err:
        raise failure(answer.said, command)
    found = [jobs.squeue_job(row) for row in _rows(answer.out, jobs.SQUEUE, separator, command)]
    return holding(query.ids, found)


def job(runner: Runner, job_id: str, separator: str) -> list[Job]:
    """All records of one id from slurmctld, with the files and ``raw``. Raises ``UnknownJob``.

    Of ``5_[2-9]`` they are those that hold a task of it: scontrol shows whole arrays and single tasks only.
    """
    found = holding([job_id], _records(runner, job_id.partition("_[")[0], separator))
    if not found:
        raise UnknownJob(f"no job {job_id} in the queue", code="ESLURM_INVALID_JOB_ID")
    return found


def holding(ids: Sequence[str], records: list[Job]) -> list[Job]:
    """Of the records that Slurm gave for ``ids``, those with a task of ``5_[2-9]``: Slurm takes no such range."""
    if not any("_[" in asked for asked in ids):
        return records
    return [record for record in records if any(_names(asked, record.id) for asked in ids)]


def _names(asked: str, job_id: str) -> bool:
    same = re.split(r"[_+]", asked)[0] == re.split(r"[_+]", job_id)[0]
    return same and (not _tasks(asked) or bool(_tasks(asked) & _tasks(job_id)))


def _tasks(job_id: str) -> set[int]:
    return {task for part in values.task_ranges(job_id.partition("_")[2].strip("[]")) for task in part}


def _ids(query: JobQuery) -> list[str]:
    whole = dict.fromkeys(asked.partition("_[")[0] for asked in query.ids)
    return [option("jobs", ",".join(whole))] if whole else []


def _records(runner: Runner, job_id: str, separator: str) -> list[Job]:
    command = ["scontrol", "show", "job", operand(job_id, "job id")]
    answer = runner.ask(command)
    if answer.code != 0 or not answer.out.startswith("JobId="):
        if "not found" in answer.said:
            raise UnknownJob(f"no job {job_id} in the queue", code="ESLURM_INVALID_JOB_ID", command=command)
        raise failure(answer.said, command)
    try:
        return [jobs.scontrol_job(fields) for fields in records.job_records(answer.out)]
    except records.Ambiguous:
        # Its owner chose a name that reads like Slurm's own lines: believe squeue, whose separator nobody knows.
        return queue(runner, JobQuery(ids=(job_id,), states=("all",)), separator)


def history(runner: Runner, query: JobQuery, separator: str) -> list[Job]:
    """Jobs that accounting knows, from ``since`` (sacct's default: midnight) on; one a job, no steps.

    A job that shrank has a row for each size; its last one is what it is.
    """
    command = ["sacct", "--allocations", *_sacct_filters(query), *_sacct_columns(jobs.SACCT, separator)]
    output = runner.read(command)
    rows = _rows(output, jobs.SACCT, separator, command)
    return holding(query.ids, list({row["JobID"]: jobs.sacct_job(row) for row in rows}.values()))


def steps(runner: Runner, job_id: str, separator: str) -> list[Step]:
    """A job's steps (batch, extern, srun's) from accounting. Raises ``UnknownJob``, ``AccountingUnavailable``."""
    command = ["sacct", option("jobs", operand(job_id, "job id")), *_sacct_columns(jobs.STEPS, separator)]
    rows = list(_rows(runner.read(command), jobs.STEPS, separator, command))
    if not rows:
        raise UnknownJob(f"no job {job_id} in accounting", command=command)
    return [jobs.sacct_step(row) for row in rows if "." in row["JobID"]]


def expected_start(runner: Runner, job_id: str, separator: str) -> Estimate:
    """When the scheduler means to start a pending job and where; no time where it has none. Raises ``UnknownJob``.

    These are the columns of ``squeue --start``, which itself would not take a format.
    """
    names = ("StartTime", "SchedNodes", "Reason")
    wanted = ",".join(f"{name}:{separator}" for name in names)
    command = ["squeue", "--all", "--noheader", "--states=PENDING", option("jobs", operand(job_id, "job id"))]
    command.append(option("Format", wanted))
    rows = list(_rows(runner.read(command), names, separator, command))
    if not rows:
        raise UnknownJob(f"no pending job {job_id}", code="ESLURM_INVALID_JOB_ID", command=command)
    first = min(rows, key=lambda row: moment(row["StartTime"]) or datetime.max)
    return Estimate(moment(first["StartTime"]), text(first["SchedNodes"]), text(first["Reason"]))


def priority_factors(runner: Runner, job_id: str) -> dict[str, float]:
    """Weighted priority factors of a pending job by sprio's names (AGE, FAIRSHARE, QOS …); empty for others."""
    command = ["sprio", "--noheader", option("jobs", operand(job_id, "job id"))]
    command.append(option("format", "|".join(_FACTORS.values())))
    answer = runner.ask(command)
    if answer.code != 0:
        raise failure(answer.said, command)
    if "|" not in answer.out:  # "Unable to find jobs matching …", with exit status 0
        return {}
    values = answer.out.splitlines()[0].split("|")
    return {name: float(value) for name, value in zip(_FACTORS, values, strict=True) if value.strip()}


def squeue_filters(query: JobQuery) -> list[str]:
    found = [
        *_ids(query),
        option("states", ",".join(query.states)) if query.states else option("states", "all") if query.ids else "",
        option("user", query.user) if query.user else "",
        option("partition", query.partition) if query.partition else "",
        option("account", query.account) if query.account else "",
        option("qos", query.qos) if query.qos else "",
        option("name", query.name) if query.name else "",
        option("nodelist", query.node) if query.node else "",
    ]
    return [word for word in found if word]


def _sacct_filters(query: JobQuery) -> list[str]:
    found = [
        *_ids(query),
        option("user", query.user) if query.user else "--allusers",
        option("state", ",".join(query.states)) if query.states else "",
        option("partition", query.partition) if query.partition else "",
        option("accounts", query.account) if query.account else "",
        option("qos", query.qos) if query.qos else "",
        option("name", query.name) if query.name else "",
        option("nodelist", query.node) if query.node else "",
        option("starttime", _time(query.since)) if query.since else "",
        # With a state and no end, sacct looks at one moment alone and finds nothing (sacct(1), --state).
        option("endtime", _time(query.until) if query.until else "now") if query.until or query.since else "",
    ]
    return [word for word in found if word]


def _time(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%S")


def _sacct_columns(names: tuple[str, ...], separator: str) -> list[str]:
    return [
        "--noheader",
        "--parsable",
        "--noconvert",
        option("delimiter", separator),
        option("format", ",".join(names)),
    ]


def _rows(output: str, names: tuple[str, ...], separator: str, command: list[str]) -> list[dict[str, str]]:
    try:
        return list(records.columns(output, names, separator))
    except ValueError as error:
        raise SlurmUnreachable(
            f"{command[0]}'s answer is cut off: {error}", code="truncated", command=command
        ) from None
