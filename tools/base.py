"""What a tool is: a name, an effect, an argument schema, and either a ``run`` (read) or a ``plan`` (write).

A read tool answers at once. A write tool only *plans*: it returns the operations that it would have Slurm perform,
with what they would touch; the ledger shows them, has them approved, performs them one by one and keeps an
outcome for each. So no tool can change anything by itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from tools.slurm.backend import Backend, Operation
from tools.telemetry.model import Sources


class Effect(StrEnum):
    """``read`` runs, ``write`` asks, ``admin`` asks and needs an operator or administrator of Slurm."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


class Outcome(StrEnum):
    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call: as a model wrote it, or, once validated, with its arguments in Slurm's own form."""

    tool: str
    arguments: dict[str, Any] = field(default_factory=dict)


class Arguments(BaseModel):
    """Base of every tool's arguments: nothing extra, validated with ``context={"now": datetime}``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def given(self) -> dict[str, Any]:
        """Only what was said, in schema order, as JSON values."""
        return self.model_dump(mode="json", exclude_unset=True, exclude_none=True)


@dataclass(frozen=True, slots=True)
class Item:
    """The outcome for one job or node."""

    id: str
    outcome: Outcome
    message: str = ""
    code: str | None = None
    transient: bool = False


Status = Literal["ok", "partial", "failed", "unknown", "denied"]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """``status`` is never better than the items; ``data`` is bounded, ``commands`` are what ran, shell-quoted."""

    status: Status
    items: tuple[Item, ...] = ()
    data: dict[str, Any] = field(default_factory=dict)
    commands: tuple[str, ...] = ()


def status_of(items: Sequence[Item]) -> Status:
    """One word for many outcomes: unknown taints all, a mixture is partial; ``denied`` where nothing was done because
    it was refused, left for later or not needed, and nothing went wrong."""
    outcomes = {item.outcome for item in items}
    if Outcome.UNKNOWN in outcomes:
        return "unknown"
    if outcomes <= {Outcome.OK}:
        return "ok"
    if Outcome.OK in outcomes:
        return "partial"
    return "failed" if Outcome.FAILED in outcomes else "denied"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. ``level`` and ``coordinates`` come from Slurm's own accounting, never from the request."""

    user: str
    level: Literal["none", "operator", "administrator"] = "none"
    coordinates: tuple[str, ...] = ()

    @property
    def is_admin(self) -> bool:
        return self.level != "none"


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What a tool may see: the cluster, the caller, the clock, its nodes' instruments. Never a message or a model."""

    backend: Backend
    caller: Caller
    now: datetime
    telemetry: Sources = field(default_factory=Sources)


@dataclass(frozen=True, slots=True)
class Blast:
    """What a plan would touch; node-hours are what it asks for (submit) or would throw away (cancel)."""

    jobs: int = 0
    tasks: int = 0
    users: tuple[str, ...] = ()
    nodes: int = 0
    node_hours: float = 0.0
    dependents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What a write tool would do. ``skipped`` are items that need nothing, with the reason; ``undo`` is text."""

    operations: tuple[Operation, ...]
    blast: Blast = Blast()
    before: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    skipped: tuple[Item, ...] = ()
    undo: tuple[str, ...] = ()


class Tool(ABC):
    """One thing the assistant can do. Subclass :class:`ReadTool` or :class:`WriteTool`."""

    name: ClassVar[str]
    effect: ClassVar[Effect]
    description: ClassVar[str]
    Arguments: ClassVar[type[Arguments]]
    examples: ClassVar[tuple[tuple[str, dict[str, Any]], ...]]
    """(words, arguments) pairs: they stand in ``sask tools`` and in the README."""
    origin: ClassVar[str] = "slurm"
    grounded: ClassVar[bool] = True
    """Whether its arguments are facts of the cluster, which must have been said."""

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """The JSON schema of the arguments, in the subset that constrained decoding does well."""
        from tools.schema import plain_schema

        return plain_schema(cls.Arguments)


class ReadTool(Tool):
    effect = Effect.READ

    @abstractmethod
    def run(self, args: Any, ctx: ToolContext) -> ToolResult:
        """Answer from the cluster; raises ``SlurmError``."""


class OutsideTool(ReadTool):
    """Of something else than Slurm. Where its effect is ``write``, it runs once a person has approved ``command``."""

    grounded = False

    @abstractmethod
    def command(self, arguments: dict[str, Any]) -> str:
        """What would run, for a person to read."""


class WriteTool(Tool):
    effect = Effect.WRITE

    @abstractmethod
    def plan(self, args: Any, ctx: ToolContext) -> Plan:
        """What would be done; reads the cluster, changes nothing; raises ``SlurmError``."""

    def after(self, args: Any, ctx: ToolContext, items: Sequence[Item]) -> dict[str, Any]:
        """Slurm's own view of the result, once the operations were performed."""
        return {}
