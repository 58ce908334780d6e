"""Limits of QoS, associations and partitions, each with what is used of it now.

What counts against which limit: resource_limits.html and sacctmgr(1), "SPECIFICATIONS FOR QOS / ASSOCIATIONS".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from tools.slurm.models import UNLIMITED, Association, Job, Partition, Qos
from tools.slurm.parse.values import mebibytes, pairs, seconds
from tools.views import Row, duration_text, memory_text, said

Per = Literal["group", "job"]
_JOB_LIMITS = frozenset({"MaxTRES", "MaxTRESPerNode", "MaxTRESMins", "MinTRES"})
# Used up over months with decay: only sshare knows how much is left.
_DECAYING = frozenset({"GrpTRESMins", "GrpWall"})


@dataclass(frozen=True, slots=True)
class Limit:
    """``allowed`` of ``resource`` in Slurm's units (memory MiB, walls seconds); ``used`` is None where nobody knows."""

    scope: str
    name: str
    resource: str
    allowed: float
    per: Per = "group"
    used: float | None = None
    by: tuple[tuple[str, float], ...] = ()
    """The users who hold most of it."""

    def need(self, job: Job) -> float:
        """What the job would add (group) or asks for (job)."""
        return needed(job, self.name, self.resource)

    def breaks(self, job: Job) -> bool:
        """Whether the limit keeps this job waiting now."""
        if self.name == "MinTRES":
            return self.need(job) < self.allowed
        return self.need(job) + (self.used or 0 if self.per == "group" else 0) > self.allowed

    def forbids(self, job: Job) -> bool:
        """Whether the job could not run even if nobody else did."""
        return self.breaks(job) if self.per == "job" else self.need(job) > self.allowed

    def row(self) -> Row:
        return said(
            {
                "scope": self.scope,
                "limit": self.name,
                "resource": self.resource,
                "allowed": amount(self.resource, self.allowed),
                "used": None if self.used is None else amount(self.resource, self.used),
                "by": {user: amount(self.resource, used) for user, used in self.by},
            }
        ) | ({"per": "job"} if self.per == "job" else {})

    def text(self, job: Job) -> str:
        """``QoS small allows 2 gres/gpu (GrpTRES); 2 are used (root 2); this job asks for 1``."""
        allowed, asked = amount(self.resource, self.allowed), amount(self.resource, self.need(job))
        verb = "asks at least" if self.name == "MinTRES" else "allows"
        what = f"minutes of {self.resource}" if self.name.endswith("Mins") else self.resource
        each = " a node" if self.name == "MaxTRESPerNode" else " a job" if self.per == "job" else ""
        start = f"{self.scope} {verb} {allowed} {what}{each} ({self.name})"
        if self.per == "group" and self.used is not None:
            holders = ", ".join(f"{user} {amount(self.resource, used)}" for user, used in self.by)
            start += f"; {amount(self.resource, self.used)} used" + (f" ({holders})" if holders else "")
        return f"{start}; this job asks for {asked}"


def amount(resource: str, value: float) -> Any:
    """A number as people read it: memory with a unit, walls as durations."""
    if resource == "mem":
        return memory_text(value)
    return duration_text(value) if resource == "wall" else round(value)


def of_qos(qos: Qos, jobs: Sequence[Job], user: str, account: str, scope: str = "") -> list[Limit]:
    """The limits that a job of ``user`` and ``account`` meets; ``jobs`` are the live jobs that count against it."""
    scope = scope or f"QoS {qos.name}"
    own = [job for job in jobs if job.user == user]
    accounts = [job for job in jobs if job.account == account]
    found = []
    if qos.max_wall not in (None, UNLIMITED):
        found.append(Limit(scope, "MaxWall", "wall", float(qos.max_wall or 0), "job"))
    for name, value in qos.limits.items():
        whose, counted = (
            (f"{scope}, user {user}", own) if name.endswith("PU")
            else (f"{scope}, account {account}", accounts) if name.endswith("PA")
            else (scope, jobs)
        )  # fmt: skip
        if (name.endswith("PU") and not user) or (name.endswith("PA") and not account):
            counted, whose = [], f"{scope}, each {'user' if name.endswith('PU') else 'account'}"
        found += _limits(whose, name, value, counted)
    return found


