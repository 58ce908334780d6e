"""What the ledger gives back: calls with their outcomes, and the seam through which the loop has them carried out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tools.base import Call, Plan, ToolResult


@dataclass(frozen=True, slots=True)
class Done:
    """One call that was carried out, or refused, with what was shown before it."""

    call: Call
    result: ToolResult
    plan: Plan | None = None
    """Only of a write."""
    commands: tuple[str, ...] = ()
    """The exact commands of the preview, shell-quoted; of a read, what ran."""


class Executor(Protocol):
    """The loop's view of the ledger."""

    def run(self, request: str, calls: tuple[Call, ...], *, run: str = "") -> tuple[str, tuple[Done, ...]]:
        """Carry calls out in order, each with its outcome; returns the run's id and what was done.

        ``run`` continues an earlier turn's run. Slurm's errors become outcomes; raises JournalError.
        """
        ...
