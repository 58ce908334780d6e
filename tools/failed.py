"""An ended or running job explained: its state, its steps, its logs, its nodes, and what it used."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from tools.asked import again
from tools.base import ToolContext
from tools.capacity import is_open
from tools.efficiency import efficiency
from tools.findings import UNKNOWN, Diagnosis, Finding, diagnose_log
from tools.logfiles import Log, NoLog, leader, log_paths, open_log
from tools.ranklogs import Survey, both_ends, rank_logs, survey
from tools.slurm.errors import AccountingUnavailable, InvalidRequest, UnknownJob, UnknownName
from tools.slurm.hostlist import expand
from tools.slurm.models import UNLIMITED, Job, Step
from tools.views import Row, duration_text, job_detail, said, short, step_row, time_text

_MOST_FINDINGS = 4
_MOST_EVIDENCE = 4
_MOST_STEPS = 8
_OF_PEERS = frozenset({"nccl_timeout", "nccl_init_network", "port_in_use_or_rendezvous", "python_exception"})
"""What ranks report when another one is gone, so that a rank's own cause comes first."""
_MACHINE = frozenset({"node_failure", "gpu_xid_ecc", "gpu_fell_off_bus", "nvlink_error", "ib_link_down"})


def explain(job: Job, ctx: ToolContext) -> Row:
    """``{"job", "state", "summary", "findings", "ranks"?, "steps"?, "nodes"?, "efficiency"?, "call"?, "notes"?}``."""
    told = read_logs(job, ctx)
    diagnosis = told.diagnosis
    steps, more = _steps(job, ctx)
    sick = sick_nodes(job, ctx)
    data: Row = {
        "job": job_detail(job),
        "state": job.state,
        "summary": summary_of(job, diagnosis),
        "findings": findings_of(diagnosis) if _worth_telling(job, diagnosis) else [],
        "ranks": told.ranks,
        "steps": [step_row(step) for step in _telling(steps)],
        "nodes": sick,
        "efficiency": efficiency(job, steps),
        "call": proposal(job, diagnosis.label, steps, ctx),
        "notes": [*told.notes, *more],
    }
    return said(data)


@dataclass(frozen=True, slots=True)
class Told:
    """What a job's logs say; ``ranks`` is :meth:`Survey.row` of the files that its commands wrote themselves."""

    diagnosis: Diagnosis
    notes: tuple[str, ...] = ()
    ranks: Row | None = None


def read_logs(job: Job, ctx: ToolContext) -> Told:
    """What the job's files say beside Slurm's own record; a file that cannot be read is a note."""
    if not job.start_time:
        return Told(_diagnosed(job, []))
    head = leader(ctx.backend, job)
    notes: list[str] = []
    try:
        paths = list(dict.fromkeys(log_paths(ctx.backend, head).values()))
    except NoLog as unknown:
        paths, notes = [], [unknown.message]
    written = rank_logs(ctx.backend, head)
    ranks = survey([path for path in written.paths if path not in paths], job, ctx.caller)
    diagnosis, missing = _joint(job, paths, ranks, ctx)
    return Told(diagnosis, (*notes, *missing, *written.notes, *ranks.notes), ranks.row())


def _joint(job: Job, paths: Sequence[Path], ranks: Survey, ctx: ToolContext) -> tuple[Diagnosis, list[str]]:
    """The job's own files beside those of the ranks that matter; of these alone, where the rest only echoes them."""
    notes: list[str] = []
    with ExitStack() as stack:
        own, theirs = list[tuple[str, BinaryIO]](), list[tuple[str, BinaryIO]]()
        for path in [*paths, *ranks.telling()]:
            try:
                file = stack.enter_context(open_log(Log(job, path), ctx.caller))
            except NoLog as missing:
                notes.append(missing.message)
                continue
            if path in paths:
                own.append((str(path), file))
            else:
                theirs.append((str(path), both_ends(file, ranks.share)[0]))
        diagnosis = _diagnosed(job, [*own, *theirs])
        roots = _roots(ranks, diagnosis)
        if diagnosis.label in _OF_PEERS and roots:
            first = [(name, source) for name, source in theirs if name in roots]
            for _, source in first:
                source.seek(0)
            diagnosis = _before(diagnose_log(first), diagnosis)
    return _placed(diagnosis, ranks), notes


def _roots(ranks: Survey, diagnosis: Diagnosis) -> set[str]:
    """Files with a cause of their own, if the times of the lines do not show that it came after another."""
    standing = {finding.label for finding in diagnosis.findings if not finding.echo_of}
    return {str(path) for said, paths in ranks.causes() if said.own and said.label in standing for path in paths}


def _diagnosed(job: Job, files: Sequence[tuple[str, BinaryIO]]) -> Diagnosis:
    state = job.state if job.state not in ("RUNNING", "COMPLETING", "SUSPENDED") else None
    return diagnose_log(files, state=state, exit_code=job.exit_code if state else None)


def _before(first: Diagnosis, echo: Diagnosis) -> Diagnosis:
    """One rank's own cause, and after it what the others make of it."""
    rest = [
        replace(finding, echo_of=finding.echo_of or first.label)
        for finding in echo.findings
        if finding.label not in (*first.labels, UNKNOWN)
    ]
    labels = dict.fromkeys((*first.labels, *echo.labels))
    return Diagnosis(first.label, tuple(label for label in labels if label != UNKNOWN), (*first.findings, *rest))


