"""Reads of a big cluster against Slurm's own commands for the same facts, in one run, and the size of each answer.

python -m evals.bench.bench_scale [--nodes 1000] [--jobs 20000] [--rounds 5]        prints one JSON document

A real slurmctld with generated nodes and jobs (see scale_cluster) is started for it; that takes minutes and needs
Slurm, MariaDB and root. ``ratio`` is the median time of a tool's whole answer, Slurm's commands included, to the
median time of the bare commands one after the other, taken in turn within one run; the start of our process is not
in it. ``tokens`` is characters by four; ``digit_tokens`` counts every digit and mark alone, as small models do.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from evals.bench.scale_cluster import Size, World, cluster
from tools import BY_NAME
from tools.base import Caller, ReadTool, ToolContext
from tools.slurm.cli import CliBackend
from tools.slurm.cli.runner import Runner

MOST_TOKENS = 1500
_PATIENCE = 300.0
_NODES = ("scontrol", "--details", "--oneliner", "show", "node")
_PARTITIONS = ("scontrol", "--oneliner", "--all", "show", "partition")
_NAME = ("scontrol", "show", "config")
_ROWS = "JobArrayID,Name,UserName,Partition,State,Reason,NumNodes,NodeList,TimeLimit,TimeUsed,StartTime,tres-alloc"
_PIECE = re.compile(r"\d|[^\W\d]{1,5}|[^\w\s]{1,3}")


@dataclass(frozen=True, slots=True)
class Case:
    """A tool's call and the commands that a person would type for the same facts; without any, the tool's own."""

    name: str
    tool: str
    arguments: dict[str, Any]
    bare: tuple[tuple[str, ...], ...] = ()


def cases(world: World) -> list[Case]:
    """``diagnose_job`` tries what would help with ``sbatch --test-only``: there its own commands are the measure."""
    rows = ("squeue", "--all", "--noheader", f"--Format={_ROWS}")
    day = datetime.now().replace(hour=0, minute=0, second=0, microsecond=0).isoformat()
    sacct = ("sacct", "--allocations", "--truncate", "--noheader", "--parsable2", "--allusers", f"--starttime={day}")
    state = ("squeue", "--all", "--noheader", "--Format=JobArrayID,State")
    return [
        Case("cluster_status", "cluster_status", {}, (_NODES, _PARTITIONS, _NAME, state)),
        Case("list_jobs", "list_jobs", {}, (rows,)),
        Case("list_jobs of a user", "list_jobs", {"user": world.user}, ((*rows, f"--user={world.user}"),)),
        Case("list_jobs pending", "list_jobs", {"states": ["PENDING"]}, ((*rows, "--states=PENDING"),)),
        Case("show_job", "show_job", {"job_id": world.waiting}, (("scontrol", "show", "job", world.waiting),)),
        Case("show_job of an array", "show_job", {"job_id": world.array}, (("scontrol", "show", "job", world.array),)),
        Case("diagnose_job", "diagnose_job", {"job_id": world.waiting}),
        Case("usage_report", "usage_report", {"start": day}, ((*sacct, "--format=User,ElapsedRaw,AllocTRES"),)),
    ]


@dataclass
class Timed(Runner):
    """Adds up the time that Slurm's commands take."""

    def __init__(self, environment: dict[str, str]) -> None:
        super().__init__(environment, read_seconds=_PATIENCE)
        self.seconds = 0.0

    def _run(self, *words: Any) -> Any:
        started = time.perf_counter()
        try:
            return super()._run(*words)
        finally:
            self.seconds += time.perf_counter() - started


def measure(case: Case, environment: dict[str, str], rounds: int) -> dict[str, Any]:
    """One round that warms up, then ``rounds`` of both in turn."""
    runner = Timed(environment)
    answer, tool_seconds, bare_seconds = ask(case, runner), [], []
    for _ in range(rounds):
        runner.seconds, started = 0.0, time.perf_counter()
        answer = ask(case, runner)
        tool_seconds.append(time.perf_counter() - started)
        bare_seconds.append(_bare(case, environment) if case.bare else runner.seconds)
    text = json.dumps(answer, default=str)
    ours, bare = statistics.median(tool_seconds), statistics.median(bare_seconds)
    return {
        "ratio": round(ours / bare, 3),
        "ms": round(1000 * ours, 1),
        "bare_ms": round(1000 * bare, 1),
        "tokens": len(text) // 4,
        "digit_tokens": len(_PIECE.findall(text)),
        "bounded": len(text) // 4 <= MOST_TOKENS,
    }


def ask(case: Case, runner: Runner) -> dict[str, Any]:
    tool, now = BY_NAME[case.tool], datetime.now()
    assert isinstance(tool, ReadTool)
    args = tool.Arguments.model_validate(case.arguments, context={"now": now})
    return tool.run(args, ToolContext(CliBackend(runner), Caller(runner.user, "administrator"), now)).data


def _bare(case: Case, environment: dict[str, str]) -> float:
    started = time.perf_counter()
    for command in case.bare:
        subprocess.run(command, env=environment, capture_output=True, check=True)
    return time.perf_counter() - started


def run(size: Size, rounds: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """The cluster's size and one row of figures a case."""
    with tempfile.TemporaryDirectory(prefix="sask-scale") as folder, cluster(Path(folder) / "s", size, tell) as world:
        environment = dict(os.environ) | world.environment
        found = {case.name: measure(case, environment, rounds) for case in cases(world)}
    return {"nodes": size.nodes, "jobs": size.jobs, "ended": size.ended, "tools": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=Size.nodes)
    parser.add_argument("--jobs", type=int, default=Size.jobs)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    part = options.jobs // 20
    size = Size(options.nodes, options.jobs, min(part, 2 * options.nodes), 4 * part, options.jobs)
    print(json.dumps(run(size, options.rounds, lambda text: print(text, file=sys.stderr, flush=True)), indent=2))


if __name__ == "__main__":
    main()
