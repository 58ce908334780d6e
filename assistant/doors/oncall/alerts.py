"""Alerts as they come in: Alertmanager's webhook (version 4), and a plain form for Slurm's triggers and epilogs.

Everything in an alert is somebody else's text. It chooses a runbook and names nodes and jobs, which are held against
the real ones before they become an argument; it is never more than that.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from assistant.errors import RequestRefused
from tools.slurm.errors import InvalidRequest
from tools.slurm.hostlist import expand
from tools.views import short

MOST_ALERTS = 5000
MOST_LABELS = 100
MOST_NODES = 5000
LONGEST_TEXT = 2000
_LONGEST_NAME = 120
_NODE_LABELS = ("node", "nodename", "Hostname", "hostname", "host", "instance")
"""Where exporters put the machine: the Slurm exporters ``node``, NVIDIA's DCGM exporter ``Hostname``, every target has
``instance``. The first that is a node of this cluster is taken."""
_JOB_LABELS = ("job_id", "jobid", "slurm_job_id", "hpc_job")
"""``hpc_job`` is the DCGM exporter's (``--hpc-job-mapping-dir``); ``job`` is Prometheus' own and no job of Slurm."""
_JOB = re.compile(r"\d{1,10}(?:_\d{1,7}|\+\d{1,4})?")
_SEVERITIES = {"critical": "critical", "page": "critical", "error": "critical", "info": "info", "none": "info"}
_BRACKET = re.compile(r"\[([\d,\-]*)\]")

Severity = Literal["critical", "warning", "info"]
EVENTS: dict[str, tuple[str, Severity]] = {
    "node_down": ("SlurmNodeDown", "critical"),
    "node_drained": ("SlurmNodeDrained", "warning"),
    "node_failing": ("SlurmNodeFailing", "warning"),
    "gpu_error": ("SlurmGpuError", "critical"),
    "job_failed": ("SlurmJobFailed", "warning"),
    "slurmctld_down": ("SlurmctldDown", "critical"),
    "slurmdbd_down": ("SlurmdbdDown", "critical"),
    "queue_stalled": ("SlurmQueueStalled", "warning"),
    "filesystem_stale": ("SlurmFilesystemStale", "critical"),
    "disk_full": ("SlurmDiskFull", "warning"),
    "epilog_failed": ("SlurmEpilogFailed", "warning"),
    "nccl_timeout": ("SlurmNcclTimeout", "warning"),
    "license_server": ("SlurmLicenseServerDown", "warning"),
}
"""The plain form's events, with the alert that each one is; strigger(1) names Slurm's own."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert. ``nodes`` are names that *might* be nodes, the likeliest first; ``xid`` is NVIDIA's code or None."""

    fingerprint: str
    name: str
    firing: bool
    severity: Severity
    labels: Mapping[str, str]
    text: str
    nodes: tuple[str, ...] = ()
    job: str = ""
    xid: int | None = None


class _Incoming(BaseModel):
    """Alertmanager may add fields; the ones used here have been there since version 4 of the form."""

    status: Literal["firing", "resolved"]
    labels: Annotated[dict[str, str], Field(max_length=MOST_LABELS)]
    annotations: Annotated[dict[str, str], Field(max_length=MOST_LABELS)] = Field(default_factory=dict)
    fingerprint: Annotated[str, Field(max_length=64)] = ""


class _Webhook(BaseModel):
    version: Literal["4"]
    alerts: Annotated[list[_Incoming], Field(max_length=MOST_ALERTS)]


class _Plain(BaseModel):
    model_config = ConfigDict(extra="forbid")

    event: Annotated[str, Field(max_length=_LONGEST_NAME)]
    status: Literal["firing", "resolved"] = "firing"
    severity: Severity | None = None
    nodes: Annotated[str, Field(max_length=LONGEST_TEXT)] = ""
    job_id: Annotated[str, Field(max_length=40)] = ""
    xid: Annotated[int, Field(ge=0, le=999)] | None = None
    reason: Annotated[str, Field(max_length=LONGEST_TEXT)] = ""


def from_alertmanager(body: bytes) -> list[Alert]:
    """The alerts of one webhook (prometheus.io, ``webhook_config``). Raises RequestRefused naming what is wrong."""
    return [_alert(one) for one in _validated(_Webhook, body).alerts]


