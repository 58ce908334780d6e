"""What stands between a decision and its model while it is measured: a transcript, a stopwatch, a cache."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from assistant.loop.model import ChatModel, Completion, Message


@dataclass
class Probe:
    """One case's view of a model: keeps what was said. ``saved`` are seconds that a cached answer once took."""

    model: ChatModel
    cache: Cache | None = None
    said: list[Message] = field(default_factory=list)
    answers: list[Completion] = field(default_factory=list)
    saved: float = 0.0

    def complete(self, messages: list[Message], schema: dict[str, Any]) -> Completion:
        key = self.cache.key(messages, schema, len(self.answers)) if self.cache else ""
        kept = self.cache.get(key) if self.cache else None
        completion = kept or self.model.complete(messages, schema)
        if kept:
            self.saved += kept.seconds
        elif self.cache:
            self.cache.put(key, completion)
        self.said += messages[len(self.said) :]
        self.said.append({"role": "assistant", "content": completion.text})
        self.answers.append(completion)
        return completion

    @property
    def transcript(self) -> tuple[Message, ...]:
        """Without the system prompt, which is the same for all and thousands of tokens long."""
        return tuple(message for message in self.said if message.get("role") != "system")


@dataclass(frozen=True)
class Cache:
    """Answers by what was asked of whom: model, prompt, sampling, tools (the schema has them), case and repeat."""

    directory: Path
    about: dict[str, Any] = field(default_factory=dict)

    def of(self, case: str, repeat: int) -> Cache:
        return replace(self, about=self.about | {"case": case, "repeat": repeat})

    def key(self, messages: list[Message], schema: dict[str, Any], attempt: int) -> str:
        asked = {"about": self.about, "messages": messages, "schema": schema, "attempt": attempt}
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()

    def get(self, key: str) -> Completion | None:
        """A kept answer; None if there is none, or none that can be read."""
        try:
            return Completion(**json.loads(self._path(key).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def put(self, key: str, completion: Completion) -> None:
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_suffix(f".{os.getpid()}.new")
        half.write_text(json.dumps(asdict(completion)), encoding="utf-8")
        half.replace(path)

    def _path(self, key: str) -> Path:
        return self.directory / key[:2] / f"{key}.json"


class Streamed:
    """An httpx client that asks for a stream and hands back the whole answer, so that the first token is timed.

    For one case; ``first`` is the time to the first piece of text of its first answer, in seconds.
    """

    def __init__(self, client: Any) -> None:
        self.client = client
        self.first: float | None = None

    def request(self, method: str, path: str, json: dict[str, Any]) -> Any:
        import httpx

        started = time.perf_counter()
        body = {**json, "stream": True, "stream_options": {"include_usage": True}}
        with self.client.stream(method, path, json=body) as response:
            if response.status_code != 200:
                response.read()
                return response
            return httpx.Response(200, text=_whole(self._timed(response.iter_lines(), started)))

    def _timed(self, lines: Iterable[str], started: float) -> Iterator[dict[str, Any]]:
        for event in map(_event, lines):
            if self.first is None and any(_delta(event).values()):
                self.first = time.perf_counter() - started
            yield event


def _whole(events: Iterable[dict[str, Any]]) -> str:
    """The document that the server would have sent at once; ASCII, so that half a surrogate pair can be carried."""
    message, usage = {"content": "", "reasoning": ""}, dict[str, Any]()
    finish = ""
    for event in events:
        message = {name: text + _delta(event)[name] for name, text in message.items()}
        finish = _choice(event).get("finish_reason") or finish
        usage = event.get("usage") or usage
    return json.dumps({"choices": [{"message": message, "finish_reason": finish}], "usage": usage})


def _choice(event: dict[str, Any]) -> dict[str, Any]:
    choices = event.get("choices")
    return _object(choices[0] if isinstance(choices, list) and choices else None)


def _delta(event: dict[str, Any]) -> dict[str, str]:
    told = _object(_choice(event).get("delta"))
    texts = {"content": told.get("content"), "reasoning": told.get("reasoning") or told.get("reasoning_content")}
    return {name: text if isinstance(text, str) else "" for name, text in texts.items()}


def _event(line: str) -> dict[str, Any]:
    """One server-sent event's data; empty for keep-alives, the end mark, and what is no JSON object."""
    try:
        data = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
    except ValueError:
        return {}
    return _object(data)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
