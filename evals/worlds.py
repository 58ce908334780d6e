"""The worlds of state-based cases: real jobs and nodes of the sandbox, set up from data and looked at afterwards."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from assistant.errors import AssistantError, ConfigError
from evals.cases import JOB_EVENTS, Case, World, WorldJob
from tools.durations import slurm_duration
from tools.slurm.backend import Operation
from tools.slurm.cli import CliBackend
from tools.slurm.models import Job, JobQuery, Node
from tools.slurm.parse.values import seconds
from tools.slurm.sandbox import Sandbox

ENDED = frozenset(
    {"COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE"}
)
DEFAULTS = {"command": "sleep 3600", "time_limit": "01:00:00", "output": "/dev/null"}
"""What a job of the world is, where its case says nothing else."""
SCRIPT = "#!/bin/bash\nsleep 3600\n"
NEEDED = (
    "these cases empty the queue of the cluster they run on: `sask sandbox up`, then the export line that it prints"
)
PATIENCE = 60.0
"""Seconds for Slurm to bring a job into the state that its case begins with."""

Facts = dict[str, Any]


class WorldError(AssistantError):
    """The world of a case could not be made; the case is not scored."""


@dataclass(frozen=True, slots=True)
class View:
    """What the cluster is like: facts of jobs (an array is one) by their id, of nodes by their name."""

    jobs: dict[str, Facts]
    nodes: dict[str, Facts]


def sandbox_here() -> Sandbox:
    """The sandbox that SLURM_CONF points at. Raises ConfigError for none, and for any other cluster."""
    conf = os.environ.get("SLURM_CONF", "")
    if not conf:
        raise ConfigError("state-based cases need the sandbox, and SLURM_CONF is not set", NEEDED)
    try:
        found = re.search(r"^StateSaveLocation=(.+)/state$", Path(conf).read_text(encoding="utf-8"), re.MULTILINE)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"SLURM_CONF={conf} cannot be read: {error}", NEEDED) from error
    box = Sandbox(Path(found[1])) if found else None
    if box is None or not (box.root / "sandbox.json").is_file() or box.conf != Path(conf):
        raise ConfigError(f"state-based cases need the sandbox, and SLURM_CONF={conf} is of another cluster", NEEDED)
    return box


def slurm_version() -> str:
    """``22.05.8``, as the cluster's own commands tell it. Raises SlurmError."""
    major, minor, patch = CliBackend().version()
    return f"{major}.{minor:02}.{patch}"


