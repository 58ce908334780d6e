"""The journal: approvals once and in time, kill -9 at every step, two processes, a full disk, migrations."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text

from assistant.errors import AssistantError, JournalError
from assistant.ledger import process, schema, store
from assistant.ledger.approval import AskLater, AutoApprove
from assistant.ledger.carry import Ledger
from assistant.ledger.execute import LedgerExecutor
from assistant.ledger.journal import Journal
from assistant.ledger.policy import Policy
from assistant.ledger.reading import export, list_runs, show
from assistant.ledger.resume import resume
from assistant.ledger.retry import Retry
from tests.ledger_double import TOOLS, FileCluster, context, die
from tools.base import Call, Caller

SUBMIT = Call("submit_job", {"command": "train.py"})
ANN = Caller("ann")


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'state' / 'journal.db'}"


@pytest.fixture
def cluster(tmp_path: Path) -> FileCluster:
    return FileCluster(tmp_path / "cluster.json", accounting=True)


def executor(cluster: FileCluster, journal: Journal, approver: Any = None, **policy: Any) -> LedgerExecutor:
    quick = Retry(first_wait=0, settle=0)
    chosen = approver or AutoApprove("ann")
    return LedgerExecutor(Ledger(context(cluster), journal, chosen, Policy(**policy), quick), TOOLS)


# ---- approvals


def asked(journal: Journal) -> str:
    run, seq = journal.begin("x", ANN, "c", (SUBMIT,))
    return journal.ask(run, seq, "digest", {"tool": "submit_job"}, minutes=30)


def test_an_approval_is_used_once_and_only_for_its_digest(url: str) -> None:
    journal = Journal(url)
    approval = asked(journal)
    assert not journal.use(approval, "digest")
    assert journal.decide(approval, True, "bob", "looks fine")
    assert not journal.decide(approval, False, "eve")
    assert not journal.use(approval, "another digest")
    assert journal.use(approval, "digest")
    assert not journal.use(approval, "digest")


@pytest.mark.parametrize("jump", [31 * 60, -3600])
def test_an_approval_that_is_not_of_this_half_hour_is_no_good(url: str, clock: Clock, jump: int) -> None:
    journal = Journal(url, clock)
    pending, approved = asked(journal), asked(journal)
    journal.decide(approved, True, "bob")
    clock.now += jump
    assert not journal.decide(pending, True, "bob")
    assert not journal.use(approved, "digest")


def test_an_approval_given_later_from_another_door_lets_resume_go_on(url: str, cluster: FileCluster) -> None:
    run, (done,) = executor(cluster, Journal(url), AskLater()).run("submit", (SUBMIT,))
    assert done.result.items[0].code == "awaiting_approval"
    other_door = Journal(url)
    (pending,) = show(other_door, run)["approvals"]
    assert pending["state"] == "pending"
    assert other_door.decide(pending["id"], True, "bob", "in the channel")
    _, (done,) = resume(executor(cluster, Journal(url), AskLater()), run)
    assert done.result.status == "ok"
    (used,) = show(other_door, run)["approvals"]
    assert (used["state"], used["approver"]) == ("used", "bob")


def test_an_approval_given_later_is_void_when_the_world_changed(url: str, cluster: FileCluster) -> None:
    cluster.add(2)
    pending = Call("cancel_jobs", {"states": ["PENDING"]})
    run, _ = executor(cluster, Journal(url), AskLater()).run("cancel", (pending,))
    journal = Journal(url)
    journal.decide(show(journal, run)["approvals"][0]["id"], True, "bob")
    cluster.add(1)
    _, (done,) = resume(executor(cluster, Journal(url), AskLater()), run)
    assert {item.code for item in done.result.items} == {"awaiting_approval"}
    assert cluster.performed == 0


# ---- kill -9


def in_child(work: Callable[[], object]) -> int:
    """Run ``work`` in a forked process; its wait status (0: it came to its end)."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            work()
            code = 0
        except AssistantError:
            code = 3
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1]


class Mortal(Journal):
    """Dies by kill -9 at its n-th transaction: before it is committed, or right after."""

    def __init__(self, url: str, n: int, after: bool) -> None:
        super().__init__(url)
        self.left = n
        plain = self.store.transaction

        @contextmanager
        def transaction() -> Iterator[Any]:
            self.left -= 1
            with plain() as db:
                yield db
                if not self.left and not after:
                    os.kill(os.getpid(), signal.SIGKILL)
            if not self.left:
                os.kill(os.getpid(), signal.SIGKILL)

        self.store.transaction = transaction  # type: ignore[method-assign]


SUBMITS = (SUBMIT, Call("submit_job", {"command": "b", "job_name": "b", "dependency": "afterok:$1"}))


