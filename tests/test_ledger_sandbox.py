"""The ledger in front of a real Slurm, with faults that are made for real: commands that die, a controller that is
away, a process that is killed, a user without the right."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from assistant.ledger.approval import AutoApprove
from assistant.ledger.carry import Ledger
from assistant.ledger.execute import LedgerExecutor
from assistant.ledger.journal import Journal
from assistant.ledger.reading import show
from assistant.ledger.resume import resume, undo
from assistant.ledger.retry import Retry
from tools.base import Call, Caller, Item, ToolContext
from tools.slurm.cli.backend import CliBackend
from tools.slurm.models import JobQuery
from tools.slurm.sandbox import Sandbox

QUICK = Retry(first_wait=0.05, longest_wait=0.2, attempts=3, settle=0)
NOBODY = 65534


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'state' / 'journal.db'}"


@pytest.fixture
def wrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Put a script of ours in front of one of Slurm's commands; ``$real`` is the real one."""
    folder = tmp_path / "bin"
    folder.mkdir()
    search = os.environ["PATH"]

    def put(command: str, body: str) -> None:
        script = folder / command
        script.write_text(f"#!/bin/sh\nreal={shutil.which(command, path=search)}\n{body}\n")
        script.chmod(script.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
        monkeypatch.setenv("PATH", f"{folder}:{search}")

    return put


def executor(url: str, user: str = "root", level: Any = "administrator", **more: Any) -> LedgerExecutor:
    backend = CliBackend()

    def context() -> ToolContext:
        return ToolContext(backend, Caller(user, level), datetime.now())

    ledger = Ledger(context, Journal(url), AutoApprove(user), retry=QUICK, **more)
    return LedgerExecutor(ledger)


def submit(name: str, **fields: Any) -> Call:
    arguments = {"command": "sleep 60", "job_name": name, "time_limit": "00:05:00", "nodes": 1, **fields}
    return Call("submit_job", arguments)


def jobs(name: str) -> list[Any]:
    return CliBackend().queue(JobQuery(name=name, states=("all",)))


def outcomes(done: Any) -> list[str]:
    return [item.outcome.value for item in done.result.items]


def test_submit_and_then_with_the_key_in_the_comment(clean_sandbox: Sandbox, url: str) -> None:
    run, done = executor(url).run("two", (submit("first"), submit("then", dependency="afterok:$1")))
    assert [d.result.status for d in done] == ["ok", "ok"]
    first, then = jobs("first"), jobs("then")
    assert [job.id for job in first] == [done[0].result.items[0].id]
    assert first[0].comment == f"sask:{run}.1.1"
    assert f"afterok:{first[0].id}" in then[0].dependency
    assert done[0].commands == done[0].result.commands
    _, (cancelled,) = undo(executor(url), run)
    assert outcomes(cancelled) == ["ok", "ok"]
    assert {job.state for job in jobs("first") + jobs("then")} <= {"CANCELLED", "COMPLETING"}


def test_forty_cancels_of_which_three_fail(clean_sandbox: Sandbox, url: str) -> None:
    begin = {"begin": "now+1hour"}
    _, done = executor(url).run("forty", tuple(submit(f"forty{n}", **begin) for n in range(40)))
    ids = [d.result.items[0].id for d in done]
    others = [ids[6], ids[18], ids[32]]

    def meanwhile(call: Call, item: Item, number: int, total: int) -> None:
        if number == 1:
            subprocess.run(["scancel", *others], check=True)

    run, (cancelled,) = executor(url, progress=meanwhile).run("cancel", (Call("cancel_jobs", {"job_ids": ids}),))
    assert [item.id for item in cancelled.result.items] == ids
    failed = [item for item in cancelled.result.items if item.outcome.value == "failed"]
    assert [item.id for item in failed] == others
    assert all(item.code and item.message and not item.transient for item in failed)
    assert cancelled.result.status == "partial"
    assert {job.state for job in CliBackend().queue(JobQuery(ids=tuple(ids)))} == {"CANCELLED"}
    assert show(Journal(url), run)["left"] == 0


def test_sbatch_dies_after_slurm_took_the_job(
    clean_sandbox: Sandbox, url: str, wrap: Callable[[str, str], None]
) -> None:
    wrap("sbatch", '"$real" "$@" >/dev/null; kill -9 $$')
    _, (done,) = executor(url).run("lost", (submit("lost-after"),))
    assert done.result.status == "ok"
    assert [job.id for job in jobs("lost-after")] == [done.result.items[0].id]


def test_sbatch_dies_before_slurm_took_the_job(
    clean_sandbox: Sandbox, url: str, wrap: Callable[[str, str], None]
) -> None:
    wrap("sbatch", "kill -9 $$")
    run, (done,) = executor(url).run("lost", (submit("lost-before"),))
    assert done.result.status == "unknown"
    assert jobs("lost-before") == []
    wrap("sbatch", 'exec "$real" "$@"')
    _, (done,) = resume(executor(url), run)
    assert done.result.status == "ok"
    assert [job.id for job in jobs("lost-before")] == [done.result.items[0].id]


def test_scancel_dies_after_it_did_its_work(clean_sandbox: Sandbox, url: str, wrap: Callable[[str, str], None]) -> None:
    _, (one,) = executor(url).run("one", (submit("dead-scancel"),))
    wrap("scancel", '"$real" "$@" 2>/dev/null; kill -9 $$')
    _, (done,) = executor(url).run("cancel", (Call("cancel_jobs", {"job_ids": [one.result.items[0].id]}),))
    assert done.result.status == "ok"
    assert "Slurm shows" in done.result.items[0].message


def test_the_controller_is_away_and_comes_back(clean_sandbox: Sandbox, url: str) -> None:
    clean_sandbox.stop_controller()
    try:
        run, done = executor(url).run("away", (submit("away"), submit("away-too")))
        assert [outcomes(d) for d in done] == [["failed"], ["skipped"]]
        assert done[0].result.items[0].transient
    finally:
        clean_sandbox.start_controller()
    _, done = resume(executor(url), run)
    assert [d.result.status for d in done] == ["ok", "ok"]
    assert len(jobs("away")) == len(jobs("away-too")) == 1


class Dies(CliBackend):
    """kill -9 of this process, right before or right after the n-th change."""

    def __init__(self, n: int, after: bool) -> None:
        super().__init__()
        self.left, self.after = n, after

    def perform(self, operation: Any) -> Any:
        self.left -= 1
        if not self.left and not self.after:
            os.kill(os.getpid(), signal.SIGKILL)
        receipt = super().perform(operation)
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)
        return receipt


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("n", [1, 2])
def test_kill_around_sbatch_then_resume(clean_sandbox: Sandbox, url: str, n: int, after: bool) -> None:
    names = [f"killed-{n}-{after}-{k}" for k in (1, 2)]
    if not (pid := os.fork()):
        try:
            doomed = Dies(n, after)
            ledger = Ledger(
                lambda: ToolContext(doomed, Caller("root", "administrator"), datetime.now()),
                Journal(url),
                AutoApprove("root"),
                retry=QUICK,
            )
            LedgerExecutor(ledger).run("two", tuple(map(submit, names)))
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    run, done = resume(executor(url), "last")
    assert [d.result.status for d in done] == ["ok", "ok"]
    assert [[job.id for job in jobs(name)] for name in names] == [[d.result.items[0].id] for d in done]
    assert show(Journal(url), run)["left"] == 0


