"""Which jobs a write tool means: ids and filters resolved against the queue, and whose they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tools import views
from tools.base import Caller, Item, Outcome, ToolContext
from tools.names import did_you_mean, some
from tools.slurm.errors import AccountingUnavailable, InvalidRequest, PermissionRefused, SlurmError, UnknownJob
from tools.slurm.models import Job, JobQuery

_SHOWN = 10
_ONE_SLIP = 0.8
"""One wrong digit of five, or two that changed places, in difflib's ratio."""
ENDED = views.ENDED | {"REVOKED", "SPECIAL_EXIT"}
STARTED = frozenset({"CONFIGURING", "RUNNING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"})


@dataclass(frozen=True, slots=True)
class Picked:
    """One job (or part of an array) as it was asked for, with all records that Slurm has of it."""

    asked: str
    jobs: tuple[Job, ...]
    forgotten: bool = False
    """Only accounting knows it any more."""

    @property
    def live(self) -> list[Job]:
        """The records that can still be changed."""
        if self.forgotten:
            return []
        return [job for job in self.jobs if job.state not in ENDED and job.state != "COMPLETING"]

    def tasks(self, jobs: Iterable[Job]) -> int:
        """How many tasks of ``jobs`` were asked for."""
        return sum(_overlap(self.asked, job) for job in jobs)

    def target(self, jobs: Sequence[Job]) -> str:
        """The id that means just ``jobs``: as it was asked for, or an array's own notation for some of its tasks."""
        everything = self.live if task_numbers(self.asked) is None else self.jobs
        if len(jobs) >= len(everything) or not all("_" in job.id for job in jobs):
            return self.asked
        wanted = task_numbers(self.asked)
        chosen = {task for job in jobs for task in task_numbers(job.id) or ()}
        return array_id(self.asked, chosen if wanted is None else chosen & wanted)


def base_id(job_id: str) -> str:
    """``123`` of ``123_4``, ``123_[1-5]`` and ``123+0``."""
    return re.split(r"[_+]", job_id, maxsplit=1)[0]


def one_id(job_id: str) -> str:
    """An id that ``scontrol show job`` takes: of several tasks the first (it knows no ``123_[4-6]``)."""
    tasks = task_numbers(job_id)
    return f"{base_id(job_id)}_{min(tasks)}" if tasks else job_id


def task_numbers(job_id: str) -> set[int] | None:
    """The array tasks that an id names; None for one that names no tasks."""
    spec = job_id.partition("_")[2].strip("[]").partition("%")[0]
    numbers: set[int] = set()
    for first, last, step in re.findall(r"(\d+)(?:-(\d+)(?::(\d+))?)?", spec):
        numbers.update(range(int(first), int(last or first) + 1, max(int(step or 1), 1)))
    return numbers if spec else None


def array_id(job_id: str, tasks: Iterable[int]) -> str:
    """``123_4`` for one task, ``123_[1-3,7]`` for several."""
    from ClusterShell.RangeSet import RangeSet

    folded = str(RangeSet.fromlist([str(task) for task in sorted(tasks)]))
    return f"{base_id(job_id)}_{folded}" if folded.isdigit() else f"{base_id(job_id)}_[{folded}]"


def covers(asked: str, job_id: str) -> bool:
    """Whether a record of Slurm's belongs to what was asked for."""
    if base_id(asked) != base_id(job_id):
        return False
    if "+" in asked:
        return asked == job_id
    wanted, has = task_numbers(asked), task_numbers(job_id)
    return wanted is None or bool(wanted & (has or set()))


def pick(ids: Sequence[str], ctx: ToolContext) -> tuple[list[Picked], list[Item]]:
    """Records of every id, from the queue in one look, then accounting; unknown ids as failed items."""
    bases = tuple(dict.fromkeys(base_id(asked) for asked in ids if asked[:1].isdigit()))
    queued = ctx.backend.queue(JobQuery(ids=bases)) if bases else []
    past, where = _past(tuple(base for base in bases if base not in {base_id(job.id) for job in queued}), ctx)
    by_base: dict[str, list[Job]] = {}
    for job in (*queued, *past):
        by_base.setdefault(base_id(job.id), []).append(job)
    forgotten = {base_id(job.id) for job in past}
    picked, missing = [], []
    for asked in ids:
        jobs = tuple(job for job in by_base.get(base_id(asked), ()) if covers(asked, job.id))
        if jobs:
            picked.append(Picked(asked, jobs, forgotten=base_id(asked) in forgotten))
        else:
            missing.append(asked)
    return picked, _unknown(missing, where, by_base, ctx)


def _unknown(missing: Sequence[str], where: str, by_base: Mapping[str, list[Job]], ctx: ToolContext) -> list[Item]:
    """A failed item for each id that is not there; only the first lists those that are."""
    own = own_ids(ctx) if missing else []
    items: list[Item] = []
    for asked in missing:
        tasks = [job.id for job in by_base.get(base_id(asked), ())]
        known = there_are(asked, tasks, own, ctx.caller.user)
        text = known if not items or tasks else did_you_mean(asked, own, _ONE_SLIP)
        items.append(Item(asked, Outcome.FAILED, f"no job {asked} in {where}{text}", UnknownJob.code))
    return items


