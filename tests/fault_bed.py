"""A cluster and a ledger that can be hurt at an exact point, and the three invariants that must hold afterwards.

The cluster keeps itself in a file, so that it outlives a process that is killed, and refuses to be changed without
a spent approval in the journal.
"""

from __future__ import annotations

import os
import pickle
import signal
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cache
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
from tests.fake_slurm import FakeSlurm
from tools import BY_NAME
from tools.base import Call, Caller, Effect, Tool, ToolContext
from tools.slurm.backend import Operation, Receipt

ARGUMENTS: dict[str, dict[str, Any]] = {
    "submit_job": {"command": "python train.py", "job_name": "train", "time_limit": "01:00:00"},
    "list_jobs": {"user": "me"},
    "show_job": {"job_id": "1"},
    "read_job_log": {"job_id": "4"},
    "cancel_jobs": {"job_ids": ["1", "2", "3"]},
    "control_jobs": {"action": "hold", "job_ids": ["1", "2"]},
    "resize_job": {"job_id": "1", "time_limit": "03:00:00"},
    "update_job": {"job_id": "1", "qos": "ai-train"},
    "diagnose_job": {"job_id": "1"},
    "estimate_start": {"job_id": "1"},
    "cluster_status": {},
    "show_node": {"node": "gpu-node01"},
    "diagnose_node": {"node": "gpu-node01"},
    "drain_node": {"nodes": "gpu-node[01-02]", "reason": "Xid 79"},
    "resume_node": {"nodes": "gpu-node[03-04]"},
    "usage_report": {"group_by": "user", "start": "2026-11-01T00:00:00", "end": "2026-11-21T00:00:00"},
    "show_limits": {"user": "me"},
}
"""One ordinary call of each tool, in the world that ``Bed.make`` sets up."""
READS = tuple(name for name, tool in BY_NAME.items() if tool.effect is Effect.READ)
WRITES = tuple(name for name in BY_NAME if name not in READS)
OUTCOMES = {"ok", "failed", "unknown", "skipped", "denied"}
Happening = Callable[["Cluster", Operation], None]


@dataclass
class Cluster(FakeSlurm):
    """``before`` and ``after`` happen at the n-th change; ``reads`` at the n-th question (0: at every one)."""

    file: Path = Path()
    journal_url: str = ""
    before: dict[int, Happening] = field(default_factory=dict)
    after: dict[int, Happening] = field(default_factory=dict)
    reads: dict[int, Exception] = field(default_factory=dict)
    asked: int = 0
    tried: int = 0
    unapproved: list[Operation] = field(default_factory=list)

    def _asked(self, method: str, command: str = "") -> Any:
        if method != "perform":
            self.asked += 1
            if error := self.reads.get(self.asked) or self.reads.get(0):
                raise error
        return super()._asked(method, command)

    def perform(self, operation: Operation) -> Receipt:
        self.tried += 1
        number = self.tried
        if happening := self.before.get(number) or self.before.get(0):
            happening(self, operation)
        if not self._approved():
            self.unapproved.append(operation)
        receipt = super().perform(operation)
        self.keep()
        if happening := self.after.get(number):
            happening(self, operation)
        return receipt

    def _approved(self) -> bool:
        """Whether the run has an approval that is spent: asked of the journal as any other process would."""
        path = self.journal_url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path, timeout=15)) as db:
            return bool(db.execute("SELECT count(*) FROM approvals WHERE state = 'used'").fetchone()[0])

    def keep(self) -> None:
        self.file.write_bytes(
            pickle.dumps((self.jobs, self.cluster_nodes, self.performed, self.next_id, self.unapproved))
        )

    def recall(self) -> None:
        self.jobs, self.cluster_nodes, self.performed, self.next_id, self.unapproved = pickle.loads(
            self.file.read_bytes()
        )

    def heal(self) -> None:
        self.before, self.after, self.reads, self.faults = {}, {}, {}, []


