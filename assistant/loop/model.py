"""The seam to a model: one OpenAI-compatible endpoint, asked for one JSON document that obeys a schema."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from assistant.errors import ConfigError, ModelRefused, ModelTimeout, ModelUnreachable

if TYPE_CHECKING:
    import ssl

Message = dict[str, Any]
"""An OpenAI chat message: ``{"role": "user", "content": "…"}``."""
LONGEST_WAIT = 30.0
"""Seconds: a server that wants to be left alone for longer is told of at once."""


@dataclass(frozen=True, slots=True)
class Completion:
    """``text`` is the answer alone; reasoning is kept apart, never parsed and never shown to a tool."""

    text: str
    finish_reason: str = "stop"
    reasoning: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0


class ChatModel(Protocol):
    def complete(self, messages: list[Message], schema: dict[str, Any]) -> Completion:
        """Raises a ``ModelError``; a strange answer is not an error here, the ladder judges it."""
        ...


@dataclass
class OpenAIModel:
    """Any OpenAI-compatible server: vLLM, xllamacpp, llama.cpp, a site's gateway.

    ``extra`` goes into the body as it is (``chat_template_kwargs`` and the like). ``ca_file``: a PEM file with the
    authorities to trust, instead of the usual ones. Requests are repeated only when the server said that it did
    nothing: 429 and 503, after its Retry-After unless that is longer than anybody waits.
    """

    url: str
    model: str
    api_key: str = ""
    timeout: float = 120.0
    max_tokens: int = 512
    temperature: float = 0.0
    extra: dict[str, Any] = field(default_factory=dict)
    ca_file: str = ""
    _client: Any = None

    def complete(self, messages: list[Message], schema: dict[str, Any]) -> Completion:
        started = time.perf_counter()
        answer = self.ask(
            "POST",
            "/v1/chat/completions",
            {
                "model": self.model,
                "messages": messages,
                "max_tokens": self.max_tokens,
                "temperature": self.temperature,
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "action", "schema": schema, "strict": True},
                },
                **self.extra,
            },
        )
        return _completion(answer, time.perf_counter() - started)

    def first_model(self) -> str:
        """The first model that the server lists (``GET /v1/models``)."""
        listed = self.ask("GET", "/v1/models").get("data") or []
        if not listed:
            raise ModelRefused(f"{self.url} lists no model", "name one with `model_name`")
        return str(listed[0]["id"])

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One request; the JSON object that came back. Raises a ``ModelError``."""
        import httpx

        try:
            response = self._send(method, path, body)
        except httpx.HTTPStatusError as error:  # still 429 or 503 after the last try
            response = error.response
        except httpx.TimeoutException as error:
            raise ModelTimeout(
                f"the model at {self.url} did not answer in {self.timeout:.0f} s",
                "raise `timeout` or use a smaller model",
            ) from error
        except httpx.HTTPError as error:
            raise ModelUnreachable(
                f"no model answers at {self.url}: {error}", "`sask serve embedded` starts the bundled one"
            ) from error
        if response.status_code != 200:
            raise ModelRefused(
                f"the model at {self.url} answered HTTP {response.status_code}: {response.text[:300]}",
                "check `url`, `model` and `api_key` with `sask config`",
                status=response.status_code,
            )
        try:
            return dict(response.json())
        except (ValueError, TypeError, RecursionError) as error:
            raise ModelRefused(
                f"{self.url} did not answer with JSON: {response.text[:120]!r}", "is this an OpenAI-compatible server?"
            ) from error

    @property
    def client(self) -> Any:
        """The httpx client with the key and the authorities, made at the first use and kept: connections are reused."""
        import httpx

        if self._client is None:
            headers = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
            verify = _trusting(self.ca_file) if self.ca_file else True
            self._client = httpx.Client(
                base_url=self.url, headers=headers, timeout=self.timeout, trust_env=False, verify=verify
            )
        return self._client

    def _send(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        import stamina

        for attempt in stamina.retry_context(on=_wait_before_retry, attempts=3, timeout=LONGEST_WAIT):
            with attempt:
                response = self.client.request(method, path, json=body)
                if response.status_code in (429, 503) and attempt.num < 3:
                    response.raise_for_status()
        return response


def _wait_before_retry(error: Exception) -> bool | float:
    """Only what did nothing is asked again; the server's own Retry-After counts."""
    import httpx

    if isinstance(error, httpx.HTTPStatusError):
        wait = _seconds(error.response.headers.get("Retry-After", ""))
        return True if wait is None else wait <= LONGEST_WAIT and wait
    return isinstance(error, httpx.ConnectError) and "refused" not in str(error).lower()


def _seconds(after: str) -> float | None:
    """Retry-After in either of its forms (RFC 9110, section 10.2.3); ``None`` for none or anything else."""
    from email.utils import parsedate_to_datetime

    if after.isdigit():
        return float(after)
    try:
        return max(parsedate_to_datetime(after).timestamp() - time.time(), 0.0)
    except ValueError:
        return None


def _trusting(ca_file: str) -> ssl.SSLContext:
    import ssl

    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # an SSLError is one
        raise ConfigError(f"ca_file {ca_file} cannot be used: {error}", "name a PEM file of certificates") from error


def _completion(answer: dict[str, Any], seconds: float) -> Completion:
    """What is missing or of another shape is empty: the ladder says that no answer came."""
    choices = answer.get("choices")
    choice = _object(choices[0] if isinstance(choices, list) and choices else None)
    message, usage = _object(choice.get("message")), _object(answer.get("usage"))
    return Completion(
        text=_text(message.get("content")),
        finish_reason=_text(choice.get("finish_reason")),
        reasoning=_text(message.get("reasoning")) or _text(message.get("reasoning_content")),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
        seconds=seconds,
    )


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    """Half a surrogate pair, which JSON can carry and UTF-8 cannot, becomes a question mark."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0
