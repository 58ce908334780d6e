"""What Slurm knows, as frozen values: one class a thing, the same whichever backend read it.

Times are naive datetimes in the controller's zone, as Slurm prints them; durations are seconds; memory is MiB;
``None`` means that Slurm said nothing, ``UNLIMITED`` (-1) that it said there is no limit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

UNLIMITED = -1


@dataclass(frozen=True, slots=True)
class Job:
    """One job, array task (``123_4``), pending array remainder (``123_[5-9]``) or het component (``123+0``)."""

    id: str
    name: str = ""
    user: str = ""
    account: str = ""
    partition: str = ""
    qos: str = ""
    state: str = ""
    """Slurm's long form, upper case: ``PENDING``, ``RUNNING``, ``OUT_OF_MEMORY`` …"""
    reason: str = ""
    nodes: int = 0
    node_list: str = ""
    cpus: int = 0
    gpus: int = 0
    gpu_type: str = ""
    mem_mb: int | None = None
    """Memory per node in MiB as asked."""
    time_limit: int | None = None
    elapsed: int | None = None
    submit_time: datetime | None = None
    eligible_time: datetime | None = None
    start_time: datetime | None = None
    """Expected while pending, real once started."""
    end_time: datetime | None = None
    priority: int | None = None
    nice: int | None = None
    dependency: str = ""
    array_size: int = 1
    """How many tasks this record stands for."""
    exit_code: str = ""
    """``code:signal`` as Slurm writes it."""
    working_directory: str = ""
    stdout: str = ""
    stderr: str = ""
    command: str = ""
    comment: str = ""
    constraint: str = ""
    reservation: str = ""
    licenses: str = ""
    exclusive: bool = False
    """Whole nodes (``scontrol show job`` only)."""
    restarts: int = 0
    tres: str = ""
    """The requested trackable resources, Slurm's own text: ``cpu=8,mem=4G,node=1,gres/gpu=2``."""
    raw: dict[str, str] = field(default_factory=dict, compare=False)
    """Everything else Slurm said of it, by Slurm's own field names (``scontrol show job`` only)."""


@dataclass(frozen=True, slots=True)
class Step:
    """One row of ``sacct`` below a job: ``123.batch``, ``123.0``."""

    id: str
    name: str
    state: str
    exit_code: str
    elapsed: int | None = None
    total_cpu: float | None = None
    cpus: int = 0
    max_rss_mb: float | None = None
    node_list: str = ""


@dataclass(frozen=True, slots=True)
class Submitted:
    """How accounting remembers a submission; ``""`` for what a site does not keep."""

    id: str
    """The plain number of one job or array task: what ``%j`` stands for in a file name."""
    line: str = ""
    """The command line as it was typed, its quotes lost (sacct(1), SubmitLine)."""
    script: str = ""
    stdout: str = ""
    stderr: str = ""


@dataclass(frozen=True, slots=True)
class Gpus:
    """GPUs of one type on one node (or in one partition): how many there are and how many are given away."""

    type: str
    total: int
    used: int = 0


@dataclass(frozen=True, slots=True)
class Node:
    name: str
    state: str
    """Base state and flags joined by ``+``, upper case: ``IDLE``, ``MIXED+DRAIN``, ``DOWN+NOT_RESPONDING``."""
    partitions: tuple[str, ...] = ()
    cpus: int = 0
    cpus_used: int = 0
    mem_mb: int = 0
    mem_used_mb: int = 0
    gpus: tuple[Gpus, ...] = ()
    features: tuple[str, ...] = ()
    reason: str = ""
    reason_user: str = ""
    reason_time: datetime | None = None
    boot_time: datetime | None = None
    load: float | None = None
    raw: dict[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Partition:
    name: str
    state: str = "UP"
    default: bool = False
    nodes: str = ""
    total_nodes: int = 0
    total_cpus: int = 0
    max_time: int | None = None
    default_time: int | None = None
    max_nodes: int | None = None
    qos: str = ""
    allow_accounts: tuple[str, ...] = ()
    allow_qos: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Qos:
    name: str
    priority: int = 0
    max_wall: int | None = None
    limits: dict[str, str] = field(default_factory=dict)
    """Slurm's limit names to their text: ``MaxTRESPU`` → ``gres/gpu=8``; only those that are set."""


@dataclass(frozen=True, slots=True)
class Association:
    """One association of ``sacctmgr``; ``user`` is empty on an account's own row, which alone has a ``parent``."""

    account: str
    user: str = ""
    partition: str = ""
    default_qos: str = ""
    qos: tuple[str, ...] = ()
    fairshare: int | None = None
    limits: dict[str, str] = field(default_factory=dict)
    parent: str = ""


@dataclass(frozen=True, slots=True)
class Share:
    """How an association stands in fair-share scheduling now (sshare(1)); ``user`` is empty on an account's own row."""

    account: str
    user: str = ""
    norm_shares: float | None = None
    effective_usage: float | None = None
    fair_share: float | None = None
    level: float | None = None
    """Norm Shares / Effectv Usage: below 1 it has had more than its share."""
    minutes: dict[str, str] = field(default_factory=dict)
    """GrpTRESRaw: minutes of each resource that count against ``GrpTRESMins``, memory as MiB minutes."""


@dataclass(frozen=True, slots=True)
class Usage:
    """One row of a usage report: what one user, account or partition consumed."""

    key: str
    jobs: int
    cpu_hours: float
    gpu_hours: float
    node_hours: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """When a job would start, as Slurm itself answers (``squeue --start``, ``sbatch --test-only``)."""

    start_time: datetime | None
    nodes: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """The first jobs of a list in order, each with what a list shows of it, and the numbers of the whole list."""

    jobs: tuple[Job, ...]
    total: int
    """Records: an array's tasks that Slurm tells as one are one."""
    by_state: dict[str, int]
    """Jobs in each state, array tasks counted one by one, the most first."""


@dataclass(frozen=True, slots=True)
class JobQuery:
    """Which jobs; empty means all. ``states`` in Slurm's long form; ``since`` and ``until`` bound the history."""

    ids: tuple[str, ...] = ()
    user: str = ""
    states: tuple[str, ...] = ()
    partition: str = ""
    account: str = ""
    qos: str = ""
    name: str = ""
    node: str = ""
    since: datetime | None = None
    until: datetime | None = None