def assert_true_account(journal: Journal, cluster: FileCluster, run: str, jobs: int) -> None:
    keys = [job.comment for job in cluster.jobs() if "sask:" in job.comment]
    assert len(keys) == len(set(keys)) == jobs
    whole = show(journal, run)
    items = [item for call in whole["calls"] for item in call["items"]]
    assert {item["outcome"] for item in items} == {"ok"}
    assert (whole["status"], whole["left"]) == ("ok", 0)
    changed = {a["call"] for a in whole["approvals"] if a["state"] == "used"}
    assert changed == {1, 2}


@pytest.mark.parametrize("after", [False, True], ids=["before-commit", "after-commit"])
@pytest.mark.parametrize("n", range(1, 24))
def test_kill_at_each_journal_step_then_resume(url: str, cluster: FileCluster, n: int, after: bool) -> None:
    status = in_child(lambda: executor(cluster, Mortal(url, n, after)).run("two", SUBMITS))
    journal = Journal(url)
    runs = list_runs(journal)
    if not runs:
        assert (status, n, after) == (signal.SIGKILL, 1, False)
        assert cluster.jobs() == []
        return
    (run,) = [row["run"] for row in runs]
    resume(executor(cluster, journal), run)
    assert_true_account(journal, cluster, run, jobs=2)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("n", [1, 2])
def test_kill_around_each_submission_then_resume(url: str, cluster: FileCluster, n: int, when: str) -> None:
    getattr(cluster, when)[n] = die
    assert in_child(lambda: executor(cluster, Journal(url)).run("two", SUBMITS)) == signal.SIGKILL
    getattr(cluster, when).clear()
    journal = Journal(url)
    run = list_runs(journal)[0]["run"]
    resume(executor(cluster, journal), run)
    assert_true_account(journal, cluster, run, jobs=2)


def test_kill_while_forty_are_cancelled(url: str, cluster: FileCluster) -> None:
    ids = cluster.add(40)
    cluster.after[23] = die
    cancel = (Call("cancel_jobs", {"states": ["PENDING"]}),)
    assert in_child(lambda: executor(cluster, Journal(url)).run("cancel", cancel)) == signal.SIGKILL
    (newer,) = cluster.add(1)
    cluster.after.clear()
    journal = Journal(url)
    _, (done,) = resume(executor(cluster, journal), "last")
    assert [item.id for item in done.result.items] == ids
    assert {item.outcome.value for item in done.result.items} == {"ok"}
    states = {job.id: job.state for job in cluster.jobs()}
    assert states.pop(newer) == "PENDING", "a job that came since is not part of the run"
    assert set(states.values()) == {"CANCELLED"}
    assert cluster.performed <= 18


# ---- processes


def test_a_run_in_living_hands_is_not_resumed(url: str, cluster: FileCluster) -> None:
    mine = Journal(url)
    run, _ = mine.begin("submit", ANN, "double", (SUBMIT,))
    with pytest.raises(JournalError, match="in the hands of"):
        resume(executor(cluster, Journal(url)), run)
    mine.release(run)
    _, (done,) = resume(executor(cluster, Journal(url)), run)
    assert done.result.status == "ok"


def test_two_processes_that_resume_the_same_run_do_it_once(url: str, cluster: FileCluster) -> None:
    run, _ = executor(cluster, Journal(url), AskLater()).run("submit", SUBMITS)
    for _ in range(4):
        pids = []
        for _ in range(3):
            if not (pid := os.fork()):
                code = 1
                try:
                    resume(executor(cluster, Journal(url)), run)
                    code = 0
                except JournalError:
                    code = 3
                finally:
                    os._exit(code)
            pids.append(pid)
        codes = {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids}
        assert codes <= {0, 3}
    assert_true_account(Journal(url), cluster, run, jobs=2)


def test_processes_share_one_journal(url: str, tmp_path: Path) -> None:
    def work(number: int) -> None:
        own = executor(FileCluster(tmp_path / f"cluster{number}.json"), Journal(url))
        for _ in range(5):
            own.run(f"from {number}", SUBMITS)

    pids = []
    for number in range(4):
        if not (pid := os.fork()):
            code = 1
            try:
                work(number)
                code = 0
            finally:
                os._exit(code)
        pids.append(pid)
    assert {os.waitpid(pid, 0)[1] for pid in pids} == {0}
    runs = list_runs(Journal(url), limit=100)
    assert len(runs) == 20
    assert {row["status"] for row in runs} == {"ok"}


def test_a_dead_process_is_told_from_a_living_one() -> None:
    me = process.identity("abc")
    assert not process.is_gone(me)
    host, _, start, token = me.split(":")
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    assert process.is_gone(f"{host}:{pid}:{start}:{token}")
    assert not process.is_gone(f"elsewhere:{pid}:{start}:{token}")


