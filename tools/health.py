"""Is a node sick? What Slurm, its GPUs and its kernel say of it, and how its jobs fared beside those of its peers."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tools.base import ToolContext
from tools.capacity import base_state, flags, is_open
from tools.findings import UNKNOWN, diagnose_log, load_classes, load_xids
from tools.slurm.errors import AccountingUnavailable
from tools.slurm.hostlist import fold
from tools.slurm.models import Job, JobQuery, Node
from tools.telemetry import VERDICTS, Sign, Sources, gather, signs_of
from tools.views import ENDED, Row, by_state, clock, said, short, time_text

LOOK_BACK = timedelta(days=7)
_MOST_PEERS = 8
_HARDWARE = frozenset({"NODE_FAIL", "BOOT_FAIL"})
_FEW = 3
"""Fewer failures than this prove nothing about a node; nor do those of one user only."""
_WORSE = 3.0
_XID = re.compile(r"\bxid\b\D{0,12}(\d{1,3})\b", re.IGNORECASE)
_MOST_FINDINGS = 6
_MOST_RUNNING = 10
_GPU_COUNT = re.compile(r"gres/gpu.* count .*lower than configured", re.IGNORECASE)


def examine(node: Node, ctx: ToolContext, sources: Sources | None = None) -> Row:
    """``{"verdict", "summary", "findings", "jobs": by state, "call"?, "drain"?, "failures"?, "telemetry"?, "notes"?}``.

    The worst finding comes first. ``call`` and ``drain`` (command, effect, jobs that run on there) are what an
    administrator would do; ``telemetry`` are the instruments that were read.
    """
    signs, notes = state_signs(node), list[str]()
    data: Row = {}
    try:
        failures = compare(node, ctx)
        signs += failures.signs()
        data["failures"] = failures.row()
    except AccountingUnavailable as away:
        notes.append(f"no accounting ({away.message}): recent failures are not known")
    now = clock(ctx)
    telemetry = gather(node, ctx.backend.nodes(), sources or Sources(), now, now - LOOK_BACK)
    signs += signs_of(node, telemetry)
    data["telemetry"] = [readout.source for readout in telemetry.readouts]
    data["notes"] = [*notes, *telemetry.notes]
    return _told(node, signs, ctx.backend.queue(JobQuery(node=node.name))) | said(data)


def _told(node: Node, signs: list[Sign], jobs: Sequence[Job]) -> Row:
    signs.sort(key=lambda sign: -VERDICTS.index(sign.verdict))
    verdict = signs[0].verdict if signs else "healthy"
    fine = f"{node.name} is {node.state}; nothing speaks against it"
    summary = fine if verdict == "healthy" else signs[0].summary
    rows = [_row(sign) for sign in signs[:_MOST_FINDINGS]]
    found: Row = {"verdict": verdict, "summary": summary, "findings": rows, "jobs": by_state(jobs)}
    return found | (_drain(node, summary, jobs) if verdict == "drain" else {})


def _row(sign: Sign) -> Row:
    proof = [short(line) for line in sign.evidence]
    return said({"label": sign.label, "summary": sign.summary, "fix": sign.fix, "evidence": proof})


def _drain(node: Node, why: str, jobs: Sequence[Job]) -> Row:
    """The call, the exact command, and whom it touches: running jobs go on to their end, only new ones stay away."""
    reason = short(why, 120)
    command = ["scontrol", "update", f"NodeName={node.name}", "State=DRAIN", f"Reason={reason}"]
    running = [f"{job.id} of {job.user} until {time_text(job.end_time) or 'it ends'}" for job in jobs if job.start_time]
    effect = f"no new job starts on {node.name}; running jobs go on to their end: {len(running) or 'there are none'}"
    return {
        "call": {"tool": "drain_node", "arguments": {"nodes": node.name, "reason": reason}},
        "drain": said({"command": shlex.join(command), "effect": effect, "running": running[:_MOST_RUNNING]}),
    }


def state_signs(node: Node) -> list[Sign]:
    """What state, reason, GPUs and load say."""
    signs = []
    if not is_open(node):
        signs.append(_out_of_service(node))
    if drained := node.raw.get("GresDrain", "").replace("N/A", ""):
        signs.append(Sign("watch", "gpu_xid_ecc", f"GPUs {drained} of {node.name} are drained", "have them looked at"))
    if node.load is not None and node.cpus and node.load > 2 * node.cpus:
        text = f"the load is {node.load:.0f} on {node.cpus} CPUs: processes outlive their jobs, or I/O hangs"
        signs.append(Sign("watch", UNKNOWN, text, f"look at the processes on {node.name} that belong to no job"))
    return signs


def _out_of_service(node: Node) -> Sign:
    label, fix, why = reason_of(node.reason)
    by = f" by {node.reason_user}" if node.reason_user else ""
    since = f" since {time_text(node.reason_time)}" if node.reason_time else ""
    said_why = f": {short(node.reason)}{by}{since}" if node.reason else "; no reason is given"
    if not node.reason and "NOT_RESPONDING" in flags(node):
        label, fix = "node_failure", "see whether the machine is up and slurmd runs on it"
    evidence = (f"State={node.state}", *((f"Reason={short(node.reason)}",) if node.reason else ()), *why)
    return Sign("out_of_service", label, f"{node.name} is {node.state}{said_why}", fix, evidence)


def reason_of(reason: str) -> tuple[str, str, tuple[str, ...]]:
    """(failure class, what to do, more evidence) of an administrator's or Slurm's text about a node."""
    codes = [int(code) for code in _XID.findall(reason) if int(code) in load_xids()]
    if codes:
        known = load_xids()[codes[0]]
        return known.label, known.advice, (f"Xid {known.code}: {known.meaning} ({known.source})",)
    if _GPU_COUNT.search(reason):
        fix = "a GPU is missing on the node: look at nvidia-smi and the kernel log there, then reboot or repair it"
        return "gpu_fell_off_bus", fix, ()
    if re.search(r"not responding|unexpectedly rebooted|low \w+|kill task failed", reason, re.IGNORECASE):
        return "node_failure", "see slurmd's log and the kernel log on the node, then resume it", ()
    label = diagnose_log(reason).label if reason else UNKNOWN
    fix = (
        load_classes()[label].fix
        if label in load_classes()
        else "ask who set the reason; resume the node when it is mended"
    )
    return label, fix, ()


@dataclass(frozen=True, slots=True)
class Failures:
    """Ended jobs of a node and of its peers since a moment."""

    node: str
    since: datetime
    own: Sequence[Job]
    others: Sequence[Job]
    peers: tuple[str, ...]

    @property
    def own_rate(self) -> float:
        return len(failed(self.own)) / max(len(self.own), 1)

    @property
    def peers_rate(self) -> float:
        return len(failed(self.others)) / max(len(self.others), 1)

    def row(self) -> Row:
        last = [f"{job.id} {job.state} {job.exit_code}" for job in failed(self.own)[-5:]]
        return {
            "since": time_text(self.since),
            "jobs": len(self.own),
            "failed": len(failed(self.own)),
            "by_state": dict(Counter(job.state for job in failed(self.own))),
            "last": last,
            "peers": fold(self.peers) if self.peers else "",
            "peers_jobs": len(self.others),
            "peers_failed": len(failed(self.others)),
        }

    def signs(self) -> list[Sign]:
        """No blame on one failure, nor on one user's bad script."""
        signs = []
        if lost := [job for job in self.own if job.state in _HARDWARE]:
            verdict = "drain" if len(lost) >= _FEW else "watch"
            text = f"jobs that ended because the node failed, since {time_text(self.since)}: {len(lost)}"
            signs.append(Sign(verdict, "node_failure", text, f"look at the kernel log of {self.node}", _ids(lost)))
        bad = [job for job in failed(self.own) if job.state not in _HARDWARE]
        users = {job.user for job in bad}
        enough = len(bad) >= _FEW and len(users) > 1 and len(self.others) >= _FEW
        if enough and self.own_rate > _WORSE * self.peers_rate:
            text = (
                f"{len(bad)} of {len(self.own)} jobs of {len(users)} users failed here; "
                f"on {fold(self.peers)} {len(failed(self.others))} of {len(self.others)}"
            )
            signs.append(Sign("watch", UNKNOWN, text, "compare the logs of these jobs: diagnose_job", _ids(bad)))
        return signs


