"""Where a sandbox keeps its things: directories, socket paths, ports, and the nodes it has."""

from __future__ import annotations

import hashlib
import os
import random
import re
import shutil
import socket
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tools.slurm.sandbox.errors import SandboxError

# The kernel's sockaddr_un holds 108 bytes (unix(7)); slurmd adds "<node>_<job>.<step>" to the spool path.
_LONGEST_RUN_DIR = 60
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,40}")
# Below Linux's default ephemeral range (32768-60999), so that no outgoing connection takes one.
_PORT_RANGE = range(21000, 32000, 10)


@dataclass(frozen=True)
class NodeSpec:
    """One node: its name, its GPU types with their counts, its features, its leaf switch."""

    name: str
    gpus: tuple[tuple[str, int], ...]
    features: tuple[str, ...]

    @property
    def gres(self) -> str:
        """The node's `Gres=` value, for example `gpu:a100:8`."""
        return ",".join(f"gpu:{kind}:{count}" for kind, count in self.gpus)


NODES: tuple[NodeSpec, ...] = (
    NodeSpec("gpu-node01", (("a100", 8),), ("a100", "ib", "nvlink")),
    NodeSpec("gpu-node02", (("a100", 8),), ("a100", "ib", "nvlink")),
    NodeSpec("gpu-node03", (("h100", 8),), ("h100", "ib", "nvlink")),
    NodeSpec("gpu-node04", (("h100", 8),), ("h100", "ib", "nvlink")),
    NodeSpec("gpu-node05", (("a100_3g.20gb", 4), ("a100_1g.5gb", 4)), ("a100", "mig")),
)
NODE_NAMES: tuple[str, ...] = tuple(node.name for node in NODES)


@dataclass(frozen=True)
class Ports:
    """Ten neighbouring TCP ports on 127.0.0.1, one for each daemon that listens."""

    base: int

    @property
    def slurmctld(self) -> int:
        return self.base

    @property
    def slurmdbd(self) -> int:
        return self.base + 1

    @property
    def slurmrestd(self) -> int:
        return self.base + 2

    def slurmd(self, node: str) -> int:
        return self.base + 3 + NODE_NAMES.index(node)

    def as_dict(self) -> dict[str, int]:
        named = {"slurmctld": self.slurmctld, "slurmdbd": self.slurmdbd, "slurmrestd": self.slurmrestd}
        return named | {f"slurmd {node}": self.slurmd(node) for node in NODE_NAMES}


@dataclass(frozen=True)
class Layout:
    """The paths of one sandbox.

    `root` is private (logs, database, controller state, keys). `run` is what every user of the
    machine must reach when root started the sandbox: configuration, sockets, job spool. They are the
    same tree unless `root` is too long for a unix socket or closed to other users.
    """

    name: str
    root: Path
    run: Path

    @property
    def conf(self) -> Path:
        return self.run / "slurm.conf"

    @property
    def dbd_conf(self) -> Path:
        return self.run / "slurmdbd.conf"

    @property
    def munge_socket(self) -> Path:
        return self.run / "munge.sock"

    @property
    def mysql_socket(self) -> Path:
        return self.run / "mysql.sock"

    @property
    def spool(self) -> Path:
        return self.run / "spool"

    @property
    def munge_key(self) -> Path:
        return self.root / "keys" / "munge.key"

    @property
    def jwt_key(self) -> Path:
        return self.root / "keys" / "jwt.key"

    @property
    def devices(self) -> Path:
        return self.root / "dev"

    @property
    def database(self) -> Path:
        return self.root / "mysql"

    @property
    def controller_state(self) -> Path:
        return self.root / "state"

    @property
    def memory(self) -> Path:
        """What the sandbox remembers of itself between commands."""
        return self.root / "sandbox.json"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    def log(self, daemon: str) -> Path:
        return self.root / "log" / f"{daemon}.log"

    def create(self) -> None:
        """Make every directory. Raises SandboxError for a root or a run directory that is not ours."""
        self._check_root()
        for path in self._private():
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o700)
        if self.run.parent == self.root:
            self.root.chmod(0o755)
        _own_directory(self.run)
        for path in (self.spool, *(self.spool / node for node in NODE_NAMES)):
            path.mkdir(exist_ok=True)
            path.chmod(0o755)

    def remove(self) -> None:
        """Delete what the sandbox made, and its root if nothing else is in it."""
        for path in (self.run, *self._private()):
            shutil.rmtree(path, ignore_errors=True)
        for path in (self.memory, self.lock):
            path.unlink(missing_ok=True)
        if not any(self.root.iterdir()):
            self.root.rmdir()

    def _private(self) -> tuple[Path, ...]:
        return (self.root / "log", self.root / "keys", self.controller_state, self.devices, self.database)

    def _check_root(self) -> None:
        # `remove` deletes folders with everyday names: they must be the sandbox's own.
        if self.root.is_dir() and not self.memory.is_file():
            foreign = sorted(entry.name for entry in self.root.iterdir() if entry != self.lock)
            if foreign:
                raise SandboxError(
                    f"{self.root} is not a sandbox but has {', '.join(foreign[:5])} in it: name an empty directory"
                )


def layout_for(root: Path | None, name: str) -> Layout:
    """The layout of the sandbox `name`.

    The default root is `$XDG_STATE_HOME/slurm-assistant/sandbox/NAME` (`~/.local/state/…` without
    that variable). Raises SandboxError for a name that is no plain file name.
    """
    if not _NAME.fullmatch(name):
        raise SandboxError(f"sandbox name {name!r}: use 1 to 41 letters, digits, dot, dash or underscore")
    if root is None:
        state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
        root = Path(state) / "slurm-assistant" / "sandbox" / name
    root = root.expanduser().resolve()
    return Layout(name=name, root=root, run=_run_directory(root))


def _run_directory(root: Path) -> Path:
    inside = root / "run"
    if len(str(inside)) <= _LONGEST_RUN_DIR and (os.geteuid() != 0 or _open_to_all(root)):
        return inside
    short = f"sask-{os.geteuid()}-{hashlib.sha256(str(root).encode()).hexdigest()[:10]}"
    if os.geteuid() == 0 and os.access("/run", os.W_OK):
        return Path("/run") / short
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime if runtime and os.access(runtime, os.W_OK) else tempfile.gettempdir()) / short


def _open_to_all(path: Path) -> bool:
    """True when every existing directory on the way to `path` may be entered by any user."""
    existing = [folder for folder in (path, *path.parents) if folder.is_dir()]
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in existing)


def _own_directory(path: Path) -> None:
    # /tmp is everybody's: a directory planted there beforehand must not be used.
    path.mkdir(exist_ok=True, mode=0o755)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise SandboxError(f"{path} is not a directory of this user: remove it, or choose another root")
    path.chmod(0o755)


def free_ports() -> Ports:
    """Ten neighbouring ports that nobody listens on now. Raises SandboxError when none is left."""
    candidates = list(_PORT_RANGE)
    random.shuffle(candidates)
    for base in candidates[:200]:
        if all(port_is_free(port) for port in range(base, base + 10)):
            return Ports(base)
    raise SandboxError(f"no ten free neighbouring ports between {_PORT_RANGE[0]} and {_PORT_RANGE[-1] + 9}")


def port_is_free(port: int) -> bool:
    """True when 127.0.0.1:port can be bound, as a daemon with SO_REUSEADDR would bind it."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
