"""Why: diagnose_job."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from tools import failed, failed_many, pending
from tools.base import Arguments, Item, Outcome, ReadTool, ToolContext, ToolResult
from tools.picking import records_of
from tools.slurm.models import Job
from tools.values import JobId
from tools.views import ENDED, Row, by_state, ran


class DiagnoseJobArguments(Arguments):
    job_id: JobId = Field(description="job id")


class DiagnoseJob(ReadTool):
    name = "diagnose_job"
    description = "Find out why a job is pending, failed, was killed or is slow to start."
    Arguments = DiagnoseJobArguments
    examples: ClassVar = (
        ("why is 48121 still pending?", {"job_id": "48121"}),
        ("what killed array task 48121_7?", {"job_id": "48121_7"}),
    )

    def run(self, args: DiagnoseJobArguments, ctx: ToolContext) -> ToolResult:
        """``{"job", "state", "summary", "findings", …}``; see :func:`pending.explain` and :func:`failed.explain`."""
        before = len(ctx.backend.commands())
        data = diagnosis(records_of(args.job_id, ctx), ctx)
        return ToolResult("ok", (Item(args.job_id, Outcome.OK),), data, ran(ctx, before))


def diagnosis(records: list[Job], ctx: ToolContext) -> Row:
    """Of several records (an array, a heterogeneous job) what went wrong comes first, then what waits."""
    bad = [job for job in records if job.state in ENDED - {"COMPLETED"}]
    waiting = [job for job in records if job.state in ("PENDING", "CONFIGURING")]
    if len(bad) > 1:
        data = failed_many.explain_many(bad, ctx)
    elif bad or not waiting:
        data = failed.explain((bad or _lively(records))[0], ctx)
    else:
        data = pending.explain(waiting[0], ctx)
    if len(records) > 1:
        data["by_state"] = by_state(records)
        if bad and waiting:
            data["findings"] = [*data.get("findings", []), *pending.explain(waiting[0], ctx)["findings"][:1]]
    return data


def _lively(records: list[Job]) -> list[Job]:
    """Running records before completed ones."""
    return sorted(records, key=lambda job: job.state != "RUNNING")
