"""Where posts go. A door for a chat implements :class:`Outlet` and keeps an incident in one thread."""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
import threading
from dataclasses import dataclass, field
from typing import Any, Protocol, TextIO

from assistant.doors.oncall.report import Post
from assistant.errors import AssistantError


class NotPosted(AssistantError):
    """The outlet did not take a post, after all tries."""


class Outlet(Protocol):
    """Posts come one at a time, an incident's first before its others."""

    name: str

    def post(self, post: Post, thread: str) -> str:
        """Say it, in ``thread`` unless that is empty; returns the thread. Raises NotPosted."""
        ...


@dataclass
class Stdout:
    """Each post as a paragraph."""

    file: TextIO | None = None
    name: str = "stdout"
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def post(self, post: Post, thread: str) -> str:
        out = self.file or sys.stdout
        try:
            with self._lock:
                print(post.text, end="\n\n", file=out, flush=True)
        except OSError as error:
            raise NotPosted(f"standard output cannot be written: {error.strerror}") from None
        return thread or post.incident


@dataclass
class Webhook:
    """POSTs the post's document as JSON; ``Idempotency-Key`` is the same for every try of the same post.

    With a key, ``X-Sask-Signature: sha256=…`` is the HMAC-SHA256 of the body. Redirects are not followed. Only what
    may pass (no connection, 429, 5xx) is tried again.
    """

    url: str
    key: str = field(default="", repr=False)
    attempts: int = 4
    first_wait: float = 0.5
    timeout: float = 10.0
    name: str = "webhook"

    def post(self, post: Post, thread: str) -> str:
        import httpx
        import stamina

        body = json.dumps(post.document | {"thread": thread}, ensure_ascii=False, default=str).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": f"{post.incident}-{post.kind}"}
        if self.key:
            seal = hmac.new(self.key.encode(), body, hashlib.sha256).hexdigest()
            headers["X-Sask-Signature"] = f"sha256={seal}"
        waits: dict[str, Any] = {"wait_initial": self.first_wait, "wait_jitter": self.first_wait, "wait_max": 10.0}
        try:
            for attempt in stamina.retry_context(on=_may_pass, attempts=self.attempts, **waits):
                with attempt:
                    httpx.post(self.url, content=body, headers=headers, timeout=self.timeout).raise_for_status()
        except httpx.HTTPStatusError as error:
            raise NotPosted(f"the webhook answered {error.response.status_code}") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NotPosted(f"the webhook cannot be reached: {type(error).__name__}") from None
        return thread or post.incident


def _may_pass(error: Exception) -> bool:
    import httpx

    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code == 429 or error.response.status_code >= 500
    return isinstance(error, httpx.TransportError)
