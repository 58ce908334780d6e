"""An OpenAI-compatible endpoint of known latency in a process of its own: ``python -m evals.bench.mock_endpoint 0.1``.

It prints its URL and ends with its standard input. The answer to ``show job N`` is the call of it; no JSON is parsed,
so that hardly any time but the latency is its own.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys

_JOB = re.compile(rb"show job (\d+)")
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Endpoint(asyncio.Protocol):
    """One connection, kept alive; requests on it come one after another."""

    def __init__(self, latency: float) -> None:
        self.latency = latency
        self.received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, found, body = self.received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if found and len(body) >= (int(length[1]) if length else 0):
            self.received = bytearray()
            job = _JOB.search(body)
            asyncio.get_running_loop().call_later(self.latency, self.answer, job[1].decode() if job else "")

    def answer(self, job: str) -> None:
        text = json.dumps({"show_job": {"job_id": job}})
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        whole = {"id": "m", "object": "chat.completion", "created": 0, "model": "mock", "usage": usage}
        body = json.dumps(whole | {"choices": [choice], "data": [{"id": "mock"}]}).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.transport.write(head.encode() + body)


async def serve(latency: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Endpoint(latency), "127.0.0.1", 0, backlog=1024)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1])))
