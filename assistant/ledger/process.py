"""Which process holds a run, and whether it still lives: host, pid, and the start of that pid (proc(5), stat)."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def identity(token: str) -> str:
    """``host:pid:start:token`` of this process now (a fork is another); the token tells its journals apart."""
    return f"{socket.gethostname()}:{os.getpid()}:{_start(os.getpid())}:{token}"


def is_elsewhere(owner: str) -> bool:
    return owner.split(":")[0] != socket.gethostname()


def is_gone(owner: str) -> bool:
    """Whether ``owner`` was a process of this host that has ended; of another host nothing can be said."""
    parts = owner.split(":")
    if len(parts) != 4 or is_elsewhere(owner):
        return False
    start = _start(int(parts[1]))
    return not start or start != parts[2]


def _start(pid: int) -> str:
    """Start time of a living process in clock ticks since boot; empty when there is none (or it is a zombie)."""
    try:
        rest = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if rest[0] in "ZX" else rest[19]
