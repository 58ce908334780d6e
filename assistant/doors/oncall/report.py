"""What is posted about an incident: short first, then evidence, who is touched, what is proposed and how to answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from assistant.doors.oncall.diagnosis import Diagnosis, Proposal, touched
from assistant.doors.oncall.intake import Incident
from assistant.ledger.done import Done
from assistant.ledger.redact import fence, redact, redacted
from tools.slurm.errors import InvalidRequest
from tools.slurm.hostlist import fold
from tools.views import short

_SHOWN = 5
_LONGEST = 12_000
"""Characters of a post's text."""

Kind = Literal["opened", "resolved"]
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Post:
    """One message: ``text`` for people, ``document`` for programs; neither holds a secret."""

    kind: Kind
    incident: str
    severity: str
    title: str
    text: str
    document: Document


def opened(incident: Incident, found: Diagnosis) -> Post:
    """What happened, evidence, jobs and users touched, the proposed action with its approval."""
    title = _title(incident, found)
    jobs = touched(found.done)
    lines = [
        f"[{incident.severity}] {title} (incident {incident.id})",
        f"What happened: {_alerts(incident)}",
        *_said(incident),
        *_evidence(found),
        *_touched(jobs),
        *_proposed(found.proposals),
        "First steps:",
        *(f"  {line}" for line in incident.runbook.sections["First steps"]),
        f"Runbook {incident.runbook.name}; {_account(found)}",
    ]
    document = _document(incident, title) | {
        "nodes": found.nodes,
        "unknown_nodes": found.strange,
        "jobs": jobs,
        "evidence": [_one(done) for done in found.done],
        "proposals": [_proposal(one) for one in found.proposals],
        "notes": found.notes,
        "run": found.run,
    }
    return _post("opened", incident, title, lines, document)


def closed(incident: Incident, found: Diagnosis | None) -> Post:
    """The summary and the handoff note."""
    title = _title(incident, found or Diagnosis())
    lasted = _lasted(incident.resolved - incident.opened)
    lines = [
        f"[resolved] {title} (incident {incident.id}) after {lasted}",
        f"Summary: {_alerts(incident)} from {_clock(incident.opened)} to {_clock(incident.resolved)}",
        *(["As it was found:", *_evidence(found)[1:_SHOWN]] if found and found.done else ()),
        *(_left_open(found.proposals) if found else ()),
        "Handoff:",
        *(f"  {line}" for line in incident.runbook.sections["Handoff"]),
        *([f"The whole account: `sask show {found.run}`"] if found and found.run else ()),
    ]
    document = _document(incident, title) | {
        "resolved": _clock(incident.resolved),
        "seconds": round(incident.resolved - incident.opened),
        "run": found.run if found else "",
        "handoff": list(incident.runbook.sections["Handoff"]),
    }
    return _post("resolved", incident, title, lines, document)


def _post(kind: Kind, incident: Incident, title: str, lines: Iterable[str], document: Document) -> Post:
    text = redact("\n".join(lines))
    cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}\n… `sask show {incident.run}` has the rest"
    whole = redacted(document | {"kind": kind, "text": cut})
    return Post(kind, incident.id, incident.severity, redact(title), cut, whole)


def _document(incident: Incident, title: str) -> Document:
    return {
        "incident": incident.id,
        "severity": incident.severity,
        "title": title,
        "runbook": incident.runbook.name,
        "sources": list(incident.runbook.matter.sources),
        "alerts": incident.total,
        "names": dict(Counter(alert.name for alert in incident.alerts).most_common(_SHOWN)),
        "untrusted_text": list(dict.fromkeys(alert.text for alert in incident.alerts if alert.text))[:_SHOWN],
        "since": _clock(incident.opened),
    }


def _title(incident: Incident, found: Diagnosis) -> str:
    where = folded(found.nodes or found.strange) or ", ".join(f"job {job}" for job in found.jobs[:_SHOWN])
    return f"{incident.runbook.matter.title}{f': {where}' if where else ''}"


def folded(names: list[str]) -> str:
    """As a host list where they are one; a name that is none (it came with an alert) stays as it is."""
    try:
        return short(fold(names), 200) if names else ""
    except InvalidRequest:
        return short(", ".join(names), 200)


