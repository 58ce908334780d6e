"""Changing a job: resize_job (nodes and time), update_job (the rest)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, model_validator

from tools.base import Arguments, Plan, ToolContext, WriteTool
from tools.values import Begin, Count, Dependency, JobId, Memory, Name, RelativeDuration, Text, Whole


class ResizeJobArguments(Arguments):
    job_id: JobId = Field(description="job id")
    nodes: Count | None = Field(None, description="new number of nodes")
    time_limit: RelativeDuration | None = Field(
        None, description="new time limit 06:00:00, or a change to it: +6:00:00, -1:00:00"
    )

    @model_validator(mode="after")
    def says_what(self) -> ResizeJobArguments:
        if self.nodes is None and self.time_limit is None:
            raise ValueError("give nodes or time_limit, or both")
        return self


class ResizeJob(WriteTool):
    name = "resize_job"
    description = "Change the number of nodes or the time limit of a pending or running job."
    Arguments = ResizeJobArguments
    examples: ClassVar = (("give 48121 6 more hours", {"job_id": "48121", "time_limit": "+6:00:00"}),)

    def plan(self, args: ResizeJobArguments, ctx: ToolContext) -> Plan:
        raise NotImplementedError


class UpdateJobArguments(Arguments):
    job_id: JobId = Field(description="job id")
    partition: Name | None = Field(None, description="new partition")
    qos: Name | None = Field(None, description="new quality of service")
    account: Name | None = Field(None, description="new account")
    nice: Whole | None = Field(None, description="new nice value; higher waits longer")
    dependency: Dependency | None = Field(None, description="new dependency; an empty string clears it")
    job_name: Name | None = Field(None, description="new name")
    begin: Begin | None = Field(None, description="not before: ISO time or now+2hours")
    constraint: Text | None = Field(None, description="new node features")
    mem: Memory | None = Field(None, description="new memory per node, with its unit")
    gpus: Count | None = Field(None, description="new total of GPUs")

    @model_validator(mode="after")
    def says_what(self) -> UpdateJobArguments:
        if not self.given().keys() - {"job_id"}:
            raise ValueError("say what to change: " + ", ".join(f for f in type(self).model_fields if f != "job_id"))
        return self


class UpdateJob(WriteTool):
    name = "update_job"
    description = "Change partition, QoS, account, priority, dependency, name, begin or resources of a job."
    Arguments = UpdateJobArguments
    examples: ClassVar = (("move 48121 to the h100 partition", {"job_id": "48121", "partition": "h100"}),)

    def plan(self, args: UpdateJobArguments, ctx: ToolContext) -> Plan:
        raise NotImplementedError
