"""Nodes, partitions, licences and the controller's configuration, by scontrol."""

from __future__ import annotations

from tools.slurm.cli.runner import Runner, operand
from tools.slurm.errors import UnknownName
from tools.slurm.failures import failure
from tools.slurm.models import Node, Partition
from tools.slurm.parse import nodes as parse
from tools.slurm.parse.records import one_line_records


def nodes(runner: Runner, names: str) -> list[Node]:
    """All nodes, or those of a host list. Raises ``UnknownName`` with the nodes that exist."""
    command = ["scontrol", "--details", "--oneliner", "show", "node"]
    if names:
        command.append(operand(names, "host list"))
    answer = runner.ask(command)
    found = [parse.node(fields) for fields in one_line_records(answer.out, "NodeName")]
    # scontrol says "Node x not found" of one name among others and shows the rest, with exit status 0 or 1.
    if "not found" in answer.said or (answer.code != 0 and names):
        valid = [node.name for node in nodes(runner, "")]
        raise UnknownName(
            f"no node {names}: {answer.said}", code="ESLURM_INVALID_NODE_NAME", valid=valid, command=command
        )
    if answer.code != 0:
        raise failure(answer.said, command)
    return found


def partitions(runner: Runner) -> list[Partition]:
    output = runner.read(["scontrol", "--oneliner", "--all", "show", "partition"])
    return [parse.partition(fields) for fields in one_line_records(output, "PartitionName")]


def require_partition(runner: Runner, names: str) -> None:
    """Raises ``UnknownName`` unless all of these, a comma list, exist."""
    valid = [partition.name for partition in partitions(runner)]
    if missing := [name for name in names.split(",") if name not in valid]:
        text = f"no partition {', '.join(missing)} (there are: {', '.join(valid)})"
        raise UnknownName(text, code="ESLURM_INVALID_PARTITION_NAME", valid=valid)


def licenses(runner: Runner) -> dict[str, tuple[int, int]]:
    """Licence name to (total, used)."""
    output = runner.read(["scontrol", "--oneliner", "show", "licenses"])
    return {fields["LicenseName"]: parse.license_counts(fields) for fields in one_line_records(output, "LicenseName")}


def reservations(runner: Runner) -> list[str]:
    output = runner.read(["scontrol", "--oneliner", "show", "reservation"])
    return [fields["ReservationName"] for fields in one_line_records(output, "ReservationName")]


def configuration(runner: Runner) -> dict[str, str]:
    """slurmctld's own ``Key = value`` lines: SLURM_VERSION, ClusterName, SlurmUser …"""
    lines = runner.read(["scontrol", "show", "config"]).splitlines()
    return {key.strip(): value.strip() for key, equals, value in (line.partition("=") for line in lines) if equals}
