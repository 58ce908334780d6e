"""Approvals: what is shown before a change, the digest that binds a decision to it, and who decides.

A :class:`Preview` is all that a person needs to say yes or no. Its digest is over the call, the exact commands and
the state that they were planned from, so that an approval is worth nothing once the world has changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from tools.base import Blast, Call, Plan
from tools.slurm.backend import Backend, Operation
from tools.slurm.cli.runner import shell_text

VOLATILE = frozenset(
    {"elapsed", "run_time", "time_left", "node_hours", "priority", "load", "estimate", "expected_start", "now"}
)
"""What changes by itself from second to second, and so must not undo an approval."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What would happen. ``commands`` are exact and shell-quoted; ``must_ask`` says why ``--yes`` is not enough."""

    tool: str
    arguments: dict[str, Any]
    commands: tuple[str, ...]
    blast: Blast
    notes: tuple[str, ...] = ()
    undo: tuple[str, ...] = ()
    digest: str = ""
    must_ask: str = ""
    before: dict[str, Any] = field(default_factory=dict)
    run: str = ""
    """The journal's id of the run, for an approval that is given later from elsewhere."""
    user: str = ""
    """Who asked for it."""
    two_people: bool = False
    """Whether somebody else than ``user`` has to say yes (the policy's dual control)."""


@dataclass(frozen=True, slots=True)
class Decision:
    """``attended`` is False where nobody looked (``--yes``); ``later`` leaves the question open."""

    approved: bool
    approver: str = ""
    reason: str = ""
    attended: bool = True
    later: bool = False


class Approver(Protocol):
    """Whoever is asked: a terminal, a channel, a rule."""

    def decide(self, preview: Preview) -> Decision: ...


@dataclass(frozen=True, slots=True)
class DenyAll:
    """Nobody can be asked: no terminal and no ``--yes``."""

    reason: str = "nobody could be asked: run it on a terminal, give --yes, or leave it for `sask approve` with --later"

    def decide(self, preview: Preview) -> Decision:
        return Decision(False, "", self.reason)


@dataclass(frozen=True, slots=True)
class AutoApprove:
    """``--yes``: approves what the policy lets pass unasked, and hands the rest to ``ask``."""

    approver: str
    ask: Approver = DenyAll("it needs a person's own yes: run it on a terminal without --yes, or give --later")

    def decide(self, preview: Preview) -> Decision:
        if not preview.must_ask:
            return Decision(True, self.approver, "--yes", attended=False)
        decision = self.ask.decide(preview)
        if decision.approved or decision.later:
            return decision
        return Decision(False, decision.approver, f"{preview.must_ask}; {decision.reason}")


@dataclass(frozen=True, slots=True)
class AskLater:
    """Leaves the question in the journal: ``sask approve`` or ``sask deny`` answers it from anywhere."""

    def decide(self, preview: Preview) -> Decision:
        return Decision(False, "", "waits for an approval", later=True)


@dataclass
class ScriptedApprover:
    """Answers from a list, for tests and evaluations; keeps what it was shown. The last answer repeats."""

    answers: Sequence[bool] = (True,)
    approver: str = "script"
    seen: list[Preview] = field(default_factory=list)

    def decide(self, preview: Preview) -> Decision:
        answer = self.answers[min(len(self.seen), len(self.answers) - 1)]
        self.seen.append(preview)
        return Decision(answer, self.approver, "scripted")


def commands_of(backend: Backend, operations: Sequence[Operation]) -> tuple[str, ...]:
    """The exact commands, shell-quoted, one string each; a batch script follows as a here-document."""
    return tuple(
        shell_text(argv, backend.script(operation)) for operation in operations for argv in backend.render(operation)
    )


def digest_of(call: Call, plan: Plan, commands: Sequence[str]) -> str:
    """sha256 (hex) over canonical JSON of the call, its commands and the state that they were planned from."""
    what = {
        "tool": call.tool,
        "arguments": call.arguments,
        "commands": list(commands),
        "blast": [plan.blast.jobs, plan.blast.tasks, plan.blast.users, plan.blast.nodes, plan.blast.dependents],
        "before": _steady(plan.before),
    }
    canonical = json.dumps(what, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=_plain)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _steady(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _steady(part) for key, part in value.items() if key not in VOLATILE}
    if isinstance(value, list | tuple):
        return [_steady(part) for part in value]
    return value


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
