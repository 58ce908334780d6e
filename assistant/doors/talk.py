"""``sask "…"``, ``sask chat`` and ``sask call``: requests in, outcomes out."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from assistant.clusters import addressed
from assistant.doors.failing import NO_SLURM, out_of_reach
from assistant.doors.render import (
    as_document,
    console,
    done_document,
    print_json,
    show_done,
    show_preview,
    spinner,
)
from assistant.doors.stopping import Kept, told
from assistant.doors.words import checked, readable
from assistant.errors import AssistantError, RequestRefused
from assistant.ledger.approval import Approver, AskLater, AutoApprove, Decision, DenyAll, Preview
from assistant.ledger.done import Done
from assistant.ledger.redact import redact
from assistant.loop.agent import Agent, Answer
from assistant.loop.conversation import Conversation
from assistant.loop.ladder import worded
from assistant.loop.model import ChatModel, Completion, Message
from tools.base import Outcome, Tool
from tools.names import did_you_mean


@dataclass
class AskOnTerminal:
    """Shows a preview on standard error and waits for a yes; anything else is a no."""

    user: str

    def decide(self, preview: Preview) -> Decision:
        out = console(error=True)
        show_preview(preview, out)
        try:
            answer = out.input("Do it? [y/N] ", markup=False)
        except EOFError:
            answer = ""
        yes = answer.strip().lower() in ("y", "yes")
        return Decision(yes, self.user, "" if yes else "you said no")


@dataclass
class Thinking:
    """A model with a spinner on the terminal for as long as it is being asked, and not while a person is."""

    model: ChatModel

    def complete(self, messages: list[Message], schema: dict[str, Any]) -> Completion:
        with spinner("thinking"):
            return self.model.complete(messages, schema)


def approver(yes: bool, later: bool = False) -> Approver:
    """Who decides: --yes, the person at the terminal, somebody later from another door, or nobody."""
    from assistant.app import current_user

    if later:
        return AutoApprove(current_user(), AskLater()) if yes else AskLater()
    if not sys.stdin.isatty():
        return AutoApprove(current_user()) if yes else DenyAll()
    person = AskOnTerminal(current_user())
    return AutoApprove(current_user(), person) if yes else person


def ask(request: str, *, yes: bool, later: bool, dry_run: bool, as_json: bool, model: str | None) -> None:
    """One request; exits with what became of it."""
    from assistant import app

    request = checked(request)
    request, settings = addressed(request, app.load(model=model))
    readable(request, settings.model)
    with spinner("starting") as say:
        agent = app.agent(settings, approver(yes, later), dry_run=dry_run, say=say)
    agent.decider.model = Thinking(agent.decider.model)
    answer = _run(agent, request, as_json=as_json)
    if as_json:
        print_json(as_document(answer))
    else:
        show_answer(answer)
    sys.exit(exit_code(answer))


def _run(agent: Agent, request: str, talk: Conversation | None = None, *, as_json: bool = False) -> Answer:
    """The agent's answer; what Ctrl-C left is said before it goes on up."""
    kept = Kept(agent.executor)
    with told(kept, as_json=as_json):
        return replace(agent, executor=kept).run(request, talk)


def show_answer(answer: Answer) -> None:
    out = console()
    for one in answer.done:
        show_done(one, out)
    if answer.text:
        out.print(redact(answer.text))
    if answer.stopped:
        out.print(f"stopped after {answer.stopped}", style="yellow")
    if answer.run and any(_left(one) for one in answer.done):
        out.print(f"`sask show {answer.run}` has the whole account; `sask resume {answer.run}` takes up what is left")


def _left(done: Done) -> bool:
    """Whether another try could change anything: what Slurm refused for good, it refuses again."""
    return any(
        i.outcome in (Outcome.UNKNOWN, Outcome.SKIPPED) or (i.outcome is Outcome.FAILED and i.transient)
        for i in done.result.items
    )


def exit_code(answer: Answer) -> int:
    """As ``assistant.doors.failing`` lists them."""
    if not answer.done:
        return 3 if answer.action == "ask" else 0
    return worst(answer.done)


