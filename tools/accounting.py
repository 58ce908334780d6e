"""Who used what, and who may: usage_report, show_limits."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tools.base import Arguments, ReadTool, ToolContext, ToolResult
from tools.values import Name, Until, When


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
    examples: ClassVar = (("GPU hours by account this month", {"group_by": "account", "start": "2026-11-01T00:00:00"}),)

    def run(self, args: UsageReportArguments, ctx: ToolContext) -> ToolResult:
        raise NotImplementedError


class ShowLimitsArguments(Arguments):
    user: Name | None = Field(None, description='"me" for the caller')
    account: Name | None = Field(None, description="account")
    qos: Name | None = Field(None, description="quality of service")
    partition: Name | None = Field(None, description="partition")


class ShowLimits(ReadTool):
    name = "show_limits"
    description = "What a user, account, QoS or partition may use at most, and how much of it is used."
    Arguments = ShowLimitsArguments
    examples: ClassVar = (("how many GPUs may I use at once?", {"user": "me"}),)

    def run(self, args: ShowLimitsArguments, ctx: ToolContext) -> ToolResult:
        raise NotImplementedError
