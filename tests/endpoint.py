"""A server for ``sask doctor`` that behaves, or misbehaves in one named way; standard library, real HTTP."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Endpoint(ThreadingHTTPServer):
    """``faults`` are words of this module; ``engine`` is what it pretends to be; ``key`` is asked for if set."""

    daemon_threads = True

    def __init__(self, *faults: str, engine: str = "vllm", key: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.faults, self.engine, self.key = frozenset(faults), engine, key
        self.bodies: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        engine = self.server.engine
        known: dict[str, Any] = {"/v1/models": {"data": [{"id": "scripted", "max_model_len": 4096}]}}
        if engine == "vllm":
            known["/version"] = {"version": "0.33.0"}
        if engine == "llama.cpp":
            known["/props"] = {"build_info": "b9000", "default_generation_settings": {"n_ctx": 1024}}
            known["/v1/models"] = {"data": [{"id": "scripted"}]}
        self._say(known.get(self.path, {}), 200 if self.path in known else 404)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        if self.server.key and self.headers.get("Authorization") != f"Bearer {self.server.key}":
            self._say({"error": "no key"}, 401)
        elif body.get("stream"):
            self._stream()
        elif "response_format" in body and "schema_refused" in self.server.faults:
            self._say({"error": "response_format is not supported"}, 400)
        else:
            self._say({"choices": [_choice(body, self.server.faults)], "usage": {"completion_tokens": 7}}, 200)

    def _stream(self) -> None:
        events: list[Any] = [{"choices": [{"delta": {"content": word}}]} for word in ("one", " two", " three")]
        events.append({"choices": [], "usage": {"completion_tokens": 3}})
        lines = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
        self._send(lines.encode(), 200)

    def _say(self, document: dict[str, Any], status: int) -> None:
        self._send(json.dumps(document).encode(), status)

    def _send(self, payload: bytes, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)


def _choice(body: dict[str, Any], faults: frozenset[str]) -> dict[str, Any]:
    if body.get("tools"):
        return _with_tools(body, faults)
    if "response_format" in body:
        schema = body["response_format"]["json_schema"]["schema"]
        value = schema["properties"]["value"]["enum"][0]
        return _text("Hello!" if "schema_ignored" in faults else json.dumps({"value": value}))
    if body["max_tokens"] < 32:
        return _text("one two three", finish="stop" if "truncation_hidden" in faults else "length")
    return _thought(body, faults)


def _thought(body: dict[str, Any], faults: frozenset[str]) -> dict[str, Any]:
    on = body.get("chat_template_kwargs", {}).get("enable_thinking") or "thinking_stuck" in faults
    if not on or "no_thoughts" in faults:
        return _text("51")
    if "reasoning_in_content" in faults:
        return _text("<think>17 times 3</think>51")
    where = "reasoning_content" if "old_field" in faults else "reasoning"
    return _text("" if "content_empty" in faults else "51", **{where: "17 times 3 is 51"})


def _with_tools(body: dict[str, Any], faults: frozenset[str]) -> dict[str, Any]:
    prompt, choice = body["messages"][0]["content"], body["tool_choice"]
    if body["max_tokens"] < 32:
        return _calls(
            ("note", '{"text": "two hun'), finish="tool_calls" if "call_truncation_hidden" in faults else "length"
        )
    if choice == "required":
        if "empty_calls" in faults:
            return _calls(finish="tool_calls")
        return _text("Hello!") if "required_ignored" in faults else _calls(("note", '{"text": "hello"}'))
    if isinstance(choice, dict):
        name = "note" if "named_ignored" in faults else choice["function"]["name"]
        return _calls((name, '{"value": "quartz-7319"}' if name == "pick" else '{"text": "hi"}'))
    if "parallel_tool_calls" in body:
        return _calls(*[("note", '{"text": "a"}')] * (2 if "parallel_ignored" in faults else 1))
    assert "pick" in prompt
    if "call_in_content" in faults:
        return _text("<tool_call><function=pick></function></tool_call>")
    if "call_in_reasoning" in faults:
        return _text("", reasoning="<tool_call><function=pick></function></tool_call>")
    if "no_arguments" in faults:
        return _calls(("pick", "{}"))
    return _calls(("pick", '{"value": "apples"}' if "strict_ignored" in faults else '{"value": "quartz-7319"}'))


def _text(content: str, finish: str = "stop", **more: str) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": content, **more}, "finish_reason": finish}


def _calls(*calls: tuple[str, str], finish: str = "tool_calls") -> dict[str, Any]:
    functions = [{"type": "function", "function": {"name": name, "arguments": text}} for name, text in calls]
    return {"message": {"role": "assistant", "content": None, "tool_calls": functions}, "finish_reason": finish}


@contextmanager
def tls_endpoint(folder: Path) -> Iterator[tuple[str, Path]]:
    """(URL, the file with its certificate) of a server that nobody else trusts."""
    file = folder / "server.pem"
    file.write_text(CERTIFICATE)
    with Endpoint() as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        with _serving(server):
            yield f"https://127.0.0.1:{server.server_port}", file


@contextmanager
def endpoint(*faults: str, engine: str = "vllm", key: str = "") -> Iterator[Endpoint]:
    with Endpoint(*faults, engine=engine, key=key) as server, _serving(server):
        yield server


@contextmanager
def _serving(server: Endpoint) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


# A certificate of 127.0.0.1 with its key, of no use but here; valid for a hundred years.
CERTIFICATE = """
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgv2f8jkkiE52wBjWC
9yiMnV5yoFyViBeeAcQedw8maZahRANCAASdqWGlr9DBsKDBWHDFjvvTWS+k8Pq8
nb9xW40nun3qpujxrlqhZNZ/RcZ7iB1XzW8v5UdDRVmzEa1cVjJwBH+4
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBkjCCATigAwIBAgIUAkHIYhOnZtib6Kdg3yW8Wo7Y9rQwCgYIKoZIzj0EAwIw
FTETMBEGA1UEAwwKc2FzayB0ZXN0czAgFw0yNjExMjExMTU5MDFaGA8yMTI2MTAy
ODExNTkwMVowFTETMBEGA1UEAwwKc2FzayB0ZXN0czBZMBMGByqGSM49AgEGCCqG
SM49AwEHA0IABJ2pYaWv0MGwoMFYcMWO+9NZL6Tw+rydv3FbjSe6feqm6PGuWqFk
1n9FxnuIHVfNby/lR0NFWbMRrVxWMnAEf7ijZDBiMB0GA1UdDgQWBBRaVK8wipZ+
xln/17DHWUIuCXztNDAfBgNVHSMEGDAWgBRaVK8wipZ+xln/17DHWUIuCXztNDAP
BgNVHREECDAGhwR/AAABMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAw
RQIhAPFUg3Gdl92GeNRwNRA9pSBh86aR1AKTL+WkJQa2e+naAiB172xxYjf8EArg
LI8/z7MUOCmjBdvj2xlGdgdGY3uzzA==
-----END CERTIFICATE-----
"""
