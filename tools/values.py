"""The values that arguments are made of: each type reads what people and models write into Slurm's one form.

Reading is lossless or it fails: nothing is guessed. Relative times need ``context={"now": datetime}`` at
validation; without it they are taken from this machine's clock.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, ValidationInfo

from tools.dates import iso, read_moment
from tools.durations import read_memory, read_seconds, slurm_duration

MAX_LIST = 1000
StateName = Literal[
    "PENDING",
    "CONFIGURING",
    "RUNNING",
    "SUSPENDED",
    "COMPLETING",
    "COMPLETED",
    "CANCELLED",
    "FAILED",
    "TIMEOUT",
    "NODE_FAIL",
    "PREEMPTED",
    "OUT_OF_MEMORY",
    "BOOT_FAIL",
    "DEADLINE",
]
STATES: tuple[str, ...] = get_args(StateName)
_STATE_CODES = {
    "PD": "PENDING",
    "R": "RUNNING",
    "S": "SUSPENDED",
    "CG": "COMPLETING",
    "CD": "COMPLETED",
    "CA": "CANCELLED",
    "F": "FAILED",
    "TO": "TIMEOUT",
    "NF": "NODE_FAIL",
    "PR": "PREEMPTED",
    "OOM": "OUT_OF_MEMORY",
    "BF": "BOOT_FAIL",
    "DL": "DEADLINE",
    "QUEUED": "PENDING",
    "WAITING": "PENDING",
}
_JOB_ID = re.compile(r"[1-9]\d*(_(\d+|\[[\d,\-:%]+\]))?(\+\d+)?|\$\d+")
_MAIL_TYPES = {
    "NONE",
    "BEGIN",
    "END",
    "FAIL",
    "REQUEUE",
    "ALL",
    "INVALID_DEPEND",
    "STAGE_OUT",
    "TIME_LIMIT",
    "TIME_LIMIT_90",
    "TIME_LIMIT_80",
    "TIME_LIMIT_50",
    "ARRAY_TASKS",
}
_DEPENDENCY = re.compile(
    r"(after|afterany|afternotok|afterok|aftercorr|afterburstbuffer|expand):(\d+(_\d+|_\*)?|\$\d+)(\+\d+)?"
    r"(:(\d+(_\d+|_\*)?|\$\d+)(\+\d+)?)*|singleton"
)


def _now(info: ValidationInfo) -> datetime:
    return (info.context or {}).get("now") or datetime.now()


def _text(value: Any) -> Any:
    if isinstance(value, str):
        if not value.strip():
            raise ValueError("empty")
        if "\0" in value:
            raise ValueError("contains a NUL character")
    return value


def _name(value: Any) -> Any:
    """A name of Slurm's: no spaces, never an option."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str):
        value = value.strip().lstrip("@#").strip("'\"`")
        if not value or value.startswith("-") or re.search(r"[\s\x00-\x1f;|&`$<>\\]", value):
            raise ValueError(f"{value!r} is not a name")
    return value


