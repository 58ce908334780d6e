"""A real one-machine Slurm for tests, evaluations and demonstrations.

from tools.slurm.sandbox import Sandbox
box = Sandbox()
print(box.up(accounting=True).export_line)
box.down(remove=True)
"""

from __future__ import annotations

from tools.slurm.sandbox.cluster import Sandbox
from tools.slurm.sandbox.errors import DaemonFailed, MissingPackages, SandboxError
from tools.slurm.sandbox.layout import NODE_NAMES, NODES, NodeSpec
from tools.slurm.sandbox.status import SandboxStatus

__all__ = [
    "NODES",
    "NODE_NAMES",
    "DaemonFailed",
    "MissingPackages",
    "NodeSpec",
    "Sandbox",
    "SandboxError",
    "SandboxStatus",
]
