"""What each version of slurmrestd's API can do and calls things: one :class:`Api` each, and nothing of it elsewhere.

Sources: what slurmrestd 22.05.8 answers (v0.0.38), and for the later versions Slurm's own parser tables
(src/plugins/data_parser/v0.0.NN/parsers.c: JOB_INFO, JOB_DESC_MSG, JOB_CONDITION, PARTITION_INFO, UPDATE_NODE_MSG).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# Our field → the key of a job's description, where the value goes over as it is.
_SAME = {
    "job_name": "name", "partition": "partition", "account": "account", "qos": "qos", "ntasks": "tasks",
    "ntasks_per_node": "tasks_per_node", "cpus_per_task": "cpus_per_task", "constraint": "constraints",
    "array": "array", "dependency": "dependency", "output": "standard_output", "error": "standard_error",
    "working_directory": "current_working_directory", "reservation": "reservation", "licenses": "licenses",
    "mail_user": "mail_user", "comment": "comment", "nice": "nice",
}  # fmt: skip
_PARTITION_38 = {
    "Nodes": "nodes", "TotalNodes": "total_nodes", "TotalCPUs": "total_cpus", "MaxTime": "max_time_limit",
    "DefaultTime": "default_time_limit", "MaxNodes": "maximum_nodes_per_job", "QoS": "qos", "State": "state",
    "AllowAccounts": "allowed_accounts", "AllowQos": "allowed_qos",
}  # fmt: skip
_PARTITION_39 = {
    "Nodes": "nodes/configured", "TotalNodes": "nodes/total", "TotalCPUs": "cpus/total", "MaxTime": "maximums/time",
    "DefaultTime": "defaults/time", "MaxNodes": "maximums/nodes", "QoS": "qos/assigned", "State": "partition/state",
    "AllowAccounts": "accounts/allowed", "AllowQos": "qos/allowed",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Api:
    """One version. ``typed`` is the newer family (23.02 on), whose job description is slurmctld's own structure;
    the older one (v0.0.38) takes sbatch's options by their long names.
    """

    version: str
    typed: bool
    keys: Mapping[str, str]
    """Our fields of a submission to the keys of the job's description."""
    partition: Mapping[str, str]
    """scontrol's names of a partition's fields to the paths of the record."""
    updates: frozenset[str]
    """Our fields of a pending job that an update really changes."""
    missing: frozenset[str]
    """Fields of a submission that it has no word for."""
    user_query: Mapping[str, str]
    node_update: bool
    """``POST /node/NAMES`` is there."""
    cluster_in_meta: bool
    scripts: bool
    """slurmdbd's batch scripts can be asked for (``show_batch_script``)."""
    accounting_exit_codes: bool
    """False: v0.0.38 says SUCCESS and 0 of a job that ended with any code (seen on 22.05.8)."""


_UPDATES = frozenset(
    {"partition", "qos", "account", "nice", "dependency", "begin", "constraint", "nodes", "time_limit", "comment"}
    | {"mem", "gpus"}
)
# Options of plugins are sbatch's, not slurmrestd's (spank(8)).
_NEVER = frozenset({"test_only", "container_image", "container_mounts"})
_V38 = Api(
    version="v0.0.38",
    typed=False,
    keys=_SAME | {"nodelist": "nodelist", "exclude": "exclude_nodes", "mail_type": "mail_type"},
    partition=_PARTITION_38,
    # It takes a name, says that all went well, and leaves the job as it was.
    updates=_UPDATES,
    # It knows test_only, and submits all the same.
    missing=_NEVER | {"switches"},
    user_query={},
    node_update=False,
    cluster_in_meta=False,
    scripts=False,
    accounting_exit_codes=False,
)


def _typed(version: str, *, cluster_in_meta: bool = True) -> Api:
    return Api(
        version=version,
        typed=True,
        keys=_SAME | {"nodelist": "required_nodes", "exclude": "excluded_nodes"},
        partition=_PARTITION_39,
        updates=_UPDATES | {"job_name"},
        missing=_NEVER,
        user_query={"with_coords": "true"},
        node_update=version != "v0.0.39",
        cluster_in_meta=cluster_in_meta,
        scripts=version >= "v0.0.42",
        accounting_exit_codes=True,
    )


APIS: tuple[Api, ...] = (
    *(_typed(f"v0.0.{number}") for number in range(46, 39, -1)),
    _typed("v0.0.39", cluster_in_meta=False),
    _V38,
)
"""All versions that are understood, the newest first."""
BY_VERSION: Mapping[str, Api] = {api.version: api for api in APIS}


def offered(paths: Iterable[str]) -> dict[str, list[str]]:
    """Versions by part (``slurm``, ``slurmdb``) among an OpenAPI document's paths, the newest first."""
    found: dict[str, set[str]] = {"slurm": set(), "slurmdb": set()}
    for path in paths:
        if match := re.match(r"/(slurm|slurmdb)/(v\d+\.\d+\.\d+)/", path):
            found[match[1]].add(match[2])
    return {part: sorted(versions, key=_order, reverse=True) for part, versions in found.items()}


def best(versions: Iterable[str]) -> Api | None:
    """The newest of these that is understood."""
    wanted = set(versions)
    return next((api for api in APIS if api.version in wanted), None)


def _order(version: str) -> tuple[int, ...]:
    return tuple(map(int, version[1:].split(".")))
