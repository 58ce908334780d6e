"""Why and when: diagnose_job, estimate_start."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, model_validator

from tools.base import Arguments, ReadTool, ToolContext, ToolResult
from tools.submit import Resources
from tools.values import JobId


class DiagnoseJobArguments(Arguments):
    job_id: JobId = Field(description="job id")


class DiagnoseJob(ReadTool):
    name = "diagnose_job"
    description = "Find out why a job is pending, failed, was killed or is slow to start."
    Arguments = DiagnoseJobArguments
    examples: ClassVar = (("why is 48121 still pending?", {"job_id": "48121"}),)

    def run(self, args: DiagnoseJobArguments, ctx: ToolContext) -> ToolResult:
        raise NotImplementedError


class EstimateOf(Arguments):
    job_id: JobId | None = Field(None, description="a pending job; or else the resources of a job to be")


class EstimateStartArguments(Resources, EstimateOf):
    @model_validator(mode="after")
    def says_of_what(self) -> EstimateStartArguments:
        if not self.given():
            raise ValueError("give a job_id, or the resources that a job would ask for")
        return self


class EstimateStart(ReadTool):
    name = "estimate_start"
    description = "Estimate when a pending job, or a job with such resources, would start."
    Arguments = EstimateStartArguments
    examples: ClassVar = (
        ("when could I get 4 h100 nodes for a day?", {"nodes": 4, "gpu_type": "h100", "time_limit": "1-00:00:00"}),
    )

    def run(self, args: EstimateStartArguments, ctx: ToolContext) -> ToolResult:
        raise NotImplementedError
