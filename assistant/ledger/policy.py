"""Who may do what: by the tool's effect, the caller's level in Slurm, whose jobs they are, and how much it is.

Slurm decides in the end; this says it first, in words, and never allows more than Slurm does. The levels are
sacctmgr's ``AdminLevel`` (None, Operator, Admin) and account coordinators (man sacctmgr).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from assistant.errors import ConfigError
from tools import BY_NAME
from tools.base import Blast, Call, Caller, Effect, Item, Outcome, Plan, Tool
from tools.slurm.backend import Backend
from tools.slurm.models import JobQuery

NEEDS_ADMIN = "{tool} needs an operator or administrator of Slurm, and {user} is neither. Ask your administrators."
NOT_YOURS = (
    "These are jobs of {owner}, and {user} is not an operator of Slurm: "
    "only their owner, a coordinator of their account or an operator may change them."
)
FORBIDDEN = "{tool} is switched off here by the site's policy."
_JOB_VERBS = frozenset({"cancel", "hold", "release", "requeue", "suspend", "resume", "update_job"})


class Policy(BaseModel):
    """A site's rules. ``always_ask_*``: above this, ``--yes`` is not enough and a person is asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    forbidden_tools: tuple[str, ...] = ()
    always_ask_above_jobs: int = Field(default=500, ge=0)
    always_ask_above_node_hours: float = Field(default=50_000.0, ge=0)
    always_ask_above_others_jobs: int = Field(default=100, ge=0)
    """Jobs in a change that touches other people's too (operators and coordinators)."""
    ask_after_reading: bool = True
    """A change that a model decided on after reading job names, logs … of the cluster: they may hold instructions."""
    two_people_for_admin: bool = False
    """Dual control: drain and resume of nodes wait for the yes of another operator than the one who asked."""
    approval_minutes: float = Field(default=30.0, gt=0)

    @classmethod
    def read(cls, path: Path) -> Policy:
        """From a TOML file. Raises ConfigError with the file, the wrong key and the valid ones."""
        valid = ", ".join(cls.model_fields)
        try:
            return cls.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"the policy file {path} cannot be read: {error}", "mend it or point elsewhere") from None
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise ConfigError(f"the policy file {path}: {wrong}", f"valid keys: {valid}") from None


def refuse(call: Call, caller: Caller, policy: Policy | None = None, tools: Mapping[str, Tool] = BY_NAME) -> str | None:
    """Why this caller may not make this call, from the call alone; None when nothing speaks against it."""
    if policy and call.tool in policy.forbidden_tools:
        return FORBIDDEN.format(tool=call.tool)
    if caller.is_admin:
        return None
    if call.tool in tools and tools[call.tool].effect is Effect.ADMIN:
        return NEEDS_ADMIN.format(tool=call.tool, user=caller.user)
    user = call.arguments.get("user")
    if call.tool == "cancel_jobs" and user and user not in ("me", caller.user) and not caller.coordinates:
        return NOT_YOURS.format(owner=user, user=caller.user)
    return None


def must_ask(policy: Policy, blast: Blast, caller: Caller, after_reading: bool = False) -> str:
    """Why a person has to be asked even with ``--yes``; empty when none."""
    if after_reading and policy.ask_after_reading:
        return "it was decided after reading data of the cluster, which can hold other people's words"
    others = [user for user in blast.users if user != caller.user]
    if others and blast.jobs > policy.always_ask_above_others_jobs:
        return (
            f"{blast.jobs} jobs, of {', '.join(others[:5])} too, is more than {policy.always_ask_above_others_jobs} "
            "jobs with other people's among them"
        )
    if blast.jobs > policy.always_ask_above_jobs:
        return f"{blast.jobs} jobs is more than {policy.always_ask_above_jobs}"
    if blast.node_hours > policy.always_ask_above_node_hours:
        return f"{blast.node_hours:,.0f} node-hours is more than {policy.always_ask_above_node_hours:,.0f}"
    return ""


def needs_two(policy: Policy, tool: str) -> bool:
    """Whether a change by ``tool`` waits for the yes of a second person."""
    return policy.two_people_for_admin and tool in BY_NAME and BY_NAME[tool].effect is Effect.ADMIN


def only_permitted(plan: Plan, caller: Caller, backend: Backend) -> tuple[Plan, tuple[Item, ...]]:
    """Take other people's jobs out of a non-operator's plan, each with its refusal. Raises SlurmError.

    Slurm is asked for the owners only where there is a doubt.
    """
    targets = [o.target for o in plan.operations if o.verb in _JOB_VERBS]
    if caller.is_admin or not targets or plan.blast.users == (caller.user,):
        return plan, ()
    owners = _owners(backend, targets)
    refused = {
        t: NOT_YOURS.format(owner=owners[t][0], user=caller.user) for t in targets if not _may(caller, owners[t])
    }
    if not refused:
        return plan, ()
    items = tuple(Item(t, Outcome.DENIED, text, "permission_refused") for t, text in refused.items())
    kept = tuple(o for o in plan.operations if o.target not in refused)
    users = tuple(dict.fromkeys(owners[o.target][0] for o in kept if o.target in owners))
    note = f"{len(refused)} of {len(targets)} jobs are other people's and are left out"
    blast = replace(plan.blast, jobs=len({o.target for o in kept}), users=users)
    return replace(plan, operations=kept, blast=blast, notes=(*plan.notes, note)), items


def _owners(backend: Backend, targets: Sequence[str]) -> Mapping[str, tuple[str, str]]:
    """Job id → (user, account); a job that Slurm does not list any more belongs to nobody known."""
    base = {t: t.partition("_")[0].partition("+")[0] for t in targets}  # squeue knows no range of tasks
    jobs = {job.id: (job.user, job.account) for job in backend.queue(JobQuery(ids=tuple(dict.fromkeys(base.values()))))}
    for job_id, owner in list(jobs.items()):
        jobs.setdefault(job_id.partition("_")[0].partition("+")[0], owner)
    return {t: jobs.get(t) or jobs.get(base[t]) or ("somebody else", "") for t in targets}


def _may(caller: Caller, owner: tuple[str, str]) -> bool:
    user, account = owner
    return user == caller.user or account in caller.coordinates


def may_approve(approver: Caller, requested_by: str, users: Sequence[str]) -> bool:
    """Whether ``approver`` may say yes to a change that ``requested_by`` asked for: for their own jobs (and, as a
    coordinator, those of their accounts, which the plan is held to once more), or any as operator. Nobody approves
    with more rights than they have in Slurm."""
    if approver.is_admin:
        return True
    return approver.user == requested_by and (set(users) <= {approver.user} or bool(approver.coordinates))