@dataclass
class Stage:
    """The sandbox with one case's world on it. ``touched``: jobs and nodes that events have changed since."""

    sandbox: Sandbox
    folder: Path
    ids: dict[str, str] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    floor: int = 0
    backend: CliBackend = field(default_factory=CliBackend)

    def build(self, world: World) -> None:
        """Empty the sandbox and fill it. Raises WorldError, SandboxError, SlurmError."""
        self.sandbox.reset()
        self.floor = max((_number(job.id) for job in self._everything()), default=0)
        for name in world.files:
            (self.folder / name).write_text(SCRIPT, encoding="utf-8")
        for handle, given in world.jobs.items():
            self.ids[handle] = self._submit(given)
        for handle, given in world.jobs.items():
            self._bring(self.ids[handle], given.state)
        for name, state in world.nodes.items():
            self._node(name, state, "set up")

    def fill(self, value: Any) -> Any:
        """The value with ``{handle}`` replaced by the real job id, all the way down."""
        return filled(value, self.ids)

    def id_of(self, handle: str) -> str:
        """``$a`` or ``$a_3`` to the real id."""
        name, _, task = handle.removeprefix("$").partition("_")
        return self.ids[name] + (f"_{task}" if task else "")

    def happen(self, event: dict[str, str]) -> None:
        """Something that nobody told the assistant. Raises SandboxError, SlurmError."""
        ((kind, what),) = event.items()
        target = self.ids[what] if kind in JOB_EVENTS else what
        self.touched.add(target)
        match kind:
            case "controller":
                self.sandbox.stop_controller() if what == "stop" else self.sandbox.start_controller()
            case "power_off":
                self.sandbox.kill_slurmd(target)
            case "power_on":
                self.sandbox.start_slurmd(target)
            case "drain" | "resume":
                self._node(target, kind.upper(), "an event")
            case "cancel" | "hold" | "release":
                self.backend.perform(Operation(kind, target))
                self._await(lambda: kind != "cancel" or self.facts(target)["state"] in ENDED, f"{kind} {target}")

    def view(self) -> View:
        """Raises SlurmError."""
        numbers = sorted({_number(job.id) for job in self._everything()})
        jobs = {str(number): self.facts(str(number)) for number in numbers if number > self.floor}
        return View(jobs, {node.name: _node_facts(node) for node in self.backend.nodes()})

    def facts(self, job_id: str) -> Facts:
        """Of one job; of an array's records together where the id is the whole array's. Raises UnknownJob."""
        records = [_job_facts(job) for job in self.backend.job(job_id)]
        return {name: _one(value[name] for value in records) for name in records[0]}

    def end(self) -> None:
        """The controller is back, whatever the case did to it, so that the end state can be read."""
        if "slurmctld" in self.sandbox.status().missing:
            self.sandbox.start_controller()

    def _everything(self) -> list[Job]:
        return self.backend.queue(JobQuery(states=("all",)))

    def _submit(self, given: WorldJob) -> str:
        """What must not start yet waits for tomorrow, unless it waits for another job."""
        fields = DEFAULTS | self.fill(given.arguments)
        if given.state in ("PENDING", "HELD") and "dependency" not in fields:
            fields.setdefault("begin", "now+1day")
        operation = Operation("submit", "", fields)
        return self._as(given.user, operation) if given.user else self.backend.perform(operation).id

    def _as(self, user: str, operation: Operation) -> str:
        (command,) = self.backend.render(operation)
        try:
            said = subprocess.run(
                command, input=self.backend.script(operation), user=user, cwd="/", capture_output=True, text=True
            )
        except (PermissionError, LookupError) as error:
            raise WorldError(f"nobody can be {user} here: {error}", "start the sandbox and the run as root") from error
        if said.returncode or not (job := re.search(r"\d+", said.stdout)):
            raise WorldError(f"{user} cannot submit: {said.stderr.strip()}", "see the case's `world`")
        return job[0]

    def _bring(self, job_id: str, state: str) -> None:
        if state == "HELD":
            self.backend.perform(Operation("hold", job_id))
            return
        self._reach(job_id, "PENDING" if state == "PENDING" else "RUNNING")
        if state == "SUSPENDED":
            self.backend.perform(Operation("suspend", job_id))
            self._reach(job_id, state)

    def _reach(self, job_id: str, state: str) -> None:
        self._await(lambda: state in self.facts(job_id)["state"], f"job {job_id} {state}")

    def _await(self, is_so: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not is_so():
            if time.monotonic() > deadline:
                raise WorldError(f"after {PATIENCE:.0f} s there is still no {what}", "see the case's `world`")
            time.sleep(0.1)

    def _node(self, name: str, state: str, reason: str) -> None:
        self.backend.perform(Operation("update_node", name, {"state": state, "reason": reason}))


def filled(value: Any, ids: dict[str, str]) -> Any:
    """``value`` with every ``{handle}`` of ``ids`` replaced, in texts, lists and objects."""
    if isinstance(value, str):
        return re.sub(r"\{(\w+)\}", lambda found: ids.get(found[1], found[0]), value)
    if isinstance(value, list | tuple):
        return type(value)(filled(part, ids) for part in value)
    if isinstance(value, dict):
        return {name: filled(part, ids) for name, part in value.items()}
    return value


def real(case: Case, ids: dict[str, str]) -> Case:
    """The case as it is said and judged once its jobs have their ids."""
    return replace(
        case,
        request=filled(case.request, ids),
        expects=filled(case.expects, ids),
        mention=filled(case.mention, ids),
        turns=filled(case.turns, ids),
    )


def _number(job_id: str) -> int:
    return int(re.split(r"[_+]", job_id)[0])


def _one(values: Any) -> Any:
    different = list(dict.fromkeys(values))
    return different[0] if len(different) == 1 else ",".join(sorted(map(str, different)))


def _job_facts(job: Job) -> Facts:
    """What ``expect.end_state`` may speak of, as scontrol(1) prints it."""
    names = ("state", "partition", "qos", "account", "name", "user", "nodes", "gpus", "gpu_type", "nice")
    more = ("constraint", "array_size", "exclusive", "comment", "restarts", "reason")
    held = job.state == "PENDING" and job.reason.startswith("JobHeld")
    dependency = re.sub(r"\([^)]*\)", "", job.dependency)
    limit = "" if job.time_limit is None else slurm_duration(job.time_limit)
    plain = {name: getattr(job, name) for name in (*names, *more)}
    return plain | {"held": held, "dependency": dependency, "time_limit": limit}


def _node_facts(node: Node) -> Facts:
    down = node.state.startswith("DOWN")
    return {"state": "DRAIN" if "DRAIN" in node.state else "DOWN" if down else "UP", "reason": node.reason}


def as_fact(name: str, value: Any) -> Any:
    """An expected value in the form of a fact: a time limit may be written in any way that Slurm reads."""
    limit = seconds(value) if name == "time_limit" else None
    return value if limit is None else slurm_duration(limit)
