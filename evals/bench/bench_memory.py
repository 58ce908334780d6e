"""Memory with very many jobs and nodes: `python -m evals.bench.bench_memory [JOBS] [NODES] [ROUNDS]` prints JSON.

Slurm's answers are generated, in Slurm's own form, in the same process. ``peak_mib`` is the process's highest
resident memory over all rounds, ``growth_mib`` how much of it came after the first round, when everything was
imported and every reader had run: with a leak it grows with the rounds.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from evals.bench.generated import Generated
from tools import BY_NAME
from tools.base import Caller, ReadTool, ToolContext
from tools.slurm.cli import CliBackend
from tools.slurm.models import JobQuery

READS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("cluster_status", {}),
    ("list_jobs", {}),
    ("list_jobs", {"states": ["PENDING"], "limit": 20}),
    ("show_node", {"node": "n00007"}),
    ("usage_report", {"start": "2026-11-01T00:00:00", "group_by": "user"}),
)


def answers(jobs: int, nodes: int) -> dict[str, str]:
    """Every read's answer as JSON, by its tool and arguments."""
    found, now = {}, datetime(2026, 11, 21, 12)
    for name, arguments in READS:
        tool = BY_NAME[name]
        assert isinstance(tool, ReadTool)
        args = tool.Arguments.model_validate(arguments, context={"now": now})
        ctx = ToolContext(CliBackend(Generated(jobs, nodes)), Caller("user1"), now)
        found[f"{name} {json.dumps(arguments)}"] = json.dumps(tool.run(args, ctx).data, default=str)
    assert len(CliBackend(Generated(jobs, nodes)).queue(JobQuery())) == jobs  # as diagnose_job reads it, whole
    return found


def measure(jobs: int, nodes: int, rounds: int) -> dict[str, Any]:
    answers(jobs, nodes)
    first = _peak_mib()
    for _ in range(rounds - 1):
        found = answers(jobs, nodes)
    peak = _peak_mib()
    sizes = {name: len(text) // 4 for name, text in found.items()}
    return {
        "jobs": jobs, "nodes": nodes, "rounds": rounds, "peak_mib": round(peak), "growth_mib": round(peak - first, 1),
        "tokens": sizes,
    }  # fmt: skip


def _peak_mib() -> float:
    """VmHWM of proc(5): unlike getrusage's, it does not begin with the parent's peak."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    given = [int(word) for word in sys.argv[1:]]
    jobs, nodes, rounds = (*given, *(50_000, 5_000, 4)[len(given) :])
    print(json.dumps(measure(jobs, nodes, rounds), indent=2))


if __name__ == "__main__":
    main()
