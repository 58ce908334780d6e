"""Requests as they come in: from arguments, a pipe or a file, in whatever bytes."""

from __future__ import annotations

import io
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from assistant.errors import RequestRefused
from assistant.loop.agent import check_request

_SCRIPTS = frozenset(("LATIN", "CJK", "HANGUL"))
_LANGUAGES = "English, German, French, Spanish, Chinese and Korean"
"""Those of the bundled model's training lines."""


def checked(request: str) -> str:
    """The request, refused when it is empty or far too long; what is no Unicode becomes ``?``.

    Bytes that are not UTF-8 arrive in an argument as lone surrogates, which no server can be sent.
    """
    check_request(request)
    return request.encode("utf-8", "replace").decode("utf-8")


def readable(request: str, model: str) -> None:
    """Raises RequestRefused for a script that the bundled model was never shown: its answer would be a guess."""
    letters = [_script(letter) for letter in request if letter.isalpha()]
    foreign = [script for script in letters if script not in _SCRIPTS]
    if model != "embedded" or 2 * len(foreign) <= len(letters):
        return
    script = max(set(foreign), key=foreign.count).capitalize()
    raise RequestRefused(
        f"the bundled model cannot read {script} script; it reads {_LANGUAGES}",
        "say it in one of these, or ask a larger model: sask --model URL …",
    )


def _script(letter: str) -> str:
    """``LATIN``, ``CJK``, ``CYRILLIC``: the first word of its name in Unicode."""
    return unicodedata.name(letter, "unknown").partition(" ")[0]


def piped() -> str:
    """All of standard input."""
    return sys.stdin.buffer.read().decode("utf-8", "replace")


@contextmanager
def open_lines(path: Path) -> Iterator[IO[str]]:
    """The lines of a file, or of standard input for ``-``. Raises RequestRefused when it cannot be read."""
    if str(path) == "-":
        yield io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8", errors="replace")
        return
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            yield lines
    except OSError as error:
        raise RequestRefused(f"{path}: {error.strerror}", "give a JSONL file, or - for standard input") from error
