"""``sask mcp``: the tools for other agents, on standard input and output or over HTTP with a token; no model."""

from __future__ import annotations

import hmac
import os
import signal
import socket
import sys
from dataclasses import dataclass, replace
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assistant.errors import ConfigError, RequestRefused

if TYPE_CHECKING:
    from mcp.server import Server
    from mcp.server.auth.provider import AccessToken
    from starlette.applications import Starlette

LOCAL = "127.0.0.1"
SHORTEST_TOKEN = 20
_CLOSING_SECONDS = 5


def serve(http: str | None, token_file: Path | None) -> None:
    """Serve until the client closes its end, or Ctrl-C. Raises ConfigError, RequestRefused."""
    if find_spec("mcp") is None:
        raise ConfigError("the MCP server needs the package `mcp`", "pip install 'slurm-assistant[mcp]'")
    import anyio

    if http is None and token_file is not None:
        raise RequestRefused("--token-file is for --http only", "standard input needs no token")
    place = None if http is None else address(http)
    token = "" if place is None else read_token(token_file)
    server = _server()
    try:
        if place is None:
            anyio.run(_on_stdio, server)
        else:
            anyio.run(_on_http, server, _listening(*place), place[0], token)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the server has ended; `sask runs` lists what was asked of it") from None


def _server() -> Server[Any]:
    from assistant import app
    from assistant.doors.mcp_desk import Desk
    from assistant.doors.mcp_server import build
    from assistant.ledger.approval import AskLater

    settings = app.load()
    base = app.executor(settings, AskLater())
    instruments = app.instruments(settings)
    desk = Desk(lambda: replace(base, ledger=replace(base.ledger, context=app.context(instruments))))
    return build(desk, base.ledger.policy.approval_minutes)


def address(text: str) -> tuple[str, int]:
    """``(host, port)`` of ``HOST:PORT``, ``:PORT`` or ``PORT``; this machine alone unless a host is named."""
    host, _, port = text.strip().rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise RequestRefused(f"--http {text!r} has no port", f"write --http {LOCAL}:8765, or --http 8765")
    return host.strip("[]") or LOCAL, int(port)


def read_token(path: Path | None) -> str:
    """The token in a file that nobody else can read. Raises ConfigError; never shows what is in it."""
    make = "(umask 077; openssl rand -hex 32 > FILE)"
    if path is None:
        raise ConfigError("--http needs --token-file: whoever reaches the port acts as you", f"make one: {make}")
    try:
        with path.expanduser().open(encoding="utf-8") as file:
            open_to_others = os.fstat(file.fileno()).st_mode & 0o077
            token = file.read(4096).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the token file {path} cannot be read: {error}", f"make one: {make}") from None
    if open_to_others:
        raise ConfigError(f"the token file {path} can be read by others", f"chmod 600 {path}")
    if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        what = f"one word of at least {SHORTEST_TOKEN} plain characters"
        raise ConfigError(f"the token file {path} does not hold {what}", f"make one: {make}")
    return token


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigError(f"nothing can listen at {host}:{port}: {error.strerror}", "choose another --http") from None


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

    shown = f"[{host}]" if ":" in host else host
    print(f"sask: MCP at http://{shown}:{listening.getsockname()[1]}/mcp", file=sys.stderr, flush=True)
    if not is_local(host):
        print("sask: it speaks plain HTTP, the token with it: put TLS in front", file=sys.stderr, flush=True)
    config = uvicorn.Config(
        web(server, host, token),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_CLOSING_SECONDS,
    )
    await uvicorn.Server(config).serve(sockets=[listening])


def is_local(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


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
