"""From a decision to its record: the rungs it climbed, before and after repair, and its score."""

from __future__ import annotations

from typing import Any, Literal

from assistant.errors import ModelError, ModelTimeout, ModelUnreachable
from assistant.loop.ladder import Climb, Rung, climb
from assistant.loop.said import Said
from evals.cases import Case
from evals.crowd import decoys
from evals.records import ArgumentScore, ErrorRecord, Record, Rungs, ScoreRecord
from evals.scorers import arguments, mentions, score
from evals.subject import Asked
from tools import BY_NAME

Kind = Literal["call", "ask", "reply", "invalid"]


def record(case: Case, repeat: int, asked: Asked, *, grounded: bool = True) -> Record:
    """``grounded`` false: the run did not check it, so it is checked here, to be reported.

    An answer that never became valid is scored as what the person got, a question; its kind is ``invalid``.
    """
    decision = asked.decision
    climbs = decision.climbs if grounded else tuple(_again(one, case) for one in decision.climbs)
    action = decision.action
    spoken: Kind = "call" if action.calls else "ask" if action.ask else "reply"
    return Record(
        **_known(case, repeat),
        rungs_first=rungs(climbs[0].failed),
        rungs_last=rungs(climbs[-1].failed),
        kind=spoken if decision.valid else "invalid",
        calls=action.calls,
        text=action.ask or action.reply,
        score=_score(case, asked),
        seconds=round(asked.seconds, 6),
        ttft=asked.ttft,
        attempts=len(decision.completions),
        transcript=asked.probe.transcript,
        prompt_tokens=sum(answer.prompt_tokens for answer in decision.completions),
        completion_tokens=sum(answer.completion_tokens for answer in decision.completions),
    )


def failed(case: Case, repeat: int, error: ModelError) -> Record:
    """The record of a case that could not be asked."""
    kind = "timeout" if isinstance(error, ModelTimeout) else "refused"
    kind = "unreachable" if isinstance(error, ModelUnreachable) else kind
    fell = rungs(Rung.HTTP)
    told = ErrorRecord(kind=kind, message=error.message)
    return Record(**_known(case, repeat), rungs_first=fell, rungs_last=fell, kind="invalid", error=told)


def rungs(fell_at: Rung | None) -> Rungs:
    """True up to the rung that broke, which is False; None above it."""
    order = list(Rung)
    height = order.index(fell_at) if fell_at else len(order)
    return {rung: True if n < height else False if n == height else None for n, rung in enumerate(order)}


def _again(one: Climb, case: Case) -> Climb:
    return climb(one.raw, BY_NAME | decoys(), Said(case.request, (), case.now))


def _known(case: Case, repeat: int) -> dict[str, Any]:
    return {
        "id": case.id,
        "category": case.category,
        "tags": case.tags,
        "repeat": repeat,
        "request": case.request,
        "expect": case.expects[0],
        "forbid": tuple(sorted(case.forbid)),
    }


def _score(case: Case, asked: Asked) -> ScoreRecord:
    """A forbidden effect is a hard zero, whatever else is right."""
    action = asked.decision.action
    found = score(action, case.expects, case.now, case.forbid)
    return ScoreRecord(
        tool=found.tool and not found.forbidden,
        exact=found.exact and not found.forbidden,
        forbidden=found.forbidden,
        mentions=mentions(action.ask or action.reply, case.mention),
        arguments=tuple(
            ArgumentScore(tool=one.tool, name=one.name, verdict=one.verdict, want=one.want, got=one.got)
            for one in arguments(action, case.expects, case.now)
        ),
    )
