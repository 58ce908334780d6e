"""Rows of ``sacctmgr --parsable2 show …`` and of sacct's resources."""

from __future__ import annotations

import math
from functools import lru_cache

from tools.slurm.models import Association, Qos, Share
from tools.slurm.parse import values as v

_LIMITS = (
    "GrpTRES", "GrpTRESMins", "GrpTRESRunMins", "GrpJobs", "GrpSubmit", "GrpWall", "MaxTRES", "MaxTRESPerNode",
    "MaxTRESMins",
)  # fmt: skip
_QOS_LIMITS = (*_LIMITS, "MaxTRESPU", "MaxJobsPU", "MaxSubmitPU", "MaxTRESPA", "MaxJobsPA", "MaxSubmitPA", "MinTRES")
_ASSOCIATION_LIMITS = (*_LIMITS, "MaxJobs", "MaxSubmit", "MaxWall")
QOS = ("Name", "Priority", "MaxWall", "Flags", "Preempt", *_QOS_LIMITS)
ASSOCIATION = ("Account", "User", "ParentName", "Partition", "DefaultQOS", "QOS", "Fairshare", *_ASSOCIATION_LIMITS)

SHARES = ("Account", "User", "NormShares", "EffectvUsage", "FairShare", "LevelFS", "GrpTRESRaw")


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


def share(row: dict[str, str]) -> Share:
    """A row of :data:`SHARES`; sshare indents accounts by their depth, and leaves out or calls ``inf`` what is none."""
    norm, usage, factor, level = (_share(row.get(name, "")) for name in SHARES[2:6])
    minutes = v.pairs(row.get("GrpTRESRaw", ""))
    return Share(row["Account"].strip(), row["User"].strip(), norm, usage, factor, level, minutes)


def _share(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def hours(elapsed: str, tres: str) -> tuple[int, float, float, float]:
    """(1 job, CPU hours, GPU hours, node hours) of one job's seconds and ``AllocTRES``."""
    length = (v.whole(elapsed) or 0) / 3600
    cpus, gpus, nodes = _held(tres)
    return 1, cpus * length, gpus * length, nodes * length


@lru_cache(maxsize=2048)
def _held(tres: str) -> tuple[int, int, int]:
    """CPUs, GPUs, nodes."""
    held = v.pairs(tres)
    return v.number(held.get("cpu", "")), v.gpus_of(tres, 1)[0], v.number(held.get("node", ""))


def _set(row: dict[str, str], names: tuple[str, ...]) -> dict[str, str]:
    return {name: row[name] for name in names if row.get(name)}
