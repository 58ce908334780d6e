"""The fault matrix: fault × tool × point, each cell a function that hurts a Bed and says nothing when all is well.

python -m evals.faults        prints it
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from assistant.errors import JournalError, ModelError, ModelRefused, ModelTimeout, ModelUnreachable
from assistant.ledger.approval import AskLater, Decision, DenyAll, Preview
from assistant.ledger.execute import Interrupted
from assistant.ledger.journal import Journal
from assistant.ledger.reading import list_runs
from assistant.ledger.resume import resume
from assistant.loop.agent import Agent
from assistant.loop.decide import Decider
from tests.fault_bed import ARGUMENTS, READS, WRITES, Bed, Cluster, Hurt, disk_full, kill
from tests.scripted import ScriptedModel, calls
from tools import BY_NAME
from tools.slurm.backend import Operation
from tools.slurm.errors import (
    AccountingUnavailable,
    InvalidRequest,
    LimitRefused,
    OutcomeUnknown,
    PermissionRefused,
    SlurmError,
    SlurmUnreachable,
    UnknownJob,
    UnknownName,
)


@dataclass(frozen=True)
class Cell:
    fault: str
    tool: str
    point: str
    hurt: Callable[[Bed], None]

    def run(self, folder: Path) -> None:
        """Raises AssertionError where an invariant is broken."""
        self.hurt(Bed.make(folder, self.tool))

    def __str__(self) -> str:
        return f"{self.fault}/{self.tool}/{self.point}".replace(" ", "-")


ERRORS: dict[str, SlurmError] = {
    "slurmctld away": SlurmUnreachable("Unable to contact slurm controller (connect failure)"),
    "slurmctld slow": SlurmUnreachable("squeue gave no answer in 30 s", code="timeout"),
    "slurmdbd away": AccountingUnavailable("Problem talking to the database", transient=True),
    "no accounting": AccountingUnavailable("accounting storage is disabled", transient=False),
    "permission": PermissionRefused("Access/permission denied", code="ESLURM_ACCESS_DENIED"),
    "limit": LimitRefused("Job violates accounting/QOS policy", code="ESLURM_ACCOUNTING_POLICY"),
    "unknown job": UnknownJob("Invalid job id specified", code="ESLURM_INVALID_JOB_ID"),
    "unknown name": UnknownName("Invalid qos specification", code="ESLURM_INVALID_QOS", valid=("normal",)),
    "strange answer": InvalidRequest("squeue printed what cannot be read", code="garbage"),
}
MANY = {"cancel_jobs": 3, "control_jobs": 2, "drain_node": 2, "resume_node": 2}
STEPS = ("begin", "plan_items", "ask", "decide", "use", "intend", "settle", "close_call", "release")
"""What the journal is asked for in a write, in this order."""


def matrix() -> tuple[Cell, ...]:
    """Every cell, in a steady order."""
    groups = (_model(), _reading(), _changing(), _killed(), _disk(), _approvals(), _interrupted(), _processes())
    return tuple(cell for group in groups for cell in group)


# ---- the model


def _model() -> Iterator[Cell]:
    for tool in BY_NAME:
        good = calls((tool, ARGUMENTS[tool]))
        answers: dict[str, str | Exception] = {
            "model HTTP 500": ModelRefused("HTTP 500", status=500),
            "model timeout": ModelTimeout("no answer in 120 s"),
            "model away": ModelUnreachable("connection refused"),
            "garbage": "I have done it for you. ✨",
            "truncated JSON": good[: len(good) * 2 // 3],
            "empty answer": "",
            "unknown tool": good.replace(tool, "run_shell", 1),
            "wrong schema": calls((tool, {"nonsense": 1})),
            "invented id": calls(("cancel_jobs", {"job_ids": ["5", "77"]})),
        }
        for fault, answer in answers.items():
            yield Cell(fault, tool, "decision", partial(_bad_model, answer=answer))


def _bad_model(bed: Bed, answer: str | Exception) -> None:
    """A model that fails three times has asked the person; one that cannot be asked is an error; nothing is done."""
    model = ScriptedModel(answer)
    agent = Agent(Decider(model, BY_NAME, lambda said, messages: messages), bed.executor())
    try:
        result = agent.run("please look after my work")
        assert result.action == "ask"
        assert result.text
    except ModelError as error:
        assert error.message
    assert len(model.asked) <= 3
    assert not bed.cluster.performed
    assert not list_runs(bed.journal)
    bed.check()


# ---- Slurm, asked


def _reading() -> Iterator[Cell]:
    for tool in BY_NAME:
        for fault, error in ERRORS.items():
            for point, number in (("first question", 1), ("second question", 2), ("every question", 0)):
                yield Cell(fault, tool, point, partial(_bad_read, number=number, error=error))


def _bad_read(bed: Bed, number: int, error: SlurmError) -> None:
    bed.cluster.reads = {number: error}
    _, (done,) = bed.run()
    assert all(item.outcome.value in ("failed", "denied") for item in done.result.items if item.code == error.code)
    if done.result.status != "ok":
        assert any(item.message for item in done.result.items)
    if error.transient and number == 1 and not isinstance(error, AccountingUnavailable):
        assert done.result.status == "ok", done.result
    bed.check()
    bed.settle()
    bed.check()


# ---- Slurm, changed


def _changing() -> Iterator[Cell]:
    for tool in WRITES:
        points = {"first change": 1} | ({"last change": MANY[tool]} if tool in MANY else {})
        for point, number in points.items():
            for fault in ("slurmctld away", "slurmctld slow", "permission", "limit", "unknown job", "strange answer"):
                happening = partial(_raise, ERRORS[fault])
                yield Cell(
                    f"{fault}, before it was sent", tool, point, partial(_bad_change, before={number: happening})
                )
            away = partial(_raise, ERRORS["slurmctld away"])
            every = dict.fromkeys(range(number, number + 30), away)
            yield Cell("slurmctld away for good", tool, point, partial(_bad_change, before=every))
            lost = partial(_raise, OutcomeUnknown("the answer was lost"))
            yield Cell("answer lost, not done", tool, point, partial(_bad_change, before={number: lost}))
            yield Cell("answer lost, done", tool, point, partial(_bad_change, after={number: lost}))
            gone = partial(_lost_and_away)
            yield Cell("done, then slurmctld away", tool, point, partial(_bad_change, after={number: gone}))


def _raise(error: SlurmError, cluster: Cluster, operation: Operation) -> None:
    raise error


def _lost_and_away(cluster: Cluster, operation: Operation) -> None:
    cluster.reads = {0: ERRORS["slurmctld away"]}
    cluster.before = {0: partial(_raise, ERRORS["slurmctld away"])}
    raise OutcomeUnknown("the answer was lost")


def _bad_change(bed: Bed, before: Any = None, after: Any = None) -> None:
    bed.cluster.before, bed.cluster.after = before or {}, after or {}
    bed.run()
    bed.check()
    bed.settle()
    bed.check()


# ---- our process and its disk


def _killed() -> Iterator[Cell]:
    for tool in WRITES:
        for step in STEPS:
            for when in ("before", "after"):
                last = MANY.get(tool) if step in ("intend", "settle") else None
                for n in (1, last) if last else (1,):
                    hurt = partial(_kill_at, step=step, when=when, n=n)
                    yield Cell(f"kill -9 {when}", tool, f"{step} {n}", hurt)
        for when in ("before", "after"):
            yield Cell(f"kill -9 {when}", tool, "the change itself", partial(_kill_in_change, when=when))
    for tool in READS:
        for step in ("begin", "open_call", "close_call"):
            yield Cell("kill -9 after", tool, step, partial(_kill_at, step=step, when="after"))


def _kill_at(bed: Bed, step: str, when: str, n: int = 1) -> None:
    assert bed.in_child(Hurt(bed.url, step, when, kill, n)) == signal.SIGKILL
    bed.settle()
    bed.check()
    if bed.tool in WRITES and not (step == "begin" and when == "before"):
        assert bed.cluster.performed, "resume has not finished it"


def _kill_in_change(bed: Bed, when: str) -> None:
    getattr(bed.cluster, when)[1] = lambda cluster, operation: kill()
    assert bed.in_child(Journal(bed.url)) == signal.SIGKILL
    bed.settle()
    bed.check()
    assert bed.cluster.performed


def _disk() -> Iterator[Cell]:
    for tool in WRITES:
        for step in STEPS[:-1]:
            yield Cell("disk full", tool, step, partial(_full_at, step=step))
    for tool in READS:
        yield Cell("disk full", tool, "begin", partial(_full_at, step="begin"))


def _full_at(bed: Bed, step: str) -> None:
    try:
        bed.run(journal=Hurt(bed.url, step, "before", disk_full))
    except JournalError as error:
        assert "full" in error.message
    else:
        raise AssertionError("the journal's failure was passed over")
    if step not in ("settle", "close_call"):
        assert not bed.cluster.performed, "changed without a record"
    bed.settle()
    bed.check()


# ---- people


class Hesitant:
    """Says yes, but first something happens."""

    def __init__(self, happening: Callable[[], object]) -> None:
        self.happening = happening

    def decide(self, preview: Preview) -> Decision:
        self.happening()
        return Decision(True, "alice")


def _approvals() -> Iterator[Cell]:
    for tool in WRITES:
        yield Cell("denied", tool, "approval", _denied)
        yield Cell("left for later", tool, "approval", _later)
        yield Cell("world changed", tool, "approval", _world_changed)
        for fault, jump in (("approval expired", 3600), ("clock back an hour", -3600)):
            yield Cell(fault, tool, "approval", partial(_clock, jump=jump))


def _denied(bed: Bed) -> None:
    _, (done,) = bed.run(DenyAll())
    assert done.result.status == "denied"
    _nothing_done(bed)


def _later(bed: Bed) -> None:
    run, (done,) = bed.run(AskLater())
    assert {item.code for item in done.result.items} == {"awaiting_approval"}
    _nothing_done(bed)
    _, (done,) = resume(bed.executor(AskLater()), run)
    _nothing_done(bed)


def _world_changed(bed: Bed) -> None:
    def happening() -> None:
        bed.cluster.finish("1")
        bed.cluster.jobs["2"] = bed.cluster.jobs.pop("3")
        bed.cluster.cluster_nodes.pop("gpu-node01")
        bed.cluster.cluster_nodes.pop("gpu-node03")

    _, (done,) = bed.run(Hesitant(happening))
    if bed.tool != "submit_job":  # what is submitted does not hang on any of these
        assert done.result.status == "denied", done.result
        _nothing_done(bed)


def _clock(bed: Bed, jump: int) -> None:
    journal = Journal(bed.url)
    real = journal.clock

    def happening() -> None:
        journal.clock = lambda: real() + jump

    _, (done,) = bed.run(Hesitant(happening), journal)
    assert done.result.status == "denied"
    _nothing_done(bed)


def _nothing_done(bed: Bed) -> None:
    assert not bed.cluster.performed
    bed.check()


def _interrupted() -> Iterator[Cell]:
    for tool in WRITES:
        yield Cell("Ctrl-C", tool, "approval", partial(_ctrl_c, point="approval"))
        for n in {1, MANY.get(tool, 1)}:
            for when in ("before", "after"):
                yield Cell("Ctrl-C", tool, f"{when} change {n}", partial(_ctrl_c, point=when, n=n))


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def _ctrl_c(bed: Bed, point: str, n: int = 1) -> None:
    if point != "approval":
        getattr(bed.cluster, point)[n] = _stop
    try:
        bed.run(Hesitant(_stop) if point == "approval" else None)
    except Interrupted as stop:
        assert stop.done[0].result.items
    else:
        raise AssertionError("Ctrl-C was swallowed")
    bed.check()
    bed.settle()
    bed.check()
    assert bed.cluster.performed


def _processes() -> Iterator[Cell]:
    for tool in WRITES:
        yield Cell("two processes", tool, "resume", _two_resume)


def _two_resume(bed: Bed) -> None:
    """Both want to finish the same run; each change happens once."""
    run, _ = bed.run(AskLater())
    pids = []
    for _ in range(2):
        if not (pid := os.fork()):
            try:
                resume(bed.executor(journal=Journal(bed.url)), run)
            except JournalError:
                os._exit(3)
            finally:
                os._exit(0)
        pids.append(pid)
    codes = sorted(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids)
    assert codes[0] == 0
    bed.cluster.recall()
    bed.settle()
    bed.check()
    assert bed.cluster.performed
