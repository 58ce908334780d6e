"""A job of a thousand array tasks with mixed failures, summarised by cause from recorded accounting.

`python -m evals.bench.array_summary [TASKS] [--json]` prints seconds, the causes that were found, and whether they are
those that were planted. Nothing of Slurm runs: sacct's answers are of Slurm 22.05.8 on the sandbox, for a real
array of twelve tasks, whose rows are repeated with other task numbers, states, exit codes, nodes and times. The logs
are made up: each a few hundred lines of training and one of the planted causes, the numbers different in every task.
"""

from __future__ import annotations

import argparse
import getpass
import json
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tools.base import Caller, ToolContext
from tools.diagnose import diagnosis
from tools.picking import records_of
from tools.slurm.cli import CliBackend
from tools.slurm.cli.runner import Answer, Runner
from tools.slurm.parse.jobs import SACCT, STEPS
from tools.views import Row

_SEPARATOR = "@=@"
_JOB = 48105
_ROW = (
    "{job}_{task}@=@a.sh@=@{user}@=@ml-research@=@gpu@=@normal@=@{state}@=@1@=@{node}@=@1@=@60@=@9@=@"
    "2026-11-21T15:38:14@=@2026-11-21T15:38:14@=@2026-11-21T15:38:14@=@2026-11-21T15:38:23@=@2000@=@{code}@=@{folder}"
    "@=@@=@@=@@=@billing=1,cpu=1,mem=4000M,node=1@=@1@=@billing=1,cpu=1,mem=4000M,node=1@=@{number}@=@\n"
)
_SUBMITTED = "{number}@=@sbatch --array=1-{tasks} -o out-%j.txt a.sh@=@\n"
_STEP = "{job}_{task}.batch@=@batch@=@{state}@=@{code}@=@9@=@00:00.031@=@1@=@2M@=@{node}@=@\n"
_LINE = "2026-11-21 15:38:{second:02d},{ms:03d} [rank0] step {step} loss {loss:.4f} tokens/s {speed}\n"


@dataclass(frozen=True, slots=True)
class Planted:
    """A way to fail: what the task's log ends with, and what Slurm records."""

    label: str
    state: str
    code: str
    share: int
    """Of a hundred tasks."""
    text: str


