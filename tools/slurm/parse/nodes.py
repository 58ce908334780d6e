"""Nodes, partitions, licences out of ``scontrol -o show …``."""

from __future__ import annotations

from datetime import datetime

from tools.slurm.models import Gpus, Node, Partition
from tools.slurm.parse import values as v


def node(fields: dict[str, str]) -> Node:
    """A record of ``scontrol -d -o show node`` (``-d`` adds GresUsed, the GPUs that are given away)."""
    used = v.gpu_counts(fields.get("GresUsed", ""))
    reason, who, when = _reason(fields.get("Reason", ""))
    return Node(
        name=fields["NodeName"],
        state=fields.get("State", "").upper().replace("*", "+NOT_RESPONDING").replace("++", "+"),
        partitions=v.names(fields.get("Partitions", "")),
        cpus=v.number(fields.get("CPUTot", "")),
        cpus_used=v.number(fields.get("CPUAlloc", "")),
        mem_mb=v.number(fields.get("RealMemory", "")),
        mem_used_mb=v.number(fields.get("AllocMem", "")),
        gpus=tuple(
            Gpus(kind, total, used.get(kind, 0)) for kind, total in v.gpu_counts(fields.get("Gres", "")).items()
        ),
        features=v.names(fields.get("ActiveFeatures", "")),
        reason=reason,
        reason_user=who,
        reason_time=when,
        boot_time=v.moment(fields.get("BootTime", "")),
        load=_load(fields.get("CPULoad", "")),
        raw=fields,
    )


def partition(fields: dict[str, str]) -> Partition:
    """A record of ``scontrol -o show partition``."""
    return Partition(
        name=fields["PartitionName"],
        state=fields.get("State", "UP"),
        default=fields.get("Default") == "YES",
        nodes=v.text(fields.get("Nodes", "")),
        total_nodes=v.number(fields.get("TotalNodes", "")),
        total_cpus=v.number(fields.get("TotalCPUs", "")),
        max_time=v.seconds(fields.get("MaxTime", "")),
        default_time=v.seconds(fields.get("DefaultTime", "")),
        max_nodes=v.limit(fields.get("MaxNodes", "")),
        qos=v.text(fields.get("QoS", "")),
        allow_accounts=v.names(fields.get("AllowAccounts", "")),
        allow_qos=v.names(fields.get("AllowQos", "")),
    )


def license_counts(fields: dict[str, str]) -> tuple[int, int]:
    """(total, used) of a record of ``scontrol -o show lic``."""
    return v.number(fields.get("Total", "")), v.number(fields.get("Used", ""))


def _reason(value: str) -> tuple[str, str, datetime | None]:
    """``Xid 79 [root@2026-11-21T04:50:22]`` in its three parts."""
    said, bracket, stamp = value.rpartition(" [")
    who, at, when = stamp.rstrip("]").rpartition("@")
    if not (bracket and at and v.moment(when)):
        return v.text(value), "", None
    return said.strip(), who, v.moment(when)


def _load(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None
