"""Start, watch and end the sandbox's processes. What /proc says is the truth, see proc(5)."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# Every process the sandbox starts carries this variable, so that slurmstepd is found too.
MARK = "SLURM_ASSISTANT_SANDBOX"
MARK_NODE = f"{MARK}_NODE"
_statuses: dict[int, int] = {}
"""How the children that were reaped ended: an exit status, or minus a signal's number."""


@dataclass(frozen=True)
class Process:
    """A process that cannot be mistaken for a later one with the same number.

    `started` is field 22 of /proc/PID/stat: clock ticks between boot and its start.
    """

    pid: int
    started: int

    def alive(self) -> bool:
        """True while it runs; a zombie of ours is reaped and counts as ended."""
        _reap(self.pid)
        stat = _stat(self.pid)
        return stat is not None and stat.state not in "ZX" and stat.started == self.started


@dataclass(frozen=True)
class _Stat:
    state: str
    parent: int
    started: int


def spawn(argv: Sequence[str], log: Path, env: Mapping[str, str]) -> Process:
    """Start a daemon that stays in the foreground, detached from this terminal and session.

    Its working directory is the log's: a core dump lands there, and no mounted disk is held busy.
    """
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), append, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    # env(1) changes directory and becomes the daemon, under the same process id.
    command = ["/usr/bin/env", f"--chdir={log.parent}", *argv]
    pid = os.posix_spawn(command[0], command, dict(env), file_actions=actions, setsid=True)
    stat = _stat(pid)
    return Process(pid, stat.started if stat else 0)


def last_word(process: Process) -> str:
    """``with exit status 1``, ``by SIGILL``: how a child of ours ended; empty for one that runs or was not ours."""
    status = None if process.alive() else _statuses.get(process.pid)
    if status is None:
        return ""
    return f"with exit status {status}" if status >= 0 else f"by {signal.Signals(-status).name}"


def signal_all(processes: Iterable[Process], number: signal.Signals) -> None:
    """Send a signal to those that still run."""
    for process in processes:
        if process.alive():
            try:
                os.kill(process.pid, number)
            except ProcessLookupError:
                continue


def end(processes: Iterable[Process], grace: float = 5.0) -> list[Process]:
    """SIGTERM, then SIGKILL after `grace` seconds. Returns those that survived even that."""
    waiting = list(processes)
    signal_all(waiting, signal.SIGTERM)
    if wait_gone(waiting, grace):
        return []
    signal_all(waiting, signal.SIGKILL)
    wait_gone(waiting, 5.0)
    return [process for process in waiting if process.alive()]


def wait_gone(processes: Sequence[Process], seconds: float) -> bool:
    """True when all have ended within `seconds`."""
    deadline = time.monotonic() + seconds
    while any(process.alive() for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def tree(belongs: Callable[[int], bool]) -> list[Process]:
    """Processes whose id satisfies `belongs`, and all their descendants.

    The caller and what it descends from are never among them.
    """
    stats = {pid: stat for pid in _pids() if (stat := _stat(pid)) is not None and stat.state not in "ZX"}
    spared = _ancestors(os.getpid(), stats)
    found = {pid for pid in stats if pid not in spared and belongs(pid)}
    grown = True
    while grown:
        children = {pid for pid, stat in stats.items() if stat.parent in found} - found - spared
        found |= children
        grown = bool(children)
    return [Process(pid, stats[pid].started) for pid in sorted(found)]


def of_sandbox(mark: str, conf: Path, node: str | None = None) -> list[Process]:
    """Every process of a sandbox, or of one node of it: slurmd, slurmstepd, jobs, what jobs left behind.

    Daemons and slurmstepds carry MARK; a slurmstepd of 26.05 wipes its environment, but holds its
    node's log open. A job's process that escaped its step still has SLURM_JOB_ID and this sandbox's
    SLURM_CONF. A shell that merely exported SLURM_CONF is not one of them.
    """

    def belongs(pid: int) -> bool:
        env = environment_of(pid)
        if env.get(MARK) == mark:
            return node is None or env.get(MARK_NODE) == node
        if env.get("SLURM_CONF") == str(conf) and "SLURM_JOB_ID" in env:
            return node is None or env.get("SLURMD_NODENAME") == node
        return command_line(Process(pid, 0)).startswith("slurmstepd") and _logs_to(pid, Path(mark) / "log", node)

    return tree(belongs)


def environment_of(pid: int) -> dict[str, str]:
    """The environment a process was started with; empty when it ended or is not ours to read."""
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    pairs = (pair.decode(errors="replace").partition("=") for pair in raw.split(b"\0") if pair)
    return {name: value for name, _, value in pairs}


def command_line(process: Process) -> str:
    """What ps would show, shortened; empty when it has ended."""
    try:
        raw = Path(f"/proc/{process.pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return raw.replace(b"\0", b" ").decode(errors="replace").strip()[:120]


def _logs_to(pid: int, folder: Path, node: str | None) -> bool:
    try:
        opened = [os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")]
    except OSError:
        return False
    wanted = f"{folder}/{node}.log" if node else f"{folder}/"
    return any(path.startswith(wanted) for path in opened)


def _ancestors(pid: int, stats: Mapping[int, _Stat]) -> set[int]:
    line: set[int] = set()
    while pid in stats and pid not in line:
        line.add(pid)
        pid = stats[pid].parent
    return line


def _pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def _stat(pid: int) -> _Stat | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # The command name is in parentheses and may hold spaces and parentheses itself.
    fields = text.rpartition(")")[2].split()
    return _Stat(state=fields[0], parent=int(fields[1]), started=int(fields[19]))


def _reap(pid: int) -> None:
    try:
        ended, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return
    if ended:
        _statuses[pid] = os.waitstatus_to_exitcode(status)
