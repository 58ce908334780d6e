"""Who used what, and who may: usage_report, show_limits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar, Literal

from pydantic import Field

from tools.base import Arguments, ReadTool, ToolContext, ToolResult
from tools.case import under
from tools.limits import Limit, of_association, of_qos
from tools.names import check_names, require
from tools.slurm.errors import AccountingUnavailable, InvalidRequest
from tools.slurm.models import Association, Job, JobQuery, Partition, Usage
from tools.values import Name, Until, When
from tools.views import Row, bounded, clock, count_text, duration_text, ran, said, time_text, who


class UsageReportArguments(Arguments):
    group_by: Literal["user", "account", "partition"] | None = Field(None, description="one row for each")
    start: When | None = Field(None, description="ISO time")
    end: Until | None = Field(None, description="ISO time")
    user: Name | None = Field(None, description='"me" for the caller')
    account: Name | None = Field(None, description="account")


class UsageReport(ReadTool):
    name = "usage_report"
    description = "GPU, CPU and node hours consumed in a period, by user, account or partition."
    Arguments = UsageReportArguments
    examples: ClassVar = (
        ("GPU hours by account this month", {"group_by": "account", "start": "2026-11-01T00:00:00"}),
        ("how many GPU hours have I used this month?", {"user": "me", "start": "2026-11-01T00:00:00"}),
    )

    def run(self, args: UsageReportArguments, ctx: ToolContext) -> ToolResult:
        """``{"group_by", "start", "end", "usage": rows, "sum", "shown", "total", "more"?, "notes"?}``.

        Without a start: since the first of this month. Hours are those that jobs held what was allocated to them.
        """
        before = len(ctx.backend.commands())
        now, group = clock(ctx), args.group_by or "user"
        start = datetime.fromisoformat(args.start) if args.start else now.replace(day=1, hour=0, minute=0, second=0)
        end = datetime.fromisoformat(args.end) if args.end else now
        if start >= end:
            raise InvalidRequest(f"the period is empty: it starts {time_text(start)} and ends {time_text(end)}")
        check_names(ctx.backend, account=args.account)
        user = who(args.user, ctx)
        if user:
            known_user(user, ctx)
        rows = ctx.backend.usage(group, start, end, user, args.account or "")
        data: Row = {"group_by": group, "start": time_text(start), "end": time_text(end)}
        data |= said({"user": user, "account": args.account})
        data |= bounded([_usage_row(group, row) for row in rows], "usage", "narrow it by user, account or period")
        data["sum"] = {key: value for key, value in _usage_row(group, _sum(rows)).items() if key != group}
        return ToolResult("ok", data=data, commands=ran(ctx, before))


def known_user(user: str, ctx: ToolContext) -> None:
    """Raises ``UnknownName`` for a user whom accounting does not know."""
    if not ctx.backend.associations(user):
        require("user", [user], (row.user for row in ctx.backend.associations() if row.user))


def _usage_row(group: str, row: Usage) -> Row:
    return {
        group: row.key,
        "jobs": row.jobs,
        "gpu_hours": round(row.gpu_hours, 2),
        "cpu_hours": round(row.cpu_hours, 2),
        "node_hours": round(row.node_hours, 2),
    }


def _sum(rows: Sequence[Usage]) -> Usage:
    return Usage(
        "",
        sum(row.jobs for row in rows),
        sum(row.cpu_hours for row in rows),
        sum(row.gpu_hours for row in rows),
        sum(row.node_hours for row in rows),
    )


class ShowLimitsArguments(Arguments):
    user: Name | None = Field(None, description='"me" for the caller')
    account: Name | None = Field(None, description="account")
    qos: Name | None = Field(None, description="quality of service")
    partition: Name | None = Field(None, description="partition")


class ShowLimits(ReadTool):
    name = "show_limits"
    description = "What a user, account, QoS or partition may use at most, and how much of it is used."
    Arguments = ShowLimitsArguments
    examples: ClassVar = (
        ("how many GPUs may I use at once?", {"user": "me"}),
        ("what are the limits of qos interactive?", {"qos": "interactive"}),
        ("how long may a job run in the debug partition?", {"partition": "debug"}),
    )

    def run(self, args: ShowLimitsArguments, ctx: ToolContext) -> ToolResult:
        """``{"user"?, "accounts", "qos", "limits": rows, "partitions": rows, "shown", "total", "notes"?}``.

        With nothing given, the caller's own. A limit has ``allowed`` and, where Slurm tells, ``used``.
        """
        before, backend = len(ctx.backend.commands()), ctx.backend
        check_names(backend, partition=args.partition, qos=args.qos, account=args.account)
        user = who(args.user, ctx)
        if not (user or args.account or args.qos or args.partition):
            user = ctx.caller.user
        partitions = [one for one in backend.partitions() if args.partition in (None, one.name)]
        data: Row = said({"user": user, "account": args.account})
        limits: list[Limit] = []
        try:
            rows = _associations(user, args, ctx)
            names = _qos_names(rows, args, partitions)
            data |= said({"accounts": sorted({row.account for row in rows if row.user}), "qos": names})
            limits = _limits(rows, names, user, args, ctx)
        except AccountingUnavailable as away:
            if away.transient:
                raise
            data["notes"] = ["this site runs no accounting: nothing but the partitions limits a job"]
        data |= bounded([limit.row() for limit in limits], "limits", "ask for one account or QoS", characters=4000)
        if args.partition or not (args.qos or args.account):
            data["partitions"] = [_partition_row(partition) for partition in partitions][:20]
        return ToolResult("ok", data=data, commands=ran(ctx, before))


def _associations(user: str, args: ShowLimitsArguments, ctx: ToolContext) -> list[Association]:
    """The user's rows and those of their accounts; of an account its own row."""
    if user:
        known_user(user, ctx)
        own = ctx.backend.associations(user, args.account or "")
        accounts = {row.account for row in own}
        return own + [row for row in ctx.backend.associations() if not row.user and row.account in accounts]
    if args.account:
        return [row for row in ctx.backend.associations("", args.account) if not row.user]
    return []


def _qos_names(rows: Sequence[Association], args: ShowLimitsArguments, partitions: Sequence[Partition]) -> list[str]:
    if args.qos:
        return [args.qos]
    if args.partition:
        return sorted({one.qos for one in partitions if one.qos})
    return sorted({name for row in rows for name in row.qos})


def _limits(
    rows: Sequence[Association], names: Sequence[str], user: str, args: ShowLimitsArguments, ctx: ToolContext
) -> list[Limit]:
    jobs: Sequence[Job] = ctx.backend.queue(JobQuery())
    every = ctx.backend.associations() if rows else ()
    found = [limit for row in rows for limit in of_association(row, jobs, under(row.account, every))]
    for qos in ctx.backend.qos():
        if qos.name in names:
            held = [job for job in jobs if job.qos == qos.name]
            found += of_qos(qos, held, user or ctx.caller.user, args.account or "")
    return found


def _partition_row(partition: Partition) -> Row:
    return said(
        {
            "partition": partition.name,
            "state": partition.state,
            "default": partition.default or None,
            "max_time": duration_text(partition.max_time),
            "default_time": duration_text(partition.default_time),
            "max_nodes": count_text(partition.max_nodes),
            "nodes": partition.total_nodes,
            "qos": partition.qos,
            "allow_accounts": list(partition.allow_accounts),
            "allow_qos": list(partition.allow_qos),
        }
    )
