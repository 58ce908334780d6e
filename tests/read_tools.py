"""Asking a read tool of a real sandbox, and making jobs for it to look at."""

from __future__ import annotations

import getpass
import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tools import BY_NAME
from tools.base import Caller, ReadTool, ToolContext, ToolResult
from tools.slurm.backend import Backend
from tools.slurm.cli import CliBackend

USER = getpass.getuser()
MOST_CHARACTERS = 9000
"""What a result's data may hold: some 2,000 tokens."""


@dataclass
class Desk:
    """Where somebody sits who asks. ``folder`` is where jobs run and write."""

    folder: Path
    backend: Backend = field(default_factory=CliBackend)
    user: str = USER
    level: Any = "administrator"
    now: datetime | None = None

    def ask(self, tool: str, **arguments: Any) -> ToolResult:
        """The result of a read tool, whose data is JSON and small."""
        found, now = BY_NAME[tool], self.now or datetime.now()
        assert isinstance(found, ReadTool)
        args = found.Arguments.model_validate(arguments, context={"now": now})
        result = found.run(args, ToolContext(self.backend, Caller(self.user, self.level), now))
        assert len(json.dumps(result.data)) < MOST_CHARACTERS
        return result

    def data(self, tool: str, **arguments: Any) -> Any:
        result = self.ask(tool, **arguments)
        assert result.status == "ok", result
        return result.data

    def submit(self, *options: str, run: str = "sleep 300", script: str = "") -> str:
        """A job's id; ``script`` is the text of a batch script, else ``run`` is wrapped."""
        command = ["sbatch", "--parsable", f"--chdir={self.folder}", *options]
        if script:
            path = self.folder / f"job-{time.monotonic_ns()}.sh"
            path.write_text(script)
            return shell(*command, str(path))
        return shell(*command, "--wrap", run)


def shell(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def wait(happened: Callable[[], Any], seconds: float = 20, what: str = "") -> Any:
    deadline = time.monotonic() + seconds
    while True:
        if found := happened():
            return found
        assert time.monotonic() < deadline, f"after {seconds} s still not: {what or happened}"
        time.sleep(0.2)


def reason(job_id: str) -> str:
    return shell("squeue", "--noheader", "--states=all", f"--jobs={job_id}", "--format=%r").split("\n")[0]


def state(job_id: str) -> str:
    return shell("squeue", "--noheader", "--states=all", f"--jobs={job_id}", "--format=%T").split("\n")[0]


def states(job_id: str) -> set[str]:
    return set(shell("squeue", "--noheader", "--states=all", f"--jobs={job_id}", "--format=%T").split())
