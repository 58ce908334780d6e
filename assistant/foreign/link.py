"""The connection to one foreign MCP server: made when it is needed, made anew after it broke.

The official client is asynchronous and this program is not: one thread runs the connections of all servers.
"""

from __future__ import annotations

import asyncio
import atexit
import tempfile
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future
from contextlib import AsyncExitStack, suppress
from functools import cache
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, TypeVar

from assistant.config import McpServer
from assistant.errors import ServerFailed
from assistant.ledger.redact import redact
from tools.views import short

if TYPE_CHECKING:
    from mcp import Client, types

_PAGES = 10
_GRACE_SECONDS = 2.0
"""Longer than the client's own limit, which ends a request more gently."""
_CLOSING_SECONDS = 5.0
_LONGEST_ERROR = 300
_Given = TypeVar("_Given")


class Link:
    """``name`` is the server's in the settings. Its methods may be called from any thread."""

    def __init__(self, name: str, server: McpServer) -> None:
        self.name = name
        self.server = server
        self._lock = Lock()
        self._client: Client | None = None
        self._alive: Future[None] | None = None
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115

    def tools(self) -> list[types.Tool]:
        """What the server offers now. Raises ServerFailed."""
        return self._ask(_listed)

    def call(self, tool: str, arguments: dict[str, Any]) -> types.CallToolResult:
        """One call; what the tool itself has to say against it is in the result. Raises ServerFailed."""
        return self._ask(lambda client: client.call_tool(tool, arguments))

    def close(self) -> None:
        with self._lock:
            alive, self._client, self._alive = self._alive, None, None
        if alive is not None:
            alive.cancel()

    def _ask(self, work: Callable[[Client], Awaitable[_Given]]) -> _Given:
        asked: Future[_Given] | None = None

        async def at_work() -> _Given:
            return await work(client)

        try:
            client = self._connected()
            asked = asyncio.run_coroutine_threadsafe(at_work(), _loop())
            return asked.result(self.server.timeout + _GRACE_SECONDS)
        except _failures() as error:
            if asked is not None:
                asked.cancel()
            if _is_broken(error):
                self.close()
            raise ServerFailed(f"the MCP server {self.name} {self._why(error)}", _remedy(self.server)) from None

    def _connected(self) -> Client:
        with self._lock:
            if self._client is None or self._alive is None or self._alive.done():
                ready: Future[Client] = Future()
                self._alive = asyncio.run_coroutine_threadsafe(self._live(ready), _loop())
                try:
                    self._client = ready.result(self.server.timeout)
                except TimeoutError:
                    self._alive.cancel()
                    raise
            return self._client

    async def _live(self, ready: Future[Client]) -> None:
        """The connection, from its beginning to its end in one task, as its cancel scopes want it."""
        from mcp import Client

        try:
            async with AsyncExitStack() as stack:
                transport = await self._transport(stack)
                client = Client(transport, read_timeout_seconds=self.server.timeout, cache=None)
                ready.set_result(await stack.enter_async_context(client))
                await asyncio.Event().wait()
        except _failures() as error:
            if not ready.done():
                ready.set_exception(error)

    async def _transport(self, stack: AsyncExitStack) -> Any:
        from mcp.client.stdio import StdioServerParameters, stdio_client
        from mcp.client.streamable_http import streamable_http_client

        if self.server.command:
            program, *arguments = self.server.command
            env = {name: value.get_secret_value() for name, value in self.server.env.items()}
            return stdio_client(StdioServerParameters(command=program, args=arguments, env=env), errlog=self._errors)
        import httpx2

        token = self.server.token()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        client = httpx2.AsyncClient(headers=headers, timeout=self.server.timeout, trust_env=False)
        return streamable_http_client(self.server.url, http_client=await stack.enter_async_context(client))

    def _why(self, error: BaseException) -> str:
        """In words, with the last line that a program of ours wrote to its standard error."""
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, TimeoutError):
            return f"did not answer in {self.server.timeout:g} s"
        last = ""
        if self.server.command:
            self._errors.seek(0)
            last = " ".join("".join(self._errors.read()[-4_000:].strip().splitlines()[-1:]).split())
        text = " · ".join(filter(None, [str(error) or type(error).__name__, last]))
        return f"failed: {short(redact(text), _LONGEST_ERROR)}"


def _remedy(server: McpServer) -> str:
    return "start its `command` by hand to see why" if server.command else "see whether it runs, and its log"


async def _listed(client: Client) -> list[types.Tool]:
    found: list[types.Tool] = []
    cursor: str | None = None
    for _ in range(_PAGES):
        page = await client.list_tools(cursor=cursor)
        found += page.tools
        if not (cursor := page.next_cursor):
            break
    return found


def _is_broken(error: BaseException) -> bool:
    """Whether to connect anew: not for a call that the server, or the check of its answer, did not like."""
    from mcp import MCPError
    from mcp.types import INVALID_PARAMS, METHOD_NOT_FOUND

    refused = isinstance(error, MCPError) and error.code in (INVALID_PARAMS, METHOD_NOT_FOUND)
    return not refused and not isinstance(error, RuntimeError)


@cache
def _failures() -> tuple[type[BaseException], ...]:
    """All that a server can do to its client; nothing of it may end a request to the cluster."""
    import anyio
    import httpx2
    from mcp import MCPError

    streams = (anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream)
    # RuntimeError: the client's word for a result that breaks the tool's own schema; ValueError: for no protocol at all
    said = (MCPError, RuntimeError, ValueError, OSError, ExceptionGroup, CancelledError, httpx2.HTTPError)
    return (*said, *streams, httpx2.InvalidURL)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    Thread(target=loop.run_forever, name="mcp-servers", daemon=True).start()
    atexit.register(_end, loop)
    return loop


def _end(loop: asyncio.AbstractEventLoop) -> None:
    """Every connection is closed in order, so that no server's process stays behind."""

    async def all_of_them() -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    with suppress(TimeoutError):
        asyncio.run_coroutine_threadsafe(all_of_them(), loop).result(_CLOSING_SECONDS)
