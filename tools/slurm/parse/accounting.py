"""Rows of ``sacctmgr --parsable2 show …`` and of sacct's resources."""

from __future__ import annotations

from tools.slurm.models import Association, Qos
from tools.slurm.parse import values as v

_LIMITS = (
    "GrpTRES", "GrpTRESMins", "GrpTRESRunMins", "GrpJobs", "GrpSubmit", "GrpWall", "MaxTRES", "MaxTRESPerNode",
    "MaxTRESMins",
)  # fmt: skip
_QOS_LIMITS = (*_LIMITS, "MaxTRESPU", "MaxJobsPU", "MaxSubmitPU", "MaxTRESPA", "MaxJobsPA", "MaxSubmitPA", "MinTRES")
_ASSOCIATION_LIMITS = (*_LIMITS, "MaxJobs", "MaxSubmit", "MaxWall")
QOS = ("Name", "Priority", "MaxWall", "Flags", "Preempt", *_QOS_LIMITS)
ASSOCIATION = ("Account", "User", "ParentName", "Partition", "DefaultQOS", "QOS", "Fairshare", *_ASSOCIATION_LIMITS)


def qos(row: dict[str, str]) -> Qos:
    """A row of :data:`QOS`; ``limits`` holds those that are set, flags and preemption among them."""
    names = ("Flags", "Preempt", *_QOS_LIMITS)
    return Qos(row["Name"], v.number(row["Priority"]), v.seconds(row["MaxWall"]), _set(row, names))


def association(row: dict[str, str]) -> Association:
    """A row of :data:`ASSOCIATION`; a fairshare of ``parent`` is None."""
    return Association(
        account=row["Account"],
        user=row["User"],
        parent=row["ParentName"],
        partition=row["Partition"],
        default_qos=row["DefaultQOS"],
        qos=v.names(row["QOS"]),
        fairshare=v.whole(row["Fairshare"]),
        limits=_set(row, _ASSOCIATION_LIMITS),
    )


def hours(elapsed: str, tres: str) -> tuple[int, float, float, float]:
    """(1 job, CPU hours, GPU hours, node hours) of one job's seconds and ``AllocTRES``."""
    length = (v.whole(elapsed) or 0) / 3600
    held = v.pairs(tres)
    gpus, _ = v.gpus_of(tres, 1)
    return 1, v.number(held.get("cpu", "")) * length, gpus * length, v.number(held.get("node", "")) * length


def _set(row: dict[str, str], names: tuple[str, ...]) -> dict[str, str]:
    return {name: row[name] for name in names if row.get(name)}
