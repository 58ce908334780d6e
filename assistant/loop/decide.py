"""One decision: ask the model, climb the ladder, show it its mistake at most twice, then ask the person."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from assistant.loop import wording
from assistant.loop.action import Action, action_schema
from assistant.loop.grounding import Banned, narrow, questions
from assistant.loop.ladder import Climb, Rung, climb
from assistant.loop.model import ChatModel, Completion, Message
from assistant.loop.said import Said
from tools.base import Tool

MessageMaker = Callable[[Said, list[Message]], list[Message]]
"""(what was said, the messages so far with the request among them) → the whole prompt, stable part first."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a model can do, from its profile. A model that cannot write picks its words by key."""

    writes: bool = True
    several_steps: bool = True
    constrained: bool = True
    grounded: bool = True
    repairs: int = 2


@dataclass(frozen=True, slots=True)
class Decision:
    """``action`` is always set: a model that fails ``repairs`` + 1 times has asked the person to say it again."""

    action: Action
    climbs: tuple[Climb, ...] = ()
    completions: tuple[Completion, ...] = ()
    seconds: float = 0.0

    @property
    def valid(self) -> bool:
        """Whether some answer reached the top of the ladder."""
        return bool(self.climbs) and self.climbs[-1].failed is None

    @property
    def valid_json(self) -> bool:
        """Whether the first answer, before any repair, was JSON of the right schema."""
        return bool(self.climbs) and self.climbs[0].failed not in (Rung.HTTP, Rung.PRESENT, Rung.JSON, Rung.SCHEMA)

    @property
    def tokens(self) -> int:
        return sum(c.prompt_tokens + c.completion_tokens for c in self.completions)


@dataclass
class Decider:
    model: ChatModel
    tools: Mapping[str, Tool]
    make_messages: MessageMaker
    can: Capabilities = field(default_factory=Capabilities)

    def decide(self, said: Said, history: list[Message]) -> Decision:
        """Raises ModelError when the model cannot be asked at all."""
        started = time.perf_counter()
        messages = self.make_messages(said, history)
        climbs: list[Climb] = []
        completions: list[Completion] = []
        banned: Banned = frozenset()
        for _ in range(self.can.repairs + 1):
            completion = self.model.complete(messages, self._schema(said, banned))
            rung = climb(completion.text, self.tools, said, grounded=self.can.grounded, copies=self._copies)
            completions.append(completion)
            climbs.append(rung)
            if rung.action is not None:
                break
            banned |= rung.banned
            messages = [*messages, *_feedback(rung)] if self.can.writes else messages
        action = climbs[-1].action or Action(ask=_question(climbs[-1]))
        decision = Decision(_worded(action), tuple(climbs), tuple(completions))
        return replace(decision, seconds=time.perf_counter() - started)

    @property
    def _copies(self) -> bool:
        """A model that cannot write is held to the words of the request, where the profile grounds at all."""
        return self.can.grounded and not self.can.writes

    def _schema(self, said: Said, banned: Banned) -> dict[str, object]:
        schemas = (
            narrow(self.tools, said, banned, literal=self._copies)
            if self.can.grounded
            else {name: tool.schema() for name, tool in self.tools.items()}
        )
        if self.can.writes:
            return action_schema(schemas)
        return action_schema(schemas, ask=questions(said), reply=tuple(wording.REPLY))


def _feedback(rung: Climb) -> list[Message]:
    """The model's own answer and what was wrong with it."""
    return [
        {"role": "assistant", "content": rung.raw},
        {"role": "user", "content": f"That was not accepted ({rung.failed}): {rung.error}. Answer again."},
    ]


def _question(rung: Climb) -> str:
    """What the person is asked when the model could not get there: with the reason, if the reason is theirs to mend."""
    if rung.failed is Rung.SEMANTIC:
        return f"I could not carry that out: {rung.error}. What did you mean?"
    return "be_specific"


def _worded(action: Action) -> Action:
    return Action(
        calls=action.calls,
        ask=wording.words_of(wording.ASK, action.ask),
        reply=wording.words_of(wording.REPLY, action.reply),
    )