def worst(done: Sequence[Done]) -> int:
    """One exit code for many outcomes; a rehearsal that found nothing against it is a success."""
    rehearsed = {"dry_run"}
    statuses = ["ok" if {i.code for i in one.result.items} == rehearsed else one.result.status for one in done]
    codes = {item.code for one in done for item in one.result.items}
    if set(statuses) == {"failed"} and codes and codes <= out_of_reach():
        return NO_SLURM
    if any(status in ("failed", "partial", "unknown") for status in statuses):
        return 1
    return 3 if "denied" in statuses else 0


def chat(*, yes: bool, dry_run: bool, as_json: bool, model: str | None) -> None:
    """A conversation on the terminal; an error or a Ctrl-C ends the request, not the chat."""
    from assistant import app
    from assistant.doors.failing import explain
    from tools.slurm.errors import SlurmError

    _line_editing()
    settings = app.load(model=model)
    with spinner("starting") as say:
        agent = app.agent(settings, approver(yes), dry_run=dry_run, say=say)
    agent.decider.model = Thinking(agent.decider.model)
    talk = Conversation()
    print("Say what you want; /quit ends.", file=sys.stderr)
    while (request := _next_line()) is not None:
        try:
            if request.strip():
                readable(request, settings.model)
                answer = _run(agent, checked(request), talk, as_json=as_json)
                print_json(as_document(answer)) if as_json else show_answer(answer)
        except KeyboardInterrupt as stop:
            print(f"\nsask: {stop}", file=sys.stderr)
        except (AssistantError, SlurmError) as error:
            explain(error, as_json=as_json)


def _line_editing() -> None:
    """History and editing for ``input()``; only on a terminal, because it writes escape codes."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        import readline  # noqa: F401


def _next_line() -> str | None:
    """The next request; ``None`` at the end. Ctrl-C gives up the line only."""
    while True:
        try:
            line = input("sask> " if sys.stdin.isatty() else "")
        except EOFError:
            return None
        except KeyboardInterrupt:
            print(file=sys.stderr)
            continue
        if line.strip() in ("/quit", "/exit", "/q"):
            return None
        if line.strip() == "/help":
            print('Requests in plain words: "my jobs", "why is 123 pending", "cancel that job". /quit ends.')
            continue
        return line


def call(tool: str, arguments: str, *, yes: bool, later: bool, dry_run: bool, as_json: bool) -> None:
    """One tool with given arguments; exits with what became of it."""
    from assistant import app
    from tools import BY_NAME
    from tools.base import Call

    if tool not in BY_NAME:
        raise RequestRefused(f"there is no tool {tool!r}{did_you_mean(tool, BY_NAME)}", f"valid: {', '.join(BY_NAME)}")
    given = _arguments(BY_NAME[tool], arguments)
    executor = app.executor(app.load(), approver(yes, later), dry_run=dry_run)
    with told(as_json=as_json):
        run, done = executor.run(f"sask call {tool}", (Call(tool, given),))
    finish(run, done, as_json=as_json)


def _arguments(tool: Tool, text: str) -> dict[str, Any]:
    """The arguments of ``--json`` as they were given. Raises RequestRefused for what this tool cannot take."""
    from pydantic import ValidationError

    example = f"write --json '{json.dumps(tool.examples[0][1])}'"
    try:
        given = json.loads(text)
    except ValueError as error:
        raise RequestRefused(f"--json is not JSON: {error}", example) from error
    if not isinstance(given, dict):
        raise RequestRefused(f"--json is {type(given).__name__}, not an object", example)
    try:
        tool.Arguments.model_validate(given, context={"now": datetime.now()})
    except ValidationError as error:
        names = tool.Arguments.model_fields
        near = "".join(did_you_mean(name, names) for name in given.keys() - names.keys())
        raise RequestRefused(f"{worded(tool.name, error)}{near}", f"valid: {', '.join(names)}") from error
    return given


def finish(run: str, done: tuple[Done, ...], *, as_json: bool) -> None:
    """Print outcomes that no request stands behind, and exit with them."""
    if as_json:
        print_json({"run": run, "done": [done_document(one) for one in done]})
    else:
        for one in done:
            show_done(one, console())
    sys.exit(worst(done))
