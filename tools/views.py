"""Models as bounded JSON data: what tools put into ``ToolResult.data``.

Keys are Slurm's names in the contract's spelling; times are ISO text, durations Slurm's (``1-12:00:00``), memory a
whole number and its unit (``64G``). What Slurm did not say is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from tools.base import ToolContext
from tools.durations import slurm_duration
from tools.slurm import paging
from tools.slurm.models import UNLIMITED, Job, Step

MOST_ROWS = 50
MOST_CHARACTERS = 3900
"""Of JSON with many numbers, of which usual tokenizers make a token of 2.8 characters or more: with what stands around
the rows no answer is above 1,500 tokens."""
LONGEST_PATH = 300
LONGEST_TEXT = 200
ENDED = paging.ENDED
Row = dict[str, Any]


def who(name: str | None, ctx: ToolContext) -> str:
    """A user's name, with ``me`` for the caller; ``""`` for everybody."""
    return ctx.caller.user if name == "me" else name or ""


def clock(ctx: ToolContext) -> datetime:
    """The caller's now, as Slurm writes times: naive, in this machine's zone."""
    return ctx.now.astimezone().replace(tzinfo=None) if ctx.now.tzinfo else ctx.now


def time_text(when: datetime | None) -> str | None:
    return when.replace(microsecond=0).isoformat() if when else None


def duration_text(seconds: float | None) -> str | None:
    return None if seconds is None else slurm_duration(int(seconds))


def memory_text(mebibytes: float | None) -> str | None:
    """``64G``, ``1500M``, ``512K``: the biggest unit that stays whole, to the nearest MiB."""
    if mebibytes is None:
        return None
    if mebibytes == UNLIMITED:
        return "UNLIMITED"
    if mebibytes < 1:
        return f"{int(mebibytes * 1024)}K"
    whole = round(mebibytes)
    if whole and whole % 1024**2 == 0:
        return f"{whole // 1024**2}T"
    return f"{whole // 1024}G" if whole and whole % 1024 == 0 else f"{whole}M"


def count_text(count: int | None) -> str | int | None:
    return "UNLIMITED" if count == UNLIMITED else count


def short(text: str, most: int = LONGEST_TEXT) -> str:
    """Text of somebody else's choosing, printable and not too long."""
    plain = "".join(char if char.isprintable() else " " for char in text)
    return plain if len(plain) <= most else plain[: most - 1] + "…"


def said(row: Row) -> Row:
    """Without what Slurm did not say."""
    return {key: value for key, value in row.items() if value not in (None, "", [], {}, ())}


def job_row(job: Job) -> Row:
    """One line of a list of jobs."""
    ended = job.state in ENDED
    return said(
        {
            "job_id": job.id,
            "name": short(job.name, 40),
            "user": job.user,
            "partition": job.partition,
            "state": job.state,
            "reason": short(job.reason, 80) if job.state == "PENDING" else "",
            "nodes": job.nodes or None,
            "node_list": short(job.node_list, 80),
            "gpus": job.gpus or None,
            "gpu_type": job.gpu_type,
            "elapsed": duration_text(job.elapsed) if job.state != "PENDING" else None,
            "time_limit": duration_text(job.time_limit),
            "start_time": time_text(job.start_time),
            "end_time": time_text(job.end_time) if ended else None,
            "exit_code": job.exit_code if ended and job.exit_code != "0:0" else "",
        }
    )


# scontrol's own fields that no field of Job carries (scontrol(1), SHOW JOB).
_MORE = {
    "NumTasks": "ntasks", "CPUs/Task": "cpus_per_task", "TresPerNode": "tres_per_node", "TresPerJob": "tres_per_job",
    "TresPerTask": "tres_per_task", "BatchHost": "batch_host", "SchedNodeList": "sched_node_list",
    "ReqNodeList": "nodelist", "ExcNodeList": "exclude", "PreemptTime": "preempt_time",
    "LastSchedEval": "last_sched_eval",
}  # fmt: skip


def job_detail(job: Job) -> Row:
    """Everything about one job that a person asks about."""
    more = {ours: _value(job.raw[slurms]) for slurms, ours in _MORE.items() if _is_said(job.raw.get(slurms))}
    return job_row(job) | said(
        {
            "name": short(job.name),
            "reason": short(job.reason),
            "account": job.account,
            "qos": job.qos,
            "cpus": job.cpus or None,
            "mem": memory_text(job.mem_mb),
            "tres": job.tres,
            "node_list": short(job.node_list),
            "submit_time": time_text(job.submit_time),
            "eligible_time": time_text(job.eligible_time),
            "end_time": time_text(job.end_time),
            "exit_code": job.exit_code if job.state in ENDED else "",
            "priority": job.priority,
            "nice": job.nice or None,
            "dependency": short(job.dependency),
            "array_size": job.array_size if job.array_size > 1 else None,
            "constraint": short(job.constraint),
            "reservation": job.reservation,
            "licenses": short(job.licenses),
            "exclusive": job.exclusive or None,
            "restarts": job.restarts or None,
            "command": short(job.command),
            "comment": short(job.comment),
            "working_directory": short(job.working_directory, LONGEST_PATH),
            "stdout": short(job.stdout, LONGEST_PATH),
            "stderr": short(job.stderr, LONGEST_PATH) if job.stderr != job.stdout else "",
        }
        | more
    )


def step_row(step: Step) -> Row:
    return said(
        {
            "step": step.id,
            "name": short(step.name, 40),
            "state": step.state,
            "exit_code": step.exit_code,
            "elapsed": duration_text(step.elapsed),
            "max_rss": memory_text(step.max_rss_mb),
            "node_list": short(step.node_list, 80),
        }
    )


def bounded(
    rows: Sequence[Row], key: str, more: str, *, most: int = MOST_ROWS, characters: int = MOST_CHARACTERS
) -> Row:
    """``{key: rows, "shown": n, "total": n}`` with ``more``, how to see the rest, where something was left out."""
    kept: list[Row] = []
    for row in rows[:most]:
        characters -= len(json.dumps(row, default=str))
        if characters < 0 and kept:
            break
        kept.append(row)
    data: Row = {key: kept, "shown": len(kept), "total": len(rows)}
    return data | {"more": more} if len(kept) < len(rows) else data


def by_state(jobs: Iterable[Job]) -> dict[str, int]:
    """How many jobs (array tasks counted one by one) are in each state."""
    return paging.by_state((job.state, job.array_size) for job in jobs)


def ran(ctx: ToolContext, before: int) -> tuple[str, ...]:
    """The commands since ``before``, which is ``len(ctx.backend.commands())`` at the start."""
    return tuple(ctx.backend.commands()[before:])


def _value(text: str) -> str | int:
    return int(text) if text.isdigit() else short(text)


def _is_said(value: str | None) -> bool:
    return value not in (None, "", "(null)", "N/A", "None", "0")
