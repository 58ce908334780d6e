"""The seam to Slurm: what the tools may ask of a cluster, whichever way it is reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from tools.slurm.models import (
    Association,
    Estimate,
    Job,
    JobQuery,
    Node,
    Page,
    Partition,
    Qos,
    Share,
    Step,
    Submitted,
    Usage,
)

Verb = Literal["submit", "cancel", "hold", "release", "requeue", "suspend", "resume", "update_job", "update_node"]


@dataclass(frozen=True, slots=True)
class Operation:
    """One change to the cluster, not yet made: the unit of approval, of the journal and of an outcome.

    ``target`` is a job id or a host list, empty for a submit. ``fields`` are backend-neutral: submit_job's own
    argument names for ``submit``; ``time_limit``, ``nodes``, ``partition`` … for ``update_job``; ``state`` and
    ``reason`` for ``update_node``; ``signal`` and the filter ``state`` for ``cancel``.
    """

    verb: Verb
    target: str = ""
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Receipt:
    """Slurm's answer to one Operation that it accepted."""

    id: str
    message: str = ""


class Backend(Protocol):
    """Every read returns frozen models and every failure is a :class:`tools.slurm.errors.SlurmError`."""

    def version(self) -> tuple[int, int, int]: ...
    def cluster(self) -> str: ...

    def queue(self, query: JobQuery) -> list[Job]: ...
    def page(self, query: JobQuery, most: int) -> Page:
        """As :meth:`queue`, but only the first ``most`` jobs in the order of :mod:`tools.slurm.paging`: cheap for any
        number of jobs."""
        ...

    def history(self, query: JobQuery) -> list[Job]:
        """Finished and running jobs from accounting; raises ``AccountingUnavailable`` where there is none."""
        ...

    def job(self, job_id: str) -> list[Job]:
        """All records of one id (an array has several); raises ``UnknownJob``."""
        ...

    def steps(self, job_id: str) -> list[Step]: ...
    def submitted(self, job_id: str) -> Submitted:
        """How a job was submitted, from accounting; raises ``UnknownJob``, ``AccountingUnavailable``."""
        ...

    def nodes(self, names: str = "") -> list[Node]: ...
    def partitions(self) -> list[Partition]: ...
    def qos(self) -> list[Qos]: ...
    def associations(self, user: str = "", account: str = "") -> list[Association]: ...
    def shares(self, accounts: Sequence[str]) -> list[Share]:
        """How these accounts and their users stand in fair share, from slurmctld (sshare(1))."""
        ...

    def usage(
        self, group_by: str, start: datetime, end: datetime, user: str = "", account: str = ""
    ) -> list[Usage]: ...
    def priority_factors(self, job_id: str) -> dict[str, float]: ...
    def expected_start(self, job_id: str) -> Estimate: ...
    def test_submit(self, fields: dict[str, Any]) -> Estimate:
        """``sbatch --test-only``: raises the error that a real submission would."""
        ...

    def licenses(self) -> dict[str, tuple[int, int]]:
        """Licence name to (total, used)."""
        ...

    def reservations(self) -> list[str]:
        """The names of all reservations."""
        ...

    def admin_level(self, user: str) -> Literal["none", "operator", "administrator"]: ...
    def coordinated_accounts(self, user: str) -> tuple[str, ...]: ...

    def render(self, operation: Operation) -> list[list[str]]:
        """The exact commands that :meth:`perform` would run, as argument lists (for the preview)."""
        ...

    def script(self, operation: Operation) -> str:
        """The batch script that :meth:`perform` would hand over on standard input; empty where there is none."""
        ...

    def perform(self, operation: Operation) -> Receipt:
        """Raises ``SlurmUnreachable`` where nothing was sent, ``OutcomeUnknown`` where the answer was lost."""
        ...

    def find_by_key(self, key: str) -> list[Job]:
        """Jobs of the queue, else of accounting where there is one, whose comment carries ``key``; empty for none."""
        ...

    def commands(self) -> Sequence[str]:
        """What ran so far on this backend, as shell-quoted text, oldest first (for ``ToolResult.commands``)."""
        ...
