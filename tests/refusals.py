"""What Slurm refuses, and how: the same requests for every generation and both backends, with the error each must be.

``scripts/generations record`` makes them for real and keeps what Slurm said; test_generations.py asks again from that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from tools.slurm.backend import Backend, Operation
from tools.slurm.errors import (
    AccountingUnavailable,
    InvalidRequest,
    LimitRefused,
    PermissionRefused,
    SlurmError,
    SlurmUnreachable,
    UnknownJob,
    UnknownName,
)
from tools.slurm.models import JobQuery

# Who asks and what is away: root with everything running, an ordinary user, no slurmctld, no slurmdbd, a bad token.
When = Literal["up", "ordinary", "no controller", "no accounting", "bad token"]
Act = Callable[[Backend, dict[str, str]], object]


@dataclass(frozen=True)
class Refusal:
    name: str
    act: Act
    error: type[SlurmError]
    code: str
    transient: bool = False
    when: When = "up"
    doors: tuple[str, ...] = ("cli", "rest")


def _submit(**fields: Any) -> Act:
    given = {"command": "true", "job_name": "refused", "working_directory": "/", "begin": "now+1day", **fields}
    return lambda backend, ids: backend.perform(Operation("submit", "", given))


def _on(verb: Any, job: str, **fields: Any) -> Act:
    return lambda backend, ids: backend.perform(Operation(verb, ids.get(job, job), fields))


def _drain(nodes: str) -> Act:
    return lambda backend, ids: backend.perform(Operation("update_node", nodes, {"state": "drain", "reason": "x"}))


_CLI = ("cli",)
REFUSALS: tuple[Refusal, ...] = (
    Refusal("show an unknown job", lambda b, _: b.job("999999"), UnknownJob, "ESLURM_INVALID_JOB_ID"),
    Refusal("cancel an unknown job", _on("cancel", "999999"), UnknownJob, "ESLURM_INVALID_JOB_ID"),
    Refusal("hold an unknown job", _on("hold", "999999"), UnknownJob, "ESLURM_INVALID_JOB_ID"),
    Refusal("update an unknown job", _on("update_job", "999999", nice=5), UnknownJob, "ESLURM_INVALID_JOB_ID"),
    Refusal("partition", _submit(partition="nope"), UnknownName, "ESLURM_INVALID_PARTITION_NAME"),
    Refusal("account", _submit(account="nope"), UnknownName, "ESLURM_INVALID_ACCOUNT"),
    Refusal("qos", _submit(qos="nope"), UnknownName, "ESLURM_INVALID_QOS"),
    Refusal("license", _submit(licenses="nope:1"), UnknownName, "ESLURM_INVALID_LICENSES"),
    Refusal("reservation", _submit(reservation="nope"), UnknownName, "ESLURM_RESERVATION_INVALID"),
    Refusal("feature", _submit(constraint="nope"), UnknownName, "ESLURM_INVALID_FEATURE"),
    Refusal("node", _submit(nodelist="gpu-node77"), UnknownName, "ESLURM_INVALID_NODE_NAME"),
    Refusal("update to a partition", _on("update_job", "typed", partition="nope"), UnknownName,
            "ESLURM_INVALID_PARTITION_NAME"),
    Refusal("list a partition", lambda b, _: b.queue(JobQuery(partition="nope")), UnknownName,
            "ESLURM_INVALID_PARTITION_NAME"),
    Refusal("list a user", lambda b, _: b.queue(JobQuery(user="nobody-here")), UnknownName, "unknown_user", doors=_CLI),
    Refusal("show a node", lambda b, _: b.nodes("gpu-node77"), UnknownName, "ESLURM_INVALID_NODE_NAME"),
    Refusal("drain an unknown node", _drain("gpu-node77"), UnknownName, "ESLURM_INVALID_NODE_NAME"),
    Refusal("more GPUs than a node has", _submit(gpus_per_node=9), InvalidRequest,
            "ESLURM_REQUESTED_NODE_CONFIG_UNAVAILABLE"),
    Refusal("array", _submit(array="0-99999999"), InvalidRequest, "ESLURM_INVALID_ARRAY"),
    Refusal("beyond a QoS", _submit(qos="small", gpus=4), LimitRefused, "ESLURM_ACCOUNTING_POLICY"),
    Refusal("cancel an ended job", _on("cancel", "failed"), InvalidRequest, "ESLURM_ALREADY_DONE"),
    Refusal("update an ended job", _on("update_job", "failed", nice=5), InvalidRequest, "ESLURM_JOB_FINISHED"),
    Refusal("requeue a waiting job", _on("requeue", "typed"), InvalidRequest, "ESLURM_JOB_PENDING", doors=_CLI),
    Refusal("suspend a waiting job", _on("suspend", "typed"), InvalidRequest, "ESLURM_JOB_PENDING", doors=_CLI),
    Refusal("resume a running job", _on("resume", "mig"), InvalidRequest, "ESLURM_JOB_NOT_SUSPENDED", doors=_CLI),
    Refusal("cancel another's job", _on("cancel", "mig"), PermissionRefused, "ESLURM_ACCESS_DENIED", when="ordinary"),
    Refusal("hold another's job", _on("hold", "typed"), PermissionRefused, "ESLURM_USER_ID_MISSING", when="ordinary"),
    Refusal("update another's job", _on("update_job", "typed", time_limit="01:00:00"), PermissionRefused,
            "ESLURM_USER_ID_MISSING", when="ordinary"),
    Refusal("drain without right", _drain("gpu-node01"), PermissionRefused, "ESLURM_USER_ID_MISSING", when="ordinary"),
    Refusal("list, no controller", lambda b, _: b.queue(JobQuery()), SlurmUnreachable,
            "SLURMCTLD_COMMUNICATIONS_CONNECTION_ERROR", True, "no controller"),
    Refusal("show, no controller", lambda b, ids: b.job(ids["mig"]), SlurmUnreachable,
            "SLURMCTLD_COMMUNICATIONS_CONNECTION_ERROR", True, "no controller"),
    Refusal("nodes, no controller", lambda b, _: b.nodes(), SlurmUnreachable,
            "SLURMCTLD_COMMUNICATIONS_CONNECTION_ERROR", True, "no controller"),
    Refusal("submit, no controller", _submit(), SlurmUnreachable, "SLURMCTLD_COMMUNICATIONS_CONNECTION_ERROR", True,
            "no controller"),
    Refusal("cancel, no controller", _on("cancel", "mig"), SlurmUnreachable,
            "SLURMCTLD_COMMUNICATIONS_CONNECTION_ERROR", True, "no controller"),
    Refusal("history, no accounting", lambda b, ids: b.history(JobQuery(ids=(ids["failed"],))), AccountingUnavailable,
            "ESLURM_DB_CONNECTION", True, "no accounting"),
    Refusal("QoS, no accounting", lambda b, _: b.qos(), AccountingUnavailable, "ESLURM_DB_CONNECTION", True,
            "no accounting"),
    Refusal("a token that is none", lambda b, _: b.queue(JobQuery()), SlurmUnreachable,
            "SLURM_PROTOCOL_AUTHENTICATION_ERROR", False, "bad token", ("rest",)),
)  # fmt: skip
