"""From one line of a log to the signatures it carries."""

from __future__ import annotations

import re

from tools.findings.knowledge import Signature, compiled, grams, load_harmless, match_index

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_CLOCK = re.compile(r"(?:\d{4}-(\d\d)-(\d\d)[T ]|\b[EWIF](\d?\d)(\d\d) )(\d\d):(\d\d):(\d\d)(?:[.,](\d{1,6}))?")
_RANK = re.compile(  # what launchers, Ray, Open MPI and vLLM put before a rank's own line
    r"^(?:\(\w[\w.]* pid=\d+[^)]*\) ?|\[(?:rank|trainer)?\d+(?:\|\d+)?\]:? ?|\d{1,5}: |\[\d+,\d+\]<std\w+>:? ?|"
    r"(?:ERROR|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d \[?[\w/.]+:\d+\] ?)+"
)
_LONGEST = 2000


def clean(raw: bytes) -> str:
    """A line as text: undecodable bytes replaced, colours and control characters gone, cut to 2,000."""
    text = raw[:_LONGEST].decode("utf-8", errors="replace")
    if "\x1b" in text:
        text = _ANSI.sub("", text)
    text = text.replace("\t", " ").rstrip()
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text).rstrip()


def clock(text: str) -> tuple[int, ...] | None:
    """(month, day, hour, minute, second, microsecond) of an ISO or glog time stamp in the line."""
    found = _CLOCK.search(text)
    if not found:
        return None
    month, day = (found[1], found[2]) if found[1] else (found[3], found[4])
    fraction = int((found[8] or "0").ljust(6, "0"))
    return int(month), int(day), int(found[5]), int(found[6]), int(found[7]), fraction


def match(text: str) -> tuple[Signature, ...]:
    """The signatures that the line carries; generic ones only where nothing more specific fits."""
    text = _RANK.sub("", text)
    index = match_index()
    found: dict[str, Signature] = {}
    for gram in (grams(text.lower()) & index.keys()) | {""}:
        for pattern, signature in index.get(gram, ()):
            if signature.id not in found and compiled(pattern).search(text) and not _excused(signature, text):
                found[signature.id] = signature
    if not found or load_harmless().search(text):
        return ()
    specific = tuple(s for s in found.values() if not s.generic)
    return specific or tuple(found.values())


def _excused(signature: Signature, text: str) -> bool:
    return signature.unless is not None and signature.unless.search(text) is not None
