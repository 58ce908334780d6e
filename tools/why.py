"""Why a job waits: each check looks at one cause in the cluster as it is, with this job's own numbers.

Slurm prints one reason at a time (squeue(1), JOB REASON CODES); the checks find the others too, so that a job is not
freed from one only to meet the next.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from tools.case import Case, Why
from tools.limits import Limit
from tools.merge import same_job
from tools.needs import Need
from tools.slurm.errors import UnknownJob
from tools.slurm.models import UNLIMITED, Job, Partition
from tools.views import duration_text, short, time_text

_DEPENDENCY = re.compile(r"(\w+):(\d+(?:_(?:\d+|\*))?)(?:\+\d+)?(?:\((\w+)\))?")


def limits(case: Case) -> list[Why]:
    """Limits of QoS and associations that this job breaks now. (Those of partitions: :func:`partitions`.)"""
    found = []
    for limit in case.limits:
        if limit.scope.startswith("partition") and limit.name in ("MaxTime", "MaxNodes"):
            continue
        if limit.name.find("Submit") < 0 and limit.breaks(case.job):
            never = limit.forbids(case.job)
            found.append(Why(limit.name, limit.text(case.job), _fix_of(limit, never), "user", never=never))
    return found


def _fix_of(limit: Limit, never: bool) -> str:
    fix = "ask for less, or for another QoS or account"
    if never:
        return f"{fix}; no waiting helps"
    if limit.name == "GrpTRESMins":
        return "ask for a bigger budget, or use another account; what is used decays or is reset as the site has it"
    return f"{fix}; it starts when jobs that count against this limit end"


def membership(case: Case) -> list[Why]:
    """An account or QoS that is gone, or that is not the user's any more."""
    job, of_qos = case.job, case.job.reason == "InvalidQOS"
    if not of_qos and job.reason != "InvalidAccount":
        return []
    kind, own, valid = ("QoS", job.qos, case.own_qos) if of_qos else ("account", job.account, case.own_accounts)
    summary = f"its {kind} {own} may not be used by {job.user}" if own else f"its {kind} is gone"
    fix = f"use one of {', '.join(valid[:10])}" if valid else f"ask for a {kind}"
    return [Why(job.reason, summary, fix, "user", never=True)]


def partitions(case: Case) -> list[Why]:
    """State, time and node limits, and who may use it; a cause only where every one of the job's partitions has it."""
    found = [_partition(case, name) for name in case.partition_names]
    return [why for causes in found for why in causes] if all(found) else []


def _partition(case: Case, name: str) -> list[Why]:
    one = next((partition for partition in case.partitions if partition.name == name), None)
    if one is None:
        return [Why("PartitionConfig", f"there is no partition {name}", "choose another partition", "user", never=True)]
    found = []
    if one.state.upper() != "UP":
        label = "PartitionInactive" if one.state.upper() == "INACTIVE" else "PartitionDown"
        found.append(Why(label, f"partition {name} is {one.state}", "use another partition, or wait for it", "admin"))
    return found + _too_big(case, one) + _not_allowed(case, one)


def _too_big(case: Case, one: Partition) -> list[Why]:
    job, found = case.job, []
    limit, asked = one.max_time, job.time_limit
    if limit not in (None, UNLIMITED) and asked is not None and (asked == UNLIMITED or asked > (limit or 0)):
        summary = f"it asks for {duration_text(asked)}; partition {one.name} allows {duration_text(limit)}"
        fix = f"ask for at most {duration_text(limit)}{_longer_partitions(case, asked)}"
        found.append(Why("PartitionTimeLimit", summary, fix, "user", never=True))
    most = min(one.total_nodes, one.max_nodes if one.max_nodes not in (None, UNLIMITED) else one.total_nodes)
    if job.nodes > most:
        summary = f"it asks for {job.nodes} nodes; partition {one.name} allows {most} a job"
        found.append(Why("PartitionNodeLimit", summary, f"ask for at most {most} nodes", "user", never=True))
    return found


def _not_allowed(case: Case, one: Partition) -> list[Why]:
    job, found = case.job, []
    for kind, allowed, own in (("account", one.allow_accounts, job.account), ("QoS", one.allow_qos, job.qos)):
        if allowed and own and own not in allowed:
            summary = f"partition {one.name} takes only {kind} {', '.join(allowed[:10])}; the job has {own}"
            found.append(Why("PartitionConfig", summary, "use one of these, or another partition", "user", never=True))
    return found


