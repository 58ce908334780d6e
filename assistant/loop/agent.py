"""The loop: decide, carry out, look at the results, go on, until there is an answer or a limit."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from assistant.errors import RequestRefused
from assistant.ledger.done import Done, Executor
from assistant.ledger.redact import fence
from assistant.loop.action import Action, encode
from assistant.loop.conversation import Conversation
from assistant.loop.decide import Decider, Decision
from assistant.loop.model import Message
from assistant.loop.said import Said

MAX_REQUEST = 60_000


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one request; ``tokens`` counts prompt and answer of all turns."""

    turns: int = 6
    calls: int = 20
    tokens: int = 200_000
    repeats: int = 2


@dataclass(frozen=True, slots=True)
class Answer:
    """``done`` in call order; ``text`` is the model's or a fixed wording; ``stopped`` names the limit that ended it."""

    request: str
    action: str
    done: tuple[Done, ...] = ()
    text: str = ""
    stopped: str = ""
    decisions: tuple[Decision, ...] = ()
    run: str = ""
    """The journal's id of this run, for ``sask show`` and ``sask resume``; empty when nothing was carried out."""


@dataclass
class Agent:
    decider: Decider
    executor: Executor
    limits: Limits = field(default_factory=Limits)
    clock: Callable[[], datetime] = datetime.now
    known: Callable[[], Mapping[str, frozenset[str]]] = dict
    """The cluster's own names, by argument (see ``Said.known``)."""

    def run(self, request: str, conversation: Conversation | None = None) -> Answer:
        """One request to its answer.

        Raises RequestRefused, ModelError, and SlurmError where Slurm is away before anything began; later it is an
        outcome.
        """
        check_request(request)
        talk = conversation or Conversation()
        said = Said("\n".join([*talk.asked, request]), talk.about, self.clock(), self.known())
        done: list[Done] = []
        decisions: list[Decision] = []
        run, stopped, action = "", "", Action()
        messages: list[Message] = [*talk.messages, {"role": "user", "content": request}]
        while not (stopped := self._limit(decisions, done)):
            decision = self.decider.decide(said, messages)
            decisions.append(decision)
            action = decision.action
            if not action.calls:
                break
            run, batch = self.executor.run(request, action.calls, run=run)
            done += batch
            if not self.decider.can.several_steps or any(d.result.status != "ok" for d in batch):
                break
            messages += _as_messages(action, batch)
            said = replace(said, about=(*said.about, *_facts(batch)))
        _remember(talk, request, action, done)
        return Answer(
            request, _kind(action, done), tuple(done), action.ask or action.reply, stopped, tuple(decisions), run
        )

    def _limit(self, decisions: list[Decision], done: list[Done]) -> str:
        calls = [(d.call.tool, json.dumps(d.call.arguments, sort_keys=True)) for d in done]
        if len(decisions) >= self.limits.turns:
            return f"{self.limits.turns} turns"
        if len(calls) >= self.limits.calls:
            return f"{self.limits.calls} calls"
        if calls and calls.count(calls[-1]) > self.limits.repeats:
            return f"the same call {calls.count(calls[-1])} times"
        return f"{self.limits.tokens} tokens" if sum(d.tokens for d in decisions) >= self.limits.tokens else ""


def check_request(request: str) -> None:
    """Refuse what no model should be asked: nothing at all, or far too much."""
    if not request.strip():
        raise RequestRefused("the request is empty", 'say what you want: sask "what is running?"')
    if len(request) > MAX_REQUEST:
        raise RequestRefused(
            f"the request has {len(request):,} characters; at most {MAX_REQUEST:,} are read",
            "leave out what is pasted, or give a log to `sask diagnose-log FILE`",
        )


def _kind(action: Action, done: list[Done]) -> str:
    if done:
        return "call"
    return "ask" if action.ask else "reply"


def _as_messages(action: Action, batch: tuple[Done, ...]) -> list[Message]:
    """A turn as messages: the calls in the form that the model writes, the results as fenced data."""
    results = [{"tool": d.call.tool, "status": d.result.status, "data": d.result.data} for d in batch]
    return [
        {"role": "assistant", "content": encode(action)},
        {"role": "user", "content": fence(json.dumps(results, default=str)[:12_000], "results")},
    ]


def _facts(batch: tuple[Done, ...]) -> tuple[str, ...]:
    """Results ground later calls: an id that a tool printed may be used."""
    return tuple(json.dumps(d.result.data, default=str)[:12_000] for d in batch)


def _remember(talk: Conversation, request: str, action: Action, done: list[Done]) -> None:
    for one in done:
        arguments = one.call.arguments
        ids = [i.id for i in one.result.items if i.id[:1].isdigit()]
        ids += [str(arguments["job_id"])] if "job_id" in arguments else list(arguments.get("job_ids", []))
        node = arguments.get("node") or arguments.get("nodes")
        talk.touch(jobs=ids, nodes=[node] if isinstance(node, str) else [])
    talk.asked = [*talk.asked, request][-3:] if action.ask and not done else []
    talk.add({"role": "user", "content": request})
    said = Action(calls=tuple(d.call for d in done)) if done else action
    talk.add({"role": "assistant", "content": encode(said)})
