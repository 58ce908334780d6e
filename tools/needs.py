"""What a job needs of each node, which nodes could give it, and who has them now."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tools.asked import gpus_per_node
from tools.capacity import free_memory, type_of
from tools.case import Case
from tools.slurm.hostlist import expand, fold
from tools.slurm.models import Job, Node
from tools.slurm.parse.values import mebibytes, number
from tools.views import memory_text, short, time_text


@dataclass(frozen=True, slots=True)
class Share:
    """What one node must have."""

    gpus: int
    gpu_type: str
    cpus: int
    mem_mb: float

    def has(self, node: Node) -> bool:
        """Whether the node is big enough, were it empty."""
        return self.gpus <= self._gpus(node, 0) and self.cpus <= node.cpus and self.mem_mb <= node.mem_mb

    def free_on(self, node: Node) -> bool:
        free_cpus = node.cpus - node.cpus_used
        return self.gpus <= self._gpus(node, 1) and self.cpus <= free_cpus and self.mem_mb <= free_memory(node)

    def _gpus(self, node: Node, used: int) -> int:
        mine = [
            gpu for gpu in node.gpus if not self.gpu_type or type_of(gpu.type, node, self.gpu_type) == self.gpu_type
        ]
        return sum(gpu.total - used * gpu.used for gpu in mine)

    def text(self) -> str:
        parts = [f"{self.gpus} {self.gpu_type or 'GPUs'}"] if self.gpus else []
        parts.append(f"{self.cpus} CPU{'s' if self.cpus != 1 else ''}")
        parts += [f"{memory_text(self.mem_mb)} memory"] if self.mem_mb else []
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Need:
    """How many of the partition's nodes could run the job, and how many of them can now."""

    case: Case
    nodes: int
    share: Share
    fitting: Sequence[Node]

    @classmethod
    def of(cls, case: Case) -> Need:
        job = case.job
        nodes = max(job.nodes, 1)
        cpus = math.ceil(job.cpus / nodes)
        per_cpu = mebibytes(job.raw.get("MinMemoryCPU", "")) or 0
        memory = per_cpu * cpus if per_cpu else job.mem_mb or 0
        if job.exclusive:
            cpus = max(cpus, max((node.cpus for node in case.members), default=0))
        kept = set(expand(job.raw.get("ReqNodeList", "").replace("(null)", "")))
        left_out = set(expand(job.raw.get("ExcNodeList", "").replace("(null)", "")))
        share = Share(gpus_per_node(job), job.gpu_type, max(cpus, number(job.raw.get("MinCPUsNode", ""))), memory)
        able = [node for node in case.members if case.suits(node) and share.has(node) and node.name not in left_out]
        if kept and len(kept) >= nodes:
            able = [node for node in able if node.name in kept]
        return cls(case, nodes, share, able)

    @property
    def able(self) -> int:
        return len(self.fitting)

    @property
    def open(self) -> list[Node]:
        return [node for node in self.fitting if node.name in self.case.on_offer]

    @property
    def able_open(self) -> int:
        return len(self.open)

    @property
    def ready(self) -> int:
        return sum(self.share.free_on(node) for node in self.open)

    def impossible_text(self) -> str:
        return (
            f"it needs {_nodes(self.nodes)} with {self.share.text()}{self._features()}; "
            f"partition {self.case.job.partition} has {self.able} such of {len(self.case.members)}"
        )

    def waiting_text(self) -> str:
        closed = self.able - self.able_open
        out = f", {closed} out of service" if closed else ""
        return (
            f"it needs {_nodes(self.nodes)} with {self.share.text()} free; of {self.able} such in "
            f"{self.case.job.partition} {self.ready} {'is' if self.ready == 1 else 'are'} free now"
            f", {self.able_open - self.ready} busy{out}"
        )

    def smaller(self) -> str:
        """What would fit where the present wish does not."""
        return f"ask for at most {_nodes(self.able)}" if self.able else ""

    def evidence(self) -> tuple[str, ...]:
        """Who has the nodes, first to end first, and which are out of service and why."""
        names = {node.name for node in self.open if not self.share.free_on(node)}
        holders = [job for job in self.case.queue if job.state == "RUNNING" and names & set(expand(job.node_list))]
        holders.sort(key=lambda job: (job.end_time is None, job.end_time))
        lines = [_holder(job) for job in holders[:5]]
        lines += [f"and {len(holders) - 5} more running jobs"] if len(holders) > 5 else []
        closed = [node for node in self.fitting if node.name not in self.case.on_offer]
        lines += [
            f"{node.name} is {node.state}" + (f": {short(node.reason, 80)}" if node.reason else "")
            for node in closed[:5]
        ]
        return tuple(lines)

    def _features(self) -> str:
        wanted = self.case.job.constraint
        kept = self.case.job.raw.get("ReqNodeList", "").replace("(null)", "")
        return (f", features {wanted}" if wanted else "") + (f", on {kept}" if kept else "")


def _holder(job: Job) -> str:
    gpus = f", {job.gpus} {job.gpu_type or 'GPUs'}" if job.gpus else ""
    until = f" until {time_text(job.end_time)} at the latest" if job.end_time else ""
    return f"job {job.id} of {job.user} on {short(fold(expand(job.node_list)), 60)}{gpus}{until}"


def _closed(node: Node) -> str:
    return f"{node.name} is {node.state}" + (f": {short(node.reason, 80)}" if node.reason else "")


def _nodes(count: int) -> str:
    return f"{count} node{'s' if count != 1 else ''}"
