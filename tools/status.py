"""How busy the cluster is, as data: by GPU type, by partition, by node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tools.capacity import Free, base_state, free_memory, gpus, in_partition, is_idle, is_open, offered
from tools.slurm.hostlist import fold
from tools.slurm.models import Node, Partition
from tools.views import Row, bounded, memory_text, said, short


@dataclass(frozen=True)
class World:
    """Nodes and partitions of one question, with what it was narrowed to."""

    nodes: Sequence[Node]
    partitions: Sequence[Partition]
    gpu_type: str = ""

    @cached_property
    def on_offer(self) -> set[str]:
        return offered(self.nodes, self.partitions)

    @cached_property
    def all_gpus(self) -> list[Free]:
        return self.gpus()

    def gpus(self, nodes: Sequence[Node] | None = None) -> list[Free]:
        return gpus(self.nodes if nodes is None else nodes, self.on_offer, self.gpu_type)


def overview(world: World) -> Row:
    """``{"nodes", "gpus", "partitions", "free_nodes", "unavailable"}``; each list bounded, with what is left out."""
    wanted = [node for node in world.nodes if not world.gpu_type or world.gpus([node])]
    return {
        "nodes": node_counts(wanted, world),
        "gpus": [gpu_counts(kind, world) for kind in sorted({one.type for one in world.all_gpus})],
        **_partitions(world),
        **_free_nodes(wanted, world),
        **_unavailable(wanted, world),
    }


def node_counts(nodes: Sequence[Node], world: World) -> dict[str, int]:
    on_offer = world.on_offer
    return {
        "total": len(nodes),
        "idle": sum(is_idle(node) and node.name in on_offer for node in nodes),
        "mixed": sum(base_state(node) == "MIXED" and node.name in on_offer for node in nodes),
        "allocated": sum(base_state(node) == "ALLOCATED" and node.name in on_offer for node in nodes),
        "unavailable": sum(node.name not in on_offer for node in nodes),
    }


def gpu_counts(kind: str, world: World) -> Row:
    """``{"gpu_type", "total", "used", "free", "unavailable", "blocked"?, "free_on"}``; free + the others = total."""
    found = [one for one in world.all_gpus if one.type == kind]
    return said(
        {
            "gpu_type": kind,
            "total": sum(one.total for one in found),
            "used": sum(one.used for one in found if not one.closed),
            "unavailable": sum(one.total for one in found if one.closed),
            "blocked": sum(one.blocked for one in found) or None,
            "free_on": short(fold(one.node for one in found if one.free), 120),
        }
    ) | {"free": sum(one.free for one in found)}


def partition_row(partition: Partition, world: World) -> Row:
    members = in_partition(world.nodes, partition.name)
    up = partition.state.upper() == "UP"
    free: dict[str, int] = {}
    for one in world.gpus(members):
        free[one.type] = free.get(one.type, 0) + (one.free if up else 0)
    idle = sum(is_idle(node) for node in members) if up else 0
    return {
        "partition": partition.name,
        "state": partition.state,
        "nodes": len(members),
        "idle_nodes": idle,
        "free_gpus": free,
    }


def _partitions(world: World) -> dict[str, Any]:
    """Of a GPU type only those that have it."""
    rows = [partition_row(partition, world) for partition in world.partitions]
    return _some([row for row in rows if row["free_gpus"] or not world.gpu_type], "partitions", "name a partition", 800)


def _free_nodes(nodes: Sequence[Node], world: World) -> dict[str, Any]:
    """Those with most free GPUs first; of a cluster without GPUs those with free CPUs."""
    count = _free_gpus if any(node.gpus for node in nodes) else _free_cpus
    usable = [(free, node) for node in nodes if node.name in world.on_offer and (free := count(node, world))]
    ordered = [node for _, node in sorted(usable, key=lambda pair: -pair[0])]
    more = "narrow it by partition or gpu_type"
    found = bounded([_free_row(node, world) for node in ordered[:20]], "free_nodes", more, characters=900)
    found |= {"total": len(ordered)} | ({"more": more} if found["shown"] < len(ordered) else {})
    return {"free_nodes": found.pop("free_nodes"), **{f"free_nodes_{key}": value for key, value in found.items()}}


def _free_gpus(node: Node, world: World) -> int:
    return sum(one.free for one in world.gpus([node]))


def _free_cpus(node: Node, world: World) -> int:
    return max(node.cpus - node.cpus_used, 0)


def _free_row(node: Node, world: World) -> Row:
    return {
        "node": node.name,
        "state": node.state,
        "free_gpus": {one.type: one.free for one in world.gpus([node]) if one.free},
        "free_cpus": _free_cpus(node, world),
        "free_mem": memory_text(free_memory(node)),
    }


def _unavailable(nodes: Sequence[Node], world: World) -> dict[str, Any]:
    closed = [node for node in nodes if node.name not in world.on_offer]
    rows = [said({"node": node.name, "state": node.state, "reason": short(node.reason, 80)}) for node in closed]
    for row, node in zip(rows, closed, strict=True):
        if is_open(node):
            row["reason"] = "none of its partitions is up"
    return _some(rows, "unavailable", "sinfo --list-reasons shows all", 600)


def _some(rows: list[Row], key: str, more: str, characters: int) -> dict[str, Any]:
    """``{key: rows}``, with ``key_shown``, ``key_total`` and ``key_more`` where some are left out."""
    found = bounded(rows, key, more, characters=characters)
    left = {f"{key}_{name}": found[name] for name in ("shown", "total", "more")} if "more" in found else {}
    return {key: found[key], **left}
