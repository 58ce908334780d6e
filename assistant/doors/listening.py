"""What every door that listens needs: where, with which secret, and whether others could hear it."""

from __future__ import annotations

import os
import socket
import sys
from ipaddress import ip_address
from pathlib import Path

from assistant.errors import ConfigError, RequestRefused

LOCAL = "127.0.0.1"
SHORTEST_SECRET = 20
MAKE_SECRET = "make one: (umask 077; openssl rand -hex 32 > FILE)"


def address(text: str, flag: str, port: int) -> tuple[str, int]:
    """``(host, port)`` of ``HOST:PORT``, ``:PORT`` or ``PORT``; this machine alone unless a host is named.

    ``port`` is one that could have been given. Raises RequestRefused.
    """
    host, _, given = text.strip().rpartition(":")
    if not (given.isascii() and given.isdigit() and int(given) < 65536):
        raise RequestRefused(f"{flag} {text!r} has no port", f"write {flag} {LOCAL}:{port}, or {flag} {port}")
    return host.strip("[]") or LOCAL, int(given)


def listen(host: str, port: int, flag: str) -> socket.socket:
    """A socket that listens there; port 0 takes a free one. Raises ConfigError."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigError(f"nothing can listen at {host}:{port}: {error.strerror}", f"choose another {flag}") from None


def tell(what: str, host: str, listening: socket.socket, path: str = "") -> None:
    """Say where it is, and that plain HTTP shows its token to whoever is on the way."""
    shown = f"[{host}]" if ":" in host else host
    print(f"sask: {what} at http://{shown}:{listening.getsockname()[1]}{path}", file=sys.stderr, flush=True)
    if not is_local(host):
        print("sask: it speaks plain HTTP, the token with it: put TLS in front", file=sys.stderr, flush=True)


def is_local(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def read_secret(path: Path, what: str) -> str:
    """The one word in a file that nobody else can read. Raises ConfigError; never shows what is in it."""
    try:
        with path.expanduser().open(encoding="utf-8") as file:
            open_to_others = os.fstat(file.fileno()).st_mode & 0o077
            secret = file.read(4096).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the {what} file {path} cannot be read: {error}", MAKE_SECRET) from None
    if open_to_others:
        raise ConfigError(f"the {what} file {path} can be read by others", f"chmod 600 {path}")
    if len(secret) < SHORTEST_SECRET or not secret.isascii() or not secret.isprintable() or " " in secret:
        form = f"one word of at least {SHORTEST_SECRET} plain characters"
        raise ConfigError(f"the {what} file {path} does not hold {form}", MAKE_SECRET)
    return secret
