"""A cluster in memory behind the MCP door, the official client in front of it, and a person who is asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from mcp import Client, types
from mcp.server import Server

from assistant.doors.mcp_desk import Desk
from assistant.doors.mcp_server import build
from assistant.ledger.approval import AskLater
from assistant.ledger.carry import Ledger
from assistant.ledger.execute import LedgerExecutor
from assistant.ledger.journal import Journal
from assistant.ledger.policy import Policy
from assistant.ledger.retry import Retry
from tests.fake_slurm import FakeSlurm
from tools.base import Caller, ToolContext

MODES = ("legacy", "auto")
"""The protocol before 2026-07-28, where the server asks the client, and since, where its answer asks for input."""
SUBMIT = {"command": "sleep 60", "job_name": "train"}
YES = types.ElicitResult(action="accept", content={"approve": True})
Document = dict[str, Any]


@dataclass
class Person:
    """Whoever sits at a client that can ask: what they were shown, what they say, what happens meanwhile."""

    says: types.ElicitResult = field(default_factory=lambda: YES)
    meanwhile: Callable[[], object] = lambda: None
    seen: list[str] = field(default_factory=list)

    async def __call__(self, context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        self.seen.append(params.message)
        self.meanwhile()
        return self.says


@dataclass
class Bed:
    """A cluster in memory behind the door; ``mode`` is the protocol that its clients speak."""

    folder: Path
    fake: FakeSlurm = field(default_factory=FakeSlurm)
    policy: Policy = field(default_factory=Policy)
    mode: str = "legacy"
    late: float = 0

    def __post_init__(self) -> None:
        self.url = f"sqlite:///{self.folder / 'journal.db'}"
        self.desk = self.new_desk()

    @property
    def journal(self) -> Journal:
        return self.desk.executor().ledger.journal

    def new_desk(self) -> Desk:
        journal = Journal(self.url)
        started = journal.clock()
        journal.clock = lambda: started + self.late
        quick = Retry(first_wait=0, settle=0)
        return Desk(lambda: LedgerExecutor(Ledger(self._context, journal, AskLater(), self.policy, quick)))

    def _context(self) -> ToolContext:
        return ToolContext(self.fake, Caller(self.fake.user, self.fake.level), self.fake.now)

    def server(self) -> Server[Any]:
        return build(self.desk, self.policy.approval_minutes)

    def talk(self, work: Callable[[Client], Awaitable[Any]], person: Person | None = None) -> Any:
        async def whole() -> Any:
            client = Client(self.server(), mode=self.mode, elicitation_callback=person, read_timeout_seconds=60)
            async with client:
                return await work(client)

        return anyio.run(whole)

    def call(self, tool: str, arguments: Document, person: Person | None = None) -> Document:
        return document(self.talk(lambda client: client.call_tool(tool, arguments), person))

    def performed(self) -> list[str]:
        return [operation.verb for operation in self.fake.performed]


def document(result: types.CallToolResult) -> Document:
    """The structured result, with its text beside it."""
    [content] = result.content
    assert isinstance(content, types.TextContent)
    return {**result.structured_content, "text": content.text, "is_error": result.is_error}