@pytest.fixture
def open_to_all(clean_sandbox: Sandbox, tmp_path: Path) -> Iterator[Path]:
    """A folder of nobody's own, and a sandbox that nobody can reach: pytest's folders are for their owner only."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, NOBODY, NOBODY)
    folders = {*clean_sandbox.conf.parents, *theirs.parents}
    closed = {folder: folder.stat().st_mode for folder in folders if not folder.stat().st_mode & stat.S_IXOTH}
    for folder, mode in closed.items():
        folder.chmod(mode | stat.S_IXOTH)
    yield theirs
    for folder, mode in closed.items():
        folder.chmod(mode)


def test_nobody_acts_with_more_rights_than_slurm_gives(open_to_all: Path, url: str) -> None:
    """A caller who is taken for an operator by mistake is still refused by Slurm, and that is the outcome."""
    _, (other, one) = executor(url).run("two", (submit("another"), submit("roots-own")))
    executor(url).run("all code is loaded", (Call("cancel_jobs", {"job_ids": [other.result.items[0].id]}),))
    theirs, job = open_to_all, one.result.items[0].id
    if not (pid := os.fork()):
        try:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            wrong = executor(f"sqlite:///{theirs / 'journal.db'}", user="nobody")
            _, (done,) = wrong.run("cancel", (Call("cancel_jobs", {"job_ids": [job]}),))
            (theirs / "said").write_text(f"{outcomes(done)} {done.result.items[0].message}")
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert (theirs / "said").read_text().startswith("['failed'] ")
    assert "denied" in (theirs / "said").read_text()
    assert jobs("roots-own")[0].state in ("PENDING", "RUNNING")
