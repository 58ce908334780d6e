"""The bridge itself: one answer through our loop, two verdicts on it, and how often they agree."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from assistant.loop.action import Action, raw_calls
from assistant.loop.decide import Capabilities, Decider, Decision
from assistant.loop.model import ChatModel, Completion, Message
from assistant.loop.said import Said
from evals.bfcl.cases import NOW, Asked, expects, tools_of
from evals.bfcl.checker import Calls
from evals.bfcl.spoil import answers
from evals.scorers import score

Check = Callable[[Asked, Calls], str]
PROMPT = """Answer with ONE JSON object, in one of these forms:
{{"NAME": {{ARGUMENTS}}}}   one call of a function
{{"steps": [{{"NAME": {{ARGUMENTS}}}}, …]}}   several calls
{{"reply": "…"}}   when no function fits the request
{{"ask": "…"}}   when the request leaves out what a function needs
Leave out arguments that the request does not speak of.

Functions, with the JSON schema of their arguments
{functions}"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """``ours``: our scorer takes what the loop made of it as exact. ``theirs``: BFCL's reason against it, if any;
    ``refused``: the loop's, where it refused the answer."""

    case: str
    category: str
    kind: str
    text: str
    ours: bool
    theirs: str
    refused: str = ""

    @property
    def agreed(self) -> bool:
        return self.ours == (not self.theirs)


@dataclass
class Scripted:
    """A model that says one thing."""

    text: str

    def complete(self, messages: list[Message], schema: dict[str, Any]) -> Completion:
        return Completion(self.text)


@dataclass
class Agreement:
    """Counts by category and by kind: (answers, right by ours, right by BFCL, agreed)."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    apart: list[Verdict] = field(default_factory=list)

    def add(self, one: Verdict) -> None:
        for group in (one.category, one.kind, "all"):
            self.counts[group, "answers"] += 1
            self.counts[group, "ours"] += one.ours
            self.counts[group, "bfcl"] += not one.theirs
            self.counts[group, "agreed"] += one.agreed
        if not one.agreed:
            self.apart.append(one)

    def share(self, group: str) -> float:
        return self.counts[group, "agreed"] / max(1, self.counts[group, "answers"])


def scripted(case: Asked, check: Check) -> Iterator[Verdict]:
    """Every answer that ``spoil`` knows for a case, judged twice."""
    for kind, text in answers(case):
        yield judged(case, kind, asked(case, Scripted(text)), check)


def asked(case: Asked, model: ChatModel, repairs: int = 0) -> Decision:
    """A case through the loop. Raises ModelError."""
    request = case.messages[-1]["content"]
    decider = Decider(model, tools_of(case), _prompt(case), Capabilities(grounded=False, repairs=repairs))
    return decider.decide(Said(request, (), NOW), [dict(message) for message in case.messages])


def _prompt(case: Asked) -> Callable[[Said, list[Message]], list[Message]]:
    told = [f"{n}: {t.description}\n  {json.dumps(t.schema())}" for n, t in tools_of(case).items()]
    system = PROMPT.format(functions="\n".join(told))
    return lambda said, history: [{"role": "system", "content": system}, *history]


def judged(case: Asked, kind: str, decision: Decision, check: Check) -> Verdict:
    """Two verdicts on what came out of the loop; as everywhere in our scores, an answer that it refused has become a
    question. But where a call was wanted, BFCL sees what was refused, so that a right one would show."""
    action, text = decision.action, decision.completions[-1].text
    ours = score(action, expects(case), NOW, tools=tools_of(case, compared=True)).exact
    theirs = check(case, _as_said(text) if case.truth and not decision.valid else _calls(action))
    return Verdict(case.id, case.category, kind, text, ours, theirs, decision.climbs[-1].error)


def _calls(action: Action) -> Calls:
    return [{call.tool: call.arguments} for call in action.calls]


def _as_said(text: str) -> Calls:
    """The calls of an answer that the loop refused; none where it is no JSON or means none."""
    try:
        pairs = raw_calls(json.loads(text)) or []
    except ValueError:
        return []
    return [{name: arguments} for name, arguments in pairs if isinstance(name, str) and isinstance(arguments, dict)]


def agreement(verdicts: Iterable[Verdict]) -> Agreement:
    found = Agreement()
    for one in verdicts:
        found.add(one)
    return found
