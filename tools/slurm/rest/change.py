"""Operations on existing jobs and nodes as requests to slurmrestd."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tools.slurm.backend import Operation
from tools.slurm.cli import change
from tools.slurm.errors import InvalidRequest
from tools.slurm.models import Job
from tools.slurm.rest.client import Method
from tools.slurm.rest.jobs import ended
from tools.slurm.rest.submit import Begin, limit_minutes, not_offered, optional
from tools.slurm.rest.versions import Api

# scontrol's name → the key of a job's description.
_KEYS = {
    "Partition": "partition", "QOS": "qos", "Account": "account", "Dependency": "dependency", "JobName": "name",
    "Features": "constraints", "Comment": "comment",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Request:
    """``path`` below ``/slurm/VERSION/``. ``stdin``: the text that a preview shows apart (a batch script)."""

    method: Method
    path: str
    body: Mapping[str, Any] | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    stdin: str = ""


def cancel(operation: Operation) -> Request:
    """``DELETE /job/ID``. The state that it must be in is looked at before: slurmrestd knows no ``--state``."""
    signal = str(operation.fields.get("signal") or "")
    params = {"signal": signal.upper().removeprefix("SIG")} if signal else {}
    return Request("DELETE", f"job/{change.job_word(operation.target)}", params=params)


def check_state(operation: Operation, look: Callable[[str], list[Job]]) -> None:
    """What slurmrestd itself does not check before it cancels: that the job is as it was seen, and that a signal
    can reach it. Raises ``InvalidRequest``, ``UnknownJob``.
    """
    word, fields = change.job_word(operation.target), operation.fields
    states = {job.state for job in look(word) if not ended(job)}
    if not states:
        raise InvalidRequest(f"job {word} has already ended", code="ESLURM_ALREADY_DONE")
    if fields.get("state") and states != {fields["state"]}:
        raise InvalidRequest(f"{word} is {', '.join(sorted(states))}, not {fields['state']}", code="state_changed")
    if fields.get("signal") and "PENDING" in states:
        raise InvalidRequest(
            f"job {word} is not running, or not all of its tasks are: no signal can reach those",
            code="ESLURM_JOB_NOT_RUNNING",
        )


def control(operation: Operation, api: Api) -> Request:
    """``POST /job/ID`` with ``hold``; requeue, suspend and resume are in no version."""
    word = change.job_word(operation.target)
    if operation.verb not in ("hold", "release"):
        raise not_offered(f"way to {operation.verb} a job", api)
    return Request("POST", f"job/{word}", {"hold": operation.verb == "hold"})


def update_job(operation: Operation, api: Api, look: Callable[[str], list[Job]], begin: Begin) -> Request:
    """``POST /job/ID``. What is asked is checked, and GPUs counted, as for ``scontrol update``."""
    words = change.update_job(operation, look)[3:]
    if lacking := operation.fields.keys() - api.updates:
        raise not_offered(f"way to change a job's {', '.join(sorted(lacking))}", api)
    body: dict[str, Any] = {}
    for word in words:
        name, _, value = word.partition("=")
        body |= _changed(name, value, api, begin)
    return Request("POST", f"job/{change.job_word(operation.target)}", body)


def update_node(operation: Operation, api: Api) -> Request:
    """``POST /node/HOSTLIST``, from v0.0.40 on."""
    _, _, names, state, *reason = change.update_node(operation)
    if not api.node_update:
        raise not_offered("way to change a node", api)
    body: dict[str, Any] = {"state": [state.partition("=")[2]]}
    if reason:
        body["reason"] = reason[0].partition("=")[2]
    return Request("POST", f"node/{names.partition('=')[2]}", body)


def _changed(name: str, value: str, api: Api, begin: Begin) -> dict[str, Any]:
    """One word of ``scontrol update`` as keys of the description."""
    if name in _KEYS:
        return {_KEYS[name]: value}
    match name:
        case "Nice":
            return {"nice": int(value)}
        case "TimeLimit":
            return {"time_limit": optional(limit_minutes(value)) if api.typed else limit_minutes(value)}
        case "MinMemoryNode":
            return {"memory_per_node": optional(int(value)) if api.typed else int(value)}
        case "StartTime":
            return {"begin_time": optional(begin(value)) if api.typed else value}
        case "NumNodes":
            return {"minimum_nodes": int(value), "maximum_nodes": int(value)} if api.typed else {"nodes": value}
        case _:
            return _gpus(name, value, api)


def _gpus(name: str, value: str, api: Api) -> dict[str, Any]:
    """``TresPerNode=gres:gpu:h100:2``."""
    if api.typed:
        return {"tres_per_node" if name == "TresPerNode" else "tres_per_job": value}
    bare = value.replace("gres/gpu", "gres:gpu").removeprefix("gres:gpu").lstrip(":")
    return {"gpus_per_node" if name == "TresPerNode" else "gpus": bare}


def shown(request: Request) -> Mapping[str, Any] | None:
    """The body of a preview: a script is read apart, as the here-document that follows."""
    if request.body is None or not request.stdin:
        return request.body
    job = {key: value for key, value in request.body["job"].items() if key != "script"}
    return {"job": job, "script": "(standard input)"}