def _alerts(incident: Incident) -> str:
    names = Counter(alert.name for alert in incident.alerts).most_common(_SHOWN)
    told = ", ".join(f"{short(name, 60)} ×{count}" if count > 1 else short(name, 60) for name, count in names)
    return f"{told}; {incident.total} alert(s) since {_clock(incident.opened)}"


def _said(incident: Incident) -> list[str]:
    """The alerts' own words, fenced: whoever can raise an alert could write there."""
    texts = list(dict.fromkeys(short(alert.text, 300) for alert in incident.alerts if alert.text))
    return [fence("\n".join(texts[:_SHOWN]), "alert")] if texts else []


def _evidence(found: Diagnosis) -> list[str]:
    lines = [line for done in found.done for line in _evidence_of(done)]
    strange = [f"  not nodes of this cluster: {folded(found.strange)}"] if found.strange else []
    notes = [f"  note: {short(note)}" for note in found.notes]
    return ["Evidence:", *lines, *strange, *notes] if lines or strange or notes else []


def _evidence_of(done: Done) -> list[str]:
    data, about = done.result.data, done.call.arguments.get("node") or done.call.arguments.get("job_id") or ""
    head = f"  {done.call.tool}{f' {about}' if about else ''}:"
    if done.result.status != "ok":
        return [f"{head} {done.result.status}: {short('; '.join(item.message for item in done.result.items))}"]
    findings = [one for one in data.get("findings", ()) if isinstance(one, dict)][:3]
    summary = data.get("summary") or _figures(data)
    verdict = f"{data['verdict']}: " if data.get("verdict") else ""
    lines = [f"{head} {verdict}{short(str(summary))}"]
    for one in findings:
        lines += [f"    {short(str(line))}" for line in [*one.get("evidence", ())[:3], one.get("fix", "")] if line]
    return lines


def _figures(data: Document) -> str:
    """The plain values and the counts of an answer that has no summary of its own."""
    kept = {key: value for key, value in data.items() if isinstance(value, str | int | float) and key != "shown"}
    counts = {key: data[key] for key in ("by_state", "nodes", "jobs") if isinstance(data.get(key), dict)}
    told = [f"{key} {value}" for key, value in kept.items()]
    told += [f"{key} " + ", ".join(f"{k} {v}" for k, v in value.items()) for key, value in counts.items()]
    return "; ".join(told) or "nothing"


def _touched(jobs: list[dict[str, str]]) -> list[str]:
    if not jobs:
        return ["Touched: no job that is known of"]
    users = Counter(job.get("user", "?") for job in jobs).most_common()
    of = ", ".join(f"{user} ({count})" for user, count in users[:10])
    rows = [" ".join(job[key] for key in ("job_id", "user", "state") if key in job) for job in jobs[:_SHOWN]]
    return [f"Touched: {len(jobs)} job(s) of {of}: {'; '.join(rows)}"]


def _proposed(proposals: list[Proposal]) -> list[str]:
    lines = []
    for one in proposals:
        lines.append(f"Proposed: {one.call.tool} {' '.join(map(str, one.call.arguments.values()))}")
        lines += [f"  $ {command}" for command in one.commands]
        lines.append(f"  {_answer(one)}")
    return lines or ["Proposed: nothing to change in Slurm"]


def _answer(one: Proposal) -> str:
    if one.approval:
        return (
            f"`sask approve {one.approval}` carries it out, `sask deny {one.approval}` drops it (until {one.expires})"
        )
    return f"it could not be left for an approval: {short(one.why_not)}"


def _left_open(proposals: list[Proposal]) -> list[str]:
    ids = [one.approval for one in proposals if one.approval]
    return [f"Proposed then: approval {', '.join(ids)}; `sask approvals` shows whether it is still open"] if ids else []


def _one(done: Done) -> Document:
    result = done.result
    messages = [item.message for item in result.items if item.message]
    return {"tool": done.call.tool, "arguments": done.call.arguments, "status": result.status,
            "messages": messages, "data": result.data, "commands": list(done.commands)}  # fmt: skip


def _proposal(one: Proposal) -> Document:
    return {"tool": one.call.tool, "arguments": one.call.arguments, "commands": list(one.commands),
            "approval": one.approval, "expires": one.expires, "why_not": one.why_not}  # fmt: skip


def _account(found: Diagnosis) -> str:
    return f"the whole account: `sask show {found.run}`" if found.run else "nothing was asked of Slurm"


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _lasted(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min" if minutes else "a minute"
