"""A cluster small enough to be killed beside: jobs in one JSON file, faults on demand, and three tools to change it.

It stands in where the real Slurm cannot be made to fail at an exact point; the tools are as plain as tools can be, so
that what is tested is the ledger.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Literal

from tools.base import Blast, Caller, Effect, Item, Outcome, Plan, ReadTool, Tool, ToolContext, ToolResult, WriteTool
from tools.control import CancelJobsArguments
from tools.jobs import ShowJobArguments
from tools.maintenance import NodesArguments
from tools.resize import ResizeJobArguments
from tools.slurm.backend import Operation, Receipt
from tools.slurm.errors import AccountingUnavailable, OutcomeUnknown, SlurmError, SlurmUnreachable, UnknownJob
from tools.slurm.models import Job, JobQuery, Node
from tools.submit import SubmitArguments

NOW = datetime(2026, 11, 21, 12, 0)
Fault = Callable[["FileCluster", Operation], None]


class FileCluster:
    """``before[n]`` and ``after[n]`` happen at the n-th perform (from 1), before and after it took effect."""

    def __init__(self, path: Path, user: str = "ann", accounting: bool = False) -> None:
        self.path, self.user, self.accounting = path, user, accounting
        self.before: dict[int, Fault] = {}
        self.after: dict[int, Fault] = {}
        self.reads_fail: list[SlurmError] = []
        self.performed = 0
        self.admins: tuple[str, ...] = ()
        self.ran: list[str] = []
        if not path.exists():
            self.save({"next": 101, "jobs": {}, "nodes": {"n1": "IDLE"}})

    def load(self) -> dict[str, Any]:
        return dict(json.loads(self.path.read_text()))

    def save(self, state: dict[str, Any]) -> None:
        aside = self.path.with_suffix(f".{os.getpid()}")
        aside.write_text(json.dumps(state))
        aside.replace(self.path)

    def add(self, count: int = 1, user: str = "", **fields: Any) -> list[str]:
        state = self.load()
        ids = [str(state["next"] + n) for n in range(count)]
        for job_id in ids:
            state["jobs"][job_id] = {"id": job_id, "user": user or self.user, "state": "PENDING", **fields}
        state["next"] += count
        self.save(state)
        return ids

    def jobs(self) -> list[Job]:
        return [Job(**raw) for raw in self.load()["jobs"].values()]

    # ---- the part of Backend that the ledger and these tools use

    def cluster(self) -> str:
        return "double"

    def admin_level(self, user: str) -> Literal["none", "administrator"]:
        return "administrator" if user in self.admins else "none"

    def coordinated_accounts(self, user: str) -> tuple[str, ...]:
        return ()

    def commands(self) -> Sequence[str]:
        return self.ran

    def _read(self) -> None:
        if self.reads_fail:
            raise self.reads_fail.pop(0)

    def queue(self, query: JobQuery) -> list[Job]:
        self._read()
        return [job for job in self.jobs() if not query.ids or job.id in query.ids]

    def history(self, query: JobQuery) -> list[Job]:
        if not self.accounting:
            raise AccountingUnavailable("no accounting here")
        return [job for job in self.jobs() if job.user == query.user]

    def job(self, job_id: str) -> list[Job]:
        self._read()
        if found := [job for job in self.jobs() if job.id == job_id]:
            return found
        raise UnknownJob(f"no job {job_id}")

    def nodes(self, names: str = "") -> list[Node]:
        return [Node(name, state) for name, state in self.load()["nodes"].items() if name == names]

    def find_by_key(self, key: str) -> list[Job]:
        self._read()
        return [job for job in self.jobs() if key in job.comment.split()]

    def render(self, operation: Operation) -> list[list[str]]:
        options = [f"--{name}={value}" for name, value in operation.fields.items()]
        return [[operation.verb, *options, *([operation.target] if operation.target else [])]]

    def script(self, operation: Operation) -> str:
        return ""

    def perform(self, operation: Operation) -> Receipt:
        self.performed += 1
        number = self.performed
        self.ran.append(" ".join(self.render(operation)[0]))
        if number in self.before:
            self.before[number](self, operation)
        receipt = self._change(operation)
        if number in self.after:
            self.after[number](self, operation)
        return receipt

    def _change(self, operation: Operation) -> Receipt:
        state = self.load()
        if operation.verb == "submit":
            job_id = str(state["next"])
            comment, name = operation.fields.get("comment", ""), operation.fields.get("job_name", "")
            row = {"id": job_id, "user": self.user, "state": "PENDING", "comment": comment, "name": name}
            state["jobs"][job_id] = row
            state["next"] += 1
            self.save(state)
            return Receipt(job_id, f"Submitted batch job {job_id}")
        if operation.verb == "update_node":
            state["nodes"][operation.target] = operation.fields["state"]
        elif operation.target not in state["jobs"]:
            raise UnknownJob(f"no job {operation.target}")
        elif operation.verb == "cancel":
            state["jobs"][operation.target]["state"] = "CANCELLED"
        else:
            state["jobs"][operation.target]["time_limit"] = 3600 * int(operation.fields["time_limit"][:2])
        self.save(state)
        return Receipt(operation.target)


def unreachable(cluster: FileCluster, operation: Operation) -> None:
    raise SlurmUnreachable("Unable to contact slurm controller (connect failure)")


def lost(cluster: FileCluster, operation: Operation) -> None:
    raise OutcomeUnknown("the answer was lost")


def die(cluster: FileCluster, operation: Operation) -> None:
    os.kill(os.getpid(), 9)


class Submit(WriteTool):
    name = "submit_job"
    description = "Submit."
    Arguments = SubmitArguments
    examples: ClassVar = ()

    def plan(self, args: SubmitArguments, ctx: ToolContext) -> Plan:
        return Plan((Operation("submit", "", args.given()),), Blast(jobs=1, users=(ctx.caller.user,), node_hours=1.5))


class Cancel(WriteTool):
    name = "cancel_jobs"
    description = "Cancel."
    Arguments = CancelJobsArguments
    examples: ClassVar = ()

    def plan(self, args: CancelJobsArguments, ctx: ToolContext) -> Plan:
        known = {job.id: job for job in ctx.backend.queue(JobQuery())}
        wanted = args.job_ids or [job.id for job in known.values() if job.state == "PENDING"]
        over = [i for i in wanted if i in known and known[i].state == "CANCELLED"]
        skipped = tuple(Item(i, Outcome.SKIPPED, "it has ended", "ended") for i in over)
        operations = tuple(Operation("cancel", i) for i in wanted if i not in over)
        users = tuple(sorted({known[i].user for i in wanted if i in known}))
        before = {i: {"state": known[i].state, "elapsed": known[i].elapsed} for i in wanted if i in known}
        return Plan(
            operations, Blast(len(operations), users=users), before, skipped=skipped, undo=("submit them again",)
        )

    def after(self, args: CancelJobsArguments, ctx: ToolContext, items: Sequence[Item]) -> dict[str, Any]:
        return {"states": {job.id: job.state for job in ctx.backend.queue(JobQuery(ids=tuple(i.id for i in items)))}}


class Resize(WriteTool):
    name = "resize_job"
    description = "Resize."
    Arguments = ResizeJobArguments
    examples: ClassVar = ()

    def plan(self, args: ResizeJobArguments, ctx: ToolContext) -> Plan:
        job = ctx.backend.job(args.job_id)[0]
        fields = {"time_limit": args.time_limit}
        return Plan((Operation("update_job", args.job_id, fields),), Blast(1, users=(job.user,)), {"state": job.state})


class Drain(WriteTool):
    name = "drain_node"
    effect = Effect.ADMIN
    description = "Drain."
    Arguments = NodesArguments
    examples: ClassVar = ()

    def plan(self, args: NodesArguments, ctx: ToolContext) -> Plan:
        return Plan((Operation("update_node", args.nodes, {"state": "DRAIN", "reason": args.reason}),))


class Show(ReadTool):
    name = "show_job"
    description = "Show."
    Arguments = ShowJobArguments
    examples: ClassVar = ()

    def run(self, args: ShowJobArguments, ctx: ToolContext) -> ToolResult:
        return ToolResult("ok", data={"state": ctx.backend.job(args.job_id)[0].state})


TOOLS: dict[str, Tool] = {tool.name: tool for tool in (Submit(), Cancel(), Resize(), Drain(), Show())}


def context(cluster: FileCluster, user: str = "", **caller: Any) -> Callable[[], ToolContext]:
    who = Caller(user or cluster.user, **caller)
    return lambda: ToolContext(cluster, who, NOW)  # type: ignore[arg-type]
