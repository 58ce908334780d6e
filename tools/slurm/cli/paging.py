"""The first page of the queue by squeue: every job is counted, only those that are shown are read."""

from __future__ import annotations

from heapq import nsmallest

from tools.slurm import paging
from tools.slurm.cli.queue import squeue_filters
from tools.slurm.cli.runner import Runner, option
from tools.slurm.errors import SlurmUnreachable
from tools.slurm.failures import failure
from tools.slurm.models import Job, JobQuery, Page
from tools.slurm.parse import jobs
from tools.slurm.parse.values import array_size

_COUNTED = ("State", "JobArrayID")
_SHOWN = (
    *_COUNTED, "PriorityLong", "Name", "UserName", "Partition", "Reason", "NumNodes", "NodeList", "TimeLimit",
    "TimeUsed", "StartTime", "EndTime", "exit_code", "tres-alloc", "NumTasks", "tres-per-node", "tres-per-job",
    "tres-per-task",
)  # fmt: skip


def page(runner: Runner, query: JobQuery, separator: str, most: int) -> Page:
    """Fewer columns than a whole job has: with many jobs, printing them is most of what squeue does.

    The last column ends with a mark of its own, so that rows part without their columns being told apart.
    """
    names, mark = _SHOWN if most else _COUNTED, f"#{separator.strip('@')}#"
    columns = [f"{name}:{separator}" for name in names[:-1]] + [f"{names[-1]}:{mark}"]
    command = ["squeue", "--all", "--noheader", *squeue_filters(query), option("Format", ",".join(columns))]
    answer = runner.ask(command)
    if answer.code != 0 or "Invalid user" in answer.err:
        raise failure(answer.said, command)
    rows = answer.out.split(f"{mark}\n")
    if rows.pop().strip() or any(row.count(separator) != len(names) - 1 for row in (rows[:1] + rows[-1:])):
        raise SlurmUnreachable("squeue's answer is cut off", code="truncated", command=command)
    heads = [row.split(separator, 3) for row in rows]
    counts = paging.by_state((head[0], _tasks(head[1])) for head in heads)
    shown = tuple(_job(rows[place], names, separator) for place in _first(heads, most)) if most else ()
    return Page(shown, len(rows), counts)


def _tasks(job_id: str) -> int:
    return array_size(job_id.partition("[")[2].rstrip("]")) if "[" in job_id else 1


def _first(heads: list[list[str]], most: int) -> list[int]:
    """The places of the first ``most`` jobs in order."""
    keys: dict[str, int] = {}
    found = []
    for place, (state, job_id, priority, *_) in enumerate(heads):
        order = keys.get(state)
        if order is None:
            order = keys[state] = paging.rank(state)
        base = job_id.partition("_")[0].partition("+")[0]
        found.append((order, -int(priority) if state == "PENDING" else 0, int(base), place))
    # Those of one array have equal keys so far; which of its tasks come first is looked at where it matters.
    last = max(nsmallest(most, found), default=(0, 0, 0, 0))[:3]
    near = [(*key[:3], paging.numbers(heads[key[3]][1]), key[3]) for key in found if key[:3] <= last]
    return [key[-1] for key in sorted(near)[:most]]


def _job(row: str, names: tuple[str, ...], separator: str) -> Job:
    return jobs.squeue_job(dict(zip(names, row.split(separator), strict=True)))
