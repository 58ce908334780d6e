"""Planning and carrying out a write tool on a backend, as the ledger does it, without asking anybody."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tools import BY_NAME
from tools.base import Caller, Item, Outcome, Plan, ToolContext, WriteTool
from tools.slurm.backend import Backend, Operation
from tools.slurm.cli import CliBackend
from tools.slurm.models import Job

ADMIN = "administrator"


@dataclass
class Bench:
    """``user`` defaults to the backend's own user as an administrator; another user has no rights at all."""

    backend: Backend
    user: str

    def ctx(self, user: str = "", level: Any = None, coordinates: Sequence[str] = ()) -> ToolContext:
        level = level or ("none" if user else ADMIN)
        return ToolContext(self.backend, Caller(user or self.user, level, tuple(coordinates)), datetime.now())

    def plan(self, tool: str, *, ctx: ToolContext | None = None, **arguments: Any) -> Plan:
        found = BY_NAME[tool]
        assert isinstance(found, WriteTool)
        ctx = ctx or self.ctx()
        return found.plan(found.Arguments.model_validate(arguments, context={"now": ctx.now}), ctx)

    def do(self, tool: str, *, ctx: ToolContext | None = None, **arguments: Any) -> tuple[Plan, dict[str, Any]]:
        """Every operation performed; raises the first error. Returns the plan and Slurm's view afterwards."""
        found, ctx = BY_NAME[tool], ctx or self.ctx()
        assert isinstance(found, WriteTool)
        plan = self.plan(tool, ctx=ctx, **arguments)
        receipts = [self.backend.perform(operation) for operation in plan.operations]
        items = [Item(one.id, Outcome.OK, one.message) for one in receipts]
        args = found.Arguments.model_validate(arguments, context={"now": ctx.now})
        return plan, found.after(args, ctx, items)

    def submit(self, **fields: Any) -> str:
        given = {"command": "sleep 600", "output": "/dev/null", "time_limit": "01:00:00", **fields}
        return self.backend.perform(Operation("submit", "", given)).id

    def job(self, job_id: str) -> Job:
        return self.backend.job(job_id)[0]

    def wait(self, job_id: str, state: str, seconds: float = 20) -> Job:
        deadline = time.monotonic() + seconds
        while (job := self.job(job_id)).state != state:
            assert time.monotonic() < deadline, f"{job_id} is {job.state}, not {state}"
            time.sleep(0.1)
        return job


def bench_here() -> Bench:
    import getpass

    return Bench(CliBackend(), getpass.getuser())


def outcomes(plan: Plan) -> dict[str, tuple[Outcome, str | None]]:
    """What a plan says of the jobs and nodes that it leaves alone."""
    return {item.id: (item.outcome, item.code) for item in plan.skipped}


def targets(plan: Plan) -> list[str]:
    return [operation.target for operation in plan.operations]
