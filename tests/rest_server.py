"""A slurmrestd that says what it is told to: routes of a stdlib server, and what was asked of it."""

from __future__ import annotations

import base64
import json
import socketserver
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Handler = Callable[[BaseHTTPRequestHandler], None]
Reply = Mapping[str, Any] | tuple[int, str, bytes] | Handler


@dataclass
class Asked:
    method: str
    path: str
    token: str
    user: str
    body: Any


@dataclass
class Scripted:
    """``routes``: "GET /path" → a JSON object, (status, content type, bytes), or a function that answers itself."""

    routes: dict[str, Reply] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    url: str = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        size = int(handler.headers.get("content-length") or 0)
        text = handler.rfile.read(size)
        headers = handler.headers
        self.asked.append(
            Asked(
                handler.command,
                handler.path,
                headers.get("X-SLURM-USER-TOKEN", ""),
                headers.get("X-SLURM-USER-NAME", ""),
                json.loads(text) if text else None,
            )
        )
        reply = self.routes.get(f"{handler.command} {handler.path.partition('?')[0]}")
        reply = reply if reply is not None else (404, "text/plain", b"Unable find requested URL.")
        if callable(reply):
            reply(handler)
            return
        status, kind, data = (
            reply if isinstance(reply, tuple) else (200, "application/json", json.dumps(reply).encode())
        )
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)


@contextmanager
def serving(scripted: Scripted, socket: Path | None = None) -> Iterator[Scripted]:
    class Handling(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            scripted.answer(self)

        do_POST = do_DELETE = do_GET

        def log_message(self, *_: object) -> None:
            """Quiet."""

    class Unix(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

    server = Unix(str(socket), Handling) if socket else ThreadingHTTPServer(("127.0.0.1", 0), Handling)
    scripted.url = f"unix:{socket}" if socket else f"http://127.0.0.1:{server.socket.getsockname()[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield scripted
    finally:
        server.shutdown()
        server.server_close()


def openapi(*parts: str) -> dict[str, Any]:
    """The OpenAPI document of a slurmrestd with these ``slurm/v0.0.NN``."""
    return {"paths": {f"/{part}/ping": {} for part in parts}}


def jwt(seconds: float, user: str = "ann") -> str:
    """A token (with no true signature) that ends in so many seconds."""
    claims = json.dumps({"exp": int(time.time() + seconds), "sun": user}).encode()
    return f"e30.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.c2ln"
