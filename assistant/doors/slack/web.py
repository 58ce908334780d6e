"""Slack over HTTP: Bolt's own WSGI adapter in waitress; what is too large or no request of Slack is turned away."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from slack_bolt import App
from slack_bolt.adapter.wsgi import SlackRequestHandler
from waitress.server import create_server

LARGEST = 1_000_000
"""Bytes of a request; Slack's own are far smaller."""
THREADS = 8
log = logging.getLogger(__name__)
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def server(bolt: App, host: str, port: int) -> Any:
    """A waitress server that listens already; ``run()`` serves, ``effective_port`` is where. Raises OSError."""
    handler: Any = SlackRequestHandler(bolt)
    return create_server(
        guarded(handler),
        host=host,
        port=port,
        threads=THREADS,
        max_request_body_size=LARGEST,
        ident=None,
        asyncore_use_poll=True,  # select(2), the default, fails once the process has had 1,024 files open
    )


def guarded(handler: Wsgi) -> Wsgi:
    """What Bolt cannot parse is a bad request and no crash; each refusal is one line in the log."""

    def application(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        def watched(status: str, *rest: Any) -> Any:
            if status.startswith("401"):
                log.warning("refused a request from %s: no good signature of Slack", environ.get("REMOTE_ADDR"))
            return start(status, *rest)

        try:
            _check(environ)
            return handler(environ, watched)
        except ValueError as error:  # no UTF-8, no JSON, a timestamp that is no number
            log.warning("refused a request from %s: %s", environ.get("REMOTE_ADDR"), type(error).__name__)
            start("400 Bad Request", [("Content-Type", "text/plain")])
            return [b"not a request of Slack"]

    return application


def _check(environ: dict[str, Any]) -> None:
    """What the verifier of slack_sdk would stumble over. Raises ValueError."""
    int(environ.get("HTTP_X_SLACK_REQUEST_TIMESTAMP") or "0")
    if not str(environ.get("HTTP_X_SLACK_SIGNATURE", "")).isascii():
        raise ValueError("a signature is hexadecimal")
