"""Slurm's host lists (``gpu-node[01-04,07]``), by ClusterShell's NodeSet."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tools.slurm.errors import InvalidRequest

# ClusterShell also knows set operators (! & ^) and groups (@), which may run commands: none of them is Slurm's.
_HOSTLIST = re.compile(r"[\w.,\-\[\]]+")


def expand(hostlist: str) -> list[str]:
    """Every name of a host list, sorted by ClusterShell; empty for ``""``.

    Raises ``InvalidRequest`` for what is no host list.
    """
    from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet, NodeSetException

    if not hostlist:
        return []
    if not _HOSTLIST.fullmatch(hostlist) or hostlist.startswith("-"):
        raise InvalidRequest(f"{hostlist!r} is not a host list; write gpu-node01 or gpu-node[01-04,07]")
    try:
        return list(NodeSet(hostlist, resolver=RESOLVER_NOGROUP))
    except NodeSetException as error:
        raise InvalidRequest(f"{hostlist!r} is not a host list: {error}") from error


def fold(names: Iterable[str]) -> str:
    """The shortest host list of these names: ``gpu-node[01-04]``."""
    from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet

    return str(NodeSet.fromlist(list(names), resolver=RESOLVER_NOGROUP))
