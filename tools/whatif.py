"""What would make a waiting job start sooner: each wish really tried with ``sbatch --test-only``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tools.asked import changed, fields_of, gpus_per_node
from tools.case import Case
from tools.slurm.errors import SlurmError, SlurmUnreachable
from tools.slurm.models import UNLIMITED, Estimate
from tools.views import Row, duration_text, said, time_text

MOST_TRIED = 12
MOST_SHOWN = 4
ROUGH = "sbatch --test-only gives a rough time: waiting jobs with more priority count as their share of the partition"
_WORTH = 60
"""Seconds sooner that are worth changing a job for."""


@dataclass(frozen=True, slots=True)
class Wish:
    """One change: the fields to submit with, what it does to limits, and the call that would make it."""

    change: dict[str, Any]
    fields: dict[str, Any]
    counted: dict[str, Any]
    call: dict[str, Any] | None = None


def baseline(case: Case) -> tuple[Estimate | None, SlurmError | None]:
    """When the job as it is would start if only running jobs were in its way, or why Slurm would not take it."""
    return _try(case, fields_of(case.job))


def what_ifs(case: Case, expected: str | None) -> list[Row]:
    """``{"change", "start_time", "sooner_by"?, "call"?}``, soonest first; only those sooner than ``expected`` (ISO).

    A change that a limit would stop is left out: ``--test-only`` does not look at limits. Nor does it when it says
    when the job as it is would start, so of a job that a limit stops every other way is worth telling.
    """
    found: list[tuple[datetime, Row]] = []
    stopped = [limit for limit in case.limits if limit.breaks(case.job)]
    known = datetime.fromisoformat(expected) if expected and not stopped else None
    for wish in list(wishes(case))[:MOST_TRIED]:
        other = changed(case.job, wish.counted)
        if any(limit.breaks(other) for limit in case.limits_for(other)):
            continue
        estimate, _ = _try(case, wish.fields)
        if not estimate or not estimate.start_time:
            continue
        gain = (known - estimate.start_time).total_seconds() if known else None
        if gain is None or gain >= _WORTH:
            row = {"change": wish.change, "start_time": time_text(estimate.start_time), "nodes": estimate.nodes}
            found.append((estimate.start_time, said({**row, "sooner_by": duration_text(gain), "call": wish.call})))
    return [row for _, row in sorted(found, key=lambda pair: pair[0])][:MOST_SHOWN]


def wishes(case: Case) -> Iterator[Wish]:
    """The smallest changes first: time, nodes, GPUs, then another partition, GPU type, QoS."""
    yield from _shorter(case)
    yield from _fewer_nodes(case)
    yield from _elsewhere(case)
    yield from _other_types(case)
    yield from _other_qos(case)
    yield from _other_accounts(case)
    if case.job.exclusive:
        fields = {key: value for key, value in fields_of(case.job).items() if key != "exclusive"}
        yield Wish({"exclusive": False}, fields, {})


def _shorter(case: Case) -> Iterator[Wish]:
    limit = case.job.time_limit
    if limit is None or limit < 600:
        return
    for seconds in (43200, 3600) if limit == UNLIMITED else (limit // 2, limit // 4):
        text = duration_text(seconds - seconds % 60)
        yield _wish(case, {"time_limit": text}, {"seconds": seconds}, "resize_job")


def _fewer_nodes(case: Case) -> Iterator[Wish]:
    job = case.job
    each = gpus_per_node(job)
    counts = [count for count in dict.fromkeys((job.nodes // 2, 1)) if 0 < count < job.nodes]
    for count in counts:
        fields = {key: value for key, value in fields_of(job).items() if key not in ("ntasks", "gpus", "nodelist")}
        fields |= {"nodes": count} | ({"gpus_per_node": each} if each else {})
        call = {"tool": "resize_job", "arguments": {"job_id": job.id, "nodes": count}}
        yield Wish({"nodes": count}, fields, {"nodes": count}, call)
    if each > 1 and job.nodes <= 1:
        fields = {key: value for key, value in fields_of(job).items() if key != "gpus_per_node"} | {"gpus": each // 2}
        call = {"tool": "update_job", "arguments": {"job_id": job.id, "gpus": each // 2}}
        yield Wish({"gpus": each // 2}, fields, {"gpus": each // 2}, call)


def _elsewhere(case: Case) -> Iterator[Wish]:
    for one in case.all_partitions:
        if one.name not in case.partition_names and one.state.upper() == "UP":
            yield _wish(case, {"partition": one.name}, {"partition": one.name}, "update_job")


def _other_types(case: Case) -> Iterator[Wish]:
    if not case.job.gpu_type:
        return
    kinds = dict.fromkeys(gpu.type for node in case.members for gpu in node.gpus if gpu.type)
    for kind in kinds:
        if kind != case.job.gpu_type:
            yield Wish({"gpu_type": kind}, fields_of(case.job) | {"gpu_type": kind, "constraint": ""}, {})


def _other_qos(case: Case) -> Iterator[Wish]:
    for name in case.own_qos:
        if name != case.job.qos:
            yield _wish(case, {"qos": name}, {"qos": name}, "update_job")


def _other_accounts(case: Case) -> Iterator[Wish]:
    """Where a limit of its account or of an account above it is in the way."""
    if any(limit.breaks(case.job) and limit.scope.startswith(("account", "user")) for limit in case.limits):
        for name in case.own_accounts:
            if name != case.job.account:
                yield _wish(case, {"account": name}, {"account": name}, "update_job")


def _wish(case: Case, change: dict[str, Any], counted: dict[str, Any], tool: str) -> Wish:
    call = {"tool": tool, "arguments": {"job_id": case.job.id, **change}}
    return Wish(change, fields_of(case.job) | change, counted, call)


def _try(case: Case, fields: dict[str, Any]) -> tuple[Estimate | None, SlurmError | None]:
    try:
        return case.ctx.backend.test_submit({**fields, "command": "true"}), None
    except SlurmUnreachable:
        raise
    except SlurmError as refused:
        return None, refused
