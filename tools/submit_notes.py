"""What a person should know before a submission: which defaults apply, and what could never start."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from tools.base import Blast, ToolContext
from tools.checks import features, partitions_for
from tools.durations import read_seconds, slurm_duration
from tools.slurm.errors import AccountingUnavailable
from tools.slurm.models import UNLIMITED, Node, Partition
from tools.slurm.parse.values import array_size, mebibytes


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job may run: its partitions, and their nodes."""

    partitions: list[Partition]
    nodes: list[Node]
    """Those with the features that the job wants."""
    constraint: str = ""

    @property
    def name(self) -> str:
        return "partition " + ",".join(partition.name for partition in self.partitions)

    @property
    def where(self) -> str:
        return f"{self.name} with {self.constraint}" if self.constraint else self.name

    def gpus_on(self, node: Node, kind: str) -> int:
        return sum(gpu.total for gpu in node.gpus if kind in ("", gpu.type))

    def most_gpus(self, kind: str) -> int:
        """The most GPUs of a type (any, for ``""``) on one node."""
        return max((self.gpus_on(node, kind) for node in self.nodes), default=0)


def place_of(asked: Mapping[str, Any], ctx: ToolContext) -> Place:
    partitions = partitions_for(asked.get("partition"), ctx)
    names = {partition.name for partition in partitions}
    constraint = asked.get("constraint", "")
    nodes = [node for node in ctx.backend.nodes() if names & set(node.partitions) and _has(node, constraint)]
    return Place(partitions, nodes, constraint)


def _has(node: Node, constraint: str) -> bool:
    """Whether a node has the features of ``a&b|c``; counts and brackets are left for Slurm to judge."""
    if not constraint or any(sign in constraint for sign in "[]()*!"):
        return True
    return any(set(both.split("&")) <= set(features(node)) for both in re.split(r"[|,]", constraint))


def notes_for(asked: Mapping[str, Any], place: Place, ctx: ToolContext) -> list[str]:
    """``asked``: the request's arguments and the script's own lines together."""
    if not place.partitions:
        return ["no partition given, and this cluster has no default one: Slurm will refuse it"]
    return [
        *_partition_notes(asked, place),
        *_time_notes(asked, place, ctx),
        *_node_notes(asked, place),
        *_gpu_notes(asked, place),
        *_memory_notes(asked, place),
        *_other_notes(asked),
    ]


def _partition_notes(asked: Mapping[str, Any], place: Place) -> list[str]:
    notes = []
    if not asked.get("partition"):
        notes.append(f"no partition given: the default one, {place.partitions[0].name}")
    notes += [f"partition {p.name} is {p.state}: it would wait" for p in place.partitions if p.state != "UP"]
    for what, allowed in (("account", "allow_accounts"), ("qos", "allow_qos")):
        lists = [getattr(partition, allowed) for partition in place.partitions]
        if (name := asked.get(what)) and all(names and name not in names for names in lists):
            notes.append(f"{place.name} is not open to {what} {name} (open to {', '.join(lists[0])})")
    return notes


def _time_notes(asked: Mapping[str, Any], place: Place, ctx: ToolContext) -> list[str]:
    if not asked.get("time_limit"):
        limit = time_limit(asked, place)
        return [
            f"no time limit given: {place.name}'s default, {slurm_duration(limit)}" if limit else "no time limit given"
        ]
    seconds = read_seconds(asked["time_limit"])
    limits = [(place.name, "MaxTime", [partition.max_time for partition in place.partitions])]
    if asked.get("qos"):
        limits.append((f"QoS {asked['qos']}", "MaxWall", _qos_limits(asked["qos"], ctx)))
    return [
        f"time limit {slurm_duration(seconds)} is above what {who} allows "
        f"({what} {slurm_duration(max(limit or 0 for limit in found))}): it would stay pending forever"
        for who, what, found in limits
        if found and all(_exceeds(seconds, limit) for limit in found)
    ]


def _qos_limits(name: str, ctx: ToolContext) -> list[int | None]:
    try:
        return [qos.max_wall for qos in ctx.backend.qos() if qos.name == name]
    except AccountingUnavailable:
        return []


def _exceeds(seconds: int, limit: int | None) -> bool:
    return limit is not None and limit != UNLIMITED and (seconds == UNLIMITED or seconds > limit)


def _node_notes(asked: Mapping[str, Any], place: Place) -> list[str]:
    nodes = asked.get("nodes", 1)
    most = max(
        min(p.total_nodes, p.max_nodes if p.max_nodes and p.max_nodes > 0 else p.total_nodes) for p in place.partitions
    )
    notes = []
    if nodes > most:
        notes.append(f"{nodes} nodes is more than {place.name} has or allows ({most}): it would stay pending forever")
    cpus = asked.get("ntasks_per_node", 1) * asked.get("cpus_per_task", 1)
    if place.nodes and cpus > (have := max(node.cpus for node in place.nodes)):
        notes.append(f"no node of {place.where} has {cpus} CPUs (the most is {have}): Slurm will refuse it")
    return notes