PLANTED = (
    Planted("", "COMPLETED", "0:0", 30, "Training completed successfully\n"),
    Planted("cuda_oom", "FAILED", "1:0", 25, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate {n} GiB\n"),
    Planted("python_import_error", "FAILED", "1:0", 12, "ModuleNotFoundError: No module named 'flash_attn'\n"),
    Planted("disk_quota_or_full", "FAILED", "1:0", 10, "OSError: [Errno 122] Disk quota exceeded: 'ckpt-{n}.pt'\n"),
    Planted("time_limit", "TIMEOUT", "0:0", 9, "slurmstepd: error: *** JOB {n} ON gpu-node01 CANCELLED AT "
            "2026-11-21T15:38:23 DUE TO TIME LIMIT ***\n"),
    Planted("host_oom", "OUT_OF_MEMORY", "0:125", 8, "slurmstepd: error: Detected 1 oom_kill event in StepId={n}.0.\n"),
    Planted("missing_module_or_command", "FAILED", "127:0", 4, "slurm_script: line 4: apptainer: command not found\n"),
    Planted("unknown", "FAILED", "3:0", 2, "leaving early\n"),
)  # fmt: skip


class Recorded(Runner):
    """sacct of the recorded array; slurmctld has forgotten it."""

    def __init__(self, folder: Path, tasks: int) -> None:
        super().__init__({})
        self.folder, self.tasks = folder, tasks

    def _run(self, command: Sequence[str], stdin: str, environment: dict[str, str], limit: float) -> Answer:
        if command[0] == "sacct":
            return Answer(tuple(command), 0, self._accounting(command), "")
        if "job" in command:
            return Answer(tuple(command), 1, "", f"Job {_JOB} not found")
        return Answer(tuple(command), 0, "", "")

    def _accounting(self, command: Sequence[str]) -> str:
        if "--helpformat" in command:
            return "JobID JobIDRaw State SubmitLine"
        columns = next((word.partition("=")[2] for word in command if word.startswith("--format=")), "")
        shapes = {",".join(SACCT): _ROW, ",".join(STEPS): _STEP, "JobIDRaw,SubmitLine": _SUBMITTED}
        asked = next(word.partition("=")[2] for word in command if word.startswith("--jobs="))
        one = asked.partition("_")[2]
        wanted = [int(one)] if one else range(1, self.tasks + 1)
        shape = shapes.get(columns, "")
        return "".join(shape.format(**self._fields(task)) for task in wanted)

    def _fields(self, task: int) -> dict[str, object]:
        way = planted(task)
        return {
            "job": _JOB, "task": task, "tasks": self.tasks, "number": _JOB + task, "user": getpass.getuser(),
            "state": way.state, "code": way.code, "node": f"gpu-node{task % 4 + 1:02d}", "folder": self.folder,
        }  # fmt: skip


def planted(task: int) -> Planted:
    """How a task ends: 37 and 100 have no common divisor, so that a hundred tasks in a row hold every share."""
    at = task * 37 % 100
    for way in PLANTED:
        at -= way.share
        if at < 0:
            return way
    return PLANTED[-1]


def write_logs(folder: Path, tasks: int, lines: int = 300) -> None:
    """A log for each task, named as ``-o out-%j.txt`` names it."""
    for task in range(1, tasks + 1):
        steps = (
            _LINE.format(second=n % 60, ms=(n * task) % 1000, step=n, loss=9 / (n + 1) + task, speed=9000 + task + n)
            for n in range(lines)
        )
        (folder / f"out-{_JOB + task}.txt").write_text("".join(steps) + planted(task).text.format(n=task + 1))


def summarise(folder: Path, tasks: int) -> tuple[Row, float]:
    """What ``diagnose_job`` says of the whole array, and in how many seconds."""
    backend = CliBackend(Recorded(folder, tasks), separator=_SEPARATOR)
    ctx = ToolContext(backend, Caller(getpass.getuser(), "none"), datetime(2026, 11, 21, 16))
    started = time.perf_counter()
    data = diagnosis(records_of(str(_JOB), ctx), ctx)
    return data, time.perf_counter() - started


def expected(tasks: int) -> Counter[str]:
    """Failed tasks by planted cause."""
    return Counter(way.label for task in range(1, tasks + 1) if (way := planted(task)).label)


def reading(folder: Path) -> float:
    """Seconds of merely reading all logs once."""
    started = time.perf_counter()
    for log in folder.iterdir():
        log.read_bytes()
    return time.perf_counter() - started


def main(arguments: list[str] | None = None) -> None:
    """Print the summary, its time, and whether it is what was planted."""
    parser = argparse.ArgumentParser(prog="python -m evals.bench.array_summary", description="Bench array summaries.")
    parser.add_argument("tasks", nargs="?", type=int, default=1000, help="array tasks (default: 1000)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        write_logs(Path(folder), options.tasks)
        merely = reading(Path(folder))
        data, seconds = summarise(Path(folder), options.tasks)
    causes = {row["label"]: row["tasks"] for row in data["causes"]}
    right = causes == dict(expected(options.tasks))
    if options.json:
        figures = {"tasks": options.tasks, "ratio": seconds / merely, "seconds": seconds, "every_cause_right": right}
        print(json.dumps({**figures, "causes": causes}))
        return
    print(f"{options.tasks} tasks: {seconds:.2f} s ({seconds / merely:.1f} × reading their logs); {data['summary']}")
    print("every cause as planted" if right else f"planted: {dict(expected(options.tasks))}")


if __name__ == "__main__":
    main()
