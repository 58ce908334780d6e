"""The cells of the fault matrix that a real Slurm takes: daemons frozen and stopped, our process killed, its disk
full, somebody without the right.

python -m evals.faults --real        runs them
"""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from assistant.ledger.approval import AskLater, Decision, DenyAll, Preview
from assistant.ledger.journal import Journal
from assistant.ledger.later import approve, pending
from tests.fault_bed import Hurt, kill
from tests.real_bed import TOOLS, Around, AsDaemon, Lost, RealBed, ask, until
from tools.slurm.cli.backend import CliBackend
from tools.slurm.cli.runner import Runner
from tools.slurm.errors import OutcomeUnknown
from tools.slurm.sandbox import Sandbox


@dataclass(frozen=True)
class RealCell:
    fault: str
    tool: str
    point: str
    hurt: Callable[[RealBed], None]

    def run(self, folder: Path, box: Sandbox) -> None:
        """Raises AssertionError where an invariant is broken; SLURM_CONF names the sandbox."""
        bed = RealBed.make(folder, self.tool, box)
        try:
            self.hurt(bed)
        finally:
            bed.clear()

    def __str__(self) -> str:
        return f"{self.fault}/{self.tool}/{self.point}".replace(" ", "-")


def real_matrix() -> tuple[RealCell, ...]:
    groups = (_killed(), _disk(), _people(), _frozen(), _stopped())
    return tuple(cell for group in groups for cell in group)


# ---- our process and its disk


def _killed() -> Iterator[RealCell]:
    steps = ("begin", "plan_items", "ask", "use", "intend", "settle", "close_call")
    for tool in TOOLS:
        for step in steps if tool == "submit_job" else ("intend", "settle"):
            yield RealCell("kill -9 after", tool, step, partial(_kill_at, step=step))
        for when in ("before", "after"):
            yield RealCell(f"kill -9 {when}", tool, "the change itself", partial(_kill_in_change, when=when))


def _kill_at(bed: RealBed, step: str) -> None:
    assert bed.in_child(lambda: bed.run(journal=Hurt(bed.url, step, "after", kill))) == -signal.SIGKILL
    bed.finished()


def _kill_in_change(bed: RealBed, when: str) -> None:
    assert bed.in_child(lambda: bed.run(backend=Around(when, kill))) == -signal.SIGKILL
    bed.finished()


def _disk() -> Iterator[RealCell]:
    for tool in TOOLS:
        for step in ("plan_items", "intend", "settle") if tool == "submit_job" else ("intend",):
            yield RealCell("disk full", tool, step, partial(_full_at, step=step))