def _gpu_notes(asked: Mapping[str, Any], place: Place) -> list[str]:
    kind, share, total = asked.get("gpu_type", ""), asked.get("gpus_per_node", 0), asked.get("gpus", 0)
    if not (kind or share or total):
        return []
    if not place.nodes:
        return [f"no node is in {place.where}: Slurm will refuse it"]
    most = place.most_gpus(kind)
    label = f"{kind} GPUs" if kind else "GPUs"
    if not most:
        types = sorted({gpu.type for node in place.nodes for gpu in node.gpus if gpu.type})
        return [f"no node of {place.where} has {label} (there are: {', '.join(types) or 'none'}): Slurm will refuse it"]
    fitting = sum(place.gpus_on(node, kind) >= max(share, 1) for node in place.nodes)
    everything = sum(place.gpus_on(node, kind) for node in place.nodes)
    notes = []
    if share > most:
        notes.append(f"no node of {place.where} has {share} {label} (the most is {most}): Slurm will refuse it")
    elif asked.get("nodes", 1) > fitting:
        notes.append(
            f"only {fitting} nodes of {place.where} have {max(share, 1)} {label}: {asked['nodes']} are never free"
        )
    if total > everything:
        notes.append(f"{place.where} has {everything} {label} in all, not {total}: it could never start")
    return notes


def _memory_notes(asked: Mapping[str, Any], place: Place) -> list[str]:
    wanted = mebibytes(str(asked.get("mem", ""))) or 0
    per_gpu = mebibytes(str(asked.get("mem_per_gpu", ""))) or 0
    wanted = max(wanted, per_gpu * asked.get("gpus_per_node", 1))
    most = max((node.mem_mb for node in place.nodes), default=0)
    if not most or wanted <= most:
        return []
    text = f"{wanted / 1024:.0f}G of memory on a node is above what any node of {place.where} has ({most // 1024}G)"
    return [f"{text}: Slurm will refuse it"]


def _other_notes(asked: Mapping[str, Any]) -> list[str]:
    notes = []
    directory = asked.get("working_directory")
    if directory and not Path(directory).expanduser().is_dir():
        notes.append(f"there is no directory {directory} on this machine: the job needs it on its nodes")
    if asked.get("mail_user") and not asked.get("mail_type"):
        notes.append("mail_user without mail_type: no mail will be sent")
    return notes


def time_limit(asked: Mapping[str, Any], place: Place) -> int:
    """Seconds it may run at most; 0 where nobody knows or nothing bounds it."""
    if asked.get("time_limit"):
        return max(read_seconds(asked["time_limit"]), 0)
    first = place.partitions[0] if place.partitions else Partition("")
    return max(next((limit for limit in (first.default_time, first.max_time) if limit is not None), 0), 0)


def size_of(asked: Mapping[str, Any], place: Place) -> tuple[Blast, dict[str, float]]:
    """What the submission asks for if every task runs to its time limit: the blast, and its hours by name."""
    tasks = array_size(str(asked.get("array", "")))
    nodes, gpus = _nodes_and_gpus(asked, place)
    hours = time_limit(asked, place) / 3600 * tasks
    amounts = {"node_hours": round(hours * nodes, 2), "gpu_hours": round(hours * gpus, 2)}
    return Blast(jobs=1, tasks=tasks, nodes=nodes, node_hours=amounts["node_hours"]), amounts


def _nodes_and_gpus(asked: Mapping[str, Any], place: Place) -> tuple[int, int]:
    kind, total, share = asked.get("gpu_type", ""), asked.get("gpus", 0), asked.get("gpus_per_node", 0)
    nodes = asked.get("nodes")
    if nodes is None and asked.get("ntasks") and asked.get("ntasks_per_node"):
        nodes = ceil(asked["ntasks"] / asked["ntasks_per_node"])
    if nodes is None and total:
        nodes = ceil(total / (share or place.most_gpus(kind) or total))
    nodes = nodes or 1
    return nodes, total or share * nodes or (1 if kind else 0)


def said_by_script(script_fields: Mapping[str, Any], given: Mapping[str, Any]) -> Sequence[str]:
    """A note on what the script's own lines add to the request."""
    own = [f"{name} {value}" for name, value in script_fields.items() if name not in given]
    return [f"from the script's own #SBATCH lines: {', '.join(own)}"] if own else []
