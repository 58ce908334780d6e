"""Every answer that is not what its case wants, with all that is needed to see why."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from evals import metrics
from evals.records import ArgumentScore, Record, Run
from evals.reporting.wording import expected_text, got_text

LONGEST = 6_000
"""Characters of a message that are shown; a log in a transcript may be a thousand times longer."""

RUNGS = {
    "http": "HTTP answered", "present": "answer present", "json": "JSON parses", "schema": "schema holds",
    "grounded": "grounded", "semantic": "values make sense", "tool": "right tool", "exact": "right arguments",
    "end_state": "right end state", "mentions": "says what it must",
}  # fmt: skip
FELL = {
    "http": "no HTTP answer", "present": "empty answer", "json": "no JSON", "schema": "schema broken",
    "grounded": "not grounded", "semantic": "senseless value", "tool": "wrong tool", "exact": "wrong arguments",
    "end_state": "wrong end state", "mentions": "leaves out what it must say",
}  # fmt: skip
"""The rungs in words: as they stand, and as they break."""


@dataclass(frozen=True, slots=True)
class Message:
    """``left`` is how many characters are not shown."""

    role: str
    text: str
    left: int


@dataclass(frozen=True, slots=True)
class Failing:
    """``rung``: where it fell, or the first thing that was wrong; ``wanted`` and ``got`` as the confusion matrix."""

    record: Record
    rung: str
    wanted: str
    got: str
    expected: str
    answer: str

    @property
    def forbidden(self) -> bool:
        return bool(self.record.score and self.record.score.forbidden)

    @property
    def wrong(self) -> tuple[ArgumentScore, ...]:
        """The arguments that are not right."""
        return tuple(
            one for one in (self.record.score.arguments if self.record.score else ()) if one.verdict != "right"
        )

    @property
    def turns(self) -> tuple[str, ...]:
        return tuple(map(_text, self.record.turns)) or (self.record.request,)

    @property
    def transcript(self) -> tuple[Message, ...]:
        said = [(str(one.get("role", "")), _text(one.get("content"))) for one in self.record.transcript]
        return tuple(Message(role, text[:LONGEST], max(0, len(text) - LONGEST)) for role, text in said)


def failing(run: Run) -> list[Failing]:
    """By category and id; forbidden effects first."""
    found = [_failing(record) for record in metrics.scored(run.records) if fell_at(record)]
    return sorted(found, key=lambda one: (not one.forbidden, one.record.category, one.record.key))


def fell_at(record: Record) -> str:
    """The first rung that does not hold after repair; empty where all is right."""
    score = record.score
    if score is None:
        return ""
    judged = {"tool": score.tool, "exact": score.exact and not score.forbidden, "end_state": score.end_state}
    judged["mentions"] = score.mentions
    fell = next((name for name, holds in judged.items() if holds is False), "")
    return next((str(rung) for rung, holds in record.rungs_last.items() if fell and not holds), fell)


def _failing(record: Record) -> Failing:
    wanted, got = metrics.wanted(record), metrics.got(record)
    return Failing(record, fell_at(record), wanted, got, expected_text(record), got_text(record))


def counted(values: Iterable[str]) -> list[tuple[str, int]]:
    """Choices of a filter with how often each would hold, in alphabetical order."""
    return sorted(Counter(values).items())


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "" if content is None else json.dumps(content, ensure_ascii=False)


def as_document(one: Failing) -> dict[str, Any]:
    return {
        "id": one.record.id,
        "repeat": one.record.repeat,
        "category": one.record.category,
        "tags": list(one.record.tags),
        "rung": one.rung,
        "forbidden": one.forbidden,
        "request": one.record.request,
        "expected": one.expected,
        "got": one.answer,
    }