def _full_at(bed: RealBed, step: str) -> None:
    """The limit of file sizes is what the journal's files have by then: the next page that it needs has no room."""

    def fill() -> None:
        path = Path(bed.url.removeprefix("sqlite:///"))
        size = max(f.stat().st_size for f in path.parent.glob(f"{path.name}*") if not f.name.endswith("shm"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    assert bed.in_child(lambda: bed.run(journal=Hurt(bed.url, step, "before", fill))) == 3
    if step != "settle":
        assert not any(bed.changed()), "changed without a record"
    bed.finished()


# ---- people


@dataclass(frozen=True)
class Slow:
    """Says yes, but first something happens."""

    happening: Callable[[], object]

    def decide(self, preview: Preview) -> Decision:
        self.happening()
        return Decision(True, "root")


def _people() -> Iterator[RealCell]:
    for tool in TOOLS:
        yield RealCell("denied", tool, "approval", _denied)
        yield RealCell("clock forward an hour", tool, "approval", _late)
        yield RealCell("two processes", tool, "approve", _two_approve)
        if os.geteuid() == 0 and tool != "submit_job":
            yield RealCell("permission", tool, "the change itself", _permission)
        yield RealCell("answer lost", tool, "the change itself", _answer_lost)
    for fault, backend in (("limit", CliBackend), ("limit, answer lost", Lost)):
        yield RealCell(fault, "submit_job", "the change itself", partial(_limit, backend=backend))


def _denied(bed: RealBed) -> None:
    bed.run(approver=DenyAll())
    bed.check()
    assert not any(bed.changed())


def _late(bed: RealBed) -> None:
    journal = Journal(bed.url)

    def happening() -> None:
        journal.clock = lambda: time.time() + 3600

    bed.run(approver=Slow(happening), journal=journal)
    bed.check()
    assert not any(bed.changed())


def _two_approve(bed: RealBed) -> None:
    """Left for later, then approved from two terminals at once: it happens once. Where the cluster has changed in
    between (a node that missed a ping), nothing happens and the question is asked anew."""
    bed.run(approver=AskLater())
    for _ in range(5):
        assert not any(bed.changed())
        (waiting,) = pending(Journal(bed.url))
        pids = [_approving(bed, waiting["id"]) for _ in range(2)]
        for pid in pids:
            os.waitpid(pid, 0)
        if not pending(Journal(bed.url)):
            break
    bed.check()
    assert all(bed.changed())


def _approving(bed: RealBed, approval: str) -> int:
    """The id of a process that says yes; one of several at once is told that another was faster."""
    if not (pid := os.fork()):
        try:
            approve(bed.executor(), approval)
        finally:
            os._exit(0)
    return pid


def _permission(bed: RealBed) -> None:
    """Taken for an administrator by mistake, Slurm still refuses, and that is the outcome."""
    _, (done,) = bed.run(backend=CliBackend(AsDaemon()))
    assert {item.outcome.value for item in done.result.items} == {"failed"}, done.result
    assert not any(item.transient for item in done.result.items)
    bed.check()
    assert not any(bed.changed())


def _answer_lost(bed: RealBed) -> None:
    """It is looked up, found done, and so not done again."""
    _, (done,) = bed.run(backend=Lost())
    assert done.result.status == "ok", done.result
    bed.check()
    bed.finished()


def _limit(bed: RealBed, backend: type[CliBackend]) -> None:
    call = replace(bed.call, arguments={**bed.call.arguments, "mem": "900000G"})
    _, (done,) = bed.executor(backend=backend()).run("words", (call,))
    assert {item.outcome.value for item in done.result.items} == {"failed"}, done.result
    bed.check()
    assert not bed.submitted()


# ---- Slurm's daemons


def _frozen() -> Iterator[RealCell]:
    for tool in TOOLS:
        yield RealCell("slurmctld frozen", tool, "the change itself", _freeze)
    for tool in ("submit_job", "cancel_jobs", "drain_node"):
        yield RealCell("slurmctld frozen, done before", tool, "the change itself", _freeze_after)


@contextmanager
def frozen(bed: RealBed) -> Iterator[Callable[[], None]]:
    """A daemon that takes connections and says nothing; what it was sent it may do when it goes on."""
    pid = bed.box.status().daemons["slurmctld"]
    try:
        yield lambda: os.kill(pid, signal.SIGSTOP)
    finally:
        os.kill(pid, signal.SIGCONT)


def _freeze(bed: RealBed) -> None:
    with frozen(bed) as freeze:
        _, (done,) = bed.run(backend=Around("before", freeze, Runner(read_seconds=1, write_seconds=1)))
        assert done.result.items[0].outcome.value in ("unknown", "failed"), done.result
    until(lambda: bool(ask("scontrol", "ping")), "slurmctld does not come back")
    if bed.tool == "submit_job":
        until(lambda: bool(bed.submitted()), "what was sent to a frozen slurmctld is lost")
    bed.finished()


def _freeze_after(bed: RealBed) -> None:
    """Done, but neither the answer nor a look at the queue comes through; later it does."""
    with frozen(bed) as freeze:

        def happening() -> None:
            freeze()
            raise OutcomeUnknown("the answer was lost")

        _, (done,) = bed.run(backend=Around("after", happening, Runner(read_seconds=1, write_seconds=1)))
        assert done.result.items[0].outcome.value == "unknown", done.result
    until(lambda: bool(ask("scontrol", "ping")), "slurmctld does not come back")
    bed.finished()


def _stopped() -> Iterator[RealCell]:
    for tool in ("submit_job", "drain_node"):
        yield RealCell("slurmctld away, done before", tool, "the change itself", _stop_after)
    yield RealCell("slurmctld away", "submit_job", "the change itself", _stop_before)
    for tool in ("submit_job", "cancel_jobs"):
        yield RealCell("slurmdbd away", tool, "the change itself", _no_accounting)


def _stop_after(bed: RealBed) -> None:
    def happening() -> None:
        bed.box.stop_controller()
        raise OutcomeUnknown("the answer was lost")

    try:
        bed.run(backend=Around("after", happening, Runner(read_seconds=1, write_seconds=5)))
    finally:
        bed.box.start_controller()
    bed.finished()


def _stop_before(bed: RealBed) -> None:
    try:
        bed.run(backend=Around("before", bed.box.stop_controller, Runner(read_seconds=1, write_seconds=15)))
    finally:
        bed.box.start_controller()
    bed.check()
    bed.finished()


def _no_accounting(bed: RealBed) -> None:
    pid = bed.box.status().daemons["slurmdbd"]
    os.kill(pid, signal.SIGSTOP)
    try:
        bed.run(backend=CliBackend(Runner(read_seconds=2, write_seconds=15)))
    finally:
        os.kill(pid, signal.SIGCONT)
    bed.finished()
