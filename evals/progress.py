"""Live progress with running scores: one moving line on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from evals.runner import Tally, Watch

EVERY = 5.0
"""Seconds between two lines where there is no terminal."""


@contextmanager
def progress(of: str = "") -> Iterator[Watch]:
    """Yields what is to be told of every answer; all goes to standard error, after what it is progress ``of``."""
    started = time.monotonic()
    if not sys.stderr.isatty():
        yield _lines(started, f"{of}: " if of else "")
        return
    from assistant.doors.render import console

    with console(error=True).status(of or "asking") as status:
        yield lambda tally: status.update(" · ".join(filter(None, (of, line(tally, time.monotonic() - started)))))


def _lines(started: float, before: str) -> Watch:
    told = started

    def watch(tally: Tally) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told >= EVERY or tally.done == tally.total:
            told = now
            print(before + line(tally, now - started), file=sys.stderr, flush=True)

    return watch


def line(tally: Tally, seconds: float) -> str:
    """``128/1000 · tool 91.2 % · exact 80.1 % · forbidden 0 · errors 0 · 12.3/s · 71 s left``."""
    done = max(1, tally.done)
    pace = tally.fresh / seconds if seconds > 0 else 0.0
    parts = [
        f"{tally.done}/{tally.total}",
        f"tool {100 * tally.tool / done:.1f} %",
        f"exact {100 * tally.exact / done:.1f} %",
        f"forbidden {tally.forbidden}",
        f"errors {tally.errors}",
        f"{pace:.1f}/s",
    ]
    if pace:
        parts.append(f"{(tally.total - tally.done) / pace:.0f} s left")
    return " · ".join(parts)
