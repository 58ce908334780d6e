"""From a request to its first validated call, against the engine's own time for the very same bodies and answers.

python -m evals.bench.bench_first_call [--requests N] [--rounds N] [--model URL]     prints one JSON document

Each request is decided (narrowing, schema, HTTP, ladder) and its bodies are posted again bare, in turn and in both
orders, within one run; the engine's prompt cache is off for both, so that each pays for the whole prompt. ``ratio``
is the median over requests of median decision time to median bare time. ``prefix_tokens`` counts the stable system
part of the embedded and of the full prompt with the embedded model's tokenizer. Needs the extras embedded and test.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib.resources import files
from typing import Any

import httpx

from assistant import app
from assistant.loop.decide import Decider, Decision
from assistant.loop.model import Message, OpenAIModel
from assistant.loop.said import Said


@dataclass
class Recorder:
    """An HTTP client for the model that keeps what was posted."""

    model: OpenAIModel
    posted: list[bytes] = field(default_factory=list)

    def client(self) -> httpx.Client:
        hooks = {"request": [lambda request: self.posted.append(request.content)]}
        return httpx.Client(base_url=self.model.url, timeout=self.model.timeout, trust_env=False, event_hooks=hooks)


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds of one request, round by round: decided, bare, and our own part of deciding; and the decision."""

    decided: list[float]
    bare: list[float]
    own: list[float]
    decision: Decision

    @property
    def ratio(self) -> float:
        return statistics.median(self.decided) / statistics.median(self.bare)


def measure(decider: Decider, said: Said, rounds: int) -> Measured:
    """One warm-up, then ``rounds`` of both, alternating which comes first. Raises ModelError."""
    assert isinstance(decider.model, OpenAIModel)
    recorder = Recorder(decider.model)
    with recorder.client() as client:
        model = replace(decider.model, extra={**decider.model.extra, "cache_prompt": False}, _client=client)
        decider = replace(decider, model=model)
        decision = _decide(decider, said)
        bodies = list(recorder.posted)
        decided, bare, own = [], [], []
        for number in range(rounds):
            if number % 2:
                bare.append(_post(client, bodies))
            again = _decide(decider, said)
            decided.append(again.seconds)
            own.append(again.seconds - sum(completion.seconds for completion in again.completions))
            if not number % 2:
                bare.append(_post(client, bodies))
    return Measured(decided, bare, own, decision)


def _decide(decider: Decider, said: Said) -> Decision:
    """With a fresh ``Said``: what is read out of a request once is kept in it."""
    return decider.decide(replace(said), [{"role": "user", "content": said.request}])


def _post(client: httpx.Client, bodies: list[bytes]) -> float:
    started = time.perf_counter()
    for body in bodies:
        headers = {"Content-Type": "application/json"}
        client.post("/v1/chat/completions", content=body, headers=headers).raise_for_status().json()
    return time.perf_counter() - started


def requests(count: int) -> Iterator[Said]:
    """Every n-th request of the development set, so that all kinds are among them."""
    lines = files("evals").joinpath("datasets", "requests_dev.jsonl").read_text(encoding="utf-8").splitlines()
    cases = [json.loads(line) for line in lines if line.strip()]
    for case in cases[:: max(1, len(cases) // count)][:count]:
        yield Said(case["request"], (), datetime.fromisoformat(case["context"]["now"]))


def prefix_tokens() -> dict[str, int]:
    """Tokens of the system message as the chat template writes it: embedded prompt and full prompt."""
    from assistant.serving.embedded.prompt import messages
    from assistant.serving.embedded.tokens import Tokens
    from assistant.serving.embedded.weights import weights

    tokens = Tokens(weights())
    settings = app.load(model="http://127.0.0.1:9", model_name="full")  # named, so that no server is asked
    full = app.decider(settings).make_messages(Said("", (), datetime.now()), [])

    def count(system: Message) -> int:
        assert system["role"] == "system"
        text = tokens.render([system])
        return len(tokens.encode(text[: text.rindex("<|im_start|>assistant")]))

    return {"embedded": count(messages("")[0]), "full": count(full[0])}


def report(measured: list[Measured]) -> dict[str, Any]:
    ratios = [one.ratio for one in measured]
    return {
        "requests": len(measured),
        "valid": sum(one.decision.valid for one in measured),
        "repaired": sum(len(one.decision.completions) > 1 for one in measured),
        "ratio": round(statistics.median(ratios), 4),
        "ratio_worst": round(max(ratios), 4),
        "decided_ms": _ms([statistics.median(one.decided) for one in measured]),
        "bare_ms": _ms([statistics.median(one.bare) for one in measured]),
        "own_ms": _ms([statistics.median(one.own) for one in measured]),
        "output_tokens": statistics.median(
            sum(completion.completion_tokens for completion in one.decision.completions) for one in measured
        ),
    }


def _ms(seconds: list[float]) -> float:
    return round(1000 * statistics.median(seconds), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=12, help="how many (default 12)")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each (default 5)")
    parser.add_argument("--model", help="`embedded` (default), or the URL of an OpenAI-compatible server")
    options = parser.parse_args()
    decider = app.decider(app.load(model=options.model))
    measured = [measure(decider, said, options.rounds) for said in requests(options.requests)]
    print(json.dumps(report(measured) | {"rounds": options.rounds, "prefix_tokens": prefix_tokens()}))


if __name__ == "__main__":
    main()
