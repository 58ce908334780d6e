"""One call on a real Slurm that is about to be hurt. What must hold afterwards is read from squeue, sinfo and sacct."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from assistant.errors import JournalError
from assistant.ledger.approval import Approver, AutoApprove
from assistant.ledger.carry import Ledger
from assistant.ledger.execute import LedgerExecutor
from assistant.ledger.journal import Journal
from assistant.ledger.reading import list_runs, show
from assistant.ledger.resume import resume
from assistant.ledger.retry import Retry
from tests.fault_bed import OUTCOMES
from tools.base import Call, Caller, ToolContext
from tools.slurm.backend import Operation, Receipt
from tools.slurm.cli.backend import CliBackend
from tools.slurm.cli.runner import Answer, Runner
from tools.slurm.errors import OutcomeUnknown, SlurmError
from tools.slurm.sandbox import NODE_NAMES, Sandbox

TOOLS = ("submit_job", "cancel_jobs", "control_jobs", "resize_job", "update_job", "drain_node", "resume_node")
OF_NODES = ("drain_node", "resume_node")
NODE = NODE_NAMES[-1]
PATIENCE = 30.0
"""Seconds for Slurm to show what it was sent."""


def ask(*command: str) -> list[str]:
    """The lines that one of Slurm's commands prints."""
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def until(true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.05)


class AsDaemon(Runner):
    """Another user of the machine; only root can become one."""

    def _run(self, command: Sequence[str], stdin: str, environment: dict[str, str], limit: float) -> Answer:
        become = ["setpriv", "--reuid=daemon", "--regid=daemon", "--clear-groups"]
        return super()._run([*become, *command], stdin, environment, limit)


class Around(CliBackend):
    """Something happens right before or right after the first change."""

    def __init__(self, when: str, happening: Callable[[], object], runner: Runner | None = None) -> None:
        super().__init__(runner)
        self.when, self.happening, self.changes = when, happening, 0

    def perform(self, operation: Operation) -> Receipt:
        self.changes += 1
        if self.changes == 1 and self.when == "before":
            self.happening()
        receipt = super().perform(operation)
        if self.changes == 1 and self.when == "after":
            self.happening()
        return receipt


class Lost(CliBackend):
    """Whatever Slurm answers to a change, nobody hears it."""

    def perform(self, operation: Operation) -> Receipt:
        try:
            super().perform(operation)
        except SlurmError as error:
            raise OutcomeUnknown("the answer was lost") from error
        raise OutcomeUnknown("the answer was lost")


