"""What `Sandbox.status` answers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class SandboxStatus:
    """A sandbox as it is now.

    `daemons` maps a running daemon to its pid; `ports` a daemon to its port on 127.0.0.1; `nodes` a
    node to sinfo's state (empty while the controller is away); `version` is `slurmctld -V`'s, as
    "22.05"; `rest_url` is None without slurmrestd.
    """

    name: str
    root: Path
    version: str
    daemons: dict[str, int]
    missing: tuple[str, ...]
    ports: dict[str, int]
    nodes: dict[str, str]
    accounting: bool
    rest_url: str | None
    export_line: str

    @property
    def running(self) -> bool:
        """True when every daemon that belongs to it runs."""
        return bool(self.daemons) and not self.missing

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {"root": str(self.root), "running": self.running}
