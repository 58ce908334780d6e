"""The machines: cluster_status, show_node, diagnose_node, drain_node, resume_node."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from tools.base import Arguments, Effect, Plan, ReadTool, ToolContext, ToolResult, WriteTool
from tools.values import GpuType, Hostlist, Name, Text


class ClusterStatusArguments(Arguments):
    partition: Name | None = Field(None, description="only this partition")
    gpu_type: GpuType | None = Field(None, description="only GPUs of this type")


class ClusterStatus(ReadTool):
    name = "cluster_status"
    description = "How busy the cluster is: free nodes and GPUs, by partition and GPU type."
    Arguments = ClusterStatusArguments
    examples: ClassVar = (("how many h100 are free, and where?", {"gpu_type": "h100"}),)

    def run(self, args: ClusterStatusArguments, ctx: ToolContext) -> ToolResult:
        raise NotImplementedError


class NodeArguments(Arguments):
    node: Name = Field(description="node name")


class ShowNode(ReadTool):
    name = "show_node"
    description = "Show one node: state, resources, what is used."
    Arguments = NodeArguments
    examples: ClassVar = (("what state is gpu-node03 in?", {"node": "gpu-node03"}),)

    def run(self, args: NodeArguments, ctx: ToolContext) -> ToolResult:
        raise NotImplementedError


class DiagnoseNode(ReadTool):
    name = "diagnose_node"
    description = "Find out what is wrong with a node: why it is down or drained, recent failures on it."
    Arguments = NodeArguments
    examples: ClassVar = (("what's wrong with gpu-node03?", {"node": "gpu-node03"}),)

    def run(self, args: NodeArguments, ctx: ToolContext) -> ToolResult:
        raise NotImplementedError


class NodesArguments(Arguments):
    nodes: Hostlist = Field(description="host list: gpu-node[01-04],gpu-node07")
    reason: Text | None = Field(None, description="why, in the request's words")


class DrainNode(WriteTool):
    name = "drain_node"
    effect = Effect.ADMIN
    description = "Take nodes out of service once their jobs have ended."
    Arguments = NodesArguments
    examples: ClassVar = (("drain gpu-node03, Xid 79", {"nodes": "gpu-node03", "reason": "Xid 79"}),)

    def plan(self, args: NodesArguments, ctx: ToolContext) -> Plan:
        raise NotImplementedError


class ResumeNode(WriteTool):
    name = "resume_node"
    effect = Effect.ADMIN
    description = "Bring drained or down nodes back into service."
    Arguments = NodesArguments
    examples: ClassVar = (("put gpu-node03 back into service", {"nodes": "gpu-node03"}),)

    def plan(self, args: NodesArguments, ctx: ToolContext) -> Plan:
        raise NotImplementedError
