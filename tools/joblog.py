"""Reading a log for people: the end of it, or the lines that match, whatever its size."""

from __future__ import annotations

import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from tools.findings.matching import clean

LINES = 50
MOST_LINES = 200
MOST_BYTES = 16_000
_LONGEST_LINE = 1000
_BLOCK = 1 << 16
_REACH = 64 << 20
"""How much of a file's end a pattern is looked for in."""
_SECONDS = 3.0
_LINE_SECONDS = 0.2
_MATCHED = 8192


def read(file: BinaryIO, lines: int, pattern: str | None) -> dict[str, Any]:
    """``{"size", "lines", "shown", "more"?}``, with a pattern also ``{"pattern", "total", "line_numbers"?, "notes"?}``.

    The last ``lines`` lines, in order, at most ``MOST_BYTES`` of them. A line that a program rewrote (progress bars)
    is what a terminal would show of it.
    """
    size = file.seek(0, os.SEEK_END)
    if pattern:
        return {"size": size, **_search(file, size, lines, pattern)}
    whole, found = _tail(file, size, lines)
    kept = _fitting(found)
    data: dict[str, Any] = {"size": size, "lines": kept, "shown": len(kept)}
    if not size:
        data["notes"] = ["the file is empty"]
    elif not whole or len(kept) < len(found):
        data["more"] = f"these are the last lines: ask for more (at most {MOST_LINES}), or give a pattern"
    return data


def visible(raw: bytes) -> str:
    """One line as a terminal shows it: what was written last over the same line, without colours."""
    last = raw.rstrip(b"\r\n").rpartition(b"\r")[2]
    text = clean(last)
    return text if len(text) <= _LONGEST_LINE else text[: _LONGEST_LINE - 1] + "…"


def _tail(file: BinaryIO, size: int, lines: int) -> tuple[bool, list[str]]:
    """(whether that is the whole file, the last lines), read backwards from the end."""
    place, held = size, b""
    while place > 0 and held.rstrip(b"\n").count(b"\n") < lines and size - place < 16 * MOST_BYTES:
        step = min(_BLOCK, place)
        place -= step
        file.seek(place)
        held = file.read(step) + held
    parts = held.removesuffix(b"\n").split(b"\n") if held else []
    return place == 0 and len(parts) <= lines, [visible(part) for part in parts[-lines:]]


def _search(file: BinaryIO, size: int, lines: int, pattern: str) -> dict[str, Any]:
    matches, literal = _matcher(pattern)
    start = max(0, size - _REACH)
    file.seek(start)
    kept: deque[tuple[int, str]] = deque(maxlen=lines)
    total, deadline, done = 0, time.monotonic() + _SECONDS, True
    for number, raw in enumerate(_lines(file), start=1):
        if matches(raw):
            total += 1
            kept.append((number, visible(raw)))
        if time.monotonic() > deadline:
            done = False
            break
    found = _fitting([text for _, text in kept])
    data: dict[str, Any] = {"pattern": pattern, "lines": found, "shown": len(found), "total": total}
    if start == 0:
        data["line_numbers"] = [number for number, _ in kept][len(kept) - len(found) :]
    if len(found) < total:
        data["more"] = "these are the last matches: give a narrower pattern"
    return data | _notes(literal, start, done)


def _notes(literal: bool, start: int, done: bool) -> dict[str, Any]:
    notes = []
    if literal:
        notes.append("the pattern is no regular expression: it was looked for letter by letter")
    if start:
        notes.append(f"only the last {_REACH >> 20} MiB were searched")
    if not done:
        notes.append(f"stopped after {_SECONDS:.0f} s: not everything was searched")
    return {"notes": notes} if notes else {}


def _matcher(pattern: str) -> tuple[Callable[[bytes], bool], bool]:
    """(does a line match, was the pattern taken literally). Case counts only where the pattern has capitals."""
    import regex  # has a deadline for each search, which the standard library's re has not

    flags = regex.IGNORECASE if pattern == pattern.lower() else 0
    try:
        compiled, literal = regex.compile(pattern, flags), False
    except (regex.error, OverflowError):
        compiled, literal = regex.compile(re.escape(pattern), flags), True

    def matches(raw: bytes) -> bool:
        text = raw[:_MATCHED].decode("utf-8", errors="replace")
        try:
            return compiled.search(text, timeout=_LINE_SECONDS) is not None
        except TimeoutError:
            return False

    return matches, literal


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines of at most a mebibyte: a longer one comes in pieces."""
    while line := file.readline(1 << 20):
        yield line


def _fitting(lines: list[str]) -> list[str]:
    """As many of the last lines as fit into ``MOST_BYTES``."""
    room = MOST_BYTES
    kept: list[str] = []
    for line in reversed(lines):
        room -= len(line.encode()) + 1
        if room < 0 and kept:
            break
        kept.append(line)
    return kept[::-1]
