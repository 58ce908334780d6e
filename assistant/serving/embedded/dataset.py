"""From examples to tokens: what the model is trained on is what the server will give it, token for token."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from assistant.loop.action import Action, encode
from assistant.serving.embedded.examples import Example
from assistant.serving.embedded.prompt import messages
from assistant.serving.embedded.tokens import Tokens
from tools.base import Call

LONGEST = 640
"""Tokens of prompt and answer; longer examples are left out (the condensed request has at most about 280)."""


@dataclass(frozen=True, slots=True)
class Sample:
    """``tokens``: prompt and answer with its end mark; the answer starts at ``start``."""

    tokens: list[int]
    start: int


def read(path: Path) -> Iterator[Example]:
    """Examples of a generated file, one ``{"request", "about"?, "calls" | "ask" | "reply"}`` a line.

    Raises ``ValueError`` that names the line.
    """
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
            answer = {key: line[key] for key in ("calls", "ask", "reply") if key in line}
            if len(answer) != 1:
                raise ValueError("exactly one of calls, ask and reply is needed")
            yield Example(line["request"], answer, tuple(line.get("about", ())))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}:{number}: not an example: {error!r}") from error


def ordered(action: Action) -> Action:
    """Arguments in the order of the tool's schema, which the engine enforces; raises ``ValueError``."""
    from tools import BY_NAME

    calls = []
    for call in action.calls:
        if call.tool not in BY_NAME:
            raise ValueError(f"unknown tool {call.tool!r}; valid: {', '.join(BY_NAME)}")
        fields, given = list(BY_NAME[call.tool].Arguments.model_fields), call.arguments
        if unknown := set(given) - set(fields):
            raise ValueError(f"{call.tool} has no argument {sorted(unknown)}; valid: {', '.join(fields)}")
        calls.append(Call(call.tool, {key: given[key] for key in fields if key in given}))
    return Action(tuple(calls), action.ask, action.reply)


def samples(examples: Iterable[Example], tokens: Tokens) -> list[Sample]:
    """Tokens of every example that is not too long, in order."""
    found = []
    for example in examples:
        prompt = tokens.encode(tokens.render(messages(example.request, example.about)))
        answer = tokens.encode(encode(ordered(example.action)))
        if len(prompt) + len(answer) < LONGEST:
            found.append(Sample([*prompt, *answer, tokens.end], len(prompt)))
    return found


def digest(found: Iterable[Sample]) -> str:
    """SHA-256 of the tokens: the same data, prompt and wire form give the same digest."""
    whole = hashlib.sha256()
    for sample in found:
        whole.update(json.dumps([sample.start, sample.tokens]).encode())
    return whole.hexdigest()


def shared_prefix(found: list[Sample]) -> int:
    """How many tokens all prompts begin with."""
    first, last = min(sample.tokens for sample in found), max(sample.tokens for sample in found)
    length = 0
    while length < min(len(first), len(last)) and first[length] == last[length]:
        length += 1
    return min([length, *(sample.start - 1 for sample in found)])
