"""An OpenAI-compatible server that misbehaves on cue: real HTTP, so that clients meet what they would meet."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Reply:
    """``text`` is the model's answer; ``body`` the raw HTTP body instead; ``hang_up`` closes in the middle of it."""

    text: str = ""
    status: int = 200
    body: bytes | None = None
    hang_up: bool = False
    finish_reason: str = "stop"


Script = Callable[[str, int], Reply]
"""(the last user message but the clock, how many requests were answered before) → reply."""


@dataclass
class ChatServer:
    """``asked`` are the bodies of all requests, in the order of their arrival."""

    script: Script
    asked: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, body: dict[str, Any]) -> Reply:
        with self.lock:
            count = len(self.asked)
            self.asked.append(body)
        users = [m["content"] for m in body["messages"] if m["role"] == "user"]
        return self.script(users[0], count)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    chat: ChatServer

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        listed = {"data": [{"id": "scripted", "root": "made-up/revision-1"}]}
        known = {"/v1/models": listed, "/version": {"version": "9.9"}}.get(self.path)
        self._send(Reply(status=200 if known else 404), json.dumps(known or {}).encode())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        reply = self.chat.take(body)
        if reply.body is not None:
            self._send(reply, reply.body)
        elif body.get("stream") and reply.status == 200:
            self._stream(reply)
        else:
            self._send(reply, json.dumps(_document(reply)).encode())

    def _send(self, reply: Reply, body: bytes) -> None:
        self.send_response(reply.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if reply.hang_up else body)
        self.close_connection = reply.hang_up

    def _stream(self, reply: Reply) -> None:
        events: list[Any] = [{"choices": [{"delta": {"content": part}}]} for part in ("", *reply.text)]
        events += [{"choices": [{"delta": {}, "finish_reason": "stop"}]}, {"choices": [], "usage": _USAGE}]
        lines = [": keep-alive", *(f"data: {json.dumps(event)}" for event in events), "data: [DONE]"]
        self._send(reply, "".join(f"{line}\n\n" for line in lines).encode())


_USAGE = {"prompt_tokens": 100, "completion_tokens": 7}


def _document(reply: Reply) -> dict[str, Any]:
    message = {"role": "assistant", "content": reply.text}
    return {"choices": [{"message": message, "finish_reason": reply.finish_reason}], "usage": _USAGE}


@contextmanager
def chat_server(script: Script) -> Iterator[ChatServer]:
    """A server on a free port of the loopback interface."""
    chat = ChatServer(script)
    handler = type("Handler", (_Handler,), {"chat": chat})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    chat.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield chat
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
