"""A waiting job explained: what keeps it, who can change that, when it would start, what would start it sooner."""

from __future__ import annotations

from dataclasses import replace

from tools.base import ToolContext
from tools.case import Case, Why
from tools.findings import Reason, explain_reason
from tools.slurm.errors import SlurmError, SlurmUnreachable
from tools.slurm.models import Estimate, Job, Share
from tools.views import Row, job_detail, said, time_text
from tools.whatif import ROUGH, baseline, what_ifs
from tools.why import CHECKS, jobs_ahead, licenses, limits, nodes, partitions, priority

_BY_ITSELF = ("", "None", "Resources", "Priority")
_ALWAYS = (limits, partitions)
# Reasons that no other size, place or time limit would lift.
_NO_WISH = ("JobHeld", "Dependency", "BeginTime", "JobArrayTaskLimit", "launch_failed", "job_requeued", "DeadLine")
_OUT_OF_SERVICE = ("ReqNodeNotAvail", "PartitionDown", "PartitionInactive")
_IMPOSSIBLE = frozenset(
    {
        "ESLURM_REQUESTED_NODE_CONFIG_UNAVAILABLE",
        "ESLURM_REQUESTED_PART_CONFIG_UNAVAILABLE",
        "ESLURM_REQUESTED_NODES_NOT_IN_PARTITION",
        "ESLURM_INVALID_NODE_COUNT",
        "ESLURM_TOO_MANY_REQUESTED_CPUS",
        "ESLURM_INVALID_TIME_LIMIT",
    }
)


def explain(job: Job, ctx: ToolContext) -> Row:
    """``{"job", "state", "summary", "findings", "expected_start"?, "what_ifs"?, "priority"?, "notes"?}``."""
    case = Case(job, ctx)
    usual, refused = baseline(case)
    causes = reasons(case, refused)
    never = any(why.never for why in causes)
    word = reason_word(job.reason)
    summary = f"job {job.id} {'cannot start as it is' if never else 'waits'}" + (f" ({word})" if word else "")
    data: Row = {
        "job": job_detail(job),
        "state": job.state,
        "summary": f"{summary}: {causes[0].summary}" if causes else f"{summary}; nothing is known to be in its way",
        "findings": [why.row() for why in causes[:5]],
    }
    if not never:
        data["expected_start"] = expected(case, usual)
    if not job.reason.startswith(_NO_WISH) and not any(why.label == "Licenses" for why in causes):
        data["what_ifs"] = what_ifs(case, data.get("expected_start", {}).get("start_time"))
    data["priority"] = _priority(case)
    data["notes"] = case.notes + _notes(data)
    return said(data)


def reasons(case: Case, refused: SlurmError | None) -> list[Why]:
    """The cause that Slurm names first, with numbers where there are; then the others that stand in the way too."""
    named, others = [], []
    code = reason_word(case.job.reason)
    for pattern, check in CHECKS:
        told = pattern.match(case.job.reason) is not None or pattern.match(code) is not None
        for why in check(case):
            if told:
                named.append(why)
            elif (
                why.never
                or check in _ALWAYS
                or (check in (nodes, priority, licenses) and case.job.reason in _BY_ITSELF)
            ):
                others.append(why)
    named = _in_slurms_words(case, named)
    told_why = any(why.never or why.label in _OUT_OF_SERVICE for why in [*named, *others])
    if refused and refused.code in _IMPOSSIBLE and not told_why:
        fix = "ask for what the partition has: see cluster_status"
        others.append(
            Why("BadConstraints", f"sbatch --test-only refuses it: {refused.message}", fix, "user", never=True)
        )
    # Just submitted, or not looked at yet: what is never possible is then the better answer.
    if case.job.reason in ("", "None") and others:
        return others
    return named + others


def _in_slurms_words(case: Case, named: list[Why]) -> list[Why]:
    """The first cause under the reason's own code, with who can change it; from knowledge alone where no check fits."""
    code = reason_word(case.job.reason)
    known = explain_reason(case.job.reason) if code else None
    if not named:
        if known is None:
            return [Why(code, f"Slurm says {case.job.reason}")] if code not in ("", "None") else []
        if code == "None":
            return []
        return [Why(code, known.meaning, known.action, known.who, (f"Reason={case.job.reason}",), known.never_runs)]
    if known and known.limit:
        named.sort(key=lambda why: _unlike(why, known))
    first = named[0]
    if known is None:
        return [replace(first, label=code or first.label), *named[1:]]
    evidence = (f"Reason={case.job.reason}: {known.meaning}", *first.evidence)
    return [replace(first, label=code, who=known.who, evidence=evidence), *named[1:]]


def _unlike(why: Why, known: Reason) -> tuple[bool, bool]:
    """How far a limit is from the one that Slurm's reason means: first by its name and resource, then by whose."""
    other = not (why.label.startswith(known.limit[:7]) and known.resource in why.summary)
    of_qos = " (QoS " in why.summary or why.summary.startswith("QoS ")
    return other, of_qos != (known.scope == "qos")


def reason_word(reason: str) -> str:
    """``ReqNodeNotAvail`` of ``ReqNodeNotAvail,_UnavailableNodes:n1``; the code behind a sentence, or its beginning."""
    word = reason.split(",")[0].strip("() ")[:60]
    known = explain_reason(reason)
    return known.code if known and len(known.code) <= len(word) else word


def expected(case: Case, usual: Estimate | None) -> Row:
    """``{"start_time", "nodes"?, "source"}``; the scheduler's own answer first."""
    told = case.ctx.backend.expected_start(case.job.id.partition("_[")[0])
    if told.start_time and told.start_time > case.now:
        return said({"start_time": time_text(told.start_time), "nodes": told.nodes, "source": "squeue --start"})
    # sbatch --test-only knows nothing of limits, dependencies, licences and throttles.
    if usual and usual.start_time and case.job.reason in _BY_ITSELF:
        start = max(usual.start_time, case.job.eligible_time or usual.start_time)
        return said({"start_time": time_text(start), "nodes": usual.nodes, "source": "sbatch --test-only"})
    return {}


def _priority(case: Case) -> Row:
    try:
        factors = case.ctx.backend.priority_factors(case.job.id)
    except SlurmUnreachable:
        raise
    except SlurmError:  # priority/basic has no factors
        factors = {}
    ahead = jobs_ahead(case)
    parts = {name.lower(): round(value) for name, value in factors.items() if value and name != "PRIORITY"}
    row = {"priority": case.job.priority, "factors": parts, "ahead": sum(job.array_size for job in ahead)}
    return said({**row, "fair_share": [_share(one) for one in case.shares if _is_own(one, case.job)]})


def _is_own(share: Share, job: Job) -> bool:
    """The job's user in its account, and the account with its parents; not the other users, nor the root of all."""
    return (share.user, share.account) == (job.user, job.account) or (not share.user and share.account != "root")


def _share(share: Share) -> Row:
    """sshare's numbers: with a ``level`` below 1, it has had more than its share."""
    return {
        name: round(value, 4) if isinstance(value, float) else value
        for name, value in said(
            {
                "account": share.account,
                "user": share.user,
                "norm_shares": share.norm_shares,
                "effective_usage": share.effective_usage,
                "level": share.level,
                "fair_share": share.fair_share,
            }
        ).items()
    }


def _notes(data: Row) -> list[str]:
    start = data.get("expected_start") or {}
    return [ROUGH] if data.get("what_ifs") or start.get("source") == "sbatch --test-only" else []
