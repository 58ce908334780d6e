"""What a job used of what it asked for, from accounting's steps: a hint for the next submission."""

from __future__ import annotations

from collections.abc import Sequence

from tools.slurm.models import UNLIMITED, Job, Step
from tools.views import Row, memory_text, said

_SHORT = 60
"""Seconds below which a job says nothing about what it needs."""
_MOST_STEPS = 5
_LITTLE = 0.3
_NEARLY_ALL = 0.9


def efficiency(job: Job, steps: Sequence[Step]) -> Row:
    """``{"cpu_percent", "max_rss", "mem", "mem_percent", "time_percent", "hints", "steps"}``, only what is known.

    ``steps``: ``{"step", "cpu_percent", "max_rss", "mem_percent"}``, the longest first, where there were several.
    """
    cpu, memory, time = _cpu(job, steps), _memory(job, steps), _time(job)
    peak = max((step.max_rss_mb or 0.0 for step in steps), default=0.0)
    return said(
        {
            "cpu_percent": _percent(cpu),
            "max_rss": memory_text(peak) if peak else None,
            "mem": memory_text(job.mem_mb) if peak else None,
            "mem_percent": _percent(memory),
            "time_percent": _percent(time),
            "hints": _hints(job, cpu, memory, time, peak) if (job.elapsed or 0) >= _SHORT else [],
            "steps": _rows(job, steps),
        }
    )


def _rows(job: Job, steps: Sequence[Step]) -> list[Row]:
    """Each step beside what it was given: its own CPUs, and the memory of a node."""
    told = [step for step in steps if step.name != "extern" and (step.total_cpu or step.max_rss_mb)]
    longest = sorted(told, key=lambda step: -(step.elapsed or 0))[:_MOST_STEPS]
    return [_of_step(job, step) for step in longest] if len(told) > 1 else []


def _of_step(job: Job, step: Step) -> Row:
    held, peak = (step.elapsed or 0) * step.cpus, step.max_rss_mb or 0.0
    return said(
        {
            "step": step.id.partition(".")[2] or step.id,
            "cpu_percent": _percent((step.total_cpu or 0.0) / held) if held else None,
            "max_rss": memory_text(peak) if peak else None,
            "mem_percent": _percent(peak / job.mem_mb) if peak and job.mem_mb and job.mem_mb > 0 else None,
        }
    )


def _cpu(job: Job, steps: Sequence[Step]) -> float | None:
    used = sum(step.total_cpu or 0.0 for step in steps)
    held = (job.elapsed or 0) * job.cpus
    return used / held if held and used else None


def _memory(job: Job, steps: Sequence[Step]) -> float | None:
    """The biggest task of any step beside what one node was asked for: never more than was really used there."""
    peak = max((step.max_rss_mb or 0.0 for step in steps), default=0.0)
    return peak / job.mem_mb if peak and job.mem_mb and job.mem_mb > 0 else None


def _time(job: Job) -> float | None:
    if not job.time_limit or job.time_limit == UNLIMITED or job.elapsed is None:
        return None
    return job.elapsed / job.time_limit


def _hints(job: Job, cpu: float | None, memory: float | None, time: float | None, peak: float) -> list[str]:
    hints = []
    if memory is not None and memory < _LITTLE and (job.mem_mb or 0) > 4096:
        hints.append(
            f"one task used at most {memory_text(int(peak))} of {memory_text(job.mem_mb)} a node: ask for less memory"
        )
    if memory is not None and memory > _NEARLY_ALL:
        hints.append("it used nearly all its memory: ask for more next time")
    if cpu is not None and cpu < _LITTLE and job.cpus > 1:
        hints.append(f"its {job.cpus} CPUs were busy {cpu:.0%} of the time: ask for fewer, or use more workers")
    if time is not None and time < _LITTLE and job.state == "COMPLETED":
        hints.append("a shorter time limit would let it start sooner (backfill)")
    return hints


def _percent(share: float | None) -> int | None:
    return None if share is None else round(share * 100)
