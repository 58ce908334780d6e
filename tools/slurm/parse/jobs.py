"""Jobs and steps out of scontrol's, squeue's and sacct's fields."""

from __future__ import annotations

from tools.slurm.models import Job, Step
from tools.slurm.parse import values as v

SQUEUE = (
    "JobArrayID", "UserName", "Account", "Partition", "QOS", "State", "Reason", "NumNodes", "NodeList", "NumCPUs",
    "NumTasks", "tres-alloc", "tres-per-node", "tres-per-job", "tres-per-task", "TimeLimit", "TimeUsed", "SubmitTime",
    "EligibleTime", "StartTime", "EndTime", "PriorityLong", "Nice", "Dependency", "exit_code", "Feature", "Reservation",
    "Licenses", "OverSubscribe", "RestartCnt", "WorkDir", "Command", "Comment", "Name",
)  # fmt: skip
"""What ``squeue -O`` is asked for. Not STDOUT: 22.05 names the file of an array task wrongly."""

SACCT = (
    "JobID", "User", "Account", "Partition", "QOS", "State", "ExitCode", "Submit", "Eligible", "Start", "End",
    "ElapsedRaw", "TimelimitRaw", "NNodes", "NodeList", "AllocCPUS", "ReqCPUS", "ReqMem", "ReqTRES", "AllocTRES",
    "Priority", "Constraints", "Reservation", "WorkDir", "Comment", "JobName",
)  # fmt: skip
STEPS = (
    "JobID", "JobName", "State", "ExitCode", "ElapsedRaw", "TotalCPU", "AllocCPUS", "MaxRSS", "NodeList",
)  # fmt: skip
# How scontrol prints NO_VAL, the task number of an array that has not been split into tasks yet.
_NO_TASK = "4294967294"


def squeue_job(row: dict[str, str]) -> Job:
    """A row of :data:`SQUEUE`. Without accounting Slurm says ``N/A`` for account and QoS, which become ``""``."""
    nodes = v.number(row["NumNodes"])
    tres = v.text(row["tres-alloc"])
    per_task = (row["tres-per-task"], v.number(row["NumTasks"]))
    gpus, kind = v.gpus_of(tres, nodes, row["tres-per-node"], row["tres-per-job"], per_task)
    return Job(
        id=row["JobArrayID"],
        name=row["Name"],
        user=row["UserName"],
        account=v.text(row["Account"]),
        partition=row["Partition"],
        qos=v.text(row["QOS"]),
        state=v.state(row["State"]),
        reason=v.text(row["Reason"]),
        nodes=nodes,
        node_list=v.text(row["NodeList"]),
        cpus=v.number(row["NumCPUs"]),
        gpus=gpus,
        gpu_type=kind,
        mem_mb=_share_of_memory(tres, nodes),
        time_limit=v.seconds(row["TimeLimit"]),
        elapsed=v.seconds(row["TimeUsed"]),
        submit_time=v.moment(row["SubmitTime"]),
        eligible_time=v.moment(row["EligibleTime"]),
        start_time=v.moment(row["StartTime"]),
        end_time=v.moment(row["EndTime"]),
        priority=v.whole(row["PriorityLong"]),
        nice=v.whole(row["Nice"]),
        dependency=v.text(row["Dependency"]),
        array_size=v.array_size(_tasks(row["JobArrayID"])),
        exit_code=v.exit_code(row["exit_code"]),
        working_directory=v.text(row["WorkDir"]),
        command=v.text(row["Command"]),
        comment=v.text(row["Comment"]),
        constraint=v.text(row["Feature"]),
        reservation=v.text(row["Reservation"]),
        licenses=v.text(row["Licenses"]),
        exclusive=row["OverSubscribe"].strip() == "NO",
        restarts=v.number(row["RestartCnt"]),
        tres=tres,
    )


