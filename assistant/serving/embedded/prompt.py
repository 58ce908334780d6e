"""What the embedded model reads: one module for training and for serving, so that they cannot differ.

The prompt is a one-word system line and the request, without any schema: the tools are in the adapter's weights.
The answer is the common Action form, ``assistant.loop.action.encode``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

SYSTEM = "sask"
LONG_BLOCK, KEPT_LINES = 8, 3
LONGEST = 840
"""Bytes of UTF-8 that are left of a request: 200 to 280 of this model's tokens."""
GAP = "…"

_RULE = re.compile(r"([-=_*#~.+])\1{3,}")


def messages(request: str, about: Sequence[str] = ()) -> list[dict[str, str]]:
    """OpenAI chat messages for a request; ``about`` is what the conversation is about: ``("jobs 611 612",)``."""
    said = condense(request)
    if about:
        said = f"context: {_plain('; '.join(about))}\n{said}"
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": said}]


def _plain(text: str) -> str:
    """Markers of the chat template lose their meaning: a request cannot forge a turn."""
    return text.replace("<|", "< |")


def condense(text: str) -> str:
    """A request short enough for a small model: pasted blocks folded to their ends, the middle of the rest cut.

    Deterministic, and condensing twice changes nothing. A paragraph of more than eight lines keeps its first and
    last three; runs of blanks and of rule characters shrink; markers of the chat template lose their meaning.
    """
    text = _plain(text.replace("\r\n", "\n"))
    lines = [_RULE.sub(r"\1\1\1", " ".join(line.split())) for line in text.strip().split("\n")]
    paragraphs: list[list[str]] = [[]]
    for line in lines:
        if line:
            paragraphs[-1].append(line)
        elif paragraphs[-1]:
            paragraphs.append([])
    folded = ["\n".join(_fold(block)) for block in paragraphs if block]
    return _cut("\n".join(folded) if len(folded) > 1 else "".join(folded))


def _fold(block: Sequence[str]) -> list[str]:
    if len(block) <= LONG_BLOCK:
        return list(block)
    return [*block[:KEPT_LINES], GAP, *block[-KEPT_LINES:]]


def _cut(text: str) -> str:
    """Keep the beginning and the end, where people put what they want."""
    raw = text.encode()
    if len(raw) <= LONGEST:
        return text
    half = (LONGEST - len(GAP.encode()) - 2) // 2
    head = raw[:half].decode(errors="ignore").rsplit(None, 1)
    tail = raw[-half:].decode(errors="ignore").split(None, 1)
    return f"{head[0]} {GAP} {tail[-1]}"
