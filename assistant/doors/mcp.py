"""``sask mcp``: the tools for other agents, on standard input and output or over HTTP with a token; no model."""

from __future__ import annotations

import hmac
import signal
import socket
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assistant.doors.listening import MAKE_SECRET, address, listen, read_secret, tell
from assistant.errors import ConfigError, RequestRefused

if TYPE_CHECKING:
    from mcp.server import Server
    from mcp.server.auth.provider import AccessToken
    from starlette.applications import Starlette

    from assistant.ledger.execute import LedgerExecutor

_CLOSING_SECONDS = 5


def serve(http: str | None, token_file: Path | None) -> None:
    """Serve until the client closes its end, or Ctrl-C. Raises ConfigError, RequestRefused."""
    if find_spec("mcp") is None:
        raise ConfigError("the MCP server needs the package `mcp`", "pip install 'slurm-assistant[mcp]'")
    import anyio

    if http is None and token_file is not None:
        raise RequestRefused("--token-file is for --http only", "standard input needs no token")
    place = None if http is None else address(http, "--http", 8765)
    token = "" if place is None else read_token(token_file)
    server = _server()
    try:
        if place is None:
            anyio.run(_on_stdio, server)
        else:
            anyio.run(_on_http, server, listen(*place, "--http"), place[0], token)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the server has ended; `sask runs` lists what was asked of it") from None


def _server() -> Server[Any]:
    from assistant import app
    from assistant.doors.mcp_desk import Desk
    from assistant.doors.mcp_server import build
    from assistant.ledger.approval import AskLater
    from tools.slurm.rest import user_of
    from tools.slurm.shared import Manners

    settings, manners = app.load(), Manners()
    base = app.executor(settings, AskLater())
    instruments = app.instruments(settings)

    def executor() -> LedgerExecutor:
        slurm = app.backend(settings)
        return app.served(base, manners, slurm, user_of(slurm, app.current_user()), instruments)

    return build(Desk(executor), base.ledger.policy.approval_minutes)


def read_token(path: Path | None) -> str:
    """Raises ConfigError; never shows what is in it."""
    if path is None:
        raise ConfigError("--http needs --token-file: whoever reaches the port acts as you", MAKE_SECRET)
    return read_secret(path, "token")


async def _on_stdio(server: Server[Any]) -> None:
    from mcp.server.stdio import stdio_server

    # a thread waits for standard input and cannot be woken; what a signal cuts off is in the journal, as ever
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.stdin.isatty():
        print("sask: MCP on standard input, for a client that starts this itself; Ctrl-D ends it", file=sys.stderr)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


async def _on_http(server: Server[Any], listening: socket.socket, host: str, token: str) -> None:
    import uvicorn

    tell("MCP", host, listening, "/mcp")
    config = uvicorn.Config(
        web(server, host, token),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_CLOSING_SECONDS,
    )
    await uvicorn.Server(config).serve(sockets=[listening])


def web(server: Server[Any], host: str, token: str) -> Starlette:
    """The server as an application at ``/mcp``; whoever has not the token is answered 401."""
    from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
    from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend
    from starlette.middleware.authentication import AuthenticationMiddleware

    verifier = OneToken(token)
    application = server.streamable_http_app(host=host, token_verifier=verifier)
    application.add_middleware(AuthContextMiddleware)
    application.add_middleware(AuthenticationMiddleware, backend=BearerAuthBackend(verifier))
    return application


@dataclass(frozen=True)
class OneToken:
    """Verifies bearer tokens (RFC 6750) against the one there is, in a time that tells nothing about it."""

    token: str

    async def verify_token(self, token: str) -> AccessToken | None:
        from mcp.server.auth.provider import AccessToken

        if not hmac.compare_digest(token.encode(), self.token.encode()):
            return None
        return AccessToken(token=token, client_id="bearer", scopes=[])
