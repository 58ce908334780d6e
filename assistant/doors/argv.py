"""What was typed, before typer sees it: anything that is no command is a request."""

from __future__ import annotations

import itertools
from typing import Any

from typer.core import TyperGroup

COMMANDS = frozenset(
    ["ask", "chat", "plan", "call", "tools", "runs", "show", "resume", "approvals", "approve", "deny",
     "undo", "export", "serve", "models", "doctor", "mcp", "oncall", "slack",
     "sandbox", "config", "diagnose-log", "eval"]
)  # fmt: skip
OF_ONE_RUN = frozenset(("show", "resume", "undo", "export", "approve", "deny"))
"""They take one word: `sask show me the queue` is a request."""
OF_ALL = ("--backend", "--cluster")
"""Options of every command: they may stand anywhere."""
COMPLETION = frozenset(("--install-completion", "--show-completion"))
NOTHING_CHANGED = "interrupted; nothing was changed"


class Interrupted(Exception):
    """Ctrl-C, with the sentence that says what it left."""


class Commands(TyperGroup):
    """typer ends a Ctrl-C without a word; here it goes on up, with the sentence that it carries."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            raise Interrupted(str(stop) or NOTHING_CHANGED) from None


def with_ask(arguments: list[str]) -> list[str]:
    """`sask "words"` and `sask --yes "words"` mean `sask ask …`; help, completion and commands stay as they are."""
    of_all, rest = _parted(arguments)
    return [*of_all, *_with_ask(rest)]


def _parted(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The options of every command, which typer wants first, and the rest. What stands after ``--`` is left alone."""
    of_all: list[str] = []
    rest: list[str] = []
    given = iter(arguments)
    for argument in given:
        if argument == "--":
            return of_all, [*rest, argument, *given]
        if argument.partition("=")[0] not in OF_ALL:
            rest.append(argument)
        else:
            of_all += [argument] if "=" in argument else [argument, *itertools.islice(given, 1)]
    return of_all, rest


def _with_ask(arguments: list[str]) -> list[str]:
    first = next((a for a in arguments if not a.startswith("-") or a == "-"), None)
    words = [a for before, a in zip(["", *arguments], arguments, strict=False) if before != "--reason" and a[:1] != "-"]
    of_one_run = first in OF_ONE_RUN and len(words) <= 2
    if not arguments:
        return ["--help"]
    if of_one_run or first in COMMANDS - OF_ONE_RUN or arguments[0] in COMPLETION:
        return arguments
    if first is None and {"--help", "-h"} & set(arguments):
        return arguments
    return ["ask", *arguments]


def wants_json(arguments: list[str]) -> bool:
    """`sask call` speaks JSON unless told otherwise, `sask export` always, the others when asked to."""
    if arguments[:1] == ["call"]:
        return "--text" not in arguments
    return "--json" in arguments or arguments[:1] == ["export"]
