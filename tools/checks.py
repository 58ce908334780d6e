"""Names that a request uses, checked against the cluster before anything is tried; every error lists the valid ones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tools.base import ToolContext
from tools.names import did_you_mean, some
from tools.slurm.errors import AccountingUnavailable, InvalidRequest, UnknownName
from tools.slurm.hostlist import expand
from tools.slurm.models import Node, Partition

_SHOWN = 50


def require(kind: str, asked: Iterable[str], valid: Iterable[str], where: str = "") -> None:
    """Raises ``UnknownName`` for the first name that is not valid, with those that are."""
    names = tuple(dict.fromkeys(valid))
    for name in asked:
        if name not in names:
            known = f"valid: {some(names, _SHOWN)}{did_you_mean(name, names)}" if names else "there is none"
            raise UnknownName(f"no {kind} {name!r}{where}; {known}", valid=names)


def check_names(fields: Mapping[str, Any], user: str, ctx: ToolContext) -> None:
    """Partition, QoS, account, GPU type, features, nodes, reservation, licences of submit_job and update_job.

    Raises ``UnknownName``; ``InvalidRequest`` for more licences than there are.
    """
    if fields.get("partition"):
        require("partition", fields["partition"].split(","), (p.name for p in ctx.backend.partitions()))
    _check_accounting(fields, user, ctx)
    if any(fields.get(name) for name in ("gpu_type", "constraint", "nodelist", "exclude")):
        _check_nodes(fields, ctx.backend.nodes())
    if fields.get("reservation"):
        require("reservation", fields["reservation"].split(","), ctx.backend.reservations())
    if fields.get("licenses"):
        _check_licenses(fields["licenses"], ctx.backend.licenses())


def _check_accounting(fields: Mapping[str, Any], user: str, ctx: ToolContext) -> None:
    """Without accounting Slurm takes any account and QoS, so nothing is wrong then."""
    qos, account = (str(fields.get(name) or "").lower() for name in ("qos", "account"))  # as Slurm itself does
    if not qos and not account:
        return
    try:
        rows = ctx.backend.associations(user=user)
        names = [one.name for one in ctx.backend.qos()]
    except AccountingUnavailable:
        return
    if qos:
        require("QoS", [qos], names)
    if not rows:  # a site that does not enforce associations has users without any
        return
    if account:
        require("account", [account], sorted({row.account for row in rows}), f" for {user}")
    if qos and (open_to := {name for row in rows if row.account == (account or row.account) for name in row.qos}):
        require("QoS", [qos], [name for name in names if name in open_to], f" open to {user}")


def _check_nodes(fields: Mapping[str, Any], nodes: Sequence[Node]) -> None:
    if kind := fields.get("gpu_type"):
        require("GPU type", [kind], gpu_types(nodes))
    if constraint := fields.get("constraint"):
        require("node feature", feature_names(constraint), sorted({f for node in nodes for f in features(node)}))
    for name in ("nodelist", "exclude"):
        if fields.get(name):
            require("node", expand(fields[name]), (node.name for node in nodes))


def _check_licenses(asked: str, valid: Mapping[str, tuple[int, int]]) -> None:
    for part in re.split(r"[,;|]", asked):
        name, _, count = part.strip().partition(":")
        require("licence", [name], valid)
        if count and (not count.isdigit() or int(count) > valid[name][0]):
            raise InvalidRequest(f"licences {part!r}: the cluster has {valid[name][0]} of {name}")


def gpu_types(nodes: Sequence[Node]) -> list[str]:
    return sorted({gpu.type for node in nodes for gpu in node.gpus if gpu.type})


def features(node: Node) -> tuple[str, ...]:
    """Active ones, and those that a reboot could activate."""
    available = node.raw.get("AvailableFeatures", "").split(",")
    return (*node.features, *(name for name in available if name and name != "(null)"))


def feature_names(constraint: str) -> list[str]:
    """``a100``, ``ib`` of ``[a100*2|h100*2]&ib`` (sbatch(1), --constraint)."""
    return [
        name for name in re.split(r"[&|,()\[\]]", re.sub(r"\*\d+|@[^&|,()\[\]]*|!", "", constraint)) if name.strip()
    ]


def partitions_for(name: str | None, ctx: ToolContext) -> list[Partition]:
    """Those asked for, else the default one (none where a site has no default)."""
    everything = ctx.backend.partitions()
    if name:
        return [partition for partition in everything if partition.name in name.split(",")]
    return [partition for partition in everything if partition.default]
