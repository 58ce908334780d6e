"""Slurm's own error texts, as data: which class of ours each one is, and Slurm's name for it.

The texts are those of ``slurm_strerror`` (src/common/slurm_errno.c) in 22.05, 24.11 and 26.05, and what the
commands say themselves; all commands print them after a prefix of their own, so each is looked for anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tools.slurm.errors import (
    AccountingUnavailable,
    InvalidRequest,
    LimitRefused,
    OutcomeUnknown,
    PermissionRefused,
    SlurmError,
    SlurmUnreachable,
    UnknownJob,
    UnknownName,
)

REMEDY = (
    "are Slurm's commands on PATH, does SLURM_CONF name its slurm.conf, does `scontrol ping` answer? "
    "`sask sandbox up` starts a Slurm on this machine"
)


@dataclass(frozen=True, slots=True)
class Known:
    """One text of Slurm's. ``transient``: the same request may succeed later, and Slurm did nothing now."""

    text: str
    error: type[SlurmError]
    code: str
    transient: bool = False


# Asked in this order: a lost answer and a controller that is away come before what they may be quoted in.
KNOWN: tuple[Known, ...] = (
    Known("Socket timed out on send/recv operation", OutcomeUnknown, "SLURM_PROTOCOL_SOCKET_IMPL_TIMEOUT"),
    Known("Zero Bytes were transmitted or received", OutcomeUnknown, "SLURM_PROTOCOL_SOCKET_ZERO_BYTES_SENT"),
    Known("Unexpected message received", OutcomeUnknown, "SLURM_UNEXPECTED_MSG_ERROR"),
    Known("(receive failure)", OutcomeUnknown, "SLURMCTLD_COMMUNICATIONS_RECEIVE_ERROR"),
    Known("Message receive failure", OutcomeUnknown, "SLURM_COMMUNICATIONS_RECEIVE_ERROR"),
    Known("(connect failure)", SlurmUnreachable, "SLURMCTLD_COMMUNICATIONS_CONNECTION_ERROR", True),
    Known("(send failure)", OutcomeUnknown, "SLURMCTLD_COMMUNICATIONS_SEND_ERROR"),
    Known("Communication connection failure", SlurmUnreachable, "SLURM_COMMUNICATIONS_CONNECTION_ERROR", True),
    Known("in standby mode", SlurmUnreachable, "ESLURM_IN_STANDBY_MODE", True),
    Known("Could not establish a configuration source", SlurmUnreachable, "no_configuration"),
    Known("Unable to process configuration file", SlurmUnreachable, "no_configuration"),
    Known("Incompatible versions of client and server code", SlurmUnreachable, "SLURM_PROTOCOL_VERSION_ERROR"),
    Known("Protocol authentication error", SlurmUnreachable, "SLURM_PROTOCOL_AUTHENTICATION_ERROR"),
    Known("accounting storage is disabled", AccountingUnavailable, "accounting_disabled"),
    Known("supported accounting_storage plugin", AccountingUnavailable, "accounting_disabled"),
    Known("failed to open persistent connection", AccountingUnavailable, "ESLURM_DB_CONNECTION", True),
    Known("Sending PersistInit msg", AccountingUnavailable, "ESLURM_DB_CONNECTION", True),
    Known("Unable to connect to database", AccountingUnavailable, "ESLURM_DB_CONNECTION", True),
    Known("Problem talking to the database", AccountingUnavailable, "ESLURM_DB_CONNECTION", True),
    Known("Invalid job id", UnknownJob, "ESLURM_INVALID_JOB_ID"),
    Known("Invalid job/step id", UnknownJob, "ESLURM_INVALID_JOB_ID"),
    Known("Invalid partition name specified", UnknownName, "ESLURM_INVALID_PARTITION_NAME"),
    Known("invalid partition specified", UnknownName, "ESLURM_INVALID_PARTITION_NAME"),
    Known("Invalid qos specification", UnknownName, "ESLURM_INVALID_QOS"),
    Known("Invalid account or account/partition", UnknownName, "ESLURM_INVALID_ACCOUNT"),
    Known("Invalid node name", UnknownName, "ESLURM_INVALID_NODE_NAME"),
    Known("Invalid user:", UnknownName, "unknown_user"),
    Known("Invalid license specification", UnknownName, "ESLURM_INVALID_LICENSES"),
    Known("Requested reservation is invalid", UnknownName, "ESLURM_RESERVATION_INVALID"),
    Known("Invalid feature specification", UnknownName, "ESLURM_INVALID_FEATURE"),
    Known("Invalid user id:", UnknownName, "unknown_user"),
    Known("Access/permission denied", PermissionRefused, "ESLURM_ACCESS_DENIED"),
    Known("Invalid user id", PermissionRefused, "ESLURM_USER_ID_MISSING"),
    Known("User's group not permitted", PermissionRefused, "ESLURM_JOB_MISSING_REQUIRED_PARTITION_GROUP"),
    Known("Access denied to requested reservation", PermissionRefused, "ESLURM_RESERVATION_ACCESS"),
    Known("Changes to job priority are not persistent", PermissionRefused, "ESLURM_PRIO_RESET_FAIL"),
    Known("Job violates accounting/QOS policy", LimitRefused, "ESLURM_ACCOUNTING_POLICY"),
    Known("Requested time limit is invalid", LimitRefused, "ESLURM_INVALID_TIME_LIMIT"),
    Known("More processors requested than permitted", LimitRefused, "ESLURM_TOO_MANY_REQUESTED_CPUS"),
    Known("breached requested QOS usage threshold", LimitRefused, "ESLURM_QOS_THRES"),
    Known(
        "Requested partition configuration not available now", LimitRefused, "ESLURM_REQUESTED_PART_CONFIG_UNAVAILABLE"
    ),
    Known("Job can not be altered now", InvalidRequest, "ESLURM_TRANSITION_STATE_NO_UPDATE", True),
    Known("Job update not available right now", InvalidRequest, "ESLURM_JOB_SETTING_DB_INX", True),
    Known("Unable to create job record, try again", InvalidRequest, "ESLURM_ERROR_ON_DESC_TO_RECORD_COPY", True),
    Known("Resource temporarily unavailable", InvalidRequest, "EAGAIN", True),
    Known("Slurm temporarily unable to accept job", InvalidRequest, "EAGAIN", True),
    Known("System submissions disabled", LimitRefused, "ESLURM_SUBMISSIONS_DISABLED", True),
    Known("Required partition not available", LimitRefused, "ESLURM_PARTITION_NOT_AVAIL", True),
    Known("Required node not available", LimitRefused, "ESLURM_NODE_NOT_AVAIL", True),
    Known("Job/step already completing or completed", InvalidRequest, "ESLURM_ALREADY_DONE"),
    Known("Job has already finished", InvalidRequest, "ESLURM_JOB_FINISHED"),
    Known("Job is pending execution", InvalidRequest, "ESLURM_JOB_PENDING"),
    Known("Job is no longer pending execution", InvalidRequest, "ESLURM_JOB_NOT_PENDING"),
    Known("Job is not pending nor running", InvalidRequest, "ESLURM_JOB_NOT_PENDING_NOR_RUNNING"),
    Known("Job is not running", InvalidRequest, "ESLURM_JOB_NOT_RUNNING"),
    Known("Job is not suspended", InvalidRequest, "ESLURM_JOB_NOT_SUSPENDED"),
    Known("Job is current suspended", InvalidRequest, "ESLURM_JOB_SUSPENDED"),
    Known("Requested operation is presently disabled", InvalidRequest, "ESLURM_DISABLED"),
    Known("Requested operation not supported on this system", InvalidRequest, "ESLURM_NOT_SUPPORTED"),
    Known("Requested node configuration is not available", InvalidRequest, "ESLURM_REQUESTED_NODE_CONFIG_UNAVAILABLE"),
    Known("Requested nodes not in this partition", InvalidRequest, "ESLURM_REQUESTED_NODES_NOT_IN_PARTITION"),
    Known("Requested nodes are busy", InvalidRequest, "ESLURM_NODES_BUSY", True),
    Known("Node count specification invalid", InvalidRequest, "ESLURM_INVALID_NODE_COUNT"),
    Known("CPU count specification invalid", InvalidRequest, "ESLURM_INVALID_CPU_COUNT"),
    Known("Task count specification invalid", InvalidRequest, "ESLURM_BAD_TASK_COUNT"),
    Known("Requested more tasks than available processors", InvalidRequest, "ESLURM_INVALID_TASKS_PER_NODE"),
    Known("Memory required by task is not available", InvalidRequest, "ESLURM_INVALID_TASK_MEMORY"),
    Known("Invalid generic resource (gres) specification", InvalidRequest, "ESLURM_INVALID_GRES"),
    Known("Invalid GRES specification", InvalidRequest, "ESLURM_INVALID_GRES_TYPE"),
    Known("Invalid Trackable RESource (TRES)", InvalidRequest, "ESLURM_INVALID_TRES"),
    Known("Invalid job array specification", InvalidRequest, "ESLURM_INVALID_ARRAY"),
    Known("Job dependency problem", InvalidRequest, "ESLURM_DEPENDENCY"),
    Known("Circular job dependency", InvalidRequest, "ESLURM_CIRCULAR_DEPENDENCY"),
    Known("Invalid --nice value", InvalidRequest, "ESLURM_INVALID_NICE"),
    Known("Invalid time specified", InvalidRequest, "ESLURM_INVALID_TIME_VALUE"),
    Known("Invalid node state specified", InvalidRequest, "ESLURM_INVALID_NODE_STATE"),
    Known("individual component of heterogeneous job", InvalidRequest, "ESLURM_NOT_WHOLE_HET_JOB"),
    Known("Pathname of a file, directory or other parameter too long", InvalidRequest, "ESLURM_PATHNAME_TOO_LONG"),
    Known("System call not permitted", InvalidRequest, "ESLURM_DISABLED"),
)

