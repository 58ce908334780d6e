"""Slurm through its own commands."""

from __future__ import annotations

from tools.slurm.cli.backend import CliBackend

__all__ = ["CliBackend"]