@cache
def _empty_journal() -> bytes:
    """A journal that was migrated and closed, so that a thousand cells need not migrate their own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        journal = Journal(f"sqlite:///{path}")
        list_runs(journal)
        journal.close()
        return path.read_bytes()


@dataclass
class Bed:
    """One call on one cluster with one journal."""

    tool: str
    cluster: Cluster
    url: str
    journal: Journal

    @classmethod
    def make(cls, folder: Path, tool: str) -> Bed:
        """Four jobs of alice's (three waiting, the fourth failed), one of bob's, two drained nodes."""
        url = f"sqlite:///{folder / 'journal.db'}"
        (folder / "journal.db").write_bytes(_empty_journal())
        cluster = Cluster(level="administrator", file=folder / "cluster", journal_url=url)
        for _ in range(4):
            cluster.submit_as("alice", command="sleep 60", begin="now+1hour", time_limit="2:00:00")
        cluster.submit_as("bob", command="sleep 60", begin="now+1hour")
        cluster.finish("4", "FAILED", "3:0")
        for node in ("gpu-node03", "gpu-node04"):
            cluster._update_node(Operation("update_node", node, {"state": "drain", "reason": "tests"}))
        log = folder / "slurm-4.out"
        log.write_text("Traceback (most recent call last):\nValueError: nan\n")
        cluster.jobs["4"] = replace(cluster.jobs["4"], stdout=str(log), stderr=str(log))
        cluster.keep()
        return cls(tool, cluster, url, Journal(url))

    @property
    def call(self) -> Call:
        return Call(self.tool, ARGUMENTS[self.tool])

    def executor(self, approver: Approver | None = None, journal: Journal | None = None) -> LedgerExecutor:
        def context() -> ToolContext:
            return ToolContext(self.cluster, Caller("alice", "administrator"), self.cluster.now)

        quick = Retry(first_wait=0, settle=0)
        ledger = Ledger(context, journal or self.journal, approver or AutoApprove("alice"), retry=quick)
        return LedgerExecutor(ledger, dict[str, Tool](BY_NAME))

    def run(self, approver: Approver | None = None, journal: Journal | None = None) -> Any:
        return self.executor(approver, journal).run("words", (self.call,))

    def in_child(self, journal: Journal) -> int:
        """Run it in a process of its own; how that ended, and the cluster as it was left."""
        if not (pid := os.fork()):
            try:
                self.run(journal=journal)
            finally:
                os._exit(0)
        status = os.waitpid(pid, 0)[1]
        self.cluster.recall()
        self.cluster.tried = 0
        return status

    def settle(self) -> None:
        """All faults end, and every run is resumed."""
        self.cluster.heal()
        for run in list_runs(self.journal):
            resume(self.executor(), run["run"])

    def check(self) -> None:
        """No job twice, no item without an outcome, no change without its approval; and the account is true."""
        done = [(o.verb, o.target or o.fields.get("comment")) for o in self.cluster.performed]
        assert len(done) == len(set(done)), f"twice: {done}"
        keys = [job.comment for job in self.cluster.jobs.values() if "sask:" in job.comment]
        assert len(keys) <= 1, f"two jobs of one request: {keys}"
        assert not self.cluster.unapproved, f"not approved: {self.cluster.unapproved}"
        assert self.cluster.jobs["5"].state == "PENDING", "bob's job was touched"
        for run in list_runs(self.journal):
            for call in show(self.journal, run["run"])["calls"]:
                assert call["state"] == "done", call
                for item in call["items"]:
                    assert item["outcome"] in OUTCOMES, item
                    self._check_true(item, {what for _, what in done})

    def _check_true(self, item: dict[str, Any], done: set[Any]) -> None:
        if not item["verb"]:
            return
        happened = (item["target"] or item["key"]) in done
        assert item["outcome"] == "unknown" or happened == (item["outcome"] == "ok"), (item, done)


class Hurt(Journal):
    """``happening`` at the n-th time that ``step`` is taken, before it or right after it."""

    def __init__(self, url: str, step: str, when: str, happening: Callable[[], None], n: int = 1) -> None:
        super().__init__(url)
        plain = getattr(self, step)
        times = 0

        def hurt(*args: Any, **named: Any) -> Any:
            nonlocal times
            times += 1
            if times == n and when == "before":
                happening()
            answer = plain(*args, **named)
            if times == n and when == "after":
                happening()
            return answer

        setattr(self, step, hurt)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def disk_full() -> None:
    raise JournalError("database or disk is full")
