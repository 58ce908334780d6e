"""Slurm's own answers kept as data, so that every generation of Slurm can be asked again without one.

A recording is a JSON file: where it comes from, the ids of the jobs of tests/world.py, and each command that was
run with its exit status and output. To make one on a machine with that Slurm: ``python -m tests.recording FILE``.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.slurm.cli import CliBackend
from tools.slurm.cli.runner import Answer, Runner

FOLDER = Path(__file__).parent / "recordings"
SEPARATOR = "@=@"


class Recorder(Runner):
    """Runs commands for real and keeps what they said."""

    def __init__(self, environment: dict[str, str]) -> None:
        super().__init__(environment)
        self.answers: list[dict[str, Any]] = []

    def _run(self, command: Sequence[str], stdin: str, environment: dict[str, str], limit: float) -> Answer:
        answer = super()._run(command, stdin, environment, limit)
        self.answers.append({"command": list(command), "code": answer.code, "out": answer.out, "err": answer.err})
        return answer


class Replay(Runner):
    """Answers from a recording; a command that is not in it is an error of the test."""

    def __init__(self, answers: list[dict[str, Any]]) -> None:
        super().__init__({})
        self._answers = {tuple(answer["command"]): answer for answer in answers}

    def _run(self, command: Sequence[str], stdin: str, environment: dict[str, str], limit: float) -> Answer:
        kept = self._answers[tuple(command)]
        return Answer(tuple(command), kept["code"], kept["out"], kept["err"])


def load(path: Path) -> tuple[CliBackend, dict[str, str], dict[str, Any]]:
    """A backend on a recording, the ids of its jobs, and where it comes from."""
    kept = json.loads(path.read_text(encoding="utf-8"))
    return CliBackend(Replay(kept["answers"]), separator=SEPARATOR), kept["ids"], kept["provenance"]


def record(path: Path) -> None:
    """Fill a sandbox of this machine's Slurm with the jobs of tests/world.py and keep what it says of them."""
    from tests import world
    from tools.slurm.sandbox import Sandbox

    with tempfile.TemporaryDirectory(prefix="record") as folder:
        box = Sandbox(Path(folder) / "box", name="record")
        try:
            status = box.up(accounting=True)
            environment = {"PATH": os.environ["PATH"], "SLURM_CONF": str(box.conf)}
            ids = world.make(CliBackend(Runner(environment)), folder)
            recorder = Recorder(environment)
            world.check(CliBackend(recorder, separator=SEPARATOR), ids)
        finally:
            box.down(remove=True)
    kept = {
        "provenance": {
            "slurm": status.version,
            "made_by": "python -m tests.recording, on the sandbox of tools/slurm/sandbox with accounting",
        },
        "ids": ids,
        "answers": list({tuple(answer["command"]): answer for answer in recorder.answers}.values()),
    }
    # The folder of that machine means nothing elsewhere.
    text = json.dumps(kept, indent=1).replace(folder, "/home/user")
    path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    record(Path(sys.argv[1]))
