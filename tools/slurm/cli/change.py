"""Operations on existing jobs and nodes as ``scancel`` and ``scontrol`` commands."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from tools.slurm.backend import Operation
from tools.slurm.cli.runner import operand, option
from tools.slurm.errors import InvalidRequest
from tools.slurm.models import Job
from tools.slurm.parse.values import gpu_counts, mebibytes

# Our field → scontrol's, see scontrol(1), JOBS - SPECIFICATIONS FOR UPDATE COMMAND.
_UPDATES = {
    "partition": "Partition", "qos": "QOS", "account": "Account", "nice": "Nice", "dependency": "Dependency",
    "job_name": "JobName", "begin": "StartTime", "constraint": "Features", "nodes": "NumNodes",
    "time_limit": "TimeLimit", "comment": "Comment",
}  # fmt: skip
_STATES = {"drain": "DRAIN", "resume": "RESUME", "down": "DOWN", "undrain": "UNDRAIN"}


def job_word(job_id: str) -> str:
    """A job id as the commands take it: of ``5_[2-9%3]`` they refuse the throttle. Raises ``InvalidRequest``."""
    word = re.sub(r"%\d+(?=\]$)", "", job_id)
    if not re.fullmatch(r"\d+(?:_(?:\d+|\[[\d,\-:]+\])|\+\d+)?", word):
        raise InvalidRequest(f"{job_id!r} is not a job id such as 123, 123_4, 123_[1-5] or 123+0", code="bad_job_id")
    return word


def cancel(operation: Operation) -> list[str]:
    """``scancel --verbose``, without which it says nothing of a job that is gone.

    ``--state`` guards against a job that has changed since it was looked at, but never for an array's tasks:
    with it ``scancel --state=PENDING 5_4`` ends every pending task of 5 (seen on 22.05).
    """
    word, fields = job_word(operation.target), operation.fields
    command = ["scancel", "--verbose"]
    if fields.get("signal"):
        command.append(option("signal", fields["signal"]))
    if fields.get("state") and "_" not in word:
        command.append(option("state", fields["state"]))
    return [*command, word]


def control(operation: Operation) -> list[str]:
    """``scontrol hold|release|requeue|suspend|resume ID``."""
    return ["scontrol", operation.verb, job_word(operation.target)]


def update_job(operation: Operation, look: Callable[[str], list[Job]]) -> list[str]:
    """``scontrol update JobId=…``; for ``gpus`` the job is looked at, because they are counted as it asked for them."""
    fields = operation.fields
    if unknown := fields.keys() - _UPDATES.keys() - {"mem", "gpus"}:
        raise InvalidRequest(f"a job's {', '.join(sorted(unknown))} cannot be changed")
    words = [f"{slurms}={_value(ours, fields[ours])}" for ours, slurms in _UPDATES.items() if ours in fields]
    if "mem" in fields:
        words.append(f"MinMemoryNode={_mebibytes(fields['mem'])}")
    if "gpus" in fields:
        words.append(_gpus(look(operation.target)[0], int(fields["gpus"])))
    if not words:
        raise InvalidRequest("nothing to change")
    return ["scontrol", "update", f"JobId={job_word(operation.target)}", *words]


def update_node(operation: Operation) -> list[str]:
    """``scontrol update NodeName=… State=DRAIN Reason=…`` (``state``: drain, resume, down, undrain)."""
    state = str(operation.fields.get("state", "")).lower()
    if state not in _STATES:
        raise InvalidRequest(f"node state {state!r} is none of {', '.join(_STATES)}", valid=_STATES)
    command = ["scontrol", "update", f"NodeName={operand(operation.target, 'host list')}", f"State={_STATES[state]}"]
    if reason := operation.fields.get("reason"):
        command.append(f"Reason={_value('reason', reason)}")
    return command


def _value(name: str, value: Any) -> str:
    text = str(value)
    if re.search(r"[\x00-\x1f]", text):
        raise InvalidRequest(f"{name}: {text!r} holds a control character")
    return text


def _mebibytes(memory: str) -> int:
    amount = mebibytes(memory)
    if amount is None:
        raise InvalidRequest(f"mem: {memory!r} is not an amount such as 64G")
    return math.ceil(amount)


def _gpus(job: Job, total: int) -> str:
    per_node: Mapping[str, int] = gpu_counts(job.raw.get("TresPerNode", ""))
    key, asked = ("TresPerNode", job.raw["TresPerNode"]) if per_node else ("TresPerJob", job.raw.get("TresPerJob", ""))
    if len(gpu_counts(asked)) > 1:
        raise InvalidRequest(f"job {job.id} asks for several GPU types ({asked}): submit it anew")
    if per_node and total % max(job.nodes, 1):
        raise InvalidRequest(
            f"job {job.id} asks for GPUs on each of its {job.nodes} nodes: {total} is no multiple of that"
        )
    count = total // max(job.nodes, 1) if per_node else total
    # From 23.11 on it is "gres/gpu": write it as Slurm wrote it.
    prefix = re.match(r"gres[:/]gpu", asked)
    kind = f":{job.gpu_type}" if job.gpu_type else ""
    return f"{key}={prefix[0] if prefix else 'gres:gpu'}{kind}:{count}"
