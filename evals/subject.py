"""The model under test: the assistant's own decider, with the ablations of a run and a probe in front of the model."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from assistant import app
from assistant.errors import ConfigError
from assistant.loop.decide import Decider, Decision, MessageMaker
from assistant.loop.model import Message, OpenAIModel
from assistant.loop.said import Said
from evals.cases import Case
from evals.crowd import decoys, described, talk
from evals.options import Options
from evals.probe import Cache, Probe, Streamed
from evals.scorers import expected_calls
from tools import BY_NAME
from tools.base import Tool


@dataclass(frozen=True, slots=True)
class Asked:
    """A decision with what was measured on the way; ``seconds`` as if no answer had come from the cache."""

    decision: Decision
    probe: Probe
    seconds: float
    ttft: float | None = None


@dataclass(frozen=True)
class Watched:
    """One case's decider, and what watches it."""

    decider: Decider
    probe: Probe
    streamed: Streamed | None

    def asked(self, decision: Decision) -> Asked:
        ttft = self.streamed.first if self.streamed else None
        return Asked(decision, self.probe, decision.seconds + self.probe.saved, ttft)


@dataclass(frozen=True)
class Subject:
    """Safe to call from many threads: what a case changes is made for that case alone."""

    decider: Decider
    options: Options
    cache: Cache | None = None

    @property
    def model(self) -> OpenAIModel:
        assert isinstance(self.decider.model, OpenAIModel)
        return self.decider.model

    def __call__(self, case: Case, repeat: int) -> Asked:
        """Raises ModelError when the model cannot be asked."""
        watched = self.watched(case, repeat)
        plan = app.Planner(watched.decider)
        return watched.asked(plan(case.request, user=case.user, is_admin=case.is_admin, now=case.now))

    def watched(self, case: Case, repeat: int) -> Watched:
        """The decider for this case and repeat, with a probe in front of its model."""
        streamed = Streamed(self.model._client) if self.options.stream else None
        model = replace(self.model, extra=self.model.extra | _seed(self.model, repeat))
        model = replace(model, _client=streamed) if streamed else model
        probe = Probe(model, self.cache.of(case.id, repeat) if self.cache else None)
        return Watched(_ablated(replace(self.decider, model=probe), case, self.options), probe, streamed)


def subject(options: Options, say: app.Say = app.silent) -> Subject:
    """Raises ConfigError for a setting that cannot be, ServingError or ModelError when there is no model."""
    settings = app.load(model=options.model, model_name=options.model_name or None)
    decider = app.decider(settings, say)
    if not isinstance(decider.model, OpenAIModel):
        raise ConfigError(f"model {options.model!r} has no endpoint to measure", "give the URL of a server")
    model = replace(decider.model, extra=decider.model.extra | _extra(options))
    if options.temperature is not None:
        model.temperature = options.temperature
    if options.max_tokens is not None:
        model.max_tokens = options.max_tokens
    model._client = _client(model, options.workers)
    can = replace(decider.can, grounded=options.ground, repairs=decider.can.repairs if options.retry else 0)
    about = {"url": model.url, "model": model.model, "extra": model.extra, "stream": options.stream}
    about |= {"temperature": model.temperature, "max_tokens": model.max_tokens}
    cached = Cache(options.cache.absolute(), about) if options.cache else None
    return Subject(replace(decider, model=model, can=can), options, cached)


def _extra(options: Options) -> dict[str, Any]:
    """What the ablations change in the body of a request."""
    extra: dict[str, Any] = {} if options.constrain else {"response_format": {"type": "text"}}
    if options.thinking is not None:
        extra["chat_template_kwargs"] = {"enable_thinking": options.thinking}
    return extra


def _seed(model: OpenAIModel, repeat: int) -> dict[str, int]:
    """Where answers are drawn by chance, each repeat has a seed of its own, the same in every run."""
    return {"seed": repeat} if model.temperature > 0 else {}


def _client(model: OpenAIModel, connections: int) -> Any:
    """One client with a connection for each thread (httpx would keep 20 of them open)."""
    import httpx

    headers = {"Authorization": f"Bearer {model.api_key}"} if model.api_key else {}
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    return httpx.Client(base_url=model.url, headers=headers, timeout=model.timeout, trust_env=False, limits=limits)


def _ablated(decider: Decider, case: Case, options: Options) -> Decider:
    """The decider with the number of tools and the length of context that the options want."""
    if options.tools is not None:
        tools = offered(case, options.tools)
        make = _describing(decider.make_messages, tools) if decider.can.writes else decider.make_messages
        decider = replace(decider, tools=tools, make_messages=make)
    if options.context is not None:
        decider = replace(decider, make_messages=_after(talk(options.context), decider.make_messages))
    return decider


def offered(case: Case, count: int) -> dict[str, Tool]:
    """Tools in the usual order: those that the case expects or forbids, so that it stays the same case, and others
    drawn by its id; where there are no more of ours, decoys."""
    needed = {call["tool"] for expect in case.expects for call in expected_calls(expect)} | case.forbid
    chance = random.Random(case.id)
    ours, others = sorted(BY_NAME.keys() - needed), sorted(decoys())
    chance.shuffle(ours)
    chance.shuffle(others)
    chosen = needed | set([*ours, *others][: max(0, count - len(needed))])
    return {name: tool for name, tool in (BY_NAME | decoys()).items() if name in chosen}


def _describing(make: MessageMaker, tools: Mapping[str, Tool]) -> MessageMaker:
    """The same prompt, with only these tools described in it."""
    ours = app.system_prompt(tuple(name for name in tools if name in BY_NAME))
    more = "".join(described(tool) for name, tool in tools.items() if name not in BY_NAME)

    def messages(said: Said, history: list[Message]) -> list[Message]:
        first, *rest = make(said, history)
        return [{**first, "content": ours + more}, *rest]

    return messages


def _after(before: list[Message], make: MessageMaker) -> MessageMaker:
    """The same prompt, with these turns between its stable part and what is said."""

    def messages(said: Said, history: list[Message]) -> list[Message]:
        first, *rest = make(said, history)
        return [first, *before, *rest]

    return messages
