"""What a conversation is about, so that "that job" means something: the last ids and nodes, newest first."""

from __future__ import annotations

from dataclasses import dataclass, field

from assistant.loop.model import Message

REMEMBERED = 8
HISTORY = 24


def about(jobs: list[str], nodes: list[str]) -> tuple[str, ...]:
    """``("jobs 611 612", "node gpu-node03")``: the form in which a model is told, in training and in use."""
    parts = [(f"job{'s' * (len(jobs) > 1)} ", jobs), (f"node{'s' * (len(nodes) > 1)} ", nodes)]
    return tuple(word + " ".join(names[:REMEMBERED]) for word, names in parts if names)


@dataclass
class Conversation:
    """Mutable on purpose: one a thread, one a chat. ``messages`` are for models that can follow them."""

    messages: list[Message] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)
    nodes: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    """Requests that were answered with a question: what is said next is read together with them."""

    def touch(self, *, jobs: list[str] | None = None, nodes: list[str] | None = None) -> None:
        """Remember what was just talked about."""
        self.jobs = list(dict.fromkeys([*(jobs or []), *self.jobs]))[:REMEMBERED]
        self.nodes = list(dict.fromkeys([*(nodes or []), *self.nodes]))[:REMEMBERED]

    def add(self, *messages: Message) -> None:
        self.messages = [*self.messages, *messages][-HISTORY:]

    @property
    def about(self) -> tuple[str, ...]:
        """One line for the prompt, also what the arguments may be grounded in."""
        return about(self.jobs, self.nodes)
