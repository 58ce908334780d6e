"""Whose request it is: a JWT from a file, from a command that makes one, or from ``SLURM_JWT``."""

from __future__ import annotations

import base64
import binascii
import getpass
import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tools.slurm.errors import SlurmUnreachable

_COMMAND_SECONDS = 20.0
# A token that ends within this is as good as ended: the request has to arrive too.
_MARGIN = 5.0


@dataclass
class Credentials:
    """The first of these that is given: ``file`` (read anew each time), ``command`` (an argument list that prints a
    token, run again when its token has ended or was refused), ``SLURM_JWT``. None of them: no token is sent, which
    only a unix socket with rest_auth/local accepts. ``user`` defaults to the name in the token, then to the login.
    """

    user: str = ""
    file: Path | None = None
    command: Sequence[str] = ()
    environment: Mapping[str, str] | None = None
    _held: str = field(default="", repr=False)

    def headers(self) -> dict[str, str]:
        """slurmrestd(8), AUTHENTICATION. Raises ``SlurmUnreachable`` (``token_expired``, ``no_token``)."""
        token = self.token()
        if not token:
            return {}
        return {"X-SLURM-USER-NAME": self._name(token), "X-SLURM-USER-TOKEN": token}

    def token(self) -> str:
        """The token to send, made anew where a command can and the old one has ended."""
        if self.file is not None:
            token = self._read(self.file)
        elif self.command:
            if not self._held or _ended(self._held):
                self._held = self._made()
            token = self._held
        else:
            source = os.environ if self.environment is None else self.environment
            token = source.get("SLURM_JWT", "").strip()
        if token and _ended(token):
            raise SlurmUnreachable(
                f"the token from {self.source} ended at {_end_text(token)} ({self.remedy})",
                code="token_expired",
                transient=False,
            )
        return token

    def renew(self) -> bool:
        """Forget the token that was refused; True where another one can be had."""
        before, self._held = self._held, ""
        return bool(self.command) and self.file is None and bool(before)

    def name(self) -> str:
        """Who the requests are from."""
        return self._name(self.token())

    @property
    def source(self) -> str:
        if self.file is not None:
            return str(self.file)
        return f"the command {self.command[0]}" if self.command else "SLURM_JWT"

    @property
    def remedy(self) -> str:
        """What a person can do about it."""
        if self.file is not None:
            return f"put a new one into {self.file}: scontrol token lifespan=SECONDS"
        if self.command:
            return f"see what {self.command[0]} prints"
        return "export $(scontrol token lifespan=SECONDS), or set a token file or a token command"

    def _name(self, token: str) -> str:
        told = _claims(token)
        return self.user or str(told.get("sun") or told.get("username") or getpass.getuser())

    def _read(self, path: Path) -> str:
        try:
            return _bare(path.expanduser().read_text(encoding="ascii"))
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it holds more than a token"
            raise SlurmUnreachable(f"token file {path}: {why}", code="no_token", transient=False) from None

    def _made(self) -> str:
        """The last word that the command prints; its own ``SLURM_JWT=`` is dropped, nothing of it is ever shown."""
        try:
            done = subprocess.run(
                list(self.command), capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            why = f"gave no token in {_COMMAND_SECONDS:.0f} s" if isinstance(error, subprocess.TimeoutExpired) else (
                f"cannot be run: {error.strerror}")  # fmt: skip
            raise SlurmUnreachable(f"token command {self.command[0]} {why}", code="no_token", transient=False) from None
        token = _bare(done.stdout)
        if done.returncode != 0 or not token:
            said = done.stderr.strip().splitlines()[-1:] or ["it printed nothing"]
            raise SlurmUnreachable(
                f"token command {self.command[0]} ended with {done.returncode}: {said[0][:200]}",
                code="no_token",
                transient=False,
            )
        return token


def _bare(printed: str) -> str:
    words = printed.split()
    return words[-1].removeprefix("SLURM_JWT=") if words else ""


def _claims(token: str) -> dict[str, Any]:
    """What the token says of itself, unverified (RFC 7519); empty where it is no JWT."""
    try:
        middle = token.split(".")[1]
        told = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    except (IndexError, binascii.Error, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def _end(token: str) -> float | None:
    end = _claims(token).get("exp")
    return float(end) if isinstance(end, (int, float)) else None


def _ended(token: str) -> bool:
    end = _end(token)
    return end is not None and end < time.time() + _MARGIN


def _end_text(token: str) -> str:
    return datetime.fromtimestamp(_end(token) or 0).isoformat(timespec="seconds")