def _longer_partitions(case: Case, asked: int) -> str:
    """Partitions that are up and whose time limit would do."""
    found = []
    for one in case.all_partitions:
        endless = one.max_time in (None, UNLIMITED)
        if one.state.upper() == "UP" and (endless or 0 <= asked <= (one.max_time or 0)):
            found.append(one.name)
    return f", or use {', '.join(found[:5])}" if found else ""


def dependency(case: Case) -> list[Why]:
    """The jobs it waits for and how they are."""
    if not case.job.dependency and not case.job.reason.startswith("Dependency"):
        return []
    waits_for = _DEPENDENCY.findall(case.job.dependency)
    evidence = [f"{kind}:{other} is {_state_of(case, other)}" for kind, other, _ in waits_for] + _singleton(case)
    what = case.job.dependency or "a job that is gone"
    # Of conditions joined by "?" any one is enough, of those joined by "," all are needed (sbatch(1), --dependency).
    lost = "?" not in what and any(status == "failed" for *_, status in waits_for)
    if lost or case.job.reason.startswith("DependencyNeverSatisfied"):
        fix = "take the dependency off (an empty one), or cancel the job: it will not start by itself"
        call = {"tool": "update_job", "arguments": {"job_id": case.job.id.partition("_[")[0], "dependency": ""}}
        summary = f"it waits for {what}, which can no longer come true"
        return [Why("DependencyNeverSatisfied", summary, fix, "user", tuple(evidence), True, call)]
    fix = "wait for these jobs, or change the dependency"
    return [Why("Dependency", f"it waits for {what}", fix, "user", tuple(evidence))]


def _singleton(case: Case) -> list[str]:
    if "singleton" not in case.job.dependency:
        return []
    same = [job.id for job in case.queue if (job.name, job.user) == (case.job.name, case.job.user)]
    others = [one for one in same if one != case.job.id]
    return [f"singleton: other jobs called {short(case.job.name, 40)}: {', '.join(others[:5]) or 'none'}"]


def _state_of(case: Case, job_id: str) -> str:
    try:
        records = case.ctx.backend.job(job_id.replace("_*", ""))
    except UnknownJob:
        return "unknown: Slurm has forgotten it"
    states = sorted({job.state for job in records})
    until = records[0].end_time if states == ["RUNNING"] else None
    return ", ".join(states) + (f" until {time_text(until)} at the latest" if until else "")


def begin(case: Case) -> list[Why]:
    when = case.job.eligible_time
    if not when or when <= case.now:
        return []
    fix = "wait, or move its begin time (update_job begin)"
    return [Why("BeginTime", f"it asks not to start before {time_text(when)}", fix, "user")]


def held(case: Case) -> list[Why]:
    """A priority of 0 is a hold (scontrol(1), hold)."""
    reason, root = case.job.reason, case.job.id.partition("_[")[0]
    release = {"tool": "control_jobs", "arguments": {"action": "release", "job_ids": [root]}}
    if "held" not in reason.lower() and not (case.job.priority == 0 and reason in ("", "None")):
        return []
    if reason == "JobHeldUser":
        return [
            Why(
                reason, f"{case.job.user} or an operator holds it", "release it", "user", ("Priority=0",), True, release
            )
        ]
    if "requeued" in reason.lower() or reason == "JobHoldMaxRequeue":
        summary = f"it was started {case.job.restarts + 1} times and failed to launch, so Slurm holds it ({reason})"
        return [Why(reason, summary, "find out why (diagnose_node), then release it", "admin", (), True, release)]
    fix = "ask an administrator to release it"
    return [Why("JobHeldAdmin", "an administrator holds it", fix, "admin", ("Priority=0",), True)]


def licenses(case: Case) -> list[Why]:
    if not case.job.licenses:
        return []
    have, found = case.ctx.backend.licenses(), []
    for part in re.split(r"[,|]", case.job.licenses):
        name, _, count = part.partition(":")
        wanted = int(count) if count.isdigit() else 1
        total, used = have.get(name, (0, 0))
        if wanted > total - used:
            summary = f"it asks for {wanted} of licence {name}; {used} of {total} are used"
            never = wanted > total
            fix = f"ask for at most {total}" if never else "wait until a job gives them back"
            found.append(
                Why("Licenses", summary, fix, "user" if never else "nobody", _license_users(case, name), never)
            )
    return found


