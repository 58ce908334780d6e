"""Stopping and steering jobs: cancel_jobs, control_jobs."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from tools.base import Arguments, Plan, ToolContext, WriteTool
from tools.values import JobIds, Name, SignalName, State


class CancelJobsArguments(Arguments):
    job_ids: JobIds | None = Field(None, description="job ids")
    user: Name | None = Field(None, description='"me" for the caller\'s own jobs')
    name: Name | None = Field(None, description="job name")
    states: list[State] | None = Field(None, description="PENDING, RUNNING, SUSPENDED")
    partition: Name | None = Field(None, description="partition")
    signal: SignalName | None = Field(None, description="send this signal instead of ending the job: USR1")

    @model_validator(mode="after")
    def says_which(self) -> CancelJobsArguments:
        if not (self.job_ids or self.user or self.name or self.states or self.partition):
            raise ValueError("say which jobs: job_ids, or a filter by user, name, states or partition")
        return self


class CancelJobs(WriteTool):
    name = "cancel_jobs"
    description = "Cancel jobs by id or by filter, or send them a signal."
    Arguments = CancelJobsArguments
    examples: ClassVar = (("cancel all my pending jobs", {"user": "me", "states": ["PENDING"]}),)

    def plan(self, args: CancelJobsArguments, ctx: ToolContext) -> Plan:
        raise NotImplementedError


class ControlJobsArguments(Arguments):
    action: Literal["hold", "release", "requeue", "suspend", "resume"] = Field(description="what to do")
    job_ids: JobIds = Field(description="job ids")


class ControlJobs(WriteTool):
    name = "control_jobs"
    description = "Hold, release, requeue, suspend or resume jobs."
    Arguments = ControlJobsArguments
    examples: ClassVar = (("hold 48121 and 48122", {"action": "hold", "job_ids": ["48121", "48122"]}),)

    def plan(self, args: ControlJobsArguments, ctx: ToolContext) -> Plan:
        raise NotImplementedError
