"""The journal on a real PostgreSQL, as a site with several replicas has it: the same tests as on SQLite."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from assistant.errors import JournalError
from assistant.ledger.journal import Journal
from tests import test_ledger_journal as same
from tests.ledger_double import FileCluster
from tools.base import Caller

MINUTE = 60


def programs() -> Path:
    """Where the distribution keeps initdb and postgres (Debian: not on PATH)."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    places = [*debian, Path("/usr/pgsql/bin"), Path("/usr/bin")]
    return next(place for place in places if (place / "initdb").exists())


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A PostgreSQL of our own on a socket in a folder of its own; it refuses to run as root."""
    owner = pwd.getpwnam("postgres") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
    folder = Path(tempfile.mkdtemp(prefix="sask-pg-"))
    os.chown(folder, owner.pw_uid, owner.pw_gid)
    who = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []} if os.getuid() == 0 else {}
    initdb = [str(programs() / "initdb"), "-D", str(folder / "data"), "-U", "sask", "-A", "trust", "-E", "UTF8", "-N"]
    subprocess.run(initdb, check=True, capture_output=True, cwd=folder, **who)  # type: ignore[call-overload]
    start = [str(programs() / "postgres"), "-D", str(folder / "data"), "-k", str(folder), "-c", "listen_addresses="]
    daemon = subprocess.Popen(start, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder, **who)  # type: ignore[call-overload]
    try:
        url = f"postgresql+psycopg://sask@/postgres?host={folder}"
        _wait(url)
        yield url
    finally:
        daemon.send_signal(signal.SIGINT)  # fast: does not wait for clients
        daemon.wait(MINUTE)
        shutil.rmtree(folder)


def _wait(url: str) -> None:
    end = time.monotonic() + MINUTE
    while True:
        try:
            with Journal(url).store.transaction():
                return
        except JournalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


@pytest.fixture
def url(server: str) -> str:
    """The server with nothing in it."""
    engine = create_engine(server)
    with engine.begin() as db:
        db.execute(text("DROP SCHEMA public CASCADE"))
        db.execute(text("CREATE SCHEMA public"))
    engine.dispose()
    return server


@pytest.fixture
def cluster(tmp_path: Path) -> FileCluster:
    return FileCluster(tmp_path / "cluster.json", accounting=True)


def test_approvals(url: str) -> None:
    same.test_an_approval_is_used_once_and_only_for_its_digest(url)
    same.test_an_approval_that_is_not_of_this_half_hour_is_no_good(url, same.Clock(), 31 * 60)


def test_an_approval_from_another_door(url: str, cluster: FileCluster) -> None:
    same.test_an_approval_given_later_from_another_door_lets_resume_go_on(url, cluster)


@pytest.mark.parametrize("after", [False, True], ids=["before-commit", "after-commit"])
@pytest.mark.parametrize("n", [1, 4, 8, 9, 10, 14])
def test_kill_at_journal_steps(url: str, cluster: FileCluster, n: int, after: bool) -> None:
    same.test_kill_at_each_journal_step_then_resume(url, cluster, n, after)


def test_kill_while_forty_are_cancelled(url: str, cluster: FileCluster) -> None:
    same.test_kill_while_forty_are_cancelled(url, cluster)


def test_two_processes_that_resume(url: str, cluster: FileCluster) -> None:
    same.test_two_processes_that_resume_the_same_run_do_it_once(url, cluster)


def test_processes_share_it_from_an_empty_database_on(url: str, tmp_path: Path) -> None:
    same.test_processes_share_one_journal(url, tmp_path)


def test_reading(url: str, cluster: FileCluster) -> None:
    same.test_runs_show_and_export_tell_the_whole_story(url, cluster)


def test_a_server_that_is_away_is_named() -> None:
    with pytest.raises(JournalError, match="journal postgresql") as error:
        Journal("postgresql+psycopg://sask:hunter2@127.0.0.1:9/x").begin("x", Caller("ann"), "c", ())
    assert "sask:***@127.0.0.1:9" in error.value.message
    assert "hunter2" not in error.value.message
