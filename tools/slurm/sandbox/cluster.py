"""The public class: a real Slurm of five pretended GPU nodes on this machine."""

from __future__ import annotations

import fcntl
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tools.slurm.sandbox import processes, programs, queue
from tools.slurm.sandbox import rest as restd
from tools.slurm.sandbox.config import write_config
from tools.slurm.sandbox.daemons import CONTROLLER, Daemons
from tools.slurm.sandbox.errors import SandboxError
from tools.slurm.sandbox.layout import NODE_NAMES, Ports, free_ports, layout_for, port_is_free
from tools.slurm.sandbox.memory import load
from tools.slurm.sandbox.status import SandboxStatus

Progress = Callable[[str], None]
_STOPPING_ORDER = ("slurmrestd", CONTROLLER, *NODE_NAMES, "slurmdbd", "mariadbd", "munged")


class Sandbox:
    """One sandbox, told apart from others by its directory.

    Nodes: gpu-node01, gpu-node02 (8 a100 each), gpu-node03, gpu-node04 (8 h100 each), gpu-node05
    (4 a100_3g.20gb and 4 a100_1g.5gb); each claims 64 CPUs and 1031000 MB. Partitions: gpu (the
    default), h100, mig, debug (30 minutes), long (7 days). Two leaf switches (leaf1: node01-02,
    leaf2: node03-05). With accounting: accounts ml-research (default), vision, physics; QoS normal,
    ai-train, interactive (2 jobs a user), small (2 GPUs for everybody together).

    Started by root, every user of the machine can submit, and jobs run as whoever submitted them.
    Started by an ordinary user everything works too, accounting and slurmrestd included, but slurmd
    cannot become another user: only the starter's jobs run, and the starter is SlurmUser, so Slurm
    refuses that person nothing (roles cannot be tried out). No cgroups: memory is watched every 2 s
    (OverMemoryKill), CPUs and GPUs are bookkeeping. Tried with Slurm 22.05, 24.11 and 26.05.
    """

    def __init__(self, root: Path | None = None, name: str = "default") -> None:
        """`root` defaults to `$XDG_STATE_HOME/slurm-assistant/sandbox/NAME` (`~/.local/state/…`)."""
        self._layout = layout_for(root, name)

    @property
    def name(self) -> str:
        return self._layout.name

    @property
    def root(self) -> Path:
        return self._layout.root

    @property
    def conf(self) -> Path:
        """The slurm.conf that SLURM_CONF must name."""
        return self._layout.conf

    def up(self, accounting: bool | None = None, rest: bool = False, progress: Progress | None = None) -> SandboxStatus:
        """Start what does not run yet and return when every node answers (0.3 s; with accounting 5 s).

        `accounting` True needs MariaDB and slurmdbd, None takes them where they are installed, False
        leaves them out: Slurm then accepts any `--qos` and forgets it. Running twice is fine; what an
        earlier `up` switched on stays on. Raises MissingPackages, or SandboxError with the daemon that
        failed and the end of its log; then all that this call started is ended again.
        """
        if accounting is None:
            accounting = programs.accounting_installed()
        programs.require(accounting=accounting, rest=rest)
        tell = progress or (lambda _: None)
        with self._locked():
            daemons = self._prepare(accounting, rest)
            before = processes.of_sandbox(str(self.root), self.conf)
            with ExitStack() as failing:
                failing.callback(daemons.end_everything, spare=before)
                daemons.start_all(tell)
                failing.pop_all()
        return self.status()

    def status(self) -> SandboxStatus:
        """What runs now. Works on a sandbox that was never started."""
        memory = load(self._layout.memory)
        ports = Ports(memory.port_base)
        running = memory.running()
        nodes = {}
        if CONTROLLER in running:
            try:
                nodes = queue.node_states(self._client_env())
            except SandboxError:
                nodes = {}
        wanted = Daemons(self._layout, ports, memory).wanted()
        major, minor = programs.slurm_version() if programs.find("slurmctld") else (0, 0)
        return SandboxStatus(
            name=self.name,
            root=self.root,
            version=f"{major}.{minor:02d}",
            daemons={name: process.pid for name, process in running.items()},
            missing=tuple(name for name in wanted if name not in running),
            ports=ports.as_dict() if memory.port_base else {},
            nodes=nodes,
            accounting=memory.accounting,
            rest_url=restd.url(ports) if memory.rest else None,
            export_line=self.export_line(),
        )

    def env(self) -> dict[str, str]:
        """Variables for a client: SLURM_CONF; with slurmrestd also SLURMRESTD_URL and SLURMRESTD_TOKEN.

        The token is not called SLURM_JWT: with that name Slurm's own commands would stop using munge.
        """
        memory = load(self._layout.memory)
        variables = {"SLURM_CONF": str(self.conf)}
        if memory.rest and CONTROLLER in memory.running():
            variables["SLURMRESTD_URL"] = restd.url(Ports(memory.port_base))
            variables["SLURMRESTD_TOKEN"] = restd.token(self._client_env())
        return variables

    def export_line(self) -> str:
        """The one line that points Slurm's commands at this sandbox."""
        return f"export SLURM_CONF={self.conf}"

    def down(self, remove: bool = False) -> list[str]:
        """Cancel every job, end every process, and say which daemons that were.

        Raises SandboxError when a process survives. `remove` also deletes the sandbox's directories.
        """
        if not self._layout.root.is_dir():
            return []
        with self._locked():
            daemons = self._daemons()
            running = daemons.memory.running()
            if CONTROLLER in running:
                self._cancel_all(daemons)
            daemons.stop([name for name in _STOPPING_ORDER if name in running])
            daemons.end_everything()
        if remove:
            self._layout.remove()
        return [name for name in _STOPPING_ORDER if name in running]

    def reset(self) -> None:
        """Empty the world in about a second: no job, no reservation, every node and partition up.

        Daemons that a test killed are started again. History stays in sacct, and ended jobs stay
        visible to `squeue --states=all` for MinJobAge (300 s). Raises SandboxError.
        """
        with self._locked():
            daemons = self._daemons()
            daemons.start_missing(daemons.wanted())
            env = self._client_env()
            queue.cancel_all(env)
            daemons.kill_jobs()
            queue.delete_reservations(env)  # Slurm keeps one that a job waits in
            queue.resume_nodes(env)
            queue.open_partitions(env)
            queue.wait_empty(env, 15)
            queue.wait_nodes(env, NODE_NAMES, 15)

    def kill_slurmd(self, node: str) -> None:
        """Make `node` fail as if its power went: SIGKILL to its slurmd, slurmstepds and jobs."""
        _check_node(node)
        victims = processes.of_sandbox(str(self.root), self.conf, node)
        processes.signal_all(victims, signal.SIGKILL)
        if not processes.wait_gone(victims, 5):
            raise SandboxError(f"{node}: {[process.pid for process in victims]} survived SIGKILL")

    def start_slurmd(self, node: str) -> None:
        """Start a killed node's slurmd and return when slurmctld hears it again."""
        _check_node(node)
        self._start(node)
        queue.wait_nodes(self._client_env(), [node], 20)

    def stop_controller(self) -> None:
        """End slurmctld; jobs and slurmds go on, commands find no controller."""
        with self._locked():
            self._daemons().stop([CONTROLLER])

    def start_controller(self) -> None:
        """Start slurmctld on the state it left and return when it answers and hears every node that runs."""
        self._start(CONTROLLER)
        running = load(self._layout.memory).running()
        queue.wait_nodes(self._client_env(), [node for node in NODE_NAMES if node in running], 20)

    def without_slurmds(self, change: Callable[[str], str], gres: str) -> None:
        """Restart slurmctld alone, on a changed slurm.conf, for a big cluster whose nodes nobody runs.

        `change` gets the text of slurm.conf and returns the new one, `gres` is the new gres.conf; the next `up`
        writes the sandbox's own again. Raises SandboxError.
        """
        with self._locked():
            daemons = self._daemons()
            daemons.stop([CONTROLLER, *NODE_NAMES])
            self.conf.write_text(change(self.conf.read_text(encoding="utf-8")), encoding="utf-8")
            (self._layout.run / "gres.conf").write_text(gres, encoding="utf-8")
            daemons.start_missing([CONTROLLER])

    def _prepare(self, accounting: bool, rest: bool) -> Daemons:
        """Directories, ports and configuration; daemons that read an older configuration are ended."""
        self._layout.create()
        daemons = self._daemons()
        memory = daemons.memory
        if not memory.running():
            daemons.end_everything()
            if not memory.port_base or not all(map(port_is_free, Ports(memory.port_base).as_dict().values())):
                memory.port_base = free_ports().base
            daemons = Daemons(self._layout, Ports(memory.port_base), memory)
        memory.accounting = memory.accounting or accounting
        memory.rest = memory.rest or rest
        changed = write_config(
            self._layout, daemons.ports, programs.slurm_version(), accounting=memory.accounting, rest=memory.rest
        )
        if changed:
            daemons.stop([name for name in _STOPPING_ORDER if name not in ("mariadbd", "munged")])
        memory.save(self._layout.memory)
        return daemons

    def _start(self, name: str) -> None:
        with self._locked():
            self._daemons().start_missing([name])

    def _cancel_all(self, daemons: Daemons) -> None:
        # So that the next `up` finds an empty queue. What a sick controller cannot cancel is killed anyway.
        try:
            queue.cancel_all(daemons.env)
            daemons.kill_jobs()
            queue.wait_empty(daemons.env, 5)
        except SandboxError:
            return

    def _daemons(self) -> Daemons:
        memory = load(self._layout.memory)
        return Daemons(self._layout, Ports(memory.port_base), memory)

    def _client_env(self) -> dict[str, str]:
        return self._daemons().env

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One change at a time, also between two terminals."""
        self._layout.root.mkdir(parents=True, exist_ok=True)
        with self._layout.lock.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _check_node(node: str) -> None:
    if node not in NODE_NAMES:
        raise SandboxError(f"no node {node!r}: the sandbox has {', '.join(NODE_NAMES)}")