def own_ids(ctx: ToolContext) -> list[str]:
    """The caller's jobs in the queue, newest first, arrays as one; empty when Slurm does not say."""
    try:
        queued = ctx.backend.queue(JobQuery(user=ctx.caller.user))
    except SlurmError:
        return []
    return sorted({base_id(job.id) for job in queued}, key=int, reverse=True)


def there_are(asked: str, tasks: Sequence[str], own: Sequence[str], user: str) -> str:
    """What there is instead of a job that is not there: the tasks of its array, else the caller's own jobs."""
    if tasks:
        return f"; of {base_id(asked)} there are: {some(tasks, _SHOWN)}"
    if not own:
        return f"; {user} has no job in the queue"
    return f"; jobs of {user}: {some(own, _SHOWN)}{did_you_mean(asked, own, _ONE_SLIP)}"


def records_of(job_id: str, ctx: ToolContext) -> list[Job]:
    """All records of one id. Raises ``UnknownJob`` with the jobs that there are."""
    try:
        return ctx.backend.job(job_id)
    except UnknownJob as error:
        raise with_known(error, job_id, ctx) from None


def with_known(error: UnknownJob, job_id: str, ctx: ToolContext) -> UnknownJob:
    """The error together with the ids that would have been valid."""
    base, own = base_id(job_id), own_ids(ctx)
    tasks = [job.id for job in ctx.backend.queue(JobQuery(ids=(base,)))] if base != job_id else []
    said = error.message if job_id in error.message else f"no job {job_id} ({error.message})"
    text = said + there_are(job_id, tasks, own, ctx.caller.user)
    return UnknownJob(text, code=error.code, command=error.command, valid=tasks or own)


def _past(bases: tuple[str, ...], ctx: ToolContext) -> tuple[list[Job], str]:
    """Jobs that slurmctld has forgotten, and where was looked."""
    try:
        found = ctx.backend.history(JobQuery(ids=bases)) if bases else []
    except AccountingUnavailable as error:
        return [], f"the queue ({error.message})"
    # a job that was resized or requeued has several rows, the last one is how it stands
    return list({job.id: job for job in found}.values()), "queue or accounting"


def pick_one(job_id: str, ctx: ToolContext) -> Picked:
    """The one job to change. Raises ``UnknownJob``, ``PermissionRefused``, ``InvalidRequest`` for one that ended."""
    picked, unknown = pick([job_id], ctx)
    if unknown:
        raise UnknownJob(unknown[0].message)
    require_right(ctx.caller, picked[0].jobs[0])
    if not picked[0].live:
        raise InvalidRequest(
            f"job {job_id} is {states_of(picked[0].jobs)}: it cannot be changed any more", code="ended"
        )
    return picked[0]


def by_filter(query: JobQuery, ctx: ToolContext, *, whole: bool) -> tuple[list[Picked], tuple[str, ...]]:
    """Jobs of the queue that ``query`` finds and the caller may change, arrays as one, and what was left out.

    ``whole``: every task of an array is meant, whatever its state; else its tasks are kept apart by state.
    """
    found = ctx.backend.queue(query)
    mine = [job for job in found if may_change(ctx.caller, job)]
    groups: dict[tuple[str, str], list[Job]] = {}
    for job in mine:
        groups.setdefault((base_id(job.id), "" if whole or "_" not in job.id else job.state), []).append(job)
    picked = []
    for (base, _), jobs in groups.items():
        tasks = set().union(*(task_numbers(job.id) or () for job in jobs))
        picked.append(Picked(base if whole or not tasks else array_id(base, tasks), tuple(jobs)))
    left = len(found) - len(mine)
    return picked, (f"{left} matching jobs are other people's and are left out",) if left else ()


def may_change(caller: Caller, job: Job) -> bool:
    """Owner, operator, or coordinator of the job's account (scontrol(1), scancel(1))."""
    return caller.is_admin or job.user == caller.user or job.account in caller.coordinates


def refusal(caller: Caller, job: Job) -> str:
    return (
        f"{job.id} is a job of {job.user}: only {job.user}, a coordinator of account {job.account or '(none)'} "
        f"or an operator of Slurm may change it, and {caller.user} is none of them"
    )


def require_right(caller: Caller, job: Job) -> None:
    """Raises ``PermissionRefused`` before Slurm does."""
    if not may_change(caller, job):
        raise PermissionRefused(refusal(caller, job))


def permitted(picked: Sequence[Picked], caller: Caller) -> tuple[list[Picked], list[Item]]:
    """What the caller may change, and a denied item for each of the rest."""
    kept = [one for one in picked if may_change(caller, one.jobs[0])]
    denied = [
        Item(one.asked, Outcome.DENIED, refusal(caller, one.jobs[0]), "permission_refused")
        for one in picked
        if not may_change(caller, one.jobs[0])
    ]
    return kept, denied


def states_of(jobs: Iterable[Job]) -> str:
    """``RUNNING``, ``COMPLETED, FAILED``: every state once."""
    return ", ".join(dict.fromkeys(job.state for job in jobs))


def _overlap(asked: str, job: Job) -> int:
    wanted, has = task_numbers(asked), task_numbers(job.id)
    return job.array_size if wanted is None or has is None else len(wanted & has)
