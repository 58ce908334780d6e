"""Everything that can go wrong with Slurm, as one tree.

SlurmError
├── SlurmUnreachable        slurmctld or slurmrestd does not answer (transient)
├── AccountingUnavailable   slurmdbd does not answer, or the site runs none
├── UnknownJob              no such job id in queue or accounting
├── UnknownName             a partition, QoS, account, node … that the cluster does not have
├── PermissionRefused       Slurm's own "Access/permission denied", or ours before it
├── LimitRefused            an association, QoS or partition limit
├── InvalidRequest          an option or value that Slurm would not take
└── OutcomeUnknown          the command was sent and its answer was lost
"""

from __future__ import annotations

from collections.abc import Iterable


class SlurmError(Exception):
    """``message`` for people, ``code`` for programs (Slurm's own error name where there is one)."""

    code = "slurm_error"
    transient = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        transient: bool | None = None,
        command: Iterable[str] = (),
        valid: Iterable[str] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.transient = type(self).transient if transient is None else transient
        self.command = tuple(command)
        self.valid = tuple(valid)


class SlurmUnreachable(SlurmError):
    code = "slurm_unreachable"
    transient = True


class AccountingUnavailable(SlurmError):
    code = "accounting_unavailable"
    transient = True


class UnknownJob(SlurmError):
    code = "unknown_job"


class UnknownName(SlurmError):
    code = "unknown_name"


class PermissionRefused(SlurmError):
    code = "permission_refused"


class LimitRefused(SlurmError):
    code = "limit_refused"


class InvalidRequest(SlurmError):
    code = "invalid_request"


class OutcomeUnknown(SlurmError):
    code = "outcome_unknown"
