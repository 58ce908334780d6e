"""Reading a log of any size once, in bounded memory.

The beginning and the end are read line by line; what lies between is searched for a few telling words.
A line is looked at once per shape (its text without digits), so that a million repeats cost little.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import BinaryIO

from tools.findings.knowledge import Signature
from tools.findings.matching import clean, clock, match

_BLOCK = 1 << 20
_HEAD = 1 << 20
_TAIL_BLOCKS = 3
_WIDE = 8 << 20  # bytes of the middle that are searched for every word, before only the rarest remain
_WORDS = (
    b"rror",
    b"ERROR",
    b"FATAL",
    b"out of memory",
    b"Out Of Memory",
    b"oom",
    b"OOM",
    b"CANCELLED",
    b"illed",
    b"Segmentation",
    b"Traceback",
    b"ailed",
    b"denied",
    b"o such",
    b"not found",
    b"imed out",
    b"imeout",
    b"Xid",
    b"NVRM",
    b"uota",
    b"No space",
    b"Stale",
    b"nvalid",
    b"nable to",
    b"annot",
    b"nan",
    b"NaN",
)
_RARE_WORDS = (b"rror", b"out of memory")
_MANY_HITS = 2000  # of one word: from then on one hit in each _STRIDE bytes is enough
_STRIDE = 1 << 16
_REACH = 1000  # bytes on either side of a hit that are taken as its line
_LONG_LINE = 8192
_MANY_SHAPES = 50_000
_LAST_LINES = 40
_SNIFF = 1 << 16
_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
    b"\x7fELF": "an ELF program",
}
_DIGITS = b"0123456789"
_CONTROL = bytes(c for c in range(32) if c not in b"\t\n\r\x0b\x0c\x08\x1b\x07")  # never in a text log


@dataclass(slots=True)
class Hit:
    """A line that carries signatures: where its shape was first seen, and how often."""

    file: str
    line: int
    text: str
    signatures: tuple[Signature, ...]
    time: tuple[int, ...] | None
    count: int = 1


@dataclass(slots=True)
class Scan:
    """What one log holds. binary says what it is when it is no text; last_lines are (number, text)."""

    file: str
    hits: list[Hit] = field(default_factory=list)
    lines: int = 0
    size: int = 0
    binary: str | None = None
    last_lines: list[tuple[int, str]] = field(default_factory=list)


def scan(file: str, stream: BinaryIO) -> Scan:
    """Read `stream` to its end. Raises OSError when reading fails."""
    return _Scanner(file).run(stream)


class _Scanner:
    def __init__(self, file: str) -> None:
        self.result = Scan(file)
        self.seen: dict[bytes, Hit | None] = {}
        self.word_hits: dict[bytes, int] = {}
        self.searched = 0

    def run(self, stream: BinaryIO) -> Scan:
        head = stream.read(_HEAD)
        self.result.size = len(head)
        self.result.binary = _binary(head)
        if self.result.binary:
            return self.result
        cut = head.rfind(b"\n") + 1
        self._read(head[:cut])
        rest, waiting = head[cut:], deque[bytes]()
        while block := stream.read(_BLOCK):
            self.result.size += len(block)
            waiting.append(block)
            if len(waiting) > _TAIL_BLOCKS:
                rest = self._search(rest, waiting.popleft())
        self._read(b"".join([rest, *waiting]))
        return self.result

    def _read(self, block: bytes) -> None:
        """Look at every line of a block that begins and ends at a line's end (or at the file's)."""
        lines = block.split(b"\n")
        first = self.result.lines + 1
        for number, raw in enumerate(lines if lines[-1] else lines[:-1], start=first):
            if len(raw) > _LONG_LINE and b"\r" not in raw:
                self._words(raw, _WORDS, number)
                continue
            for part in raw.split(b"\r"):
                if part:
                    self._look(part, number)
        self.result.lines += block.count(b"\n")
        self._keep_last(lines, first)

    def _search(self, rest: bytes, block: bytes) -> bytes:
        """Look only at the lines which hold one of the words; rest is the piece of a line before the block.

        Returns the piece of a line at the end of the block, at most _REACH bytes of it.
        """
        words = _WORDS if self.searched < _WIDE else _RARE_WORDS
        self.searched += len(block)
        self._words(rest + block[:_REACH], words, self.result.lines + 1)
        self._words(block, words, self.result.lines + 1)
        self.result.lines += block.count(b"\n")
        return block[max(block.rfind(b"\n") + 1, len(block) - _REACH) :]

    def _words(self, block: bytes, words: tuple[bytes, ...], first_line: int) -> None:
        for word in words:
            at, counted, line = block.find(word), 0, first_line
            while at >= 0:
                hits = self.word_hits[word] = self.word_hits.get(word, 0) + 1
                start, end = _line_bounds(block, at)
                line += block.count(b"\n", counted, start)
                counted = start
                self._look(block[start:end], line)
                at = block.find(word, max(end, at + len(word), at + _STRIDE if hits > _MANY_HITS else 0))

    def _look(self, raw: bytes, line: int) -> None:
        shape = raw.translate(None, _DIGITS)
        if shape in self.seen:
            hit = self.seen[shape]
            if hit is not None:
                hit.count += 1
            return
        text = clean(raw)
        signatures = match(text)
        hit = Hit(self.result.file, line, text, signatures, clock(text)) if signatures else None
        if hit is not None:
            self.result.hits.append(hit)
        if len(self.seen) >= _MANY_SHAPES:
            self.seen = {key: value for key, value in self.seen.items() if value is not None}
        self.seen[shape] = hit

    def _keep_last(self, lines: list[bytes], first: int) -> None:
        start = max(0, len(lines) - _LAST_LINES)
        fresh = [(first + at, clean(lines[at][-_LONG_LINE:])) for at in range(start, len(lines)) if lines[at].strip()]
        self.result.last_lines = (self.result.last_lines + fresh)[-_LAST_LINES:]


def _line_bounds(block: bytes, at: int) -> tuple[int, int]:
    low, high = max(0, at - _REACH), min(len(block), at + _REACH)
    start = max(block.rfind(b"\n", low, at), block.rfind(b"\r", low, at)) + 1 or low
    ends = [end for end in (block.find(b"\n", at, high), block.find(b"\r", at, high)) if end >= 0]
    return start, min(ends, default=high)


def _binary(block: bytes) -> str | None:
    """What the bytes are when they are no text: a known format, or plain "binary data"."""
    for magic, name in _MAGIC.items():
        if block.startswith(magic):
            return name
    sample = block[:_SNIFF]
    control = len(sample) - len(sample.translate(None, _CONTROL))
    return "binary data" if control * 20 > len(sample) else None
