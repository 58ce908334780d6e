"""What the cluster in memory knows and answers; tests/fake_slurm.py changes it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from tools.slurm.backend import Operation
from tools.slurm.cli import sbatch
from tools.slurm.errors import InvalidRequest, SlurmError, UnknownJob, UnknownName
from tools.slurm.hostlist import expand
from tools.slurm.models import (
    Association,
    Estimate,
    Gpus,
    Job,
    JobQuery,
    Node,
    Page,
    Partition,
    Qos,
    Share,
    Step,
    Submitted,
    Usage,
)
from tools.slurm.paging import page_of
from tools.slurm.parse.values import task_ranges

NOW = datetime(2026, 11, 21, 12, 0)
ENDED = {"COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "OUT_OF_MEMORY"}
_GPUS = {"gpu-node01": ("a100", 8), "gpu-node02": ("a100", 8), "gpu-node03": ("h100", 8), "gpu-node04": ("h100", 8),
         "gpu-node05": ("a100_3g.20gb", 4)}  # fmt: skip
PARTITIONS = {"gpu": "gpu-node[01-04]", "h100": "gpu-node[03-04]", "mig": "gpu-node05", "debug": "gpu-node01",
               "long": "gpu-node[01-04]"}  # fmt: skip
_QOS = ("normal", "ai-train", "interactive", "small")
_ACCOUNTS = ("ml-research", "vision", "physics")


@dataclass
class Fault:
    """The ``at``-th call of ``method`` from now raises ``error``; with ``done`` its work is done all the same."""

    method: str
    error: SlurmError
    at: int
    done: bool = False


@dataclass
class FakeReads:
    user: str = "alice"
    level: Literal["none", "operator", "administrator"] = "none"
    coordinates: tuple[str, ...] = ()
    now: datetime = NOW
    name: str = "sandbox"
    jobs: dict[str, Job] = field(default_factory=dict)
    cluster_nodes: dict[str, Node] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    """Every method that was asked, in order."""
    performed: list[Operation] = field(default_factory=list)
    """What really changed the cluster."""
    next_id: int = 1

    def __post_init__(self) -> None:
        for name, (kind, count) in _GPUS.items():
            inside = tuple(partition for partition, nodes in PARTITIONS.items() if name in expand(nodes))
            features = ("a100", "mig") if "." in kind else (kind, "ib", "nvlink")
            self.cluster_nodes[name] = Node(name, "IDLE", inside, 64, 0, 1031000, 0, (Gpus(kind, count),), features)

    def version(self) -> tuple[int, int, int]:
        self._asked("version")
        return 22, 5, 8

    def cluster(self) -> str:
        return self.name

    def queue(self, query: JobQuery) -> list[Job]:
        self._asked("queue", "squeue")
        if query.partition and query.partition not in PARTITIONS:
            raise unknown("partition", query.partition, PARTITIONS, "ESLURM_INVALID_PARTITION_NAME")
        every = "all" in query.states or bool(query.ids and not query.states)
        wanted = set(query.states) - {"all"}
        found = [job for job in self.jobs.values() if _matches(job, query)]
        if wanted:
            return [job for job in found if job.state in wanted]
        return [job for job in found if every or job.state not in ENDED]

    def page(self, query: JobQuery, most: int) -> Page:
        return page_of(self.queue(query), most)

    def history(self, query: JobQuery) -> list[Job]:
        self._asked("history", "sacct")
        wanted = set(query.states) - {"all"}
        found = [job for job in self.jobs.values() if _matches(job, query)]
        since = query.since or datetime.min
        return [job for job in found if (job.end_time or self.now) >= since and (not wanted or job.state in wanted)]

    def job(self, job_id: str) -> list[Job]:
        self._asked("job", f"scontrol show job {job_id}")
        return self._records(job_id)

    def steps(self, job_id: str) -> list[Step]:
        self._asked("steps", f"sacct --jobs={job_id}")
        return [
            Step(f"{job.id}.batch", "batch", job.state, job.exit_code)
            for job in self._records(job_id)
            if job.start_time
        ]

    def submitted(self, job_id: str) -> Submitted:
        self._asked("submitted", f"sacct --jobs={job_id}")
        return Submitted(self._records(job_id)[-1].id.partition("_")[0])

    def nodes(self, names: str = "") -> list[Node]:
        self._asked("nodes", "scontrol show node")
        wanted = expand(names) or list(self.cluster_nodes)
        for name in wanted:
            if name not in self.cluster_nodes:
                raise unknown("node", name, self.cluster_nodes, "ESLURM_INVALID_NODE_NAME")
        return [self.cluster_nodes[name] for name in wanted]

    def partitions(self) -> list[Partition]:
        self._asked("partitions", "scontrol show partition")
        return [
            Partition(name, "UP", name == "gpu", nodes, len(expand(nodes)), 64 * len(expand(nodes)), 172800, 3600, -1)
            for name, nodes in PARTITIONS.items()
        ]

    def qos(self) -> list[Qos]:
        self._asked("qos", "sacctmgr show qos")
        return [Qos(name) for name in _QOS]

    def associations(self, user: str = "", account: str = "") -> list[Association]:
        self._asked("associations", "sacctmgr show associations")
        rows = [Association(name, user or self.user, "", "normal", _QOS, 1) for name in _ACCOUNTS]
        return [row for row in rows if account in ("", row.account)]

    def shares(self, accounts: Sequence[str]) -> list[Share]:
        self._asked("shares", "sshare")
        return [Share(name, user, 0.2, 0.1, 0.5, 2.0) for name in accounts for user in ("", self.user)]

    def usage(self, group_by: str, start: datetime, end: datetime, user: str = "", account: str = "") -> list[Usage]:
        self._asked("usage", "sacct")
        found = self.history(JobQuery(user=user, account=account, since=start, until=end))
        keys = sorted({getattr(job, group_by) for job in found})
        return [Usage(key, sum(getattr(job, group_by) == key for job in found), 0.0, 0.0, 0.0) for key in keys]

    def priority_factors(self, job_id: str) -> dict[str, float]:
        self._asked("priority_factors", f"sprio --jobs={job_id}")
        pending = any(job.state == "PENDING" for job in self.jobs.values() if job.id == job_id)
        return {"PRIORITY": 1000.0, "AGE": 0.0} if pending else {}

    def expected_start(self, job_id: str) -> Estimate:
        self._asked("expected_start", "squeue --states=PENDING")
        job = self._records(job_id)[0]
        if job.state != "PENDING":
            raise UnknownJob(f"no pending job {job_id}", code="ESLURM_INVALID_JOB_ID")
        return Estimate(job.start_time or self.now + timedelta(hours=1), "", job.reason)

    def test_submit(self, fields: dict[str, Any]) -> Estimate:
        self._asked("test_submit", "sbatch --test-only")
        self._check_submit(fields)
        return Estimate(self.now, "gpu-node01")

    def licenses(self) -> dict[str, tuple[int, int]]:
        self._asked("licenses", "scontrol show licenses")
        return {"ansys": (4, 0), "matlab": (2, 0)}

    def reservations(self) -> list[str]:
        self._asked("reservations", "scontrol show reservation")
        return []

    def admin_level(self, user: str) -> Literal["none", "operator", "administrator"]:
        self._asked("admin_level")
        return "administrator" if user == "root" else self.level if user == self.user else "none"

    def coordinated_accounts(self, user: str) -> tuple[str, ...]:
        self._asked("coordinated_accounts")
        return self.coordinates if user == self.user else ()

    def find_by_key(self, key: str) -> list[Job]:
        self._asked("find_by_key", "squeue --states=all")
        pattern = re.compile(rf"(?:^|[\s:]){re.escape(key)}(?:\s|$)")
        return [job for job in self.jobs.values() if job.user == self.user and pattern.search(job.comment)]

    def commands(self) -> Sequence[str]:
        return self.ran

    def _asked(self, method: str, command: str = "") -> Fault | None:
        """Note the call; raise a fault that is due, or return it where the work is to be done first."""
        self.calls.append(method)
        if command:
            self.ran.append(command)
        for fault in [fault for fault in self.faults if fault.method == method]:
            fault.at -= 1
            if fault.at == 0:
                self.faults.remove(fault)
                if fault.done:
                    return fault
                raise fault.error
        return None

    def _check_submit(self, fields: dict[str, Any]) -> None:
        sbatch.submission(fields)
        for kind, known, code in (
            ("partition", PARTITIONS, "ESLURM_INVALID_PARTITION_NAME"),
            ("qos", _QOS, "ESLURM_INVALID_QOS"),
            ("account", _ACCOUNTS, "ESLURM_INVALID_ACCOUNT"),
        ):
            if fields.get(kind) and fields[kind] not in known:
                raise unknown(kind, fields[kind], known, code)
        if (fields.get("gpus_per_node") or 0) > 8:
            raise InvalidRequest("Requested node configuration is not available",
                                 code="ESLURM_REQUESTED_NODE_CONFIG_UNAVAILABLE")  # fmt: skip

    def _records(self, job_id: str) -> list[Job]:
        if job_id in self.jobs:
            return [self.jobs[job_id]]
        base, _, spec = job_id.partition("_")
        found = [job for job in self.jobs.values() if job.id.partition("_")[0] == base]
        if spec:
            found = [job for job in found if tasks(job.id) & tasks(job_id)]
        if not found:
            raise UnknownJob(f"no job {job_id}", code="ESLURM_INVALID_JOB_ID")
        return found


def tasks(job_id: str) -> set[int]:
    """The array tasks that an id names."""
    return {task for part in task_ranges(job_id.partition("_")[2].strip("[]")) for task in part}


def _matches(job: Job, query: JobQuery) -> bool:
    wanted = {"user": query.user, "partition": query.partition, "account": query.account, "qos": query.qos,
              "name": query.name}  # fmt: skip
    if any(value and getattr(job, name) != value for name, value in wanted.items()):
        return False
    if query.node and query.node not in expand(job.node_list):
        return False
    return not query.ids or any(_names(asked, job.id) for asked in query.ids)


def _names(asked: str, job_id: str) -> bool:
    same = asked.partition("_")[0] == job_id.partition("_")[0]
    return same and (not tasks(asked) or bool(tasks(asked) & tasks(job_id)))


def unknown(kind: str, name: str, valid: Any, code: str) -> UnknownName:
    return UnknownName(f"no {kind} {name} (there are: {', '.join(valid)})", code=code, valid=valid)