def _reader(read: Callable[[str], str]) -> BeforeValidator:
    def before(value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        return read(value) if isinstance(value, str) else value

    return BeforeValidator(before)


def read_duration(text: str) -> str:
    return slurm_duration(read_seconds(text))


def read_change(text: str) -> str:
    """``+6:00:00``, ``-1:30:00`` for a change (hours not padded), ``06:00:00`` for a new limit."""
    sign = text.strip()[:1]
    if sign not in ("+", "-"):
        return read_duration(text)
    seconds = read_seconds(text.strip()[1:])
    if seconds < 0:
        raise ValueError(f"{text!r} is not a change of a time limit")
    days, rest = divmod(seconds, 86400)
    clock = f"{rest // 3600}:{rest % 3600 // 60:02}:{rest % 60:02}"
    return f"{sign}{days}-{rest // 3600:02}:{clock.split(':', 1)[1]}" if days else sign + clock


def read_gpu_type(text: str) -> str:
    """The type alone: ``H100`` → ``h100``, ``gpu:a100:2`` → ``a100``, ``a100 3g.20gb`` → ``a100_3g.20gb``."""
    plain = re.sub(r"\s*(gpus?|nvidia|tesla|amd|mig|slices?)\b:?", " ", text.strip().lower())
    plain = re.sub(r":\d+$", "", plain.strip())
    plain = re.sub(r"[\s_]+(?=\d+g\.)", "_", plain)
    plain = re.sub(r"\s+", "_", plain.strip())  # RTX 6000 Ada
    if re.fullmatch(
        r"(?!l40s$)[a-z]{1,3}_?\w?\d{1,4}[a-z]{0,2}s", plain
    ):  # h100s, t4s; but the L40S is a type of its own
        plain = plain[:-1]
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.\-]*", plain):
        raise ValueError(f"{text!r} is not a GPU type such as h100 or a100_3g.20gb")
    return plain


def read_signal(text: str) -> str:
    """``USR1``, ``B:USR1@120``: Slurm's own form, with SIG taken off."""
    plain = re.sub(r"SIG(?=[A-Z])", "", text.strip().upper())
    if not re.fullmatch(r"([RB]{1,2}:)?([A-Z]{2,6}\d?|\d{1,2})(@\d+)?", plain):
        raise ValueError(f"{text!r} is not a signal such as USR1, TERM or B:USR1@120")
    return plain


def read_dependency(text: str) -> str:
    plain = text.strip()
    if plain == "":
        return ""
    if not all(_DEPENDENCY.fullmatch(part) for part in re.split(r"[,?]", plain)):
        raise ValueError(f"{text!r} is not a dependency such as afterok:123, afterany:1:2 or singleton")
    return plain


def read_array(text: str) -> str:
    plain = re.sub(r"\s+", "", text)
    if not re.fullmatch(r"\d+(-\d+(:\d+)?)?(,\d+(-\d+(:\d+)?)?)*(%\d+)?", plain):
        raise ValueError(f"{text!r} is not an array such as 0-99%10 or 1,3,5")
    return plain


def read_mail_type(text: str) -> str:
    words = [word for word in re.split(r"[,\s|]+", text.strip().upper()) if word]
    if wrong := [word for word in words if word not in _MAIL_TYPES]:
        raise ValueError(f"{', '.join(wrong)} is no mail type; valid: {', '.join(sorted(_MAIL_TYPES))}")
    return ",".join(words)


def read_hostlist(text: str) -> str:
    plain = re.sub(r"(?<=[\w\]])\s*(?:,|\band\b|\bund\b|\bet\b|\by\b|&|\s)\s*(?=[A-Za-z])", ",", text.strip())
    if not re.fullmatch(
        r"[A-Za-z0-9][\w.\-]*(\[[\d,\-]+\][\w.\-]*)*(,[A-Za-z0-9][\w.\-]*(\[[\d,\-]+\][\w.\-]*)*)*", plain
    ):
        raise ValueError(f"{text!r} is not a host list such as gpu-node[01-04],gpu-node07")
    return plain


def read_job_id(text: str) -> str:
    plain = text.strip().lstrip("#")
    if not _JOB_ID.fullmatch(plain):
        raise ValueError(f"{text!r} is not a job id such as 123, 123_4, 123_[1-5] or 123+0")
    return plain


def read_state(text: str) -> str:
    plain = text.strip().upper().replace(" ", "_")
    plain = _STATE_CODES.get(plain, plain)
    if plain not in STATES:
        raise ValueError(f"{text!r} is not a job state; valid: {', '.join(STATES)}")
    return plain


