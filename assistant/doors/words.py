"""Requests as they come in: from arguments, a pipe or a file, in whatever bytes."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from assistant.errors import RequestRefused
from assistant.loop.agent import check_request


def checked(request: str) -> str:
    """The request, refused when it is empty or far too long; what is no Unicode becomes ``?``.

    Bytes that are not UTF-8 arrive in an argument as lone surrogates, which no server can be sent.
    """
    check_request(request)
    return request.encode("utf-8", "replace").decode("utf-8")


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
