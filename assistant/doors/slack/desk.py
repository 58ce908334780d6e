"""The Slack door's way into the core: requests to answers, buttons to outcomes. It knows no Slack."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import select

from assistant.doors.slack.acting import AtHome
from assistant.doors.slack.memory import Locks
from assistant.doors.words import checked, readable
from assistant.errors import JournalError, RequestRefused
from assistant.ledger import later
from assistant.ledger.done import Done
from assistant.ledger.execute import LedgerExecutor
from assistant.ledger.journal import Journal
from assistant.ledger.reading import find_run
from assistant.ledger.resume import resume
from assistant.ledger.schema import events
from assistant.loop.action import Action, encode
from assistant.loop.agent import Agent, Answer
from assistant.loop.conversation import Conversation
from assistant.loop.decide import Decider
from assistant.loop.ladder import climb
from assistant.loop.said import Said
from tools.base import Call, Item
from tools.slurm.errors import UnknownJob

Say = Callable[[str], None]
Arguments = dict[str, Any]
Row = dict[str, Any]
"""A question, as :func:`later.pending` has them."""
_JOB = re.compile(r"(?<![\w.:/-])(\d{1,10}(?:_\d+)?)(?![\w:/-]|\.\d)")
_MOST_JOBS = 3
_EVENT = "slack_event"
_REDELIVERY_SECONDS = 7_200
"""Slack tries three times within an hour (Events API, retries)."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What a button came to: ``done`` the calls from the one that was decided on; ``asker`` whose request it was."""

    run: str
    asker: str
    approved: bool
    done: tuple[Done, ...]