def test_an_abandoned_lease_of_another_host_can_be_taken(
    url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as there:
        there.setattr(process.socket, "gethostname", lambda: "login2")
        run, _ = Journal(url, clock).begin("x", ANN, "double", (SUBMIT,))
    with pytest.raises(JournalError, match="login2"):
        Journal(url, clock).claim(run)
    clock.now += 3600
    Journal(url, clock).claim(run)


# ---- when the journal cannot be written


def full(journal: Journal, pages: int) -> None:
    """SQLite's own limit on pages: a real SQLITE_FULL."""
    with journal.store.transaction():
        pass
    engine = journal.store._opened()
    event.listen(engine, "begin", lambda db: db.exec_driver_sql(f"PRAGMA max_page_count={pages}"), insert=True)


def test_a_full_disk_stops_everything_before_anything_is_sent(url: str, cluster: FileCluster) -> None:
    journal = Journal(url)
    full(journal, pages=1)
    with pytest.raises(JournalError, match="full") as error:
        for _ in range(200):
            executor(cluster, journal).run("x" * 4000, (SUBMIT,))
    assert journal.where in error.value.message
    assert "SASK_JOURNAL" in error.value.remedy
    recorded = Journal(url)
    keys = {
        item["key"]
        for row in list_runs(recorded, 500)
        for c in show(recorded, row["run"])["calls"]
        for item in c["items"]
    }
    assert {job.comment for job in cluster.jobs()} <= keys


@pytest.mark.parametrize("bad", ["file", "folder", "garbage", "url", "driver"])
def test_a_journal_that_cannot_be_used_is_named(tmp_path: Path, cluster: FileCluster, bad: str) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "garbage.db").write_text("this is no database at all, but long enough to be read as one " * 40)
    (tmp_path / "folder.db").mkdir()
    urls = {
        "file": f"sqlite:///{tmp_path / 'file' / 'journal.db'}",
        "folder": f"sqlite:///{tmp_path / 'folder.db'}",
        "garbage": f"sqlite:///{tmp_path / 'garbage.db'}",
        "url": "not a url",
        "driver": "nosuchdb://host/x",
    }
    with pytest.raises(JournalError) as error:
        executor(cluster, Journal(urls[bad])).run("submit", (SUBMIT,))
    assert error.value.remedy
    assert cluster.performed == 0


def test_a_password_is_not_in_the_error() -> None:
    with pytest.raises(JournalError) as error:
        Journal("nosuchdb://sask:hunter2@host/x").begin("x", ANN, "c", ())
    assert "hunter2" not in error.value.message


# ---- schema


def test_the_default_is_under_the_state_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    journal = Journal()
    journal.begin("x", ANN, "c", ())
    path = tmp_path / "slurm-assistant" / "journal.db"
    assert journal.where == str(path)
    assert path.stat().st_mode & 0o777 == 0o600
    with journal.store.transaction() as db:
        assert db.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert db.execute(text("PRAGMA synchronous")).scalar() == 2


def test_an_older_journal_is_migrated_and_a_newer_one_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = Journal(url).begin("x", ANN, "c", (SUBMIT,))

    def second(db: Any) -> None:
        db.execute(text("ALTER TABLE runs ADD COLUMN note VARCHAR(10)"))

    more = (*schema.MIGRATIONS, second)
    with monkeypatch.context() as newer:
        newer.setattr(schema, "MIGRATIONS", more)
        newer.setattr(store, "migrate", lambda db: schema.migrate(db, more))
        later = Journal(url)
        with later.store.transaction() as db:
            assert db.execute(text("SELECT note FROM runs")).scalar() is None
        assert show(later, run)["request"] == "x"
    with pytest.raises(JournalError, match=f"schema {len(more)}"):
        show(Journal(url), run)


# ---- reading


def test_runs_show_and_export_tell_the_whole_story(url: str, cluster: FileCluster) -> None:
    journal = Journal(url)
    run, _ = executor(cluster, journal).run("two jobs", SUBMITS)
    (row,) = list_runs(journal)
    assert (row["run"], row["status"], row["left"], row["tools"]) == (run, "ok", 0, ["submit_job"] * 2)
    whole = show(journal, run[:6])
    assert [item["id"] for call in whole["calls"] for item in call["items"]] == ["101", "102"]
    assert whole["calls"][0]["commands"] == [f"submit --command=train.py --comment=sask:{run}.1.1"]
    story = export(journal, "last")
    assert story["case"]["expect"]["tools"][1]["arguments"]["dependency"] == "afterok:$1"
    with pytest.raises(JournalError, match="no run 'zzz'"):
        show(journal, "zzz")
