"""The hand-written training lines: read, and judged one by one.

``evals/datasets/GUIDE.md`` says how a line is written. A line is good when its calls are valid, every value was said,
and the schema that is narrowed to its request still lets the model write it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from assistant.loop.action import Action, action_schema, encode
from assistant.loop.conversation import about
from tools.base import Call

NOW = datetime(2026, 11, 18, 10, 0)


@dataclass(frozen=True, slots=True)
class Example:
    """``answer`` as it stands in the line: ``{"calls": […]}``, ``{"ask": key}`` or ``{"reply": key}``."""

    request: str
    answer: dict[str, Any]
    about: tuple[str, ...] = ()
    source: str = ""

    @property
    def action(self) -> Action:
        calls = tuple(Call(call["tool"], call["arguments"]) for call in self.answer.get("calls", []))
        return Action(calls, self.answer.get("ask", ""), self.answer.get("reply", ""))


def data_files() -> list[Path]:
    return sorted(Path(str(files("assistant.serving.embedded"))).joinpath("data").glob("*.jsonl"))


def read_examples(paths: list[Path] | None = None) -> Iterator[Example]:
    """Lines in file order. Raises ValueError naming file and line for one that is no example."""
    for path in data_files() if paths is None else paths:
        for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if text.strip():
                yield parse(text, f"{path.name}:{number}")


def parse(text: str, source: str) -> Example:
    try:
        line = json.loads(text)
        answers = {key: line[key] for key in ("calls", "ask", "reply") if key in line}
        if len(answers) != 1 or not line["request"]:
            raise ValueError("exactly one of calls, ask and reply, and a request")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{source}: {error}") from error
    context = line.get("context", {})
    subject = about(context.get("jobs", []), context.get("nodes", []))
    return Example(line["request"], answers, subject, source)


def problems(example: Example) -> list[str]:
    """What is wrong with an example; empty when it is good."""
    from jsonschema import Draft202012Validator

    from assistant.loop.grounding import narrow, questions, ungrounded
    from assistant.loop.ladder import settle
    from assistant.loop.said import Said
    from assistant.loop.wording import REPLY
    from tools import BY_NAME

    said = Said(example.request, example.about, NOW)
    found = []
    for call in example.action.calls:
        if call.tool not in BY_NAME:
            return [f"no tool {call.tool}"]
        try:
            settle(BY_NAME[call.tool], call.arguments, NOW)
        except ValueError as error:
            found.append(str(error).splitlines()[2].strip() if "\n" in str(error) else str(error))
        found += [str(violation) for violation in ungrounded(call, said)]
    if found:
        return found
    schema = action_schema(narrow(BY_NAME, said, literal=True), ask=questions(said), reply=tuple(REPLY))
    forbidden = next(iter(Draft202012Validator(schema).iter_errors(json.loads(encode(example.action)))), None)
    return [f"the narrowed schema forbids it: {_deepest(forbidden)}"] if forbidden else []


def _deepest(error: Any) -> str:
    """The most telling of nested anyOf errors: the one that got furthest into the document."""
    leaves, queue = [], [error]
    while queue:
        one = queue.pop()
        queue += one.context or []
        leaves += [] if one.context else [one]
    best = max(leaves, key=lambda e: (len(e.absolute_path), e.validator != "const"))
    return f"{'.'.join(map(str, best.absolute_path))}: {best.message[:160]}"
