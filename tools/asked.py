"""What a job asked for, as the fields of a submission: for trying it otherwise and for sending it again."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from tools.slurm.models import UNLIMITED, Job
from tools.slurm.parse.values import gpu_counts, mebibytes, number, pairs, text
from tools.views import duration_text, memory_text


def fields_of(job: Job) -> dict[str, Any]:
    """submit_job's resource arguments with which this job was submitted; what was left to Slurm is left out."""
    raw = job.raw
    fields: dict[str, Any] = {
        "partition": job.partition,
        "account": job.account,
        "qos": job.qos,
        "nodes": job.nodes if _nodes_were_asked(job) else None,
        "ntasks": number(raw.get("NumTasks", "")) or None,
        "ntasks_per_node": number(raw.get("NtasksPerN:B:S:C", "")) or None,
        "cpus_per_task": _above_one(raw.get("CPUs/Task", "")),
        "cpus_per_gpu": number(raw.get("CpusPerTres", "").rpartition(":")[2]) or None,
        **_gpus(job),
        **_memory(job),
        "time_limit": "UNLIMITED" if job.time_limit == UNLIMITED else duration_text(job.time_limit),
        "constraint": job.constraint,
        "switches": number(raw.get("Switches", "")) or None,
        "exclusive": job.exclusive or None,
        "reservation": job.reservation,
        "nodelist": text(raw.get("ReqNodeList", "")),
        "exclude": text(raw.get("ExcNodeList", "")),
        "licenses": job.licenses,
    }
    return {name: value for name, value in fields.items() if value not in (None, "", 0)}


def again(job: Job, script: str, changes: dict[str, Any]) -> dict[str, Any] | None:
    """submit_job's arguments that send the job anew with ``changes``; None where its script is not to be had."""
    path = Path(job.command)
    known = job.command and not re.search(r"\s", job.command) and path.is_absolute() and path.is_file()
    what = job.command if known else script if script.startswith("#!") and len(script) <= 4000 else ""
    if not what:
        return None
    extra = {"script": what, "job_name": job.name, "working_directory": job.working_directory}
    return {key: value for key, value in {**extra, **fields_of(job), **changes}.items() if value not in (None, "")}


def changed(job: Job, change: dict[str, Any]) -> Job:
    """The job as it would count against limits after ``change`` (nodes, gpus, time_limit, partition, qos)."""
    nodes = change.get("nodes", job.nodes)
    share = nodes / max(job.nodes, 1)
    gpus = change.get("gpus", round(job.gpus * share))
    counted = {key: _scaled(key, value, share, gpus / max(job.gpus, 1)) for key, value in pairs(job.tres).items()}
    return replace(
        job,
        nodes=nodes,
        gpus=gpus,
        tres=",".join(f"{key}={value}" for key, value in counted.items()),
        time_limit=change.get("seconds", job.time_limit),
        partition=change.get("partition", job.partition),
        qos=change.get("qos", job.qos),
        account=change.get("account", job.account),
    )


def gpus_per_node(job: Job) -> int:
    """How many GPUs each node must have, at least on average."""
    per_node = sum(gpu_counts(job.raw.get("TresPerNode", "")).values())
    return per_node or math.ceil(job.gpus / max(job.nodes, 1))


def _gpus(job: Job) -> dict[str, Any]:
    if not job.gpus:
        return {}
    kind = {"gpu_type": job.gpu_type} if job.gpu_type else {}
    per_node = gpu_counts(job.raw.get("TresPerNode", ""))
    return {"gpus_per_node": sum(per_node.values()), **kind} if per_node else {"gpus": job.gpus, **kind}


def _memory(job: Job) -> dict[str, str | None]:
    if per_gpu := mebibytes(job.raw.get("MemPerTres", "").rpartition(":")[2]):
        return {"mem_per_gpu": memory_text(per_gpu)}
    if job.raw.get("MinMemoryNode") == "0":
        return {"mem": "0"}  # all of a node
    if per_cpu := mebibytes(job.raw.get("MinMemoryCPU", "")):
        return {"mem_per_cpu": memory_text(per_cpu)}
    if per_node := mebibytes(job.raw.get("MinMemoryNode", "")):
        return {"mem": memory_text(per_node)}
    # scontrol alone says which of both it was; accounting's number is a node's share either way.
    return {} if job.raw or not job.mem_mb else {"mem": memory_text(job.mem_mb)}


def _nodes_were_asked(job: Job) -> bool:
    """slurmctld writes ``2-2`` for a pending job that asked, and ``1``, its own guess, for one that did not."""
    return not (job.state == "PENDING" and job.raw.get("NumNodes", "-").isdigit())


def _above_one(value: str) -> int | None:
    count = number(value)
    return count if count > 1 else None


def _scaled(resource: str, value: str, share: float, gpu_share: float) -> str:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGTP]?)", value)
    if not match:
        return value
    factor = gpu_share if resource.startswith("gres/gpu") else share
    return f"{math.ceil(float(match[1]) * factor)}{match[2]}"
