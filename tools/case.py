"""One waiting job with what is needed to explain it, each thing asked of Slurm at most once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from tools.base import ToolContext
from tools.capacity import in_partition, offered, type_of
from tools.limits import Limit, of_association, of_partition, of_qos
from tools.slurm.errors import AccountingUnavailable, SlurmError, SlurmUnreachable
from tools.slurm.models import Association, Job, JobQuery, Node, Partition, Qos, Share
from tools.views import Row, clock, said


@dataclass(frozen=True, slots=True)
class Why:
    """One reason for waiting. ``never``: it cannot start unless something changes; ``call``: what would help."""

    label: str
    summary: str
    fix: str = ""
    who: str = ""
    evidence: tuple[str, ...] = ()
    never: bool = False
    call: dict[str, Any] | None = None

    def row(self) -> Row:
        return said(
            {
                "label": self.label,
                "summary": self.summary,
                "fix": self.fix,
                "who": self.who,
                "evidence": list(self.evidence),
                "never": self.never or None,
                "call": self.call,
            }
        )


@dataclass
class Case:
    """A pending job in its cluster."""

    job: Job
    ctx: ToolContext
    notes: list[str] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        return clock(self.ctx)

    @property
    def partition_names(self) -> list[str]:
        return self.job.partition.split(",")

    @cached_property
    def nodes(self) -> list[Node]:
        return self.ctx.backend.nodes()

    @cached_property
    def all_partitions(self) -> list[Partition]:
        return self.ctx.backend.partitions()

    @cached_property
    def partitions(self) -> list[Partition]:
        return [one for one in self.all_partitions if one.name in self.partition_names]

    @cached_property
    def members(self) -> list[Node]:
        """Nodes of the job's partitions."""
        found = {node.name: node for name in self.partition_names for node in in_partition(self.nodes, name)}
        return list(found.values())

    @cached_property
    def on_offer(self) -> set[str]:
        return offered(self.members, self.partitions)

    @cached_property
    def queue(self) -> list[Job]:
        """Every live job."""
        return self.ctx.backend.queue(JobQuery())

    @cached_property
    def limits(self) -> list[Limit]:
        return self.limits_for(self.job)

    def limits_for(self, job: Job) -> list[Limit]:
        """All limits that count this job: QoS, the partition's QoS, its associations, its partition."""
        partitions = [one for one in self.all_partitions if one.name in job.partition.split(",")]
        found = [limit for one in partitions for limit in of_partition(one)]
        try:
            return found + self._accounted(job, partitions)
        except AccountingUnavailable as away:
            note = f"limits of QoS and associations are not known: {away.message}"
            self.notes += [] if note in self.notes else [note]
            return found

    def _accounted(self, job: Job, partitions: Sequence[Partition]) -> list[Limit]:
        found = []
        others = [other for other in self.queue if other.id != job.id]
        for qos in self._qos:
            if qos.name == job.qos:
                held = [other for other in others if other.qos == qos.name]
                found += of_qos(qos, held, job.user, job.account)
            for one in partitions:
                if one.qos == qos.name:
                    held = [other for other in others if other.partition == one.name]
                    found += of_qos(qos, held, job.user, job.account, f"partition {one.name} (QoS {qos.name})")
        line = lineage(job.account, self._associations)
        for row in self._associations:
            own = row.account == job.account and row.user in ("", job.user) and row.partition in ("", job.partition)
            if own or (row.account in line and not row.user):
                minutes = self._minutes(row) if "GrpTRESMins" in row.limits else {}
                found += of_association(row, others, under(row.account, self._associations), minutes)
        return found

    def _minutes(self, row: Association) -> dict[str, str]:
        """What is used of a budget of minutes: sshare alone knows, for it decays."""
        return next((one.minutes for one in self.shares if (one.account, one.user) == (row.account, row.user)), {})

    @cached_property
    def _qos(self) -> list[Qos]:
        return self.ctx.backend.qos()

    @cached_property
    def _associations(self) -> list[Association]:
        return self.ctx.backend.associations()

    @cached_property
    def shares(self) -> list[Share]:
        """The job's account, its parents and all their users in fair share; [] where Slurm counts none."""
        try:
            return self.ctx.backend.shares(lineage(self.job.account, self._associations)) if self.job.account else []
        except SlurmUnreachable:
            raise
        except SlurmError:  # priority/basic, or no accounting
            return []

    @cached_property
    def own_qos(self) -> list[str]:
        """Every QoS that the job's owner may use in the job's account; [] where accounting does not tell."""
        try:
            rows = [row for row in self._associations if (row.user, row.account) == (self.job.user, self.job.account)]
        except AccountingUnavailable:
            return []
        return sorted({name for row in rows for name in row.qos})

    @cached_property
    def own_accounts(self) -> list[str]:
        """Every account of the job's owner; [] where accounting does not tell."""
        try:
            return sorted({row.account for row in self._associations if row.user == self.job.user})
        except AccountingUnavailable:
            return []

    def suits(self, node: Node) -> bool:
        """Whether the node has the job's GPU type and features at all, busy or not."""
        kinds = {type_of(gpu.type, node, self.job.gpu_type).lower() for gpu in node.gpus}
        if self.job.gpus and (not kinds or (self.job.gpu_type and self.job.gpu_type.lower() not in kinds)):
            return False
        return has_features(node, self.job.constraint)


def has_features(node: Node, constraint: str) -> bool:
    """Plain constraints only (``a``, ``a&b``, ``a|b``); of others nothing is claimed, so every node may suit."""
    if not constraint or any(char in constraint for char in "[]()*:"):
        return True
    return any(set(part.split("&")) <= set(node.features) for part in constraint.replace(",", "&").split("|"))


def lineage(account: str, associations: Sequence[Association]) -> list[str]:
    """The account and the accounts above it, nearest first: the limits of each hold for it (resource_limits.html)."""
    parents = {row.account: row.parent for row in associations if not row.user}
    line: list[str] = []
    while account and account not in line:
        line.append(account)
        account = parents.get(account, "")
    return line


def under(account: str, associations: Sequence[Association]) -> set[str]:
    """The accounts below one."""
    names = {row.account for row in associations if not row.user}
    return {name for name in names if name != account and account in lineage(name, associations)}
