"""State-based cases: the whole assistant on the sandbox, and what the cluster is like when it has finished."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from assistant import app
from assistant.errors import ModelError
from assistant.ledger.approval import Decision as Approval
from assistant.ledger.approval import Preview
from assistant.loop.action import Action
from assistant.loop.agent import Agent, Answer
from assistant.loop.conversation import Conversation
from assistant.loop.decide import Decider, Decision
from assistant.loop.model import Message
from assistant.loop.said import Said
from evals import judge
from evals.cases import Case, EndState
from evals.records import ErrorRecord, Record
from evals.scorers import mentions
from evals.subject import Subject
from evals.worlds import ENDED, Facts, Stage, View, WorldError, as_fact, filled, real
from tools.slurm.errors import SlurmError
from tools.slurm.sandbox import Sandbox, SandboxError

SETTLING = 10.0
"""Seconds that the cluster has to reach the expected state: a job that is cancelled first completes."""
STEADY = ("held", "partition", "qos", "account", "name", "time_limit", "nice", "constraint", "gpus", "restarts")
"""Facts that only a person changes: those of a job nobody speaks of must be as they were."""


@dataclass
class Person:
    """Decides as the case says, after what happens while the preview is looked at."""

    stage: Stage
    approves: bool
    meanwhile: list[dict[str, str]]

    def decide(self, preview: Preview) -> Approval:
        while self.meanwhile:
            self.stage.happen(self.meanwhile.pop(0))
        return Approval(self.approves, app.current_user(), "" if self.approves else "said no")


@dataclass(frozen=True)
class StateSubject:
    """Case and repeat to a scored record. One at a time: there is one cluster, and one current directory."""

    subject: Subject
    sandbox: Sandbox

    def __call__(self, case: Case, repeat: int) -> Record:
        """A world that cannot be made and a model that cannot be asked are infrastructure errors of the record."""
        # a job that ends while its folder goes may still write there
        place = tempfile.TemporaryDirectory(prefix="sask-case-", ignore_cleanup_errors=True)
        with place as folder, contextlib.chdir(folder):
            stage = Stage(self.sandbox, Path(folder))
            try:
                return self._judged(case, repeat, stage)
            except ModelError as error:
                return judge.failed(case, repeat, error)
            except (WorldError, SandboxError, SlurmError) as error:
                failed = judge.failed(case, repeat, ModelError(str(error)))
                return failed.model_copy(update={"error": ErrorRecord(kind="world", message=str(error))})
            finally:
                with contextlib.suppress(SandboxError):  # the next case's reset tries again
                    stage.end()

    def _judged(self, case: Case, repeat: int, stage: Stage) -> Record:
        stage.build(case.world)
        before = stage.view()
        watched = self.subject.watched(case, repeat)
        decider = Listener.of(watched.decider)
        answers = list(talk(real(case, stage.ids), stage, decider))
        stage.end()
        acted = bool(stage.touched) or any(answer.done for answer in answers)
        wrong = settle(case, stage, before, SETTLING if acted else 0.0)
        told = real(case, stage.ids | created(before, stage.view()))
        asked = watched.asked(together(decider.heard))
        record = judge.record(told, repeat, asked, grounded=self.subject.options.ground)
        return _of_case(record, case, told, answers, wrong)


@dataclass
class Listener(Decider):
    """Keeps its decisions, those too that the cluster was not there for."""

    heard: list[Decision] = field(default_factory=list)

    @classmethod
    def of(cls, decider: Decider) -> Listener:
        return cls(decider.model, decider.tools, decider.make_messages, decider.can)

    def decide(self, said: Said, history: list[Message]) -> Decision:
        self.heard.append(super().decide(said, history))
        return self.heard[-1]


def talk(case: Case, stage: Stage, decider: Decider) -> Iterator[Answer]:
    """Turn by turn, as `sask chat`: what is said goes to the assistant, what happens happens.

    A cluster that is away ends the turn with a message to the person. Raises ModelError; SlurmError of an event.
    """
    settings = app.load(journal=f"sqlite:///{stage.folder / 'journal.db'}").model_copy(update={"policy": None})
    executor = app.executor(settings, Person(stage, case.world.approve, list(case.world.meanwhile)))
    agent = Agent(decider, executor, known=app.known_names(stage.backend, app.current_user()))
    conversation = Conversation()
    for turn in case.turns or (case.request,):
        if isinstance(turn, str):
            yield _said(agent, turn, conversation)
        else:
            stage.happen(turn)


def _said(agent: Agent, request: str, conversation: Conversation) -> Answer:
    try:
        return agent.run(request, conversation)
    except SlurmError as error:
        return Answer(request, "error", text=str(error))


def _of_case(record: Record, case: Case, real_case: Case, answers: list[Answer], wrong: list[str]) -> Record:
    """The record in the words of the case, so that runs can be paired; what came of it ends the transcript."""
    assert record.score is not None
    told = [{"role": "work", "content": work} for answer in answers if (work := _work(answer))]
    said = "\n".join([*(answer.text for answer in answers), *(str(one["content"]) for one in told)])
    told.append({"role": "cluster", "content": "\n".join(wrong) or "as it should be"})
    return record.model_copy(
        update={
            "request": case.request,
            "turns": case.turns,
            "expect": case.expects[0],
            "score": record.score.model_copy(
                update={"end_state": not wrong, "mentions": mentions(said, real_case.mention)}
            ),
            "transcript": (*record.transcript, *told),
        }
    )


def _work(answer: Answer) -> str:
    """Calls with what became of them, ``cancel_jobs partial: 48101 ok, 48102 failed``, or why there were none."""
    if answer.action == "error":
        return answer.text
    said = [(one, [f"{item.id} {item.outcome}".strip() for item in one.result.items]) for one in answer.done]
    return "\n".join(f"{one.call.tool} {one.result.status}: {', '.join(items)}" for one, items in said)


def together(decisions: list[Decision]) -> Decision:
    """One decision that stands for all: every call in order, and the climb of the answer that needed most help."""
    calls = tuple(call for one in decisions for call in one.action.calls)
    worst = max(decisions, key=lambda one: (not one.valid, len(one.climbs)))
    return Decision(
        Action(calls=calls) if calls else decisions[-1].action,
        worst.climbs,
        tuple(completion for one in decisions for completion in one.completions),
        sum(one.seconds for one in decisions),
    )


def settle(case: Case, stage: Stage, before: View, patience: float) -> list[str]:
    """What is not as expected once the cluster has come to rest, in ``patience`` seconds; empty when all is."""
    assert case.end_state is not None
    deadline = time.monotonic() + patience
    while wrong := list(differences(case.end_state, stage, before, stage.view())):
        if time.monotonic() > deadline:
            return wrong
        time.sleep(0.2)
    return []


def differences(wanted: EndState, stage: Stage, before: View, now: View) -> Iterator[str]:
    """Each in a sentence. What is not mentioned must be as it was, unless an event of the case changed it."""
    for handle, facts in wanted.jobs.items():
        yield from _compare(handle, stage.fill(facts), stage.facts(stage.id_of(handle)))
    for handle in wanted.gone:
        found = stage.facts(stage.id_of(handle))
        if not _ended(found):
            yield f"{handle} should have ended, and is {found['state']}"
    handles = (*wanted.jobs, *wanted.gone)
    spoken = {stage.id_of(handle).partition("_")[0] for handle in handles} | stage.touched
    yield from _steady(before, now, spoken)
    yield from _submitted(wanted, stage, before, now)
    for name in now.nodes:
        was: Facts = {} if name in stage.touched else {"state": before.nodes[name]["state"]}
        expected: Facts = wanted.nodes.get(name, was)
        yield from _compare(name, expected, now.nodes[name])


def _steady(before: View, now: View, spoken: set[str]) -> Iterator[str]:
    for job_id, facts in before.jobs.items():
        if job_id in spoken:
            continue
        found = now.jobs[job_id]
        if _ended(found) and not _ended(facts):
            yield f"job {job_id} should not have ended"
        elif (found["state"] == "SUSPENDED") != (facts["state"] == "SUSPENDED"):
            yield f"job {job_id} should be {facts['state']}, and is {found['state']}"
        else:
            yield from _compare(f"job {job_id}", {name: facts[name] for name in STEADY}, found)


def _ended(facts: Facts) -> bool:
    return set(facts["state"].split(",")) <= ENDED


def _submitted(wanted: EndState, stage: Stage, before: View, now: View) -> Iterator[str]:
    new = created(before, now)
    if len(new) != len(wanted.submitted):
        yield f"{len(wanted.submitted)} new jobs should be there, and {len(new)} are"
        return
    for (number, job_id), facts in zip(new.items(), wanted.submitted, strict=True):
        yield from _compare(f"new job {number}", filled(facts, stage.ids | new), now.jobs[job_id])


def created(before: View, now: View) -> dict[str, str]:
    """The new jobs, in order: ``{"1": id, "2": id}``, so that a case may speak of ``{1}``."""
    new = sorted(now.jobs.keys() - before.jobs.keys(), key=int)
    return {str(number): job_id for number, job_id in enumerate(new, 1)}


def _compare(what: str, wanted: Facts, found: Facts) -> Iterator[str]:
    for name, value in wanted.items():
        choices = value["any"] if isinstance(value, dict) and value.keys() == {"any"} else [value]
        if found[name] not in [as_fact(name, choice) for choice in choices]:
            yield f"{what}: {name} should be {' or '.join(map(str, choices))}, and is {found[name]}"
