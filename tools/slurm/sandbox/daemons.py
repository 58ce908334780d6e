"""The sandbox's daemons: how each is started, in what order, and when it is ready."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from tools.slurm.sandbox import accounting, queue, rest
from tools.slurm.sandbox.errors import DaemonFailed, SandboxError
from tools.slurm.sandbox.layout import NODE_NAMES, Layout, Ports, port_is_free
from tools.slurm.sandbox.memory import Memory
from tools.slurm.sandbox.processes import (
    MARK_NODE,
    Process,
    command_line,
    end,
    last_word,
    of_sandbox,
    signal_all,
    spawn,
)
from tools.slurm.sandbox.programs import daemon_environment, find, run

CONTROLLER = "slurmctld"
# A daemon that ends is noticed at once; one on a machine out of breath was seen to need a minute.
_PATIENCE = 120.0


@dataclass(frozen=True)
class Daemons:
    """Starts daemons of one sandbox and writes down their processes."""

    layout: Layout
    ports: Ports
    memory: Memory

    @property
    def env(self) -> dict[str, str]:
        return daemon_environment(str(self.layout.root), self.layout.conf)

    def wanted(self) -> list[str]:
        """Names in starting order: each needs those before it."""
        names = ["munged"]
        names += ["mariadbd", "slurmdbd"] if self.memory.accounting else []
        names += [CONTROLLER, *NODE_NAMES]
        return [*names, "slurmrestd"] if self.memory.rest else names

    def start(self, name: str) -> None:
        """Start one daemon unless it runs. Raises DaemonFailed if it never becomes ready."""
        process = self.memory.daemons.get(name)
        if process is not None and process.alive():
            return
        env = self.env
        if name == "mariadbd":
            accounting.create_database(self.layout, env)
        if name == "slurmrestd":
            env = rest.environment(env)
        if name in NODE_NAMES:
            env = env | {MARK_NODE: name}
        if name in ("munged", "mariadbd"):
            # What a killed one left behind would look like a ready one.
            (self.layout.munge_socket if name == "munged" else self.layout.mysql_socket).unlink(missing_ok=True)
        if name == "slurmdbd":
            env = env | {"MYSQL_UNIX_PORT": str(self.layout.mysql_socket)}
        self.memory.daemons[name] = spawn(self._argv(name), self.layout.log(f"{name}.out"), env)
        self.memory.save(self.layout.memory)

    def start_all(self, tell: Callable[[str], None]) -> None:
        """Start what does not run, each after what it needs, and return when every node answers."""
        names = self.wanted()
        last = names.index(CONTROLLER) + 1
        self.start_missing(names[:last], tell)
        # The slurmds come up while slurmdbd is being filled.
        for node in NODE_NAMES:
            self.start(node)
        if self.memory.accounting and not self.memory.loaded:
            accounting.fill(self.env)
            self.memory.loaded = True
            self.memory.save(self.layout.memory)
            tell("accounts, users and QoS exist")
        self.start_missing(names[last:], tell)
        queue.wait_nodes(self.env, NODE_NAMES, _PATIENCE, self._check_nodes)
        tell("every node answers")

    def start_missing(self, names: Sequence[str], tell: Callable[[str], None] = lambda _: None) -> None:
        """Start those of `names` that do not run, one after another, each until it is ready."""
        for name in names:
            self.start(name)
            self.await_ready(name)
            tell(f"{name} runs")

    def stop(self, names: Sequence[str]) -> None:
        """End these daemons one after another. Raises SandboxError if one survives SIGKILL."""
        for name in names:
            process = self.memory.daemons.pop(name, None)
            if process is not None and end([process], grace=10.0):
                raise SandboxError(f"{name} ({process.pid}) survived SIGKILL")
        self.memory.save(self.layout.memory)

    def end_everything(self, spare: Collection[Process] = ()) -> None:
        """End every process of the sandbox but `spare`. Raises SandboxError naming the survivors."""
        mark, conf = str(self.layout.root), self.layout.conf
        end([process for process in of_sandbox(mark, conf) if process not in spare], grace=2.0)
        left = [process for process in of_sandbox(mark, conf) if process not in spare]
        if left:
            listing = "; ".join(f"{process.pid} {command_line(process)}" for process in left)
            raise SandboxError(f"these processes survived SIGKILL: {listing}")

    def kill_jobs(self) -> None:
        """SIGKILL to all that jobs run, after slurmctld was told to cancel them.

        slurmstepd goes too: after its srun has died it would try for seconds to report to it.
        """
        daemons = self.memory.daemons.values()
        everything = of_sandbox(str(self.layout.root), self.layout.conf)
        jobs = [one for one in everything if one not in daemons and not _serves_a_daemon(one)]
        signal_all(jobs, signal.SIGKILL)

    def await_ready(self, name: str) -> None:
        """Return once `name` answers. Raises DaemonFailed when it ended or two minutes went by."""
        ready = self._probe(name)
        deadline = time.monotonic() + _PATIENCE
        while not ready():
            if not self.memory.daemons[name].alive():
                raise self._ended(name)
            if time.monotonic() > deadline:
                raise self._failure(name, f"gave no answer in {_PATIENCE:.0f} s")
            time.sleep(0.05)

    def _argv(self, name: str) -> list[str]:
        layout = self.layout
        if name == "munged":
            return [
                find("munged") or "munged",
                "--foreground",
                "--force",
                f"--key-file={layout.munge_key}",
                f"--socket={layout.munge_socket}",
                f"--pid-file={layout.run}/munged.pid",
                f"--log-file={layout.log('munged')}",
                f"--seed-file={layout.root}/keys/munge.seed",
                "--num-threads=4",
            ]
        if name == "mariadbd":
            return accounting.mariadb_command(layout)
        if name == "slurmrestd":
            return rest.command(self.ports)
        if name in NODE_NAMES:
            return [find("slurmd") or "slurmd", "-D", "-N", name, "-f", str(layout.conf)]
        return [find(name) or name, "-D"]

    def _probe(self, name: str) -> Callable[[], bool]:
        if name == "munged":
            return lambda: self.layout.munge_socket.is_socket()
        if name == "mariadbd":
            return lambda: self.layout.mysql_socket.is_socket()
        if name == "slurmdbd":
            return lambda: self._succeeds("sacctmgr", "-nP", "show", "cluster")
        if name == CONTROLLER:
            return lambda: self._succeeds("scontrol", "ping")
        if name == "slurmrestd":
            return lambda: rest.answers(self.ports)
        return lambda: not port_is_free(self.ports.slurmd(name))

    def _succeeds(self, *argv: str) -> bool:
        try:
            run(argv, self.env, timeout=10)
        except SandboxError:
            return False
        return True

    def _check_nodes(self) -> None:
        """Raises DaemonFailed for a slurmd that came up and went away again."""
        for node in NODE_NAMES:
            if not self.memory.daemons[node].alive():
                raise self._ended(node)

    def _ended(self, name: str) -> DaemonFailed:
        how = last_word(self.memory.daemons[name])
        return self._failure(name, f"ended while starting{', ' + how if how else ''}")

    def _failure(self, name: str, problem: str) -> DaemonFailed:
        """The error for daemon `name`, with whichever of its two logs says more."""
        logs = [self.layout.log(name), self.layout.log(f"{name}.out")]
        fullest = max(logs, key=lambda path: path.stat().st_size if path.is_file() else -1)
        return DaemonFailed(name, problem, fullest)


def _serves_a_daemon(process: Process) -> bool:
    # slurmctld keeps a helper, "slurmctld: slurmscriptd"; slurmd forks to start a slurmstepd.
    first = command_line(process).split(" ")[0].rstrip(":")
    return first.rpartition("/")[2] in ("slurmctld", "slurmd")