@dataclass(frozen=True)
class Desk:
    """``executor`` makes a user's ledger anew for each request; its approver leaves every question for later.
    ``known``: the cluster's names for a user. ``model``: the setting, for what it can read."""

    decider: Decider
    executor: Callable[[str], LedgerExecutor]
    known: Callable[[str], Mapping[str, frozenset[str]]]
    journal: Journal
    model: str = ""
    locks: Locks = field(default_factory=Locks)

    def ask(self, user: str, request: str, talk: Conversation, say: Say) -> Answer:
        """Raises RequestRefused, ModelError, JournalError, SlurmError."""
        request = checked(request)
        readable(request, self.model)
        executor = AtHome(_telling(self.executor(user), say), user, say)
        return Agent(self.decider, executor, known=lambda: self.known(user)).run(request, talk)

    def diagnose(self, user: str, text: str, talk: Conversation, say: Say) -> Answer:
        """Why the jobs that a message names failed or wait; without any, what its text says as a log. No model."""
        executor = self.executor(user)
        jobs = _jobs_in(text, executor)
        if not jobs:
            return Answer(text, "reply", text=_log(text))
        talk.touch(jobs=jobs)
        calls = tuple(Call("diagnose_job", {"job_id": job}) for job in jobs)
        run, done = AtHome(executor, user, say).run(f"diagnose {', '.join(jobs)}", calls)
        return Answer(text, "call", done, run=run)

    def waiting(self, run: str) -> list[dict[str, Any]]:
        """The open questions of a run, as :func:`later.pending` has them. Raises JournalError."""
        return [row for row in later.pending(self.journal) if row["run"] == run]

    def state(self, approval: str) -> str:
        """pending, approved, denied, used or expired; empty where the journal knows no such approval."""
        with suppress(JournalError):
            return str(later.find_approval(self.journal, approval).state)
        return ""

    def note(self, run: str, event: str) -> None:
        """Keep which event of Slack a run came from, for a service that starts anew. Raises JournalError."""
        if run:
            self.journal.event(run, _EVENT, event=event)

    def noted(self, event: str) -> bool:
        """Whether an event that Slack delivers once more was acted on before. Raises JournalError."""
        recent = (events.c.kind == _EVENT, events.c.at > self.journal.clock() - _REDELIVERY_SECONDS)
        with self.journal.store.transaction() as db:
            details = db.execute(select(events.c.detail).where(*recent)).scalars()
            return any(detail.get("event") == event for detail in details)

    def editable(self, user: str, approval: str) -> tuple[str, Arguments, Arguments]:
        """An open question that ``user`` may ask otherwise: its tool, the tool's schema, the arguments that it has.

        Raises RequestRefused, JournalError, SlurmError.
        """
        preview = later.editable(self.executor(user), approval).preview
        return preview["tool"], self.decider.tools[preview["tool"]].schema(), preview["arguments"]

    def rewritten(self, approval: str, write: Callable[[Arguments, Arguments], Arguments]) -> Call:
        """The call of a question with the arguments that ``write`` makes of its schema and the old ones, through the
        same ladder as a model's: schema, then meaning. Asks no cluster. Raises RequestRefused, JournalError."""
        preview = later.find_approval(self.journal, approval).preview
        tool, before, tools = preview["tool"], preview["arguments"], self.decider.tools
        call = Call(tool, write(tools[tool].schema(), before))
        top = climb(encode(Action(calls=(call,))), tools, Said(""), grounded=False)
        if top.action is None:
            raise RequestRefused(top.error)
        if call.arguments == before or top.action.calls[0].arguments == before:
            raise RequestRefused("nothing in it was changed")
        return top.action.calls[0]

    def amend(self, user: str, approval: str, arguments: Arguments) -> tuple[Row, tuple[Done, ...], list[Row]]:
        """The old question, now withdrawn, what came of asking anew, and the new questions.

        Raises RequestRefused, JournalError, SlurmError: then the old question stays.
        """
        executor, journal = self.executor(user), self.journal
        row = later.editable(executor, approval)
        call = AtHome(executor, user, _nobody).at_home(Call(row.preview["tool"], arguments))
        with self.locks.of(row.run):
            known = {one["id"]: one for one in later.pending(journal)}
            run, done = later.amend(executor, approval, call.arguments)
        new = [one for one in self.waiting(run) if one["id"] not in known]
        return known[row.id], done, new

    def decide(self, user: str, approval: str, *, yes: bool, say: Say) -> Decided:
        """Answer one question as ``user`` and carry out what follows. Raises RequestRefused, JournalError, SlurmError.

        What somebody else approves and only its owner can do (a submission) is done as the one who asked.
        """
        executor = _telling(self.executor(user), say)
        row = later.find_approval(self.journal, approval)
        asker = find_run(self.journal, row.run).user
        with self.locks.of(row.run):
            run, done = (later.approve if yes else later.deny)(executor, row.id, "in Slack")
            if yes and not done:
                run, done = resume(_telling(self.executor(asker), say), row.run)
        return Decided(run, asker, yes, done[row.seq - 1 :] if yes else done)


def _nobody(text: str) -> None:
    """Nobody waits to hear of it."""


def _telling(executor: LedgerExecutor, say: Say) -> LedgerExecutor:
    def progress(call: Call, item: Item, done: int, total: int) -> None:
        say(f"{call.tool}: {done} of {total} …")

    return replace(executor, ledger=replace(executor.ledger, progress=progress))


def _jobs_in(text: str, executor: LedgerExecutor) -> list[str]:
    """The numbers of ``text`` that Slurm knows as jobs, at most three."""
    backend = executor.ledger.context().backend
    found: list[str] = []
    for number in list(dict.fromkeys(_JOB.findall(text)))[:20]:
        try:
            backend.job(number)
        except UnknownJob:
            continue
        found.append(number)
        if len(found) == _MOST_JOBS:
            break
    return found


def _log(text: str) -> str:
    """Raises RequestRefused where the text is no log from which anything follows."""
    from tools.findings import diagnose_log

    found = diagnose_log(text).as_json()
    findings = found["findings"]
    if found["label"] == "unknown" or not findings:
        raise RequestRefused("that message names no job that Slurm knows, and is no log with a cause in it")
    first = findings[0]
    proof = "\n".join(f"  line {one['line']}: {one['text']}" for one in first["evidence"][:3])
    return f"{first['label']} ({first['confidence']:.0%}): {first['summary']}\n{proof}\nfix: {first['fix']}"