def of_association(
    row: Association, jobs: Sequence[Job], below: Collection[str] = (), minutes: Mapping[str, str] | None = None
) -> list[Limit]:
    """A user's own limits in an account, or (no user) those of the account as a whole.

    ``below``: accounts under this one, whose jobs count too; ``minutes``: what sshare says is used of GrpTRESMins.
    """
    if not row.limits:
        return []
    accounts = {row.account, *below}
    held = [
        job
        for job in jobs
        if job.account in accounts and row.user in ("", job.user) and row.partition in ("", job.partition)
    ]
    scope = f"user {row.user} in account {row.account}" if row.user else f"account {row.account}"
    # On an account's own row, what is not for the group is only the default of its users.
    mine = {name: value for name, value in row.limits.items() if row.user or name.startswith("Grp")}
    found = [limit for name, value in mine.items() for limit in _limits(scope, name, value, held)]
    return [_with_budget(limit, minutes) if minutes and limit.name == "GrpTRESMins" else limit for limit in found]


def _with_budget(limit: Limit, minutes: Mapping[str, str]) -> Limit:
    used = minutes.get(limit.resource)
    return replace(limit, used=_amount_of(limit.resource, used)) if used else limit


def _amount_of(resource: str, text: str) -> float:
    return (mebibytes(text) if resource == "mem" else float(text)) or 0.0


def of_partition(partition: Partition) -> list[Limit]:
    found = []
    if partition.max_time not in (None, UNLIMITED):
        found.append(Limit(f"partition {partition.name}", "MaxTime", "wall", float(partition.max_time or 0), "job"))
    if partition.max_nodes not in (None, UNLIMITED):
        found.append(Limit(f"partition {partition.name}", "MaxNodes", "node", float(partition.max_nodes or 0), "job"))
    return found


def needed(job: Job, name: str, resource: str) -> float:
    """What one job counts for a limit: jobs, submitted tasks, seconds, or an amount of a resource."""
    if resource == "wall":
        return float(job.time_limit or 0)
    if resource == "jobs":
        return 1.0
    if resource == "submitted jobs":
        return float(job.array_size)
    held = held_by(job, resource)
    if name == "MaxTRESPerNode":
        return held / max(job.nodes, 1)
    if name.endswith("Mins"):
        left = (job.time_limit or 0) - (job.elapsed or 0 if job.state == "RUNNING" else 0)
        return held * max(left, 0) / 60
    return held


def held_by(job: Job, resource: str) -> float:
    """An amount out of the job's trackable resources; memory in MiB."""
    held = pairs(job.tres)
    if resource not in held and resource == "node":
        return float(job.nodes)
    if resource not in held and resource == "gres/gpu":
        return float(job.gpus)
    value = held.get(resource, "0")
    return (mebibytes(value) or 0.0) if resource == "mem" else float(value or 0)


def _limits(scope: str, name: str, value: str, jobs: Sequence[Job]) -> list[Limit]:
    """One sacctmgr value (``2``, ``cpu=16,gres/gpu=2``, ``04:00:00``) as limits; [] for flags and preemption."""
    if "TRES" in name:
        return [
            _limit(scope, name, resource, _amount_of(resource, text), jobs) for resource, text in pairs(value).items()
        ]
    if name in ("MaxWall", "GrpWall"):
        return [_limit(scope, name, "wall", float(seconds(value) or 0), jobs)]
    if "Jobs" in name or "Submit" in name:
        return [_limit(scope, name, "submitted jobs" if "Submit" in name else "jobs", float(value), jobs)]
    return []


def _limit(scope: str, name: str, resource: str, allowed: float, jobs: Sequence[Job]) -> Limit:
    if name in _JOB_LIMITS or name == "MaxWall":
        return Limit(scope, name, resource, allowed, "job")
    if name in _DECAYING:
        return Limit(scope, name, resource, allowed)
    counts: Callable[[Job], bool] = lambda job: "Submit" in name or job.state in ("RUNNING", "SUSPENDED")  # noqa: E731
    by: Counter[str] = Counter()
    several = len({job.account for job in jobs}) > 1 and scope.startswith("account")
    for job in jobs:
        if counts(job):
            who = f"{job.user} in {job.account}" if several else job.user
            by[who] += needed(job, name, resource)  # type: ignore[assignment]
    top = tuple((user, float(used)) for user, used in by.most_common(4) if used)
    return Limit(scope, name, resource, allowed, "group", float(sum(by.values())), top)
