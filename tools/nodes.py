"""The machines: cluster_status, show_node, diagnose_node."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from tools import health
from tools.base import Arguments, Item, Outcome, ReadTool, ToolContext, ToolResult
from tools.capacity import gpu_types, in_partition
from tools.names import check_names, require
from tools.slurm.models import JobQuery, Node
from tools.status import World, overview
from tools.values import GpuType, Name
from tools.views import Row, bounded, job_row, memory_text, ran, said, short, time_text


class ClusterStatusArguments(Arguments):
    partition: Name | None = Field(None, description="only this partition")
    gpu_type: GpuType | None = Field(None, description="only GPUs of this type")


class ClusterStatus(ReadTool):
    name = "cluster_status"
    description = "How busy the cluster is: free nodes and GPUs, by partition and GPU type."
    Arguments = ClusterStatusArguments
    examples: ClassVar = (
        ("how many h100 are free, and where?", {"gpu_type": "h100"}),
        ("how busy is the cluster?", {}),
        ("anything idle in the debug partition?", {"partition": "debug"}),
    )

    def run(self, args: ClusterStatusArguments, ctx: ToolContext) -> ToolResult:
        """``{"cluster", "nodes": counts, "gpus": by type, "partitions", "free_nodes", "unavailable", "jobs"}``.

        Free means that Slurm would give it away now: of nodes that are up, in a partition that is up.
        """
        before, backend = len(ctx.backend.commands()), ctx.backend
        check_names(backend, partition=args.partition)
        nodes, partitions = backend.nodes(), backend.partitions()
        if args.gpu_type:
            require("GPU type", [args.gpu_type], [kind.lower() for kind in gpu_types(nodes)])
        if args.partition:
            nodes = in_partition(nodes, args.partition)
            partitions = [partition for partition in partitions if partition.name == args.partition]
        data: Row = {"cluster": backend.cluster()}
        data |= said({"partition": args.partition, "gpu_type": args.gpu_type})
        data |= overview(World(nodes, partitions, args.gpu_type or ""))
        data["jobs"] = backend.page(JobQuery(partition=args.partition or ""), 0).by_state
        return ToolResult("ok", data=data, commands=ran(ctx, before))


class NodeArguments(Arguments):
    node: Name = Field(description="node name")


class ShowNode(ReadTool):
    name = "show_node"
    description = "Show one node: state, resources, what is used."
    Arguments = NodeArguments
    examples: ClassVar = (
        ("what state is gpu-node03 in?", {"node": "gpu-node03"}),
        ("who is on gpu-node01?", {"node": "gpu-node01"}),
    )

    def run(self, args: NodeArguments, ctx: ToolContext) -> ToolResult:
        """``{"node": everything, "jobs": rows, "shown", "total"}``."""
        before = len(ctx.backend.commands())
        node = one_node(args.node, ctx)
        data: Row = {"node": node_detail(node)}
        jobs = ctx.backend.queue(JobQuery(node=node.name, states=("RUNNING", "COMPLETING", "SUSPENDED")))
        data |= bounded([job_row(job) for job in jobs], "jobs", f"list_jobs with node {node.name}", characters=2000)
        return ToolResult("ok", (Item(node.name, Outcome.OK),), data, ran(ctx, before))


class DiagnoseNode(ReadTool):
    name = "diagnose_node"
    description = "Find out what is wrong with a node: why it is down or drained, recent failures on it."
    Arguments = NodeArguments
    examples: ClassVar = (
        ("what's wrong with gpu-node03?", {"node": "gpu-node03"}),
        ("why is gpu-node02 drained?", {"node": "gpu-node02"}),
    )

    def run(self, args: NodeArguments, ctx: ToolContext) -> ToolResult:
        """``{"node", "verdict": healthy | watch | drain | out_of_service, "summary", "findings", "failures", …}``."""
        before = len(ctx.backend.commands())
        node = one_node(args.node, ctx)
        data = {"node": node_detail(node)} | health.examine(node, ctx, ctx.telemetry)
        return ToolResult("ok", (Item(node.name, Outcome.OK),), data, ran(ctx, before))


def one_node(name: str, ctx: ToolContext) -> Node:
    """Raises ``UnknownName`` with the nodes that exist."""
    found = {node.name: node for node in ctx.backend.nodes()}
    require("node", [name], found)
    return found[name]


def node_detail(node: Node) -> Row:
    return said(
        {
            "node": node.name,
            "state": node.state,
            "partitions": list(node.partitions),
            "cpus": node.cpus,
            "cpus_used": node.cpus_used,
            "mem": memory_text(node.mem_mb),
            "mem_used": memory_text(node.mem_used_mb),
            "gpus": [{"gpu_type": gpu.type, "total": gpu.total, "used": gpu.used} for gpu in node.gpus],
            "features": list(node.features),
            "reason": short(node.reason),
            "reason_user": node.reason_user,
            "reason_time": time_text(node.reason_time),
            "boot_time": time_text(node.boot_time),
            "load": node.load,
        }
    )
