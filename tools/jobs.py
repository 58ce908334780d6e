"""Looking at jobs: list_jobs, show_job, read_job_log."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal

from pydantic import Field

from tools import joblog
from tools.base import Arguments, Item, Outcome, ReadTool, ToolContext, ToolResult
from tools.logfiles import NoLog, find_log, open_log
from tools.merge import find_jobs
from tools.names import check_names
from tools.picking import records_of, with_known
from tools.slurm.errors import UnknownJob
from tools.slurm.models import Job, JobQuery
from tools.values import Count, JobId, Name, State, Text, Until, When
from tools.views import MOST_ROWS, Row, bounded, by_state, clock, job_detail, job_row, ran, time_text, who

_MORE = "narrow it by user, states, partition, name, node or a period"


class ListJobsArguments(Arguments):
    user: Name | None = Field(None, description='"me" for the caller; absent means everybody')
    states: list[State] | None = Field(None, description="Slurm job states")
    partition: Name | None = Field(None, description="partition")
    account: Name | None = Field(None, description="account")
    qos: Name | None = Field(None, description="quality of service")
    name: Name | None = Field(None, description="job name")
    node: Name | None = Field(None, description="only jobs on this node")
    since: When | None = Field(None, description="ISO time; looks into the history too")
    until: Until | None = Field(None, description="ISO time")
    limit: Count | None = Field(None, description="at most this many")


class ListJobs(ReadTool):
    name = "list_jobs"
    description = "List jobs of the queue and, with a past state or a period, of the history."
    Arguments = ListJobsArguments
    examples: ClassVar = (
        ("what do I have running?", {"user": "me", "states": ["RUNNING"]}),
        ("who is waiting for the h100 partition?", {"states": ["PENDING"], "partition": "h100"}),
        ("my last 5 failed jobs", {"user": "me", "states": ["FAILED"], "limit": 5}),
        ("what ran on gpu-node03 since Monday?", {"node": "gpu-node03", "since": "2026-11-16T00:00:00"}),
    )

    def run(self, args: ListJobsArguments, ctx: ToolContext) -> ToolResult:
        """``{"jobs": rows, "shown", "total", "by_state", "since"?, "notes"?, "more"?}``."""
        before = len(ctx.backend.commands())
        check_names(ctx.backend, partition=args.partition, qos=args.qos, account=args.account, node=args.node)
        most = min(args.limit or MOST_ROWS, MOST_ROWS)
        found = find_jobs(ctx.backend, _query(args, ctx), clock(ctx), most)
        data = bounded([job_row(job) for job in found.page.jobs], "jobs", _MORE)
        data |= {"total": found.page.total, "by_state": found.page.by_state}
        if data["shown"] < min(found.page.total, args.limit or found.page.total):
            data["more"] = _MORE
        if found.since:
            data["since"] = time_text(found.since)
        if found.notes:
            data["notes"] = list(found.notes)
        return ToolResult("ok", data=data, commands=ran(ctx, before))


def _query(args: ListJobsArguments, ctx: ToolContext) -> JobQuery:
    return JobQuery(
        user=who(args.user, ctx),
        states=tuple(args.states or ()),
        partition=args.partition or "",
        account=args.account or "",
        qos=args.qos or "",
        name=args.name or "",
        node=args.node or "",
        since=datetime.fromisoformat(args.since) if args.since else None,
        until=datetime.fromisoformat(args.until) if args.until else None,
    )


class ShowJobArguments(Arguments):
    job_id: JobId = Field(description="job id: 123, 123_4, 123+0")


class ShowJob(ReadTool):
    name = "show_job"
    description = "Show everything about one job: state, resources, times, where it runs."
    Arguments = ShowJobArguments
    examples: ClassVar = (
        ("is 48121 still running?", {"job_id": "48121"}),
        ("which nodes does array task 48121_3 have?", {"job_id": "48121_3"}),
    )

    def run(self, args: ShowJobArguments, ctx: ToolContext) -> ToolResult:
        """``{"job": everything}``, for an array or a heterogeneous job also ``{"tasks": rows, "by_state", …}``."""
        before = len(ctx.backend.commands())
        records = records_of(args.job_id, ctx)
        data: Row = {"job": job_detail(_first(records))}
        if len(records) > 1:
            data |= bounded([job_row(job) for job in records], "tasks", f"show_job {args.job_id}_TASK", characters=1900)
            data["by_state"] = by_state(records)
        return ToolResult("ok", (Item(args.job_id, Outcome.OK),), data, ran(ctx, before))


def _first(records: list[Job]) -> Job:
    """The record that speaks best for the whole: a running one, else the first."""
    return next((job for job in records if job.state == "RUNNING"), records[0])


class ReadJobLogArguments(Arguments):
    job_id: JobId = Field(description="job id")
    stream: Literal["stdout", "stderr"] | None = Field(None, description="stdout unless stderr is asked for")
    lines: Count | None = Field(None, description="last lines to show")
    pattern: Text | None = Field(None, description="only lines that match")


class ReadJobLog(ReadTool):
    name = "read_job_log"
    description = "Read the end of a job's output, or the lines in it that match a pattern."
    Arguments = ReadJobLogArguments
    examples: ClassVar = (
        ("last 50 lines of stderr of 48121", {"job_id": "48121", "stream": "stderr", "lines": 50}),
        ("show me the output of 48121", {"job_id": "48121"}),
        ("any loss=nan in the log of 48121?", {"job_id": "48121", "pattern": "loss=nan"}),
    )

    def run(self, args: ReadJobLogArguments, ctx: ToolContext) -> ToolResult:
        """``{"job_id", "stream", "path", "size", "lines", "shown", "total"?, "more"?, "notes"?}``.

        No file, or one that must not be read, is an outcome ``failed`` with the reason and ``path``.
        """
        before = len(ctx.backend.commands())
        stream = args.stream or "stdout"
        data: Row = {"job_id": args.job_id, "stream": stream}
        try:
            log = find_log(ctx.backend, args.job_id, stream)
            data |= {"job_id": log.job.id, "path": str(log.path)}
            with open_log(log, ctx.caller) as file:
                data |= joblog.read(file, min(args.lines or joblog.LINES, joblog.MOST_LINES), args.pattern)
        except UnknownJob as error:
            raise with_known(error, args.job_id, ctx) from None
        except NoLog as missing:
            item = Item(args.job_id, Outcome.FAILED, missing.message, missing.code)
            return ToolResult("failed", (item,), {**data, "lines": [], "notes": [missing.message]}, ran(ctx, before))
        notes = [*log.notes, *data.pop("notes", ())]
        data |= {"notes": notes} if notes else {}
        return ToolResult("ok", (Item(args.job_id, Outcome.OK),), data, ran(ctx, before))
