"""A sandbox that cannot start says why, and leaves nothing behind: daemons that die are put first on PATH."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.shell import Shell, until
from tools.slurm.sandbox import DaemonFailed, Sandbox


def _fake(folder: Path, name: str, lines: str) -> str:
    """A PATH on which a daemon of Slurm's is this script."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{lines}\n")
    (folder / name).chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("echo munged: no room >&2; exit 3", ("munged: ended while starting, with exit status 3", "munged: no room")),
        ("kill -ILL $$", ("munged: ended while starting, by SIGILL", "(empty)")),
    ],
)
def test_a_sandbox_that_does_not_start_says_why(tmp_path: Path, lines: str, says: tuple[str, ...]) -> None:
    done = Shell(tmp_path, XDG_STATE_HOME=str(tmp_path))("sandbox", "up", PATH=_fake(tmp_path / "bin", "munged", lines))
    assert done.returncode == 6
    for text in says:
        assert text in done.stderr


def test_ctrl_c_while_a_sandbox_starts_ends_what_was_started(tmp_path: Path) -> None:
    sask, started = Shell(tmp_path, XDG_STATE_HOME=str(tmp_path)), tmp_path / "started"
    fake = _fake(tmp_path / "bin", "munged", f"echo $$ > {started}.new; mv {started}.new {started}; exec sleep 600")
    process = sask.start("sandbox", "up", PATH=fake)
    until(started.is_file)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "sask: interrupted; what this command had started is ended again\n")
    assert not Path(f"/proc/{started.read_text().strip()}").exists()


def test_a_sandbox_without_a_place_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for what in ("up", "status"):
        done = Shell(tmp_path, XDG_STATE_HOME=str(tmp_path / "file"))("sandbox", what)
        assert done.returncode == 6
        assert done.stderr or done.stdout


LISTENS_THEN_DIES = """
import re, socket, sys, time
conf, node = sys.argv[sys.argv.index("-f") + 1], sys.argv[sys.argv.index("-N") + 1]
place = re.search(rf"NodeName={node} .*Port=(\\d+)", open(conf).read())
server = socket.create_server(("127.0.0.1", int(place[1])))
time.sleep(1)
sys.exit("slurmd: no cgroup here")
"""


@pytest.mark.parametrize("listens", [False, True])
def test_a_node_that_dies_as_it_comes_up_says_why(tmp_path: Path, listens: bool) -> None:
    (tmp_path / "slurmd.py").write_text(LISTENS_THEN_DIES)
    later = f'exec {sys.executable} {tmp_path}/slurmd.py "$@"'
    box = Sandbox(tmp_path / "box", name="dying")
    with pytest.MonkeyPatch.context() as patch:
        at_once = "echo slurmd: no cgroup here >&2; exit 1"
        patch.setenv("PATH", _fake(tmp_path / "bin", "slurmd", later if listens else at_once))
        with pytest.raises(DaemonFailed, match=r"gpu-node0\d: ended while starting, with exit status 1") as caught:
            box.up(accounting=False)
    assert "slurmd: no cgroup here" in str(caught.value)
    assert not box.status().daemons
    box.down(remove=True)
