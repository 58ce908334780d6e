"""A model that says what it is told to: faults of models, one by one."""

from __future__ import annotations

from typing import Any

from assistant.loop.action import Action, encode
from assistant.loop.model import Completion, Message
from tools.base import Call


def calls(*pairs: tuple[str, dict[str, Any]]) -> str:
    """The Action text of these calls."""
    return encode(Action(calls=tuple(Call(tool, arguments) for tool, arguments in pairs)))


class ScriptedModel:
    """Gives its answers in turn, then the last one again; an exception among them is raised."""

    def __init__(self, *answers: str | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[list[Message]] = []
        self.schemas: list[dict[str, Any]] = []

    def complete(self, messages: list[Message], schema: dict[str, Any]) -> Completion:
        self.asked.append(messages)
        self.schemas.append(schema)
        answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return Completion(answer, prompt_tokens=10, completion_tokens=5)


class RecordingExecutor:
    """Carries nothing out: every call ends with the given result."""

    def __init__(self, result: Any) -> None:
        self.result = result
        self.calls: list[Call] = []

    def run(self, request: str, calls: tuple[Call, ...], *, run: str = "") -> tuple[str, tuple[Any, ...]]:
        from assistant.ledger.done import Done

        self.calls += calls
        return run or "r1", tuple(Done(call, self.result) for call in calls)
