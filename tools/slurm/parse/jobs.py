"""Jobs and steps out of squeue's, scontrol's and sacct's fields: one table a command, ours to (Slurm's, reader)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from tools.slurm.models import Job, Step
from tools.slurm.parse import values as v

Table = Mapping[str, tuple[str, Callable[[str], Any]]]
# How scontrol prints NO_VAL, the task number of an array that has not been split into tasks yet.
_NO_TASK = "4294967294"


def _file(value: str) -> str:
    return v.text(value).replace(_NO_TASK, "%a")


def _nodes(value: str) -> str:
    return v.text(value.replace("None assigned", ""))


def _limit_in_minutes(value: str) -> int | None:
    return v.minutes(value.replace("Partition_Limit", "").replace("UNLIMITED", "-1"))


_SQUEUE: Table = {
    "id": ("JobArrayID", str), "name": ("Name", str), "user": ("UserName", str), "account": ("Account", v.text),
    "partition": ("Partition", str), "qos": ("QOS", v.text), "state": ("State", v.state), "reason": ("Reason", v.text),
    "nodes": ("NumNodes", v.number), "node_list": ("NodeList", v.text), "cpus": ("NumCPUs", v.number),
    "time_limit": ("TimeLimit", v.seconds), "elapsed": ("TimeUsed", v.seconds),
    "submit_time": ("SubmitTime", v.moment), "eligible_time": ("EligibleTime", v.moment),
    "start_time": ("StartTime", v.moment), "end_time": ("EndTime", v.moment), "priority": ("PriorityLong", v.whole),
    "nice": ("Nice", v.whole), "dependency": ("Dependency", v.text), "exit_code": ("exit_code", v.exit_code),
    "working_directory": ("WorkDir", v.text), "command": ("Command", v.text), "comment": ("Comment", v.text),
    "constraint": ("Feature", v.text), "reservation": ("Reservation", v.text), "licenses": ("Licenses", v.text),
    "restarts": ("RestartCnt", v.number), "tres": ("tres-alloc", v.text),
}  # fmt: skip
_SCONTROL: Table = {
    "name": ("JobName", str), "account": ("Account", v.text), "partition": ("Partition", v.text),
    "qos": ("QOS", v.text), "state": ("JobState", v.state), "reason": ("Reason", v.text),
    "nodes": ("NumNodes", v.number), "node_list": ("NodeList", v.text), "cpus": ("NumCPUs", v.number),
    "time_limit": ("TimeLimit", v.seconds), "elapsed": ("RunTime", v.seconds), "submit_time": ("SubmitTime", v.moment),
    "eligible_time": ("EligibleTime", v.moment), "start_time": ("StartTime", v.moment),
    "end_time": ("EndTime", v.moment), "priority": ("Priority", v.whole), "nice": ("Nice", v.whole),
    "dependency": ("Dependency", v.text), "exit_code": ("ExitCode", v.text), "working_directory": ("WorkDir", v.text),
    "stdout": ("StdOut", _file), "command": ("Command", v.text),
    "comment": ("Comment", v.text), "constraint": ("Features", v.text), "reservation": ("Reservation", v.text),
    "licenses": ("Licenses", v.text), "restarts": ("Restarts", v.number), "array_size": ("ArrayTaskId", v.array_size),
}  # fmt: skip
_SACCT: Table = {
    "id": ("JobID", str), "name": ("JobName", str), "user": ("User", str), "account": ("Account", str),
    "partition": ("Partition", str), "qos": ("QOS", str), "state": ("State", v.state), "nodes": ("NNodes", v.number),
    "node_list": ("NodeList", _nodes), "cpus": ("ReqCPUS", v.number), "time_limit": ("TimelimitRaw", _limit_in_minutes),
    "elapsed": ("ElapsedRaw", v.whole), "submit_time": ("Submit", v.moment), "eligible_time": ("Eligible", v.moment),
    "start_time": ("Start", v.moment), "end_time": ("End", v.moment), "priority": ("Priority", v.whole),
    "exit_code": ("ExitCode", str), "working_directory": ("WorkDir", str), "comment": ("Comment", str),
    "constraint": ("Constraints", str), "reservation": ("Reservation", str), "tres": ("ReqTRES", str),
}  # fmt: skip

SQUEUE = (*(key for key, _ in _SQUEUE.values()), "NumTasks", "tres-per-node", "tres-per-job", "tres-per-task")
"""What ``squeue -O`` is asked for. Not STDOUT: 22.05 names the file of an array task wrongly."""
SACCT = (*(key for key, _ in _SACCT.values()), "AllocCPUS", "AllocTRES", "JobIDRaw")
STEPS = ("JobID", "JobName", "State", "ExitCode", "ElapsedRaw", "TotalCPU", "AllocCPUS", "MaxRSS", "NodeList")


def squeue_job(row: Mapping[str, str]) -> Job:
    """A row of :data:`SQUEUE`. Without accounting Slurm says ``N/A`` for account and QoS, which become ``""``."""
    known = _read(row, _SQUEUE)
    per_task = (row["tres-per-task"], v.number(row["NumTasks"]))
    gpus, kind = v.gpus_of(known["tres"], known["nodes"], row["tres-per-node"], row["tres-per-job"], per_task)
    tasks = row["JobArrayID"].partition("[")[2].rstrip("]")
    memory = _share_of_memory(known["tres"], known["nodes"])
    return Job(**known, gpus=gpus, gpu_type=kind, mem_mb=memory, array_size=v.array_size(tasks))


def scontrol_job(fields: dict[str, str]) -> Job:
    """A record of ``scontrol show job``; everything Slurm said is kept in ``raw``."""
    known = _read(fields, _SCONTROL)
    # TRES until 22.05, then ReqTRES and AllocTRES.
    tres = next((found for key in ("TRES", "AllocTRES", "ReqTRES") if (found := v.text(fields.get(key, "")))), "")
    per_task = (fields.get("TresPerTask", ""), v.number(fields.get("NumTasks", "")))
    asked = (fields.get("TresPerNode", ""), fields.get("TresPerJob", ""), per_task)
    gpus, kind = v.gpus_of(tres, known["nodes"], *asked)
    own_memory = v.mebibytes(fields.get("MinMemoryNode", ""))
    return Job(
        **known,
        id=_scontrol_id(fields),
        user=fields.get("UserId", "").partition("(")[0],
        gpus=gpus,
        gpu_type=kind,
        mem_mb=_share_of_memory(tres, known["nodes"]) if own_memory is None else int(own_memory),
        # 26.05 leaves out a StdErr that is StdOut, and says NODE, USER or NO in Exclusive.
        stderr=_file(fields.get("StdErr", "")) or known["stdout"],
        exclusive=fields.get("Exclusive", "NODE") == "NODE" and fields.get("OverSubscribe") == "NO",
        tres=tres,
        raw=fields,
    )


def sacct_job(row: Mapping[str, str]) -> Job:
    """An allocation's row of :data:`SACCT`; ``raw`` has State, which says who cancelled, and JobIDRaw.

    Accounting keeps no file names before 24.05: those stay empty, see ``Backend.submitted``.
    """
    known = _read(row, _SACCT)
    gpus, kind = v.gpus_of(row["AllocTRES"] or known["tres"], known["nodes"])
    tasks = row["JobID"].partition("[")[2].rstrip("]")
    return Job(
        **known | {"cpus": v.number(row["AllocCPUS"]) or known["cpus"]},
        gpus=gpus,
        gpu_type=kind or v.gpus_of(known["tres"], known["nodes"])[1],
        mem_mb=_share_of_memory(known["tres"], known["nodes"]),
        array_size=v.array_size(tasks),
        raw={"State": row["State"], "JobIDRaw": row["JobIDRaw"]},
    )


def sacct_step(row: Mapping[str, str]) -> Step:
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
        node_list=_nodes(row["NodeList"]),
    )


def _read(fields: Mapping[str, str], table: Table) -> dict[str, Any]:
    return {name: read(fields.get(key, "")) for name, (key, read) in table.items()}


def _scontrol_id(fields: Mapping[str, str]) -> str:
    if array := v.text(fields.get("ArrayJobId", "")):
        task = fields.get("ArrayTaskId", "")
        return f"{array}_{task}" if task.isdigit() else f"{array}_[{task}]"
    if leader := v.text(fields.get("HetJobId", "")):
        return f"{leader}+{fields.get('HetJobOffset', '0')}"
    return fields.get("JobId", "")


@lru_cache(maxsize=2048)
def _share_of_memory(tres: str, nodes: int) -> int | None:
    total = v.mebibytes(v.pairs(tres).get("mem", ""))
    return None if total is None else int(total / max(nodes, 1))


def _bytes(value: str) -> float | None:
    """MiB of sacct's memory with --noconvert: a number and K, or plain bytes where there is no letter."""
    amount = v.mebibytes(value)
    return amount / 1024**2 if amount is not None and value.strip().isdigit() else amount
