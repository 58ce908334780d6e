"""From an incident to what is known about it: the runbook's reads through the ledger, and the change they call for,
which is left in the journal for a person's yes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from assistant.doors.oncall.alerts import Alert
from assistant.doors.oncall.intake import Incident
from assistant.doors.oncall.shared import Shared
from assistant.errors import AssistantError
from assistant.ledger import later
from assistant.ledger.done import Done
from assistant.ledger.execute import LedgerExecutor
from tools.base import Call
from tools.findings import load_xids
from tools.slurm.errors import SlurmError

_OUT_BUT_ANSWERS = frozenset({"DRAIN", "DRAINED", "DRAINING"})
_NOT_THERE = frozenset({"DOWN", "NOT_RESPONDING", "FAIL", "FAILING", "ERROR", "POWERED_DOWN", "POWERING_DOWN"})
_BROKEN = frozenset({"gpu_xid_ecc", "gpu_fell_off_bus", "nvlink_error"})
_MENDED = frozenset({"node_failure"})
"""Reasons that Slurm sets by itself: once the node answers again, it can come back. A person's reason stands until
that person is asked."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change and the approval that it waits for; without one ``why_not`` says why it could not be asked for."""

    call: Call
    commands: tuple[str, ...] = ()
    approval: str = ""
    expires: str = ""
    why_not: str = ""


@dataclass
class Diagnosis:
    """``nodes`` and ``jobs`` are the real ones that the alerts name, ``strange`` the names that are no node here."""

    nodes: list[str] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    done: list[Done] = field(default_factory=list)
    proposals: list[Proposal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    run: str = ""


@dataclass(frozen=True)
class Bench:
    """``executor`` makes a ledger anew for each incident: what the service's own user may do is asked each time."""

    executor: Callable[[], LedgerExecutor]
    shared: Shared
    most: int = 3

    def examine(self, incident: Incident) -> Diagnosis:
        """Never raises for what Slurm or the journal cannot say: that is a note, for it is news by itself."""
        found = Diagnosis(
            jobs=_each(alert.job for alert in incident.alerts if alert.job),
            strange=_each(alert.nodes[0] for alert in incident.alerts if alert.nodes),
        )
        try:
            executor = self.executor()
            self._name(incident, found, executor)
            self._read(incident, found, executor)
            self._propose(incident, found, executor)
        except (SlurmError, AssistantError) as error:
            found.notes.append(f"the diagnosis ended early: {error.message}")
        return found

    def _name(self, incident: Incident, found: Diagnosis, executor: LedgerExecutor) -> None:
        """Hold the names in the alerts against the cluster's own."""
        try:
            real = {node.name for node in executor.ledger.context().backend.nodes()}
        except SlurmError as error:
            found.notes.append(f"Slurm does not answer ({error.message}): the nodes are as the alerts name them")
            return
        here = [(alert, next((name for name in alert.nodes if name in real), "")) for alert in incident.alerts]
        found.nodes = _each(name for _, name in here if name)
        found.strange = _each(alert.nodes[0] for alert, name in here if alert.nodes and not name)

    def _read(self, incident: Incident, found: Diagnosis, executor: LedgerExecutor) -> None:
        calls = incident.runbook.calls(found.nodes[: self.most], found.jobs[: self.most])
        if len(found.nodes) > self.most or len(found.jobs) > self.most:
            found.notes.append(f"looked into the first {self.most} of each; the others are only named")
        if calls:
            found.run, done = executor.run(_request(incident), calls)
            found.done = list(done)

    def _propose(self, incident: Incident, found: Diagnosis, executor: LedgerExecutor) -> None:
        calls = [call for done in found.done if (call := change_for(incident, done))]
        if calls:
            self.shared.forget()
        for call in calls:
            open_already = _open_already(executor, call)
            found.proposals.append(open_already or _ask(executor, call, found.run))


def change_for(incident: Incident, done: Done) -> Call | None:
    """The change that a node's diagnosis calls for, as far as the runbook allows it to be proposed."""
    if done.call.tool != "diagnose_node" or done.result.status != "ok":
        return None
    data, may = done.result.data, incident.runbook.matter.propose
    node, state = data["node"]["node"], set(str(data["node"]["state"]).split("+"))
    label = (data.get("findings") or [{}])[0].get("label", "")
    reason = ""
    if data["verdict"] == "drain":
        reason = data["call"]["arguments"]["reason"]
    elif not state & _OUT_BUT_ANSWERS:
        reason = _broken(incident, node, data, label)
    if reason and "drain_node" in may:
        return Call("drain_node", {"nodes": node, "reason": reason})
    mended = label in _MENDED and state & _OUT_BUT_ANSWERS and not state & _NOT_THERE
    if mended and "resume_node" in may and not _bad_xid(incident.alerts, node):
        return Call("resume_node", {"nodes": node})
    return None


def _broken(incident: Incident, node: str, data: dict[str, Any], label: str) -> str:
    """Why a node that Slurm could still use, or bring back by itself, should not be: in our own words, not the
    alert's."""
    if (xid := _bad_xid(incident.alerts, node)) is not None:
        return f"Xid {xid}: {load_xids()[xid].meaning}"[:120]
    out = data["verdict"] == "out_of_service" and label in _BROKEN
    return str(data["summary"])[:120] if out else ""


def _bad_xid(alerts: Iterable[Alert], node: str) -> int | None:
    """An Xid of this node for which NVIDIA's catalogue has the node taken out."""
    known = load_xids()
    codes = [alert.xid for alert in alerts if alert.xid in known and node in alert.nodes]
    return next((code for code in codes if code is not None and known[code].severity == "drain"), None)


def _ask(executor: LedgerExecutor, call: Call, run: str) -> Proposal:
    """Plan the change as one more call of the run that found it; it stays a question."""
    _, (done,) = executor.run("", (call,), run=run)
    for row in later.pending(executor.ledger.journal):
        if row["run"] == run and row["preview"]["arguments"] == call.arguments:
            return Proposal(call, tuple(row["preview"]["commands"]), row["id"], row["expires"])
    return Proposal(call, why_not="; ".join(item.message for item in done.result.items) or done.result.status)


def _open_already(executor: LedgerExecutor, call: Call) -> Proposal | None:
    """The same question, asked by another alert of the same trouble."""
    for row in later.pending(executor.ledger.journal):
        preview = row["preview"]
        if preview["tool"] == call.tool and preview["arguments"].get("nodes") == call.arguments["nodes"]:
            return Proposal(
                Call(call.tool, preview["arguments"]), tuple(preview["commands"]), row["id"], row["expires"]
            )
    return None


def _request(incident: Incident) -> str:
    names = ", ".join(_each(alert.name for alert in incident.alerts)[:5])
    return f"on-call incident {incident.id}: {names} ({incident.total} alerts), runbook {incident.runbook.name}"


def touched(done: Sequence[Done]) -> list[dict[str, str]]:
    """``{"job_id", "user", "state", "until"?}`` of every job in the answers, each once."""
    rows = [row for one in done for row in _job_rows(one.result.data)]
    return list({row["job_id"]: row for row in rows}.values())


def _job_rows(data: dict[str, Any]) -> Iterable[dict[str, str]]:
    listed = data.get("jobs")
    single = data.get("job")
    for row in [*(listed if isinstance(listed, list) else ()), *([single] if isinstance(single, dict) else ())]:
        if row.get("job_id"):
            yield {key: str(row[key]) for key in ("job_id", "user", "state", "node_list") if row.get(key)}


def _each(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
