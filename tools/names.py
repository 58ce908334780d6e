"""Names that a request carries, checked against the cluster before anything is tried."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher

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
    text = f"no {kind} {', '.join(missing)} (there are: {some(valid, _SHOWN)}){did_you_mean(missing[0], valid)}"
    raise UnknownName(text, code=_CODES[kind], valid=valid)


def some(names: Sequence[str], most: int) -> str:
    """``a, b and 3 more``."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def did_you_mean(asked: str, valid: Iterable[str], near: float = 0.6) -> str:
    """``; did you mean h100?`` for the one or two names that are nearest to what was typed; empty where none is near.

    ``near`` is difflib's ratio: 0.6 is its own idea of a close match.
    """
    ratios = {name: SequenceMatcher(None, asked.lower(), name.lower()).ratio() for name in valid}
    best = max(ratios.values(), default=0.0)
    nearest = [name for name, ratio in ratios.items() if ratio == best]
    return f"; did you mean {' or '.join(nearest)}?" if best >= near and len(nearest) <= 2 else ""
