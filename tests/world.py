"""A handful of known jobs, and what any Slurm must then be read to say of them."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

import pytest

from tools.slurm.backend import Backend, Operation
from tools.slurm.errors import UnknownJob, UnknownName
from tools.slurm.models import UNLIMITED, Job, JobQuery

# A name that would pass for Slurm's own lines: it must stay a name.
FORGED = "x\n   UserId=daemon(1) GroupId=daemon(1)\n\nJobId=1 JobName=y"
LATER = {"begin": "now+1day"}
JOBS: dict[str, dict[str, Any]] = {
    "typed": {
        "job_name": "a b=c | d", "nodes": 2, "gpus_per_node": 8, "gpu_type": "h100", "time_limit": "1-00:00:00",
        "mem": "64G", "comment": "two words, and more", "constraint": "h100&nvlink", "exclusive": True,
        "qos": "ai-train", "account": "vision", "partition": "h100", "output": "%x-%j.out", **LATER,
    },
    "total": {"gpus": 12, "cpus_per_gpu": 2, "licenses": "matlab:1", "requeue": False, **LATER},
    "array": {"array": "0-99:3%5", "mem_per_cpu": "2G", "job_name": "sweep", **LATER},
    "mig": {"partition": "mig", "gpu_type": "a100_3g.20gb", "command": "sleep 600", "job_name": "slice"},
    "forged": {"job_name": FORGED, "comment": "c\nJobId=7", **LATER},
    "failed": {"command": "exit 3", "job_name": "broken"},
}  # fmt: skip


def make(backend: Backend, directory: str) -> dict[str, str]:
    """Submit them; returns their ids by name once the slice runs and the broken one is in accounting."""
    ids: dict[str, str] = {}
    for name, fields in JOBS.items():
        given = {"command": "true", "working_directory": directory, **fields}
        ids[name] = backend.perform(Operation("submit", "", given)).id
    waiting = {"command": "true", "dependency": f"afterok:{ids['typed']}", "working_directory": directory}
    ids["dependent"] = backend.perform(Operation("submit", "", waiting)).id
    deadline = time.monotonic() + 30
    while not _settled(backend, ids):
        assert time.monotonic() < deadline, "the jobs did not settle"
        time.sleep(0.2)
    return ids


def _settled(backend: Backend, ids: dict[str, str]) -> bool:
    past = backend.history(JobQuery(ids=(ids["failed"],)))
    mig = backend.job(ids["mig"])[0]
    return bool(past) and past[0].state == "FAILED" and past[0].name == "broken" and mig.state == "RUNNING"


def check(backend: Backend, ids: dict[str, str]) -> None:
    """Everything that the backend reads of this world. Fails by assertion."""
    queue = {job.id.partition("_")[0]: job for job in backend.queue(JobQuery())}
    assert queue.keys() == set(ids.values()) - {ids["failed"]}
    for name in ids.keys() - {"failed"}:
        [job] = backend.job(ids[name])
        assert _common(job) == _common(queue[ids[name]]), name
    _check_jobs(backend, ids)
    _check_past(backend, ids)
    _check_cluster(backend)


def _common(job: Job) -> tuple[Any, ...]:
    """What both squeue and scontrol say, and must say alike."""
    return (
        job.id, job.name, job.user, job.account, job.partition, job.qos, job.state, job.nodes, job.node_list, job.gpus,
        job.gpu_type, job.time_limit, job.submit_time, job.eligible_time, job.nice, job.array_size, job.comment,
        job.constraint, job.licenses, job.working_directory, job.restarts, job.tres,
    )  # fmt: skip


def _check_jobs(backend: Backend, ids: dict[str, str]) -> None:
    jobs = {name: backend.job(job_id)[0] for name, job_id in ids.items()}
    typed, total, array, mig = jobs["typed"], jobs["total"], jobs["array"], jobs["mig"]
    assert (typed.name, typed.nodes, typed.gpus, typed.gpu_type) == ("a b=c | d", 2, 16, "h100")
    assert (typed.time_limit, typed.mem_mb, typed.exclusive) == (86400, 65536, True)
    assert (typed.qos, typed.account, typed.partition) == ("ai-train", "vision", "h100")
    assert typed.constraint == "h100&nvlink"
    assert typed.comment == "two words, and more"
    assert PurePosixPath(typed.stdout).parent == PurePosixPath(typed.working_directory)
    assert (total.gpus, total.gpu_type, total.licenses, total.exclusive) == (12, "", "matlab:1", False)
    assert (array.id, array.array_size) == (f"{ids['array']}_[0-99:3%5]", 34)
    assert (mig.state, mig.gpus, mig.gpu_type, mig.node_list) == ("RUNNING", 1, "a100_3g.20gb", "gpu-node05")
    assert mig.stdout.endswith(f"/slurm-{ids['mig']}.out") and mig.start_time
    assert (jobs["forged"].user, jobs["forged"].name, jobs["forged"].id) == ("root", FORGED, ids["forged"])
    assert (jobs["failed"].state, jobs["failed"].exit_code) == ("FAILED", "3:0")
    assert (jobs["dependent"].reason, ids["typed"] in jobs["dependent"].dependency) == ("Dependency", True)
    assert typed.stderr == typed.stdout
    assert typed.reason == "BeginTime" and typed.start_time and typed.submit_time
    assert typed.start_time - typed.submit_time >= timedelta(hours=23)
    with pytest.raises(UnknownJob):
        backend.job("999999")
    [failed] = backend.queue(JobQuery(states=("FAILED",)))
    assert (failed.id, failed.exit_code) == (ids["failed"], "3:0")


def _check_past(backend: Backend, ids: dict[str, str]) -> None:
    # A job that is not eligible yet is in no period of accounting's: it is there by its id alone.
    period = backend.history(JobQuery(since=datetime(2020, 1, 1), user="root"))
    assert {job.id for job in period} == {ids["failed"], ids["mig"]}
    past = {job.id.partition("_")[0]: job for job in backend.history(JobQuery(ids=tuple(ids.values())))}
    assert past.keys() == set(ids.values())
    failed, typed = past[ids["failed"]], past[ids["typed"]]
    assert (failed.name, failed.state, failed.exit_code, failed.user) == ("broken", "FAILED", "3:0", "root")
    assert failed.end_time and failed.start_time and failed.elapsed is not None
    assert (typed.gpus, typed.gpu_type, typed.nodes, typed.time_limit) == (16, "h100", 2, 86400)
    assert past[ids["forged"]].name == FORGED
    [step] = backend.steps(ids["failed"])
    assert (step.name, step.state, step.exit_code) == ("batch", "FAILED", "3:0")
    assert backend.submitted(ids["failed"]).script.strip().endswith("exit 3")


def _check_cluster(backend: Backend) -> None:
    nodes = {node.name: node for node in backend.nodes()}
    assert [(gpu.type, gpu.total, gpu.used) for gpu in nodes["gpu-node05"].gpus] == [
        ("a100_3g.20gb", 4, 1),
        ("a100_1g.5gb", 4, 0),
    ]
    assert (nodes["gpu-node05"].state, nodes["gpu-node01"].state) == ("MIXED", "IDLE")
    assert (nodes["gpu-node01"].cpus, nodes["gpu-node01"].mem_mb) == (64, 1031000)
    assert set(nodes["gpu-node03"].features) == {"h100", "ib", "nvlink"}
    assert set(nodes["gpu-node03"].partitions) == {"gpu", "h100", "long"}
    partitions = {partition.name: partition for partition in backend.partitions()}
    assert (partitions["gpu"].default, partitions["gpu"].max_time, partitions["gpu"].total_nodes) == (True, 172800, 4)
    assert (partitions["long"].max_time, partitions["debug"].default_time) == (604800, 600)
    assert partitions["gpu"].max_nodes == UNLIMITED
    qos = {qos.name: qos for qos in backend.qos()}
    assert (qos["ai-train"].priority, qos["interactive"].max_wall) == (100, 14400)
    assert qos["interactive"].limits["MaxJobsPU"] == "2"
    [row] = backend.associations(user="root", account="vision")
    assert (row.account, row.user, row.default_qos) == ("vision", "root", "normal")
    assert "ai-train" in row.qos
    assert backend.licenses()["matlab"] == (2, 0)
    assert backend.cluster() == "sandbox" and backend.version() >= (22, 5, 0)
    with pytest.raises(UnknownName):
        backend.nodes("gpu-node77")
