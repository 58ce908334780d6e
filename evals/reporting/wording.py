"""Cases and figures as short text: what was expected, what came, shares, times, sizes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from evals.records import ModelRecord, Record
from evals.scorers import expected_calls

_QUANTISATION = re.compile(
    r"(?<![a-z0-9])(nvfp4|mxfp4|fp8|fp16|bf16|fp32|int8|int4|awq|gptq|w4a16|w8a8|i?q\d(?:_[0-9a-z]+)*)(?![a-z0-9])",
    re.I,
)


def printable(text: str) -> str:
    """Text of somebody else's choosing on one line: no control characters, no escape codes, no turned direction."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def listed(names: Sequence[str], most: int = 8) -> str:
    """The first names, and how many more there are."""
    shown = ", ".join(map(printable, names[:most]))
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def expected_text(record: Record) -> str:
    """All acceptable outcomes, one a line."""
    others = record.expect.get("any_of", [])
    return "\n".join(_outcome(one) for one in (record.expect, *others))


def _outcome(expect: Mapping[str, Any]) -> str:
    calls = [f"{call['tool']} {_json(call.get('arguments', {}))}" for call in expected_calls(dict(expect))]
    text = " → ".join(calls) or str(expect.get("action", ""))
    if expect.get("optional"):
        text += f"   (optional: {', '.join(expect['optional'])})"
    return text


def got_text(record: Record) -> str:
    """What came, as one line; of an answer that never became valid, the answer itself."""
    if record.error:
        return f"{record.error.kind}: {record.error.message}"
    if record.kind == "invalid":
        said = [message for message in record.transcript if message.get("role") == "assistant"]
        return f"invalid: {said[-1].get('content') or '(an empty answer)'}" if said else "invalid: no answer"
    if record.calls:
        return " → ".join(f"{call.tool} {_json(call.arguments)}" for call in record.calls)
    return f"{record.kind}: {record.text}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"


def points(change: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    return f"{100 * change:+.1f}".replace("-", "−")


def seconds(value: float) -> str:
    if value < 0.9995:
        return f"{1000 * value:.0f} ms"
    return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"


def size(count: int) -> str:
    """Bytes as GB (10⁹) or MB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def quantisation(model: ModelRecord) -> str:
    """How its weights are stored, read from its name or revision (``…-FP8``, ``…Q8_0.gguf``); empty if neither says."""
    found = _QUANTISATION.search(f"{model.name} {model.revision}")
    return found.group(1).upper() if found else ""
