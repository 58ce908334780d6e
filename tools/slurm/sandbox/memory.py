"""What a sandbox remembers of itself between commands: sandbox.json in its root."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tools.slurm.sandbox.errors import SandboxError
from tools.slurm.sandbox.processes import Process


@dataclass
class Memory:
    """Ports, features and daemons. `daemons` maps a name (slurmctld, gpu-node01 …) to its process."""

    port_base: int = 0
    accounting: bool = False
    rest: bool = False
    loaded: bool = False
    daemons: dict[str, Process] = field(default_factory=dict)

    def running(self) -> dict[str, Process]:
        """The daemons that are alive, in the order they were started."""
        return {name: process for name, process in self.daemons.items() if process.alive()}

    def save(self, path: Path) -> None:
        """Write the file whole or not at all."""
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        os.replace(draft, path)


def load(path: Path) -> Memory:
    """The memory at `path`, or an empty one. Raises SandboxError for a file that is not one."""
    if not path.is_file():
        return Memory()
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        daemons = {name: Process(**process) for name, process in raw.pop("daemons").items()}
        return Memory(**raw, daemons=daemons)
    except (ValueError, TypeError, KeyError) as wrong:
        raise SandboxError(
            f"{path} is damaged ({wrong}): remove the directory {path.parent} and start again"
        ) from wrong