_NOISE = re.compile(r"^(?:\w+: (?:select/|debug|verbose|Terminating|Signal \d)|Usage:|Try \")")
_PREFIX = re.compile(r"^(?:\w+: )?(?:error: |fatal: )?")


def said(stderr: str, stdout: str = "") -> str:
    """What a failed command had to say, its lines joined, without prefixes and chatter."""
    lines = [line.strip() for line in (stderr.strip() or stdout.strip()).splitlines()]
    return "; ".join(dict.fromkeys(_PREFIX.sub("", line) for line in lines if line and not _NOISE.match(line)))


def known(text: str) -> Known | None:
    """The entry of the table that this text contains; None for a text that nobody has seen."""
    return next((entry for entry in KNOWN if entry.text.lower() in text.lower()), None)


def failure(text: str, command: Sequence[str] = (), *, write: bool = False, valid: Iterable[str] = ()) -> SlurmError:
    """The error for what Slurm said. Of a read no outcome can be lost: it is only unreachable for now."""
    entry = known(text)
    ran = command[0] if command else "Slurm"
    if entry is None:
        return SlurmError(f"{ran}: {text or 'failed and said nothing'}", command=command, valid=valid)
    kind, transient = entry.error, entry.transient
    if kind is OutcomeUnknown and not write:
        kind, transient = SlurmUnreachable, True
    message = f"{ran}: {text}"
    if kind is SlurmUnreachable:
        message += f" ({REMEDY})"
    return kind(message, code=entry.code, transient=transient, command=command, valid=valid)