@dataclass
class RealBed:
    """One call on the real cluster, with two waiting jobs, a node and a journal of its own."""

    tool: str
    box: Sandbox
    url: str
    name: str
    jobs: tuple[str, ...] = ()

    @classmethod
    def make(cls, folder: Path, tool: str, box: Sandbox) -> RealBed:
        bed = cls(tool, box, f"sqlite:///{folder / 'journal.db'}", f"fault{time.monotonic_ns()}")
        if tool not in ("submit_job", *OF_NODES):
            bed.jobs = tuple(bed._waiting() for _ in range(2))
        if tool in OF_NODES:
            bed.node("resume" if tool == "drain_node" else "drain")
        return bed

    def _waiting(self) -> str:
        words = ["--begin=now+1day", "--time=1:00:00", "--output=/dev/null", "--chdir=/", f"--job-name={self.name}"]
        return ask("sbatch", "--parsable", *words, "--wrap=true")[0].split(";")[0]

    def node(self, state: str) -> None:
        reason = ["reason=fault"] if state == "drain" else []
        if (state == "drain") != self._drained():
            ask("scontrol", "update", f"nodename={NODE}", f"state={state}", *reason)

    def clear(self) -> None:
        """Slurm as it was before: no job of this bed, the node back."""
        ask("scancel", f"--name={self.name}", f"--name={self.name}-new")
        ask("scancel", f"--name={self.name}-new")
        self.node("resume")

    @property
    def call(self) -> Call:
        first = self.jobs[:1] or ("",)
        arguments: dict[str, dict[str, Any]] = {
            "submit_job": {"command": "true", "job_name": self.name, "begin": "now+1day", "time_limit": "01:00:00",
                           "working_directory": "/"},
            "cancel_jobs": {"job_ids": list(self.jobs)},
            "control_jobs": {"action": "hold", "job_ids": list(self.jobs)},
            "resize_job": {"job_id": first[0], "time_limit": "02:00:00"},
            "update_job": {"job_id": first[0], "job_name": f"{self.name}-new"},
            "drain_node": {"nodes": NODE, "reason": "fault"},
            "resume_node": {"nodes": NODE},
        }  # fmt: skip
        return Call(self.tool, arguments[self.tool])

    def executor(
        self, approver: Approver | None = None, journal: Journal | None = None, backend: CliBackend | None = None
    ) -> LedgerExecutor:
        cluster = backend or CliBackend()

        def context() -> ToolContext:
            return ToolContext(cluster, Caller("root", "administrator"), datetime.now())

        quick = Retry(first_wait=0, attempts=1)  # settle stays: a command that died may still reach Slurm
        return LedgerExecutor(
            Ledger(context, journal or Journal(self.url), approver or AutoApprove("root"), retry=quick)
        )

    def run(self, **how: Any) -> Any:
        return self.executor(**how).run("words", (self.call,))

    def in_child(self, work: Callable[[], object]) -> int:
        """Its exit code, or minus the signal that ended it."""
        if not (pid := os.fork()):
            code = 1
            try:
                work()
                code = 0
            except JournalError:
                code = 3
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def settle(self) -> None:
        """All faults have ended: every run is resumed, long after it was left."""
        for run in list_runs(Journal(self.url)):
            resume(self.executor(journal=Journal(self.url, lambda: time.time() + 600)), run["run"])

    # ---- what Slurm says

    def submitted(self) -> list[str]:
        rows = ask("squeue", "--noheader", "--states=all", f"--name={self.name}", "--format=%i %T %r")
        return [row.split()[0] for row in rows if not row.endswith("FAILED BadConstraints")]  # it keeps what it refused

    def recorded(self) -> list[str]:
        """The same from accounting, which may lag, but never has what the queue never had."""
        rows = ask("sacct", "--noheader", "--allocations", "--parsable2", f"--name={self.name}", "--format=JobIDRaw")
        return sorted(set(rows))

    def changed(self) -> list[bool]:
        """For each item in order, whether Slurm shows it done."""
        match self.tool:
            case "submit_job":
                return [bool(self.submitted())]
            case "drain_node":
                return [self._drained()]
            case "resume_node":
                return [not self._drained()]
        wanted = {
            "cancel_jobs": ("%T", "CANCELLED"),
            "control_jobs": ("%r", "JobHeld"),
            "resize_job": ("%l", "2:00:00"),
            "update_job": ("%j", f"{self.name}-new"),
        }
        fmt, sign = wanted[self.tool]
        ids = [item["id"] for item in self.items()] or list(self.jobs[:1])
        rows = [ask("squeue", "--noheader", "--states=all", f"--jobs={job}", f"--format={fmt}")[0] for job in ids]
        return [row.startswith(sign) for row in rows]

    def _drained(self) -> bool:
        return "drain" in ask("sinfo", "--noheader", f"--nodes={NODE}", "--format=%T")[0].lower()

    def items(self) -> list[dict[str, Any]]:
        journal = Journal(self.url)
        return [
            item for run in list_runs(journal) for call in show(journal, run["run"])["calls"] for item in call["items"]
        ]

    def check(self) -> None:
        """No job twice, no item without an outcome, no change without its approval; and the account is true."""
        if self.tool == "submit_job":
            assert len(self.submitted()) <= 1, f"twice in the queue: {self.submitted()}"
            assert len(self.recorded()) <= 1, f"twice in accounting: {self.recorded()}"
        journal = Journal(self.url)
        runs = [show(journal, run["run"]) for run in list_runs(journal)]
        changed = self.changed()
        if any(changed):
            assert any(a["state"] == "used" for run in runs for a in run["approvals"]), "changed without an approval"
        for run in runs:
            for call in run["calls"]:
                assert call["state"] == "done", call
        for item, done in zip(self.items(), changed, strict=False):
            assert item["outcome"] in OUTCOMES, item
            assert item["outcome"] == "unknown" or done == (item["outcome"] == "ok"), (item, done)

    def finished(self) -> None:
        self.settle()
        self.check()
        assert all(self.changed()), "resume has not finished it"
