"""What could be allocated now: free GPUs and nodes, counted only where Slurm would give them away."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tools.slurm.models import Node, Partition

UNTYPED = "gpu"
"""The name for GPUs whose type the site does not tell Slurm."""
# Node states and flags (sinfo(1), NODE STATE CODES) with which nothing new is placed on a node.
_CLOSED = frozenset(
    {
        "DOWN", "DRAIN", "DRAINED", "DRAINING", "FAIL", "FAILING", "ERROR", "UNKNOWN", "FUTURE", "INVAL", "INVALID",
        "INVALID_REG", "NOT_RESPONDING", "NO_RESPOND", "MAINT", "MAINTENANCE", "RESERVED", "REBOOT", "REBOOT_REQUESTED",
        "REBOOT_ISSUED", "POWERING_DOWN", "POWER_DOWN", "BLOCKED", "PERFCTRS",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Free:
    """GPUs of one type on one node; ``free`` is 0 where the node is closed or has no CPU or memory left."""

    node: str
    type: str
    total: int
    used: int
    free: int
    closed: bool

    @property
    def blocked(self) -> int:
        """Unused GPUs that nobody can get: all CPUs or all memory of the node are taken."""
        return 0 if self.closed else self.total - self.used - self.free


def flags(node: Node) -> frozenset[str]:
    return frozenset(node.state.split("+"))


def base_state(node: Node) -> str:
    return node.state.partition("+")[0]


def is_open(node: Node) -> bool:
    """Whether the scheduler may place a job on the node at all: neither down, drained, reserved nor silent."""
    return not flags(node) & _CLOSED


def is_idle(node: Node) -> bool:
    return is_open(node) and base_state(node) == "IDLE" and node.cpus_used == 0


def offered(nodes: Iterable[Node], partitions: Iterable[Partition]) -> set[str]:
    """Names of nodes that are open and in a partition that is up."""
    up = {partition.name for partition in partitions if partition.state.upper() == "UP"}
    return {node.name for node in nodes if is_open(node) and up & set(node.partitions)}


def type_of(gpu_type: str, node: Node, wanted: str = "") -> str:
    """A GPU's type; where the site names none, the wanted one counts if it is a feature of the node."""
    if gpu_type:
        return gpu_type
    features = {feature.lower(): feature for feature in node.features}
    return features.get(wanted.lower(), UNTYPED) if wanted else UNTYPED


def gpus(nodes: Iterable[Node], on_offer: set[str], wanted: str = "") -> list[Free]:
    """Every node's GPUs by type, only those of type ``wanted`` where one is given."""
    found = []
    for node in nodes:
        closed = node.name not in on_offer
        full = closed or node.cpus_used >= node.cpus > 0 or node.mem_used_mb >= node.mem_mb > 0
        for gpu in node.gpus:
            kind = type_of(gpu.type, node, wanted)
            if not wanted or kind.lower() == wanted.lower():
                free = 0 if full else max(gpu.total - gpu.used, 0)
                found.append(Free(node.name, kind, gpu.total, gpu.used, free, closed))
    return found


def gpu_types(nodes: Iterable[Node]) -> list[str]:
    """Types that the cluster has; of nodes with untyped GPUs, their features."""
    kinds = {gpu.type for node in nodes for gpu in node.gpus if gpu.type}
    loose = {feature for node in nodes if any(not gpu.type for gpu in node.gpus) for feature in node.features}
    return sorted(kinds | loose)


def in_partition(nodes: Iterable[Node], partition: str) -> list[Node]:
    return [node for node in nodes if partition in node.partitions]


def free_memory(node: Node) -> int:
    return max(node.mem_mb - node.mem_used_mb, 0)


def total(found: Sequence[Free], what: str) -> int:
    return sum(getattr(one, what) for one in found)
