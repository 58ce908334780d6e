"""Servers that we started: which process it is, whether it still lives, whether it answers, how it is ended."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import signal
import time
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from assistant.ledger.redact import redact

STOP_SECONDS = 30.0
LAST_LINES = 15


@dataclass(frozen=True, slots=True)
class Server:
    """``born``: clock ticks since boot (proc(5)), which tell its pid from a later reuse; ``key``: a file."""

    pid: int
    born: int
    url: str
    model: str
    key: str

    @property
    def alive(self) -> bool:
        return born(self.pid) == self.born

    def write(self, state: Path) -> None:
        partial = state.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(asdict(self)), encoding="utf-8")
        partial.replace(state)

    def stop(self) -> None:
        """End it and all that it started: it leads a process group of its own."""
        for blow in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, blow)
            if wait(lambda: not self.alive, STOP_SECONDS):
                return


def read(state: Path) -> Server | None:
    """The living server of that state file; one that a dead server left behind counts for nothing."""
    try:
        server = Server(**json.loads(state.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return server if server.alive else None


def born(pid: int) -> int:
    """Start of a process in clock ticks since boot; 0 when it is gone or a zombie (proc(5), stat)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])


def healthy(url: str) -> bool:
    """Whether ``GET /health`` answers 200: vLLM's and llama.cpp's word for `the model is loaded`."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError, http.client.HTTPException):
        return False


def wait(true: Callable[[], bool], seconds: float, pause: float = 0.05) -> bool:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
    return True


def new_key(file: Path) -> str:
    """A new API key, in a file that only its owner can read."""
    key = secrets.token_urlsafe(24)
    file.unlink(missing_ok=True)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        out.write(key + "\n")
    return key


def tail(log: Path, lines: int = LAST_LINES) -> str:
    """The last lines of a log, of its last 64 KiB; a progress bar's carriage returns count as line ends."""
    with log.open("rb") as source:
        source.seek(max(0, log.stat().st_size - 65536))
        said = [line for line in source.read().decode(errors="replace").splitlines() if line.strip()]
    return redact("\n".join(f"  {line[:300]}" for line in said[-lines:]))