def _placed(diagnosis: Diagnosis, ranks: Survey) -> Diagnosis:
    """With the lines' numbers in files of which only the ends were read."""

    def placed(finding: Finding) -> Finding:
        cuts = ranks.cuts
        proof = [replace(e, line=cuts[e.file].line(e.line)) if e.file in cuts else e for e in finding.evidence]
        return replace(finding, evidence=tuple(proof))

    return replace(diagnosis, findings=tuple(map(placed, diagnosis.findings)))


def findings_of(diagnosis: Diagnosis) -> list[Row]:
    """The likeliest causes with the lines that prove them, short enough for a model."""
    rows = []
    for finding in diagnosis.findings[:_MOST_FINDINGS]:
        proof = [line for line in finding.evidence if line.text][:_MOST_EVIDENCE]
        evidence = [{"file": line.file, "line": line.line, "text": short(line.text)} for line in proof]
        row = {"label": finding.label, "confidence": finding.confidence, "summary": finding.summary, "fix": finding.fix}
        rows.append(said({**row, "evidence": evidence, "echo_of": finding.echo_of}))
    return rows


def summary_of(job: Job, diagnosis: Diagnosis) -> str:
    """One sentence: what became of the job and, where there is one, the cause."""
    name = f"job {job.id}"
    if job.state in ("RUNNING", "COMPLETING", "SUSPENDED"):
        until = f", until {time_text(job.end_time)} at the latest" if job.end_time else ""
        text = f"{name} is {job.state} on {short(job.node_list, 60)} since {time_text(job.start_time)}{until}"
    elif job.state == "COMPLETED":
        text = f"{name} completed in {duration_text(job.elapsed)} with exit code {job.exit_code}"
    elif not job.start_time:
        return f"{name} was {job.state} before it started"
    else:
        text = f"{name} ended {job.state} after {duration_text(job.elapsed)} with exit code {job.exit_code}"
    if diagnosis.label == UNKNOWN:
        return text if job.state in ("COMPLETED", "RUNNING") else f"{text}; not enough evidence for the cause"
    found = next(finding for finding in diagnosis.findings if finding.label == diagnosis.label)
    return f"{text}: {diagnosis.label}. {found.summary}"


def sick_nodes(job: Job, ctx: ToolContext) -> list[Row]:
    """The job's nodes that are out of service now."""
    if not job.node_list:
        return []
    try:
        nodes = ctx.backend.nodes(job.node_list)
    except (UnknownName, InvalidRequest):
        return []
    closed = [node for node in nodes if not is_open(node)]
    return [said({"node": n.name, "state": n.state, "reason": short(n.reason), "since": time_text(n.reason_time)})
            for n in closed[:5]]  # fmt: skip


def proposal(job: Job, label: str, steps: Sequence[Step], ctx: ToolContext) -> dict[str, Any] | None:
    """The next call that would mend it: the same job with more time or memory, or away from a bad node."""
    changes = _changes(job, label, steps, ctx)
    if changes is None:
        return None
    try:
        script = ctx.backend.submitted(job.id).script
    except (AccountingUnavailable, UnknownJob):
        script = ""
    arguments = again(job, script, changes)
    return {"tool": "submit_job", "arguments": arguments} if arguments else None


def _changes(job: Job, label: str, steps: Sequence[Step], ctx: ToolContext) -> dict[str, Any] | None:
    if label == "time_limit" and job.time_limit and job.time_limit != UNLIMITED:
        longest = [one.max_time for one in ctx.backend.partitions() if one.name == job.partition and one.max_time]
        most = longest[0] if longest and longest[0] != UNLIMITED else job.time_limit * 2
        return {"time_limit": duration_text(min(job.time_limit * 2, most))} if most > job.time_limit else None
    if label == "host_oom" and job.mem_mb:
        peak = max((step.max_rss_mb or 0 for step in steps), default=0)
        # In whole GiB, and twice what was not enough.
        more = -(-int(max(2 * job.mem_mb, 1.5 * peak)) // 1024)
        return {"mem_per_cpu": None, "mem": f"{more}G"}
    if label in _MACHINE and job.node_list and len(expand(job.node_list)) <= 8:
        return {"exclude": job.node_list}
    return {} if label == "preempted" else None


def _worth_telling(job: Job, diagnosis: Diagnosis) -> bool:
    """Of a job that runs or went well, no "not enough evidence"."""
    return diagnosis.label != UNKNOWN or job.state not in ("RUNNING", "COMPLETING", "SUSPENDED", "COMPLETED")


def _steps(job: Job, ctx: ToolContext) -> tuple[list[Step], list[str]]:
    try:
        return ctx.backend.steps(job.id), []
    except UnknownJob:
        return [], []
    except AccountingUnavailable as away:
        return [], [f"no accounting ({away.message}): steps and use are not known"]


def _telling(steps: Sequence[Step]) -> list[Step]:
    """Steps that went wrong, in order; what only the whole job's end cut off comes last."""
    bad = [step for step in steps if step.state not in ("COMPLETED", "RUNNING") and step.name != "extern"]
    return sorted(bad, key=lambda step: step.state == "CANCELLED")[:_MOST_STEPS]
