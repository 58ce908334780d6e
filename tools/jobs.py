"""Looking at jobs: list_jobs, show_job, read_job_log."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tools.base import Arguments, ReadTool, ToolContext, ToolResult
from tools.values import Count, JobId, Name, State, Text, Until, When


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
    examples: ClassVar = (("what do I have running?", {"user": "me", "states": ["RUNNING"]}),)

    def run(self, args: ListJobsArguments, ctx: ToolContext) -> ToolResult:
        raise NotImplementedError


class ShowJobArguments(Arguments):
    job_id: JobId = Field(description="job id: 123, 123_4, 123+0")


class ShowJob(ReadTool):
    name = "show_job"
    description = "Show everything about one job: state, resources, times, where it runs."
    Arguments = ShowJobArguments
    examples: ClassVar = (("is 48121 still running?", {"job_id": "48121"}),)

    def run(self, args: ShowJobArguments, ctx: ToolContext) -> ToolResult:
        raise NotImplementedError


class ReadJobLogArguments(Arguments):
    job_id: JobId = Field(description="job id")
    stream: Literal["stdout", "stderr"] | None = Field(None, description="stdout unless stderr is asked for")
    lines: Count | None = Field(None, description="last lines to show")
    pattern: Text | None = Field(None, description="only lines that match")


class ReadJobLog(ReadTool):
    name = "read_job_log"
    description = "Read the end of a job's output, or the lines in it that match a pattern."
    Arguments = ReadJobLogArguments
    examples: ClassVar = (("last 50 lines of stderr of 48121", {"job_id": "48121", "stream": "stderr", "lines": 50}),)

    def run(self, args: ReadJobLogArguments, ctx: ToolContext) -> ToolResult:
        raise NotImplementedError