def from_slurm(body: bytes) -> list[Alert]:
    """The plain form, one alert a node: ``{"event", "nodes"?, "job_id"?, "reason"?, "xid"?, "severity"?, "status"?}``.

    Raises RequestRefused with the valid events or keys.
    """
    plain = _validated(_Plain, body)
    if plain.event not in EVENTS:
        raise RequestRefused(f"event {short(plain.event, 60)!r} is not known; valid: {', '.join(EVENTS)}")
    if plain.job_id and not _JOB.fullmatch(plain.job_id):
        raise RequestRefused(f"job_id {plain.job_id!r} is no job id; write 123, 123_4 or 123+0")
    name, usual = EVENTS[plain.event]
    labels = {"alertname": name, **({"job_id": plain.job_id} if plain.job_id else {})}
    annotations = {"summary": plain.reason, **({"xid": str(plain.xid)} if plain.xid is not None else {})}
    status = {"status": plain.status, "annotations": annotations}
    severity = plain.severity or usual
    made = [labels | {"node": node} for node in _nodes(plain.nodes)] or [labels]
    return [_alert(_Incoming(labels={**one, "severity": severity}, **status), "slurm") for one in made]


def _validated(form: type[BaseModel], body: bytes) -> Any:
    try:
        return form.model_validate(json.loads(body))
    except (ValueError, RecursionError) as error:
        if isinstance(error, ValidationError):
            wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:3])
            raise RequestRefused(f"{short(wrong)}; valid keys: {', '.join(form.model_fields)}") from None
        raise RequestRefused(f"the body is not JSON: {short(str(error), 120)}") from None


def _nodes(hostlist: str) -> list[str]:
    """Raises RequestRefused; the count comes before the names, which ``a[1-99999999]`` would fill the memory with."""
    try:
        if _count(hostlist) > MOST_NODES:
            raise RequestRefused(f"nodes {short(hostlist, 60)!r} are more than {MOST_NODES}")
        return expand(hostlist)
    except (InvalidRequest, ValueError) as error:
        raise RequestRefused(f"nodes: {short(str(error), 160)}") from None


def _count(hostlist: str) -> int:
    """At least as many as the names: each bracket multiplies. Raises ValueError."""
    return (_BRACKET.sub("", hostlist).count(",") + 1) * prod(map(_span, _BRACKET.findall(hostlist)))


def _span(inside: str) -> int:
    ends = [part.partition("-") for part in inside.split(",")]
    return sum(int(last or first) - int(first) + 1 for first, _, last in ends)


def _alert(one: _Incoming, source: str = "alertmanager") -> Alert:
    labels = {short(key, _LONGEST_NAME): short(value) for key, value in one.labels.items()}
    said = one.annotations
    return Alert(
        fingerprint=f"{source}:{one.fingerprint or _fingerprint(labels)}",
        name=short(labels.get("alertname") or "unnamed", _LONGEST_NAME),
        firing=one.status == "firing",
        severity=severity_of(labels.get("severity", "")),
        labels=labels,
        text=short(" ".join(filter(None, (said.get("summary"), said.get("description")))), LONGEST_TEXT),
        nodes=tuple(_machines(labels)),
        job=next((labels[key] for key in _JOB_LABELS if _JOB.fullmatch(labels.get(key, ""))), ""),
        xid=_xid({**labels, **said}),
    )


def severity_of(text: str) -> Severity:
    """Alertmanager knows no severities; these words are the usual ones, anything else is a warning."""
    found = _SEVERITIES.get(text.lower(), "warning")
    return "critical" if found == "critical" else "info" if found == "info" else "warning"


def _fingerprint(labels: Mapping[str, str]) -> str:
    """The same labels are the same alert, as in Alertmanager."""
    return hashlib.sha256(json.dumps(labels, sort_keys=True).encode()).hexdigest()[:16]


def _machines(labels: Mapping[str, str]) -> Iterable[str]:
    """Host names without port and domain, each once."""
    hosts = (re.sub(r":\d+$", "", labels[key]) for key in _NODE_LABELS if labels.get(key))
    return dict.fromkeys(name for host in hosts for name in (host, host.partition(".")[0]) if name)


def _xid(said: Mapping[str, str]) -> int | None:
    found = next((said[key] for key in ("xid", "err_code") if said.get(key)), "")
    return int(found) if re.fullmatch(r"\d{1,3}", found) else None
