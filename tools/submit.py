"""submit_job: a new batch job, with the whole range of options that GPU work uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field, model_validator

from tools.base import Arguments, Item, Plan, ToolContext, WriteTool
from tools.batch_script import asked_in, find_script, script_text
from tools.checks import check_names
from tools.dependents import dependency_notes
from tools.impact import seen_after
from tools.slurm.backend import Operation
from tools.submit_notes import notes_for, place_of, said_by_script, size_of
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

UNDO = "scancel JOBID (the id that sbatch will give), or `sask undo last`"


def undo_of(job_id: str) -> str:
    """``UNDO`` once there is an id."""
    return f"scancel {job_id}"


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
        ("submit train.sh to the debug partition", {"script": "train.sh", "partition": "debug"}),
        (
            "run eval.py 100 times, 10 at once, one GPU each",
            {"command": "eval.py", "gpus": 1, "array": "0-99%10"},
        ),
        (
            "when would run.sh start on 4 nodes?",
            {"script": "run.sh", "nodes": 4, "test_only": True},
        ),
    )

    def plan(self, args: SubmitArguments, ctx: ToolContext) -> Plan:
        fields, asked, notes = _read(args)
        check_names(asked, ctx.caller.user, ctx)
        notes += dependency_notes(asked["dependency"], ctx) if asked.get("dependency") else []
        place = place_of(asked, ctx)
        blast, hours = size_of(asked, place)
        notes += notes_for(asked, place, ctx)
        before: dict[str, Any] = {"hours": hours}
        if args.test_only:
            return Plan((), before=before | _estimate(fields, ctx), notes=("only a test: nothing is submitted", *notes))
        operation = Operation("submit", "", fields)
        ctx.backend.render(operation)  # raises for what sbatch could not be told
        notes.append(f"asks for up to {hours['node_hours']:g} node-hours, {hours['gpu_hours']:g} GPU-hours")
        return Plan((operation,), replace(blast, users=(ctx.caller.user,)), before, tuple(notes), undo=(UNDO,))

    def after(self, args: SubmitArguments, ctx: ToolContext, items: Sequence[Item]) -> dict[str, Any]:
        if args.test_only:
            return _estimate(_read(args)[0], ctx)
        return seen_after(items, ctx)


def _read(args: SubmitArguments) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """The operation's fields, all that the job asks for (its script included), and notes."""
    fields = {name: value for name, value in args.given().items() if name != "test_only"}
    if args.command or not args.script:
        return fields, fields, []
    if not args.script.startswith("#!"):
        fields["script"] = find_script(args.script, args.working_directory)
    own = asked_in(script_text(fields["script"]))
    return fields, {**own, **fields}, list(said_by_script(own, fields))


def _estimate(fields: dict[str, Any], ctx: ToolContext) -> dict[str, Any]:
    """Slurm's own answer; raises the error that a submission would."""
    found = ctx.backend.test_submit(fields)
    start = found.start_time.isoformat() if found.start_time else None
    return {"estimate": {"start_time": start, "nodes": found.nodes, "reason": found.reason}}