def failed(jobs: Sequence[Job]) -> list[Job]:
    """Jobs that went wrong by themselves or by the machine: not cancelled, preempted or out of time."""
    return [job for job in jobs if job.state in _HARDWARE | {"FAILED", "OUT_OF_MEMORY"}]


def compare(node: Node, ctx: ToolContext) -> Failures:
    """Raises ``AccountingUnavailable``."""
    since = clock(ctx) - LOOK_BACK
    peers = peers_of(node, ctx.backend.nodes())

    def ended(names: str) -> list[Job]:
        found = ctx.backend.history(JobQuery(node=names, since=since))
        return [job for job in found if job.state in ENDED and job.start_time]

    return Failures(node.name, since, ended(node.name), ended(fold(peers)) if peers else [], peers)


def peers_of(node: Node, nodes: Sequence[Node]) -> tuple[str, ...]:
    """Nodes in service with the same GPUs and a partition in common, a few of them."""
    kinds: Any = [(gpu.type, gpu.total) for gpu in node.gpus]
    alike = [
        other.name
        for other in nodes
        if other.name != node.name
        and base_state(other) not in ("DOWN", "UNKNOWN", "FUTURE")
        and set(other.partitions) & set(node.partitions)
        and [(gpu.type, gpu.total) for gpu in other.gpus] == kinds
    ]
    return tuple(sorted(alike)[:_MOST_PEERS])


def _ids(jobs: Sequence[Job]) -> tuple[str, ...]:
    return tuple(f"{job.id} {job.state} {job.exit_code}" for job in jobs[-5:])
