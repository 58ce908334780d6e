"""Errors of the sandbox: what failed, what the daemon said last, and what to type next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class SandboxError(RuntimeError):
    """The sandbox could not do what was asked. The message is meant for a person."""


class MissingPackages(SandboxError):
    """System packages are absent. `packages` lists them, `install` is the one line to type."""

    def __init__(self, programs: Sequence[str], packages: Sequence[str]) -> None:
        self.programs = tuple(programs)
        self.packages = tuple(packages)
        self.install = "apt-get install --yes --no-install-recommends " + " ".join(packages)
        super().__init__(
            f"not found on this machine: {', '.join(programs)}.\n"
            f"Install what the sandbox needs (as root): {self.install}"
        )


class DaemonFailed(SandboxError):
    """A daemon ended or never answered. Carries its name and the tail of its log."""

    def __init__(self, daemon: str, problem: str, log: Path, remedy: str = "") -> None:
        self.daemon = daemon
        self.log = log
        tail = log_tail(log)
        parts = [f"{daemon}: {problem}", f"The end of {log}:", tail or "  (empty)"]
        super().__init__("\n".join([*parts, remedy] if remedy else parts))


def log_tail(log: Path, lines: int = 12) -> str:
    """The last `lines` lines of a log, indented; empty when there is no log."""
    if not log.is_file():
        return ""
    text = log.read_text(errors="replace").splitlines()[-lines:]
    return "\n".join(f"  {line}" for line in text)
