"""Which jobs can be held, released, requeued, suspended or resumed: Slurm's rules, from scontrol(1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from tools.base import Caller, Item, Outcome, ToolContext
from tools.picking import ENDED, Picked, one_id, states_of
from tools.slurm.errors import PermissionRefused
from tools.slurm.models import Job

Action = Literal["hold", "release", "requeue", "suspend", "resume"]
UNDO: dict[Action, Literal["hold", "release", "suspend", "resume"]] = {
    "hold": "release",
    "release": "hold",
    "suspend": "resume",
    "resume": "suspend",
}
_STATES: dict[Action, frozenset[str]] = {
    "hold": frozenset({"PENDING"}),
    "release": frozenset({"PENDING"}),
    "requeue": frozenset({"RUNNING", "SUSPENDED", "CONFIGURING", "STOPPED"}) | ENDED,
    "suspend": frozenset({"RUNNING"}),
    "resume": frozenset({"SUSPENDED"}),
}
_ALREADY: dict[Action, str] = {"requeue": "PENDING", "suspend": "SUSPENDED", "resume": "RUNNING"}
_WHY: dict[Action, str] = {
    "hold": "only a pending job can be held back; to stop a running one, requeue, suspend or cancel it",
    "release": "only a held pending job can be released",
    "requeue": "only a running, suspended or ended batch job can be put back into the queue",
    "suspend": "only a running job can be suspended",
    "resume": "only a suspended job can be resumed; a held one is released",
}
_NOTES: dict[Action, str] = {
    "requeue": "a requeued job starts again from its beginning, unless its script goes on from a checkpoint",
    "suspend": "a suspended job keeps its memory, GPU memory too; suspended time does not count against its time limit",
}


def require_operator(action: Action, caller: Caller) -> None:
    """Raises ``PermissionRefused``: "Only an operator, administrator, SlurmUser, or root" (scontrol(1))."""
    if action in ("suspend", "resume") and not caller.is_admin:
        instead = " Its owner can requeue, hold or cancel it." if action == "suspend" else ""
        raise PermissionRefused(
            f"only an operator or administrator of Slurm can {action} jobs, and {caller.user} is neither.{instead}"
        )


def sorted_out(
    action: Action, picked: Sequence[Picked], ctx: ToolContext
) -> tuple[list[tuple[Picked, list[Job]]], list[Item], list[str]]:
    """The records that each operation is for, an item for every job that needs or allows none, and notes."""
    chosen: list[tuple[Picked, list[Job]]] = []
    items: list[Item] = []
    notes: list[str] = []
    for one in picked:
        fits = [job for job in one.jobs if _fits(action, job)]
        if not fits or (action == "requeue" and one.forgotten):
            items.append(_refused(action, one))
        elif problem := _problem(action, fits[0], ctx):
            items.append(replace(problem, id=one.asked))
        else:
            fits = _live_first(fits)
            chosen.append((one, fits))
            if rest := [job for job in one.live if job not in fits]:
                notes.append(f"of {one.asked} only {one.target(fits)} is meant: the rest is {states_of(rest)}")
    return chosen, items, notes + [note for note in (_NOTES.get(action),) if note and chosen]


def _live_first(jobs: list[Job]) -> list[Job]:
    """An array's ended tasks are not run again beside those that run."""
    return [job for job in jobs if job.state not in ENDED] or jobs


def _fits(action: Action, job: Job) -> bool:
    if job.state not in _STATES[action]:
        return False
    return job.priority == 0 if action == "release" else action != "hold" or job.priority != 0


def _refused(action: Action, one: Picked) -> Item:
    """Skipped where it is so already, failed where Slurm would not do it."""
    jobs = one.live or list(one.jobs)
    if one.forgotten and action == "requeue":
        text = f"{one.asked} ended too long ago ({states_of(jobs)}): slurmctld has forgotten it, submit it anew"
        return Item(one.asked, Outcome.FAILED, text, "wrong_state")
    if waiting := [job for job in jobs if job.state == "PENDING" and action in ("hold", "release")]:
        reason = waiting[0].reason or "PENDING"
        text = f"already held ({reason})" if action == "hold" else f"is not held ({reason})"
        return Item(one.asked, Outcome.SKIPPED, text, "already")
    if all(job.state == _ALREADY.get(action) for job in jobs):
        return Item(one.asked, Outcome.SKIPPED, f"already {states_of(jobs)}", "already")
    return Item(one.asked, Outcome.FAILED, f"{one.asked} is {states_of(jobs)}: {_WHY[action]}", "wrong_state")


def _problem(action: Action, job: Job, ctx: ToolContext) -> Item | None:
    """What Slurm would refuse although the state is right."""
    if action == "release" and job.reason == "JobHeldAdmin" and not _outranks(ctx.caller, job):
        text = "held by an administrator: only an operator of Slurm can release it"
        return Item("", Outcome.DENIED, text, PermissionRefused.code)
    if action != "requeue":
        return None
    raw = ctx.backend.job(one_id(job.id))[0].raw
    if raw.get("Requeue") == "0":
        return Item("", Outcome.FAILED, "it was submitted with --no-requeue", "not_requeueable")
    if raw.get("BatchFlag") == "0":
        return Item("", Outcome.FAILED, "it is no batch job: only those can be requeued", "not_requeueable")
    return None


def _outranks(caller: Caller, job: Job) -> bool:
    return caller.is_admin or job.account in caller.coordinates
