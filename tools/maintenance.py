"""Nodes out of service and back: drain_node, resume_node."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import Field

from tools.base import Arguments, Blast, Effect, Item, Outcome, Plan, ToolContext, WriteTool
from tools.checks import require
from tools.impact import blast_of, rows_before
from tools.picking import Picked
from tools.slurm.backend import Operation
from tools.slurm.errors import PermissionRefused
from tools.slurm.hostlist import expand, fold
from tools.slurm.models import Job, JobQuery, Node
from tools.values import Hostlist, Text
from tools.views import MOST_ROWS

# States that State=RESUME takes back (scontrol(1), SPECIFICATIONS FOR UPDATE COMMAND, NODES); any other is refused.
_OUT = frozenset({"DRAIN", "DRAINED", "DRAINING", "DOWN", "FAIL", "FAILING", "ERROR", "POWERING_DOWN", "POWERED_DOWN"})
_DRAIN = frozenset({"DRAIN", "DRAINED", "DRAINING"})


class NodesArguments(Arguments):
    nodes: Hostlist = Field(description="host list: gpu-node[01-04],gpu-node07")
    reason: Text | None = Field(None, description="why, in the request's words")


class DrainNode(WriteTool):
    name = "drain_node"
    effect = Effect.ADMIN
    description = "Take nodes out of service once their jobs have ended."
    Arguments = NodesArguments
    examples: ClassVar = (
        ("drain gpu-node03, Xid 79", {"nodes": "gpu-node03", "reason": "Xid 79"}),
        ("take gpu-node[01-02] out of service, new firmware", {"nodes": "gpu-node[01-02]", "reason": "new firmware"}),
    )

    def plan(self, args: NodesArguments, ctx: ToolContext) -> Plan:
        nodes = _named(args.nodes, ctx, self.name)
        healthy = [node for node in nodes if not _flags(node) & _DRAIN]
        skipped = [
            Item(node.name, Outcome.SKIPPED, f"drained already: {_reason(node)}", "already")
            for node in nodes
            if _flags(node) & _DRAIN
        ]
        jobs = _jobs_on(healthy, ctx)
        reason = args.reason or f"drained by {ctx.caller.user} via sask"
        notes = [] if args.reason else [f"Slurm wants a reason: {reason!r}"]
        if jobs:
            notes.append("running jobs go on to their end, nothing new starts there")
        return Plan(
            operations=tuple(
                Operation("update_node", node.name, {"state": "drain", "reason": reason}) for node in healthy
            ),
            blast=_blast(healthy, jobs),
            before={"nodes": _rows(nodes), **(rows_before(jobs) if jobs else {})},
            notes=tuple(notes),
            skipped=tuple(skipped),
            undo=_undo(healthy, {"state": "resume"}, ctx),
        )

    def after(self, args: NodesArguments, ctx: ToolContext, items: Sequence[Item]) -> dict[str, Any]:
        return _after(ctx, items)


class ResumeNode(WriteTool):
    name = "resume_node"
    effect = Effect.ADMIN
    description = "Bring drained or down nodes back into service."
    Arguments = NodesArguments
    examples: ClassVar = (
        ("put gpu-node03 back into service", {"nodes": "gpu-node03"}),
        ("undrain gpu-node[01-02]", {"nodes": "gpu-node[01-02]"}),
    )

    def plan(self, args: NodesArguments, ctx: ToolContext) -> Plan:
        nodes = _named(args.nodes, ctx, self.name)
        out = [node for node in nodes if _flags(node) & _OUT]
        skipped = [
            Item(node.name, Outcome.SKIPPED, f"in service already: {node.state}", "already")
            for node in nodes
            if node not in out
        ]
        notes = [f"{node.name} does not answer: it goes down again unless its slurmd is started"
                 for node in out if "NOT_RESPONDING" in _flags(node)]  # fmt: skip
        fields = {"state": "resume", **({"reason": args.reason} if args.reason else {})}
        return Plan(
            operations=tuple(Operation("update_node", node.name, fields) for node in out),
            blast=Blast(nodes=len(out)),
            before={"nodes": _rows(nodes)},
            notes=tuple(notes),
            skipped=tuple(skipped),
            undo=_drain_again(out, ctx),
        )

    def after(self, args: NodesArguments, ctx: ToolContext, items: Sequence[Item]) -> dict[str, Any]:
        return _after(ctx, items)


def _named(hostlist: str, ctx: ToolContext, tool: str) -> list[Node]:
    """Raises ``UnknownName`` with the valid nodes, ``PermissionRefused`` (22.05: an operator is not enough)."""
    everything = {node.name: node for node in ctx.backend.nodes()}
    names = list(dict.fromkeys(expand(hostlist)))
    require("node", names, everything)
    if ctx.caller.level != "administrator":
        raise PermissionRefused(
            f"{tool} needs an administrator of Slurm (AdminLevel=Administrator); {ctx.caller.user} has level "
            f"{ctx.caller.level!r}, and Slurm lets nobody else change a node"
        )
    return [everything[name] for name in names]


def _flags(node: Node) -> set[str]:
    return set(node.state.split("+"))


def _reason(node: Node) -> str:
    by = f" ({node.reason_user}" + (f", {node.reason_time.isoformat()})" if node.reason_time else ")")
    return (node.reason or "no reason given") + (by if node.reason_user else "")


def _jobs_on(nodes: Sequence[Node], ctx: ToolContext) -> list[Job]:
    if not nodes:
        return []
    names = fold(node.name for node in nodes)
    return [job for job in ctx.backend.queue(JobQuery(node=names)) if job.node_list]


def _blast(nodes: Sequence[Node], jobs: Sequence[Job]) -> Blast:
    from dataclasses import replace

    return replace(blast_of([(Picked(job.id, (job,)), [job]) for job in jobs]), nodes=len(nodes))


def _rows(nodes: Sequence[Node]) -> list[dict[str, Any]]:
    return [
        {"node": node.name, "state": node.state} | ({"reason": _reason(node)} if node.reason else {})
        for node in nodes[:MOST_ROWS]
    ]


def _undo(nodes: Sequence[Node], fields: dict[str, str], ctx: ToolContext) -> tuple[str, ...]:
    if not nodes:
        return ()
    operation = Operation("update_node", fold(node.name for node in nodes), fields)
    return tuple(shlex.join(argv) for argv in ctx.backend.render(operation))


def _drain_again(nodes: Sequence[Node], ctx: ToolContext) -> tuple[str, ...]:
    """Each with the reason that it had; a node that was down is drained, which keeps new jobs away just so."""
    return tuple(
        line
        for node in nodes[:MOST_ROWS]
        for line in _undo([node], {"state": "drain", "reason": node.reason or "out of service"}, ctx)
    )


def _after(ctx: ToolContext, items: Sequence[Item]) -> dict[str, Any]:
    names = [item.id for item in items if item.outcome is Outcome.OK]
    return {"nodes": _rows(ctx.backend.nodes(fold(names)))} if names else {}
