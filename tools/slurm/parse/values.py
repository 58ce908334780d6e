"""Slurm's small forms: times, durations, memory, counts, exit codes, trackable resources.

Every function takes the text as a Slurm command printed it (LC_ALL=C, SLURM_TIME_FORMAT=standard) and returns
``None``, ``0`` or ``""`` for Slurm's many ways of saying nothing.
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache

from tools.slurm.models import UNLIMITED

# Of ten thousand jobs most columns have few different values.
_remembered = lru_cache(maxsize=2048)
_NOTHING = frozenset({"", "(null)", "N/A", "n/a", "n/s", "None", "NONE", "Unknown", "NOT_SET", "INVALID"})
_ENDLESS = frozenset({"UNLIMITED", "INFINITE", "-1"})
_DURATION = re.compile(r"(?:(\d+)-)?(\d+(?::\d+){0,2}(?:\.\d+)?)")
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)([KMGTP]?)[nc]?")
_MEBIBYTES = {"K": 1 / 1024, "": 1, "M": 1, "G": 1024, "T": 1024**2, "P": 1024**3}
_GPU = re.compile(r"(?:gres[:/])?gpu(?::([^:=,()]+)(?=[:=,(]|$))?(?:[:=](\d+))?(?=[,(]|$)")


@_remembered
def text(value: str) -> str:
    """The value itself, ``""`` where Slurm says ``(null)``, ``N/A``, ``None``, ``Unknown`` …"""
    value = value.strip()
    return "" if value in _NOTHING else value


@_remembered
def number(value: str) -> int:
    """``2`` of ``2``, ``2-2`` (scontrol's NumNodes of a pending job is minimum-maximum) and ``2.00``; else 0."""
    match = re.match(r"\d+", value.strip())
    return int(match[0]) if match else 0


@_remembered
def whole(value: str) -> int | None:
    """An integer with its sign; None where Slurm says nothing."""
    value = value.strip()
    return int(value) if re.fullmatch(r"-?\d+", value) else None


def limit(value: str) -> int | None:
    """A count that may be ``UNLIMITED``."""
    return UNLIMITED if value.strip() in _ENDLESS else whole(value)


@_remembered
def moment(value: str) -> datetime | None:
    """``2026-11-21T04:50:20``; anything else (``Unknown``, ``N/A``, ``None``) is None."""
    try:
        return datetime.fromisoformat(value.strip())
    except ValueError:
        return None


@_remembered
def seconds(value: str) -> int | None:
    """Seconds of ``1-02:03:04``, ``02:03:04``, ``03:04`` (minutes, seconds) or ``04``; -1 for ``UNLIMITED``."""
    exact = exact_seconds(value)
    return None if exact is None else int(exact)


def exact_seconds(value: str) -> float | None:
    """As :func:`seconds`, keeping the fraction that sacct's TotalCPU has (``00:01.204``)."""
    value = value.strip()
    if value in _ENDLESS:
        return float(UNLIMITED)
    match = _DURATION.fullmatch(value)
    if not match:
        return None
    parts = [float(part) for part in match[2].split(":")]
    # After days the clock starts with hours ("1-02:30"); alone it ends with seconds ("02:30").
    clock = parts + [0.0] * (3 - len(parts)) if match[1] else [0.0] * (3 - len(parts)) + parts
    return int(match[1] or 0) * 86400 + clock[0] * 3600 + clock[1] * 60 + clock[2]


def minutes(value: str) -> int | None:
    """Seconds of a count of minutes (sacct's TimelimitRaw, sacctmgr's raw limits)."""
    count = limit(value)
    return count if count is None or count == UNLIMITED else count * 60


@_remembered
def mebibytes(value: str) -> float | None:
    """MiB of ``10G``, ``4000M``, ``512K``, ``4000`` (MiB), with sacct's ``n`` and ``c`` suffixes accepted."""
    match = _MEMORY.fullmatch(value.strip())
    return float(match[1]) * _MEBIBYTES[match[2]] if match else None


@_remembered
def exit_code(value: str) -> str:
    """``code:signal``; squeue prints the raw wait status (768 is ``3:0``, 15 is ``0:15``; see wait(2))."""
    value = value.strip()
    if not value.isdigit():
        return value if ":" in value else ""
    status = int(value)
    return f"{status >> 8 & 0xFF}:{status & 0x7F}"


@_remembered
def state(value: str) -> str:
    """The long state alone: sacct writes ``CANCELLED by 1000``."""
    return value.split()[0].rstrip("+*").upper() if value.strip() else ""


def pairs(value: str) -> dict[str, str]:
    """``cpu=8,mem=4G,gres/gpu=2`` as a dict, in order."""
    return dict(part.split("=", 1) for part in text(value).split(",") if "=" in part)


def names(value: str) -> tuple[str, ...]:
    """A comma list; ``ALL`` and nothing are both the empty tuple, as "no restriction"."""
    value = text(value)
    return () if value in ("", "ALL") else tuple(part for part in value.split(",") if part)


def gpu_counts(value: str) -> dict[str, int]:
    """GPUs by type in any list of resources; the type ``""`` is Slurm's untyped total.

    Knows ``gres:gpu:h100:2`` (TresPerNode of 22.05), ``gres/gpu:h100=2`` (TRES, and TresPerNode from 24.05 on),
    ``gpu:a100:8(S:0-1)`` (a node's Gres), ``gpu:a100:3(IDX:0-2)`` (GresUsed). An amount left out is one.
    """
    found: dict[str, int] = {}
    for entry in re.split(r",(?![^()]*\))", text(value)):
        if match := _GPU.match(entry.strip()):
            kind, amount = match[1] or "", int(match[2]) if match[2] else 1
            if kind.isdigit() and match[2] is None:  # "gpu:4" is a count, not a type
                kind, amount = "", int(kind)
            found[kind] = found.get(kind, 0) + amount
    return found


@_remembered
def gpus_of(
    tres: str, nodes: int, per_node: str = "", per_job: str = "", per_task: tuple[str, int] = ("", 0)
) -> tuple[int, str]:
    """A job's total of GPUs and their type (``""`` when it asked for none in particular, or for several).

    ``tres`` is what Slurm counts (it has GPUs only where AccountingStorageTRES names them), the rest is what was
    asked for: on each node, for the job, for each of so many tasks.
    """
    counted = gpu_counts(tres)
    asked = gpu_counts(per_job)
    if not asked:
        asked = {kind: count * max(nodes, 1) for kind, count in gpu_counts(per_node).items()}
    if not asked:
        asked = {kind: count * per_task[1] for kind, count in gpu_counts(per_task[0]).items()}
    kinds = {kind for kind in (*counted, *asked) if kind}
    typed = sum(count for kind, count in counted.items() if kind)
    total = counted.get("") or typed or sum(asked.values())
    return total, kinds.pop() if len(kinds) == 1 else ""


@_remembered
def array_size(tasks: str) -> int:
    """How many tasks ``2-9%3``, ``0-9:2`` or ``1,3,5`` stands for; 1 for a plain job."""
    return sum(len(part) for part in task_ranges(tasks)) or 1


def task_ranges(tasks: str) -> list[range]:
    """The array tasks of ``2-9%3``, ``0-9:2``, ``1,3,5`` or ``4``; none of what is no such list."""
    parts = [part.strip() for part in text(tasks).partition("%")[0].split(",")]
    found = [re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part) for part in parts]
    return [range(int(m[1]), int(m[2] or m[1]) + 1, max(int(m[3] or 1), 1)) for m in found if m]