def scontrol_job(fields: dict[str, str]) -> Job:
    """A record of ``scontrol show job``; everything Slurm said is kept in ``raw``."""
    get = _Getter(fields)
    nodes = v.number(get("NumNodes"))
    tres = get("TRES") or get("AllocTRES") or get("ReqTRES")
    per_task = (get("TresPerTask"), v.number(get("NumTasks")))
    gpus, kind = v.gpus_of(tres, nodes, get("TresPerNode"), get("TresPerJob"), per_task)
    own_memory = v.mebibytes(get("MinMemoryNode"))
    job_id = _scontrol_id(get)
    return Job(
        id=job_id,
        name=fields.get("JobName", ""),
        user=get("UserId").partition("(")[0],
        account=get("Account"),
        partition=get("Partition"),
        qos=get("QOS"),
        state=v.state(get("JobState")),
        reason=get("Reason"),
        nodes=nodes,
        node_list=get("NodeList"),
        cpus=v.number(get("NumCPUs")),
        gpus=gpus,
        gpu_type=kind,
        mem_mb=_share_of_memory(tres, nodes) if own_memory is None else int(own_memory),
        time_limit=v.seconds(get("TimeLimit")),
        elapsed=v.seconds(get("RunTime")),
        submit_time=v.moment(get("SubmitTime")),
        eligible_time=v.moment(get("EligibleTime")),
        start_time=v.moment(get("StartTime")),
        end_time=v.moment(get("EndTime")),
        priority=v.whole(get("Priority")),
        nice=v.whole(get("Nice")),
        dependency=get("Dependency"),
        array_size=v.array_size(get("ArrayTaskId")),
        exit_code=get("ExitCode"),
        working_directory=get("WorkDir"),
        stdout=get("StdOut").replace(_NO_TASK, "%a"),
        stderr=get("StdErr").replace(_NO_TASK, "%a"),
        command=get("Command"),
        comment=get("Comment"),
        constraint=get("Features"),
        reservation=get("Reservation"),
        licenses=get("Licenses"),
        exclusive=get("OverSubscribe") == "NO",
        restarts=v.number(get("Restarts")),
        tres=tres,
        raw=fields,
    )


def sacct_job(row: dict[str, str]) -> Job:
    """An allocation's row of :data:`SACCT`. Accounting keeps no file names before 24.05: those stay empty."""
    nodes = v.number(row["NNodes"])
    asked, given = row["ReqTRES"], row["AllocTRES"]
    gpus, kind = v.gpus_of(given or asked, nodes)
    if not kind:
        kind = v.gpus_of(asked, nodes)[1]
    return Job(
        id=row["JobID"],
        name=row["JobName"],
        user=row["User"],
        account=row["Account"],
        partition=row["Partition"],
        qos=row["QOS"],
        state=v.state(row["State"]),
        nodes=nodes,
        node_list=v.text(row["NodeList"].replace("None assigned", "")),
        cpus=v.number(row["AllocCPUS"]) or v.number(row["ReqCPUS"]),
        gpus=gpus,
        gpu_type=kind,
        mem_mb=_share_of_memory(asked, nodes),
        time_limit=v.seconds(row["TimelimitRaw"]) if "UNL" in row["TimelimitRaw"] else v.minutes(row["TimelimitRaw"]),
        elapsed=v.whole(row["ElapsedRaw"]),
        submit_time=v.moment(row["Submit"]),
        eligible_time=v.moment(row["Eligible"]),
        start_time=v.moment(row["Start"]),
        end_time=v.moment(row["End"]),
        priority=v.whole(row["Priority"]),
        array_size=v.array_size(_tasks(row["JobID"])),
        exit_code=row["ExitCode"],
        working_directory=row["WorkDir"],
        comment=row["Comment"],
        constraint=row["Constraints"],
        reservation=row["Reservation"],
        tres=asked,
    )


def sacct_step(row: dict[str, str]) -> Step:
    """A step's row of :data:`STEPS`."""
    return Step(
        id=row["JobID"],
        name=row["JobName"],
        state=v.state(row["State"]),
        exit_code=row["ExitCode"],
        elapsed=v.whole(row["ElapsedRaw"]),
        total_cpu=v.exact_seconds(row["TotalCPU"]),
        cpus=v.number(row["AllocCPUS"]),
        max_rss_mb=_bytes(row["MaxRSS"]),
        node_list=v.text(row["NodeList"].replace("None assigned", "")),
    )


class _Getter:
    """Fields by name, ``""`` for what is absent or Slurm's nothing."""

    def __init__(self, fields: dict[str, str]) -> None:
        self._fields = fields

    def __call__(self, key: str) -> str:
        return v.text(self._fields.get(key, ""))


def _scontrol_id(get: _Getter) -> str:
    if array := get("ArrayJobId"):
        task = get("ArrayTaskId")
        return f"{array}_{task}" if task.isdigit() else f"{array}_[{task}]"
    if leader := get("HetJobId"):
        return f"{leader}+{get('HetJobOffset')}"
    return get("JobId")


def _tasks(job_id: str) -> str:
    return job_id.partition("[")[2].rstrip("]")


def _share_of_memory(tres: str, nodes: int) -> int | None:
    total = v.mebibytes(v.pairs(tres).get("mem", ""))
    return None if total is None else int(total / max(nodes, 1))


def _bytes(value: str) -> float | None:
    """MiB of sacct's memory with --noconvert: a number and K, or plain bytes where there is no letter."""
    amount = v.mebibytes(value)
    return amount / 1024**2 if amount is not None and value.strip().isdigit() else amount
