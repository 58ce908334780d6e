"""What a conversation is about, so that "that job" means something: the last ids and nodes, newest first."""

from __future__ import annotations

from dataclasses import dataclass, field

from assistant.loop.model import Message

REMEMBERED = 3
HISTORY = 24


@dataclass
class Conversation:
    """Mutable on purpose: one a thread, one a chat. ``messages`` are for models that can follow them."""

    messages: list[Message] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)
    nodes: list[str] = field(default_factory=list)

    def touch(self, *, jobs: list[str] | None = None, nodes: list[str] | None = None) -> None:
        """Remember what was just talked about."""
        self.jobs = list(dict.fromkeys([*(jobs or []), *self.jobs]))[:REMEMBERED]
        self.nodes = list(dict.fromkeys([*(nodes or []), *self.nodes]))[:REMEMBERED]

    def add(self, *messages: Message) -> None:
        self.messages = [*self.messages, *messages][-HISTORY:]

    @property
    def about(self) -> tuple[str, ...]:
        """One line for the prompt, also what the arguments may be grounded in."""
        parts = [f"job {job}" for job in self.jobs[:1]] + [f"node {node}" for node in self.nodes[:1]]
        return tuple(parts)
