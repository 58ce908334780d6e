"""Names that a request carries, checked against the cluster before anything is tried."""

from __future__ import annotations

from collections.abc import Iterable

from tools.slurm.backend import Backend
from tools.slurm.errors import AccountingUnavailable, UnknownName
from tools.slurm.hostlist import expand

_SHOWN = 40
_CODES = {
    "partition": "ESLURM_INVALID_PARTITION_NAME",
    "QoS": "ESLURM_INVALID_QOS",
    "account": "ESLURM_INVALID_ACCOUNT",
    "node": "ESLURM_INVALID_NODE_NAME",
    "GPU type": "unknown_gpu_type",
    "user": "unknown_user",
}


def check_names(
    backend: Backend,
    *,
    partition: str | None = None,
    qos: str | None = None,
    account: str | None = None,
    node: str | None = None,
) -> None:
    """Raises ``UnknownName`` with the valid names; asks Slurm only about what is given.

    ``partition``, ``qos`` and ``account`` may be comma lists, ``node`` a host list. Where accounting is away,
    QoS and accounts are left unchecked.
    """
    if partition:
        require("partition", partition.split(","), (found.name for found in backend.partitions()))
    if node:
        require("node", expand(node), (found.name for found in backend.nodes()))
    try:
        if qos:
            require("QoS", qos.split(","), (found.name for found in backend.qos()))
        if account:
            require("account", account.split(","), (row.account for row in backend.associations()))
    except AccountingUnavailable:
        return


def require(kind: str, wanted: Iterable[str], existing: Iterable[str]) -> None:
    """Raises ``UnknownName`` unless every wanted name exists; no names at all (no accounting) says nothing."""
    valid = sorted(set(existing))
    missing = [name for name in wanted if name not in valid]
    if not missing or not valid:
        return
    shown = ", ".join(valid[:_SHOWN]) + (f" and {len(valid) - _SHOWN} more" if len(valid) > _SHOWN else "")
    raise UnknownName(f"no {kind} {', '.join(missing)} (there are: {shown})", code=_CODES[kind], valid=valid)
