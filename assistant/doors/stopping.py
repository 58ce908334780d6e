"""Ctrl-C: what was done and what was not is said before the door closes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from assistant.doors.argv import NOTHING_CHANGED
from assistant.doors.render import console, done_document, print_json, show_done
from assistant.ledger.done import Done, Executor
from assistant.ledger.execute import Interrupted
from tools.base import Call, Outcome
from tools.names import some

_SHOWN = 10


@dataclass
class Kept:
    """An executor that remembers what it carried out, for the case that the request never comes to its end."""

    executor: Executor
    name: str = ""
    done: list[Done] = field(default_factory=list)

    def run(self, request: str, calls: tuple[Call, ...], *, run: str = "") -> tuple[str, tuple[Done, ...]]:
        self.name, batch = self.executor.run(request, calls, run=run)
        self.done += batch
        return self.name, batch


@contextmanager
def told(kept: Kept | None = None, *, as_json: bool = False) -> Iterator[None]:
    """Lets a Ctrl-C pass on as a KeyboardInterrupt that carries its sentence, once what was done is printed."""
    try:
        yield
    except KeyboardInterrupt as stop:
        run, done = (kept.name, list(kept.done)) if kept else ("", [])
        if isinstance(stop, Interrupted):
            run, done = stop.run, [*done, *stop.done]
        _show(run, done, as_json)
        raise KeyboardInterrupt(sentence(run, done)) from None


def _show(run: str, done: Sequence[Done], as_json: bool) -> None:
    if as_json:
        print_json({"interrupted": True, "run": run, "done": [done_document(one) for one in done]})
        return
    for one in done:
        show_done(one, console())


def sentence(run: str, done: Sequence[Done]) -> str:
    """``interrupted; done: 48101; not done: 48102; `sask resume RUN` takes up what is left``."""
    changed = _ids([one for one in done if one.plan is not None], Outcome.OK)
    unknown, left = _ids(done, Outcome.UNKNOWN), _ids(done, Outcome.SKIPPED)
    parts = [f"done: {some(changed, _SHOWN)}"] if changed else []
    parts += [f"unknown: {some(unknown, _SHOWN)}"] if unknown else []
    parts += [f"not done: {some(left, _SHOWN)}"] if left else []
    parts += [f"`sask resume {run}` takes up what is left"] if run and (left or unknown) else []
    return "; ".join([NOTHING_CHANGED if not (changed or unknown) else "interrupted", *parts])


def _ids(done: Sequence[Done], outcome: Outcome) -> list[str]:
    """The jobs and nodes with that outcome; a job that never got an id goes by its tool's name."""
    found = [(one.call.tool, item) for one in done for item in one.result.items if item.outcome is outcome]
    return [tool if item.id.startswith("sask:") else item.id for tool, item in found]