def _license_users(case: Case, name: str) -> tuple[str, ...]:
    users = [job for job in case.queue if job.state == "RUNNING" and re.search(rf"\b{re.escape(name)}\b", job.licenses)]
    return tuple(f"job {job.id} of {job.user} until {time_text(job.end_time)}" for job in users[:5])


def array(case: Case) -> list[Why]:
    """The throttle of a job array (sbatch(1), --array=…%N)."""
    match = re.search(r"%(\d+)\]?$", case.job.id) or re.match(r"(\d+)$", case.job.raw.get("ArrayTaskThrottle", ""))
    if not match or case.job.reason != "JobArrayTaskLimit":
        return []
    root = case.job.id.partition("_")[0]
    running = [job for job in case.queue if job.id.startswith(f"{root}_") and job.state == "RUNNING"]
    summary = f"{len(running)} tasks of the array run, and it allows {match[1]} at once"
    return [Why("JobArrayTaskLimit", summary, f"scontrol update JobId={root} ArrayTaskThrottle=N", "user")]


def reservation(case: Case) -> list[Why]:
    if not case.job.reservation or case.job.reason != "Reservation":
        return []
    summary = f"it waits for its reservation {case.job.reservation}"
    return [Why("Reservation", summary, "wait, or submit it without the reservation", "user")]


def nodes(case: Case) -> list[Why]:
    """Can it fit at all, is there room now, and what stands in the way."""
    if not case.partitions:
        return []
    need = Need.of(case)
    if need.able < need.nodes:
        fix = need.smaller() or "ask for what the nodes have, or use another partition"
        return [Why("BadConstraints", need.impossible_text(), fix, "user", need.evidence(), never=True)]
    if need.ready >= need.nodes:
        return []
    summary = need.waiting_text()
    closed = need.able - need.able_open
    blocked = need.able_open < need.nodes
    fix = f"{closed} suitable nodes are out of service: ask when they return" if blocked else "wait, or ask for less"
    return [Why("ReqNodeNotAvail" if blocked else "Resources", summary, fix, "admin" if blocked else "nobody",
                need.evidence())]  # fmt: skip


def priority(case: Case) -> list[Why]:
    """Jobs of the same partitions that come first."""
    ahead = jobs_ahead(case)
    if not ahead:
        return []
    first = ", ".join(f"{job.id} ({job.user}, {job.priority})" for job in ahead[:5])
    count = sum(job.array_size for job in ahead)
    some = (
        f"{count} waiting jobs in {case.job.partition} come"
        if count > 1
        else f"a waiting job in {case.job.partition} comes"
    )
    summary = f"{some} first: its own priority is {case.job.priority}"
    return [Why("Priority", summary, "wait; a shorter time limit lets backfill start it in a gap", "nobody", (first,))]


def jobs_ahead(case: Case) -> list[Job]:
    """Pending jobs of its partitions with more priority which could start, most priority first."""
    names = set(case.partition_names)
    ahead = [
        job
        for job in case.queue
        if job.state == "PENDING"
        and job.reason in ("Resources", "Priority", "None", "")
        and names & set(job.partition.split(","))
        and _turn(job) < _turn(case.job)
        and same_job(job.id) != same_job(case.job.id)
    ]
    return sorted(ahead, key=_turn)


def _turn(job: Job) -> tuple[int, int]:
    """With equal priority the older job comes first; of a held job (priority 0) there is no turn."""
    return -(job.priority or 0), int(re.split(r"\D", job.id)[0])


# Which reasons of Slurm's each check accounts for; in the order in which the causes are told.
CHECKS: tuple[tuple[re.Pattern[str], Callable[[Case], list[Why]]], ...] = (
    (re.compile(r"(?i).*held|JobHold"), held),
    (re.compile(r"Dependency"), dependency),
    (re.compile(r"BeginTime"), begin),
    (re.compile(r"Partition|AccountNotAllowed|QOSNotAllowed"), partitions),
    (re.compile(r"Invalid(QOS|Account)"), membership),
    (re.compile(r"QOS|Assoc|Max|AccountingPolicy"), limits),
    (re.compile(r"Licenses"), licenses),
    (re.compile(r"JobArrayTaskLimit"), array),
    (re.compile(r"Reservation"), reservation),
    (re.compile(r"Resources|ReqNodeNotAvail|NodeDown|BadConstraints|Constraints|Nodes.required"), nodes),
    (re.compile(r"Priority"), priority),
)
