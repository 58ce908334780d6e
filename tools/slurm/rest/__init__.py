"""Slurm through slurmrestd."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools.slurm.rest.choose import backend_for, user_of

if TYPE_CHECKING:
    from tools.slurm.rest.backend import RestBackend

__all__ = ["RestBackend", "backend_for", "user_of"]


def __getattr__(name: str) -> object:
    """RestBackend on demand: it brings httpx, which whoever uses Slurm's commands need not load."""
    if name == "RestBackend":
        from tools.slurm.rest.backend import RestBackend

        return RestBackend
    raise AttributeError(name)