def _job_ids(value: Any) -> Any:
    """A list of ids; "101-105" and "101..105" are all between, at most ``MAX_LIST``."""
    if isinstance(value, str | int):
        value = [part for part in re.split(r"[,\s]+(?![^\[]*\])", str(value)) if part]
    if not isinstance(value, list):
        return value
    ids: list[str] = []
    for part in value:
        span = re.fullmatch(r"#?(\d+)\s*(?:-|–|\.\.+)\s*#?(\d+)", str(part).strip())
        if span and int(span[1]) <= int(span[2]) < int(span[1]) + MAX_LIST:
            ids += [str(number) for number in range(int(span[1]), int(span[2]) + 1)]
        else:
            ids.append(read_job_id(str(part)))
    return list(dict.fromkeys(ids))


def _when(edge: Literal["start", "end"]) -> BeforeValidator:
    def before(value: Any, info: ValidationInfo) -> Any:
        return iso(read_moment(value, _now(info), edge=edge)) if isinstance(value, str) else value

    return BeforeValidator(before)


def _begin(value: Any, info: ValidationInfo) -> Any:
    """Slurm's ``now+2hours`` and its named times stay; words become an ISO time."""
    if not isinstance(value, str):
        return value
    plain = value.strip().lower()
    if match := re.fullmatch(r"now ?\+ ?(\d+) ?(seconds?|minutes?|hours?|days?|weeks?|)", plain):
        return f"now+{match[1]}{match[2]}"
    if match := re.fullmatch(r"in (\d+) ?(minutes?|hours?|days?|weeks?)", plain):
        return f"now+{match[1]}{match[2].rstrip('s')}s"
    if plain in {"now", "midnight", "noon", "teatime", "tomorrow"} and plain in {"now", "midnight", "noon", "teatime"}:
        return plain
    return iso(read_moment(value, _now(info), ahead=True))


def _environment(value: Any) -> Any:
    if isinstance(value, list) and all(isinstance(pair, str) and "=" in pair for pair in value):
        value = dict(pair.split("=", 1) for pair in value)
    if isinstance(value, dict):
        for key in value:
            if not re.fullmatch(r"[A-Za-z_]\w*", str(key)):
                raise ValueError(f"{key!r} is not the name of an environment variable")
        value = {key: str(item) for key, item in value.items()}
    return value


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _joined(value: Any) -> Any:
    return ",".join(value) if isinstance(value, list) and all(isinstance(v, str) for v in value) else value


Text = Annotated[str, BeforeValidator(_text), Field(max_length=20_000)]
Name = Annotated[str, BeforeValidator(_name), Field(max_length=200)]
Names = Annotated[list[Name], BeforeValidator(_as_list), Field(min_length=1, max_length=50)]
Count = Annotated[int, Field(ge=1, le=10_000_000)]
Whole = Annotated[int, Field(ge=-2_147_483_645, le=2_147_483_645)]
Duration = Annotated[str, _reader(read_duration)]
RelativeDuration = Annotated[str, _reader(read_change)]
Memory = Annotated[str, _reader(read_memory)]
When = Annotated[str, _when("start")]
Until = Annotated[str, _when("end")]
Begin = Annotated[str, BeforeValidator(_begin)]
GpuType = Annotated[str, _reader(read_gpu_type)]
Signal = Annotated[str, _reader(read_signal)]
SignalName = Annotated[str, _reader(read_signal)]
Dependency = Annotated[str, _reader(read_dependency)]
ArraySpec = Annotated[str, _reader(read_array)]
MailType = Annotated[str, BeforeValidator(_joined), _reader(read_mail_type)]
Hostlist = Annotated[str, BeforeValidator(_joined), _reader(read_hostlist)]
JobId = Annotated[str, _reader(read_job_id)]
JobIds = Annotated[list[str], BeforeValidator(_job_ids), Field(min_length=1, max_length=MAX_LIST)]
State = Annotated[StateName, _reader(read_state)]
Environment = Annotated[dict[str, str], BeforeValidator(_environment), Field(min_length=1, max_length=100)]
