"""submit_job: a new batch job, with the whole range of options that GPU work uses."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, model_validator

from tools.base import Arguments, Plan, ToolContext, WriteTool
from tools.values import (
    ArraySpec,
    Begin,
    Count,
    Dependency,
    Duration,
    Environment,
    GpuType,
    Hostlist,
    MailType,
    Memory,
    Name,
    Names,
    Signal,
    Text,
)


class Resources(Arguments):
    """What a job may ask for; shared by submit_job and estimate_start. The order is the contract's."""

    partition: Name | None = Field(None, description="partition to run in")
    account: Name | None = Field(None, description="account to charge")
    qos: Name | None = Field(None, description="quality of service")
    nodes: Count | None = Field(None, description="number of nodes")
    ntasks: Count | None = Field(None, description="number of tasks in total")
    ntasks_per_node: Count | None = Field(None, description="tasks on each node")
    cpus_per_task: Count | None = Field(None, description="CPU cores for each task")
    gpus: Count | None = Field(None, description="GPUs in total")
    gpus_per_node: Count | None = Field(None, description="GPUs on each node")
    gpu_type: GpuType | None = Field(None, description="GPU type alone: h100, a100_3g.20gb")
    cpus_per_gpu: Count | None = Field(None, description="CPU cores for each GPU")
    mem: Memory | None = Field(None, description="memory per node, with its unit: 900G")
    mem_per_cpu: Memory | None = Field(None, description="memory per CPU, with its unit")
    mem_per_gpu: Memory | None = Field(None, description="memory per GPU, with its unit")
    time_limit: Duration | None = Field(None, description="wall time: D-HH:MM:SS, HH:MM:SS or minutes")
    constraint: Text | None = Field(None, description="node features: a100|h100")
    switches: Count | None = Field(None, description="topology: leaf switches at most")
    exclusive: bool | None = Field(None, description="whole nodes, shared with nobody")


class What(Arguments):
    """What a job runs."""

    command: Text | None = Field(None, description="command line to run, as given")
    script: Text | None = Field(None, description="path of a batch script, or its text from #! on")
    job_name: Name | None = Field(None, description="name of the job")


class SubmitArguments(Resources, What):
    # pydantic puts the bases' fields first, the last base's before all: What, Resources, then these
    array: ArraySpec | None = Field(None, description="array indices: 0-99%10")
    dependency: Dependency | None = Field(None, description="afterok:123, afterany:1:2, singleton; $1 = earlier call")
    begin: Begin | None = Field(None, description="not before: ISO time or now+2hours")
    output: Text | None = Field(None, description="file for standard output: %x-%j.out")
    error: Text | None = Field(None, description="file for standard error")
    working_directory: Text | None = Field(None, description="directory to run in")
    environment: Environment | None = Field(None, description="variables to set in the job")
    modules: Names | None = Field(None, description="environment modules to load first")
    container_image: Text | None = Field(None, description="container image (pyxis)")
    container_mounts: Text | None = Field(None, description="/host:/inside,… (pyxis)")
    reservation: Name | None = Field(None, description="reservation to run in")
    nodelist: Hostlist | None = Field(None, description="nodes it must have")
    exclude: Hostlist | None = Field(None, description="nodes it must not have")
    licenses: Text | None = Field(None, description="name:count,…")
    mail_type: MailType | None = Field(None, description="BEGIN, END, FAIL, ALL … joined by commas")
    mail_user: Text | None = Field(None, description="mail address")
    requeue: bool | None = Field(None, description="may be requeued (true) or must not (false)")
    signal: Signal | None = Field(None, description="signal before the end: B:USR1@120")
    comment: Text | None = Field(None, description="comment to keep with the job")
    test_only: bool | None = Field(None, description="only check whether and when it would run")

    @model_validator(mode="after")
    def something_to_run(self) -> SubmitArguments:
        if bool(self.command) == bool(self.script):
            raise ValueError("give exactly one of command and script")
        return self


class SubmitJob(WriteTool):
    name = "submit_job"
    description = "Submit a new batch job."
    Arguments = SubmitArguments
    examples: ClassVar = (
        (
            "train.py on 2 nodes with 8 h100s each, a day, qos ai-train, mail me when done",
            {
                "command": "train.py",
                "qos": "ai-train",
                "nodes": 2,
                "gpus_per_node": 8,
                "gpu_type": "h100",
                "time_limit": "1-00:00:00",
                "mail_type": "END",
            },
        ),
    )

    def plan(self, args: SubmitArguments, ctx: ToolContext) -> Plan:
        raise NotImplementedError
