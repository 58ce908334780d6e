"""The linter's part for cases that run on the sandbox: their world, their turns, their end state."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from evals.cases import CaseError, World, read_case
from evals.worlds import DEFAULTS, filled
from tools import BY_NAME

FIRST = 48101
"""A job id, to stand for the handles while a case is checked."""
ACTOR = {"user": "me", "is_admin": True}
"""Who started the sandbox is the one who asks, and may do everything there."""


def placed(case: Mapping[str, Any]) -> dict[str, Any]:
    """The case as if its jobs had ids: ``{a}`` is a number, ``{1}`` the ``$1`` of the first new job."""
    world = case.get("world")
    jobs = world.get("jobs") if isinstance(world, dict) else None
    ids = {handle: str(FIRST + number) for number, handle in enumerate(jobs if isinstance(jobs, dict) else ())}
    new = {str(number): f"${number}" for number in range(1, 9)}
    return {**case, **{name: filled(case[name], ids | new) for name in ("request", "turns", "expect") if name in case}}


def check(text: str, case: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(field, message) for all that is wrong with a case on the cluster; nothing for any other case."""
    try:
        read = read_case(text, "")
    except CaseError as error:
        field, _, message = str(error).removeprefix(": ").partition(": ")
        yield field, message
        return
    if read.end_state is None:
        return
    yield from _check_jobs(read.world)
    for name, value in ACTOR.items():
        if case["context"].get(name) != value:
            yield f"context.{name}", f"is {case['context'].get(name)!r}; on the sandbox it can only be {value!r}"
    if read.turns and sum(isinstance(turn, str) for turn in read.turns) < 2:
        yield "turns", "are a conversation: something is said at least twice; for one thing said use request"
    asked = json.dumps([read.request, read.turns, read.expects])
    for handle in sorted(set(re.findall(r"\{(\w+)\}", asked)) - read.world.jobs.keys()):
        if not handle.isdigit():
            yield "world.jobs", f"{{{handle}}} is spoken of, and there is no such job"


def _check_jobs(world: World) -> Iterator[tuple[str, str]]:
    """Would Slurm be asked for them in words that submit_job takes? But a name may be anything: Slurm lets it."""
    ids = {handle: str(FIRST) for handle in world.jobs}
    for handle, job in world.jobs.items():
        fields = {name: value for name, value in job.arguments.items() if name != "job_name"}
        try:
            BY_NAME["submit_job"].Arguments.model_validate(DEFAULTS | filled(fields, ids))
        except ValidationError as error:
            for one in error.errors():
                yield ".".join(("world.jobs", handle, *map(str, one["loc"]))), one["msg"]
