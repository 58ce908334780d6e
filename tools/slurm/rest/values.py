"""The values of slurmrestd's JSON, whichever API version wrote them, as the text that Slurm's commands print.

22.05 (v0.0.38) writes plain numbers, ``null`` and single words; from 23.02 on (v0.0.39) numbers that may be missing
are ``{"set", "infinite", "number"}``, states and flags are lists, and exit codes are objects. Nothing else in this
package knows of the difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import pairwise
from typing import Any

UNLIMITED = "UNLIMITED"
# States that Slurm keeps as flags beside a base state; job_state_string() shows them in the base state's place.
_FLAGS = (
    "COMPLETING", "STAGE_OUT", "CONFIGURING", "RESIZING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT",
    "STOPPED", "REVOKED", "RESV_DEL_HOLD", "SIGNALING",
)  # fmt: skip


def take(record: Mapping[str, Any], path: str) -> Any:
    """The value at ``a/b/c``: None where it is missing or not set, ``"UNLIMITED"`` for an infinite number."""
    found: Any = record
    for key in path.split("/"):
        found = found.get(key) if isinstance(found, Mapping) else None
    return plain(found)


def plain(value: Any) -> Any:
    """The number in ``{"set", "infinite", "number"}``; anything else as it is."""
    if isinstance(value, Mapping) and "set" in value and "number" in value:
        if value.get("infinite"):
            return UNLIMITED
        return value["number"] if value["set"] else None
    return value


def text(value: Any) -> str:
    """``""`` for nothing, a list joined by commas, yes and no as 1 and 0."""
    value = plain(value)
    if value is None or isinstance(value, Mapping):
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, list):
        return ",".join(text(part) for part in value)
    return str(value)


def number(value: Any) -> int:
    """A whole number; 0 for nothing and for what is none."""
    value = plain(value)
    return int(value) if isinstance(value, (int, float)) else int(value) if text(value).isdigit() else 0


def when(value: Any) -> str:
    """An epoch as local ISO time; ``""`` for 0 and nothing."""
    seconds = number(value)
    return datetime.fromtimestamp(seconds).isoformat() if seconds > 0 else ""


def minutes(value: Any) -> str:
    """Minutes as Slurm prints a limit: ``1-00:00:00``, ``UNLIMITED``, ``""``; -1 and the largest number are endless."""
    value = plain(value)
    if value is None:
        return ""
    if value == UNLIMITED or number(value) in (0xFFFFFFFF, 0xFFFFFFFE) or value == -1:
        return UNLIMITED
    return clock(number(value) * 60)


def clock(seconds: int) -> str:
    """``D-HH:MM:SS``, without the days where there are none."""
    days, rest = divmod(max(seconds, 0), 86400)
    hours, rest = divmod(rest, 3600)
    shown = f"{hours:02}:{rest // 60:02}:{rest % 60:02}"
    return f"{days}-{shown}" if days else shown


def words(value: Any) -> list[str]:
    """Upper-case words of a list, or of one string."""
    value = plain(value)
    return [text(part).upper() for part in (value if isinstance(value, list) else [value]) if part]


def state(value: Any) -> str:
    """A job's long state: the flag that Slurm would show, else the base state."""
    found = words(value)
    return next((word for word in found if word in _FLAGS), found[0] if found else "")


def exit_code(value: Any, *, believable: bool = True) -> str:
    """``code:signal``. ``believable`` False: a SUCCESS may be any code (see versions.Api), and becomes ``""``."""
    if not isinstance(value, Mapping) or "return_code" not in value:
        status = plain(value)
        return f"{status >> 8 & 0xFF}:{status & 0x7F}" if isinstance(status, int) else ""
    if "PENDING" in words(value.get("status")):
        return "0:0"
    code, signal = take(value, "return_code"), take(value, "signal/id") or take(value, "signal/signal_id")
    if signal is None and "SUCCESS" in words(value.get("status")) and not believable:
        return ""
    return f"{number(code)}:{number(signal)}"


def tres(value: Any) -> str:
    """``cpu=8,mem=4096M,gres/gpu:h100=2`` of slurmdbd's list of resources; negative counts mean "not known"."""
    if not isinstance(value, list):
        return text(value)
    rows = [one for one in value if isinstance(one, Mapping) and one.get("count") is not None]
    return ",".join(sorted(_resource(one) for one in rows if number(one["count"]) >= 0))


def _resource(one: Mapping[str, Any]) -> str:
    kind, name = text(one.get("type")), text(one.get("name"))
    unit = "M" if kind == "mem" else ""
    return f"{kind}{'/' if name else ''}{name}={number(one.get('count'))}{unit}"


def tasks(value: Any) -> str:
    """``0-9`` of slurmdbd's bit string ``0x3FF`` (bit n is task n); any other text as it is."""
    told = text(value)
    if not told.lower().startswith("0x"):
        return told
    bits = int(told, 16)
    return ranges(place for place in range(bits.bit_length()) if bits >> place & 1)


def ranges(numbers: Iterable[int]) -> str:
    """``0-4,8`` of rising numbers; five and more that are evenly spread are ``0-99:3``."""
    rising = list(numbers)
    steps = {after - before for before, after in pairwise(rising)}
    if len(rising) > 4 and len(steps) == 1 and steps != {1}:
        return f"{rising[0]}-{rising[-1]}:{steps.pop()}"
    found: list[list[int]] = []
    for one in rising:
        if found and found[-1][-1] + 1 == one:
            found[-1][1:] = [one]
        else:
            found.append([one])
    return ",".join("-".join(map(str, span)) for span in found)
