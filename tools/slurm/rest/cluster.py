"""Nodes, partitions and licences as scontrol's fields, and through those as models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tools.slurm.models import Node, Partition
from tools.slurm.parse import nodes as parse
from tools.slurm.rest import values as v
from tools.slurm.rest.versions import Api

Record = Mapping[str, Any]
_NODE = {
    "NodeName": "name", "CPUTot": "cpus", "CPUAlloc": "alloc_cpus", "RealMemory": "real_memory",
    "AllocMem": "alloc_memory", "Gres": "gres", "GresUsed": "gres_used", "GresDrain": "gres_drained",
    "AvailableFeatures": "features", "ActiveFeatures": "active_features", "Partitions": "partitions",
    "NodeAddr": "address", "NodeHostName": "hostname", "OS": "operating_system", "Comment": "comment",
    "CfgTRES": "tres", "AllocTRES": "tres_used",
}  # fmt: skip


def node(record: Record) -> Node:
    """A record of ``/slurm/…/nodes``."""
    fields = {name: v.text(record.get(key)) for name, key in _NODE.items()}
    load = v.take(record, "cpu_load")
    return parse.node(
        fields
        | {
            "State": "+".join(v.words(record.get("state")) + v.words(record.get("state_flags"))),
            "BootTime": v.when(record.get("boot_time")),
            "SlurmdStartTime": v.when(record.get("slurmd_start_time")),
            # Hundredths, whatever the version.
            "CPULoad": f"{v.number(load) / 100:.2f}" if load is not None and v.number(load) < 0xFFFFFFFE else "",
            "Reason": _reason(record),
            "Version": v.text(record.get("version")) or v.text(record.get("slurmd_version")),
            "FreeMem": v.text(record.get("free_mem")) or v.text(record.get("free_memory")),
        }
    )


def partition(record: Record, api: Api) -> Partition:
    """A record of ``/slurm/…/partitions``. Slurm says which one is the default from v0.0.38 on, where it says so."""
    found = {name: v.take(record, path) for name, path in api.partition.items()}
    fields = {name: v.text(value) for name, value in found.items()}
    times = {name: v.minutes(found[name]) for name in ("MaxTime", "DefaultTime")}
    if not api.typed:
        # v0.0.38: null is INFINITE for a maximum, and "not set" for a default.
        times["MaxTime"] = times["MaxTime"] or v.UNLIMITED
        fields["MaxNodes"] = fields["MaxNodes"] or v.UNLIMITED
    return parse.partition(
        fields
        | times
        | {
            "PartitionName": v.text(record.get("name")),
            "State": (v.words(found["State"]) or ["UP"])[0],
            "Default": "YES" if "DEFAULT" in v.words(record.get("flags")) else "NO",
        }
    )


def license_counts(record: Record) -> tuple[int, int]:
    """(total, used)."""
    return v.number(record.get("Total")), v.number(record.get("Used"))


def _reason(record: Record) -> str:
    said, who = v.text(record.get("reason")), v.text(record.get("reason_set_by_user"))
    moment = v.when(record.get("reason_changed_at"))
    return f"{said} [{who}@{moment}]" if said and moment else said
