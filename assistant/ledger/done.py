"""What the ledger gives back: calls with their outcomes, and the seam through which the loop has them carried out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from assistant.ledger.redact import redact, redacted
from tools.base import Call, Plan, ToolResult


@dataclass(frozen=True, slots=True)
class Done:
    """One call that was carried out, or refused, with what was shown before it. Whoever prints it or sends it on
    needs no care: no secret of the request is in its arguments, notes or undo (nor, by the ledger, in its result)."""

    call: Call
    result: ToolResult
    plan: Plan | None = None
    """Only of a write."""
    commands: tuple[str, ...] = ()
    """The exact commands of the preview, shell-quoted; of a read, what ran."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "call", Call(redact(self.call.tool), redacted(self.call.arguments)))
        if self.plan is not None:
            notes, undo = tuple(map(redact, self.plan.notes)), tuple(map(redact, self.plan.undo))
            object.__setattr__(self, "plan", replace(self.plan, notes=notes, undo=undo))


class Executor(Protocol):
    """The loop's view of the ledger."""

    def run(self, request: str, calls: tuple[Call, ...], *, run: str = "") -> tuple[str, tuple[Done, ...]]:
        """Carry calls out in order, each with its outcome; returns the run's id and what was done.

        ``run`` continues an earlier turn's run. Slurm's errors become outcomes; raises JournalError.
        """
        ...
