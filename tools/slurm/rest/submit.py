"""submit_job's fields as the JSON that slurmrestd takes for a new job."""

from __future__ import annotations

import math
import pwd
import re
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tools.slurm.cli import sbatch
from tools.slurm.errors import InvalidRequest
from tools.slurm.parse.values import exact_seconds, mebibytes
from tools.slurm.rest.client import INSTEAD
from tools.slurm.rest.versions import Api

Begin = Callable[[str], int]
_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
_NOW = re.compile(r"now(?:\+(\d+)\s*(second|minute|hour|day|week)?s?)?")
_SIGNAL = re.compile(r"(?:([BR]+):)?(?:SIG)?(\w+)(?:@(\d+))?")
_MAIL = {
    "ALL": ["BEGIN", "END", "FAIL", "REQUEUE", "INVALID_DEPENDENCY", "STAGE_OUT"],
    "INVALID_DEPEND": ["INVALID_DEPENDENCY"], "TIME_LIMIT": ["TIME=100%"], "TIME_LIMIT_90": ["TIME=90%"],
    "TIME_LIMIT_80": ["TIME=80%"], "TIME_LIMIT_50": ["TIME=50%"],
}  # fmt: skip


def description(fields: Mapping[str, Any], api: Api, user: str, begin: Begin) -> tuple[dict[str, Any], str]:
    """(the job's description, its script). ``begin`` turns a moment into an epoch, for the versions that want one.

    Raises ``InvalidRequest`` for what this version has no word for, and for a script with ``#SBATCH`` lines, which
    slurmrestd would pass over in silence.
    """
    made = sbatch.submission(fields)
    if lacking := sorted(name for name in api.missing if fields.get(name)):
        raise not_offered(f"{', '.join(lacking)} of a submission", api)
    name = next((word.partition("=")[2] for word in made.command if word.startswith("--job-name=")), "")
    script = _script({key: value for key, value in fields.items() if key != "environment"})
    plain = {api.keys[ours]: fields[ours] for ours in api.keys if fields.get(ours) not in (None, "")}
    job = {
        **plain,
        "name": name or _file_name(fields),
        "current_working_directory": plain.get("current_working_directory") or str(Path.cwd()),
        **_tasks(fields),
        **(_typed(fields, begin) if api.typed else _by_option(fields)),
        "environment": _environment(fields.get("environment") or {}, user, api),
    }
    return job, script


def not_offered(what: str, api: Api) -> InvalidRequest:
    """The error for what this version of the API cannot do at all."""
    return InvalidRequest(
        f"slurmrestd {api.version} has no {what}: {INSTEAD}",
        code="not_in_api",
    )


def limit_minutes(value: Any) -> int | str:
    """sbatch's --time in whole minutes, rounded up, or ``UNLIMITED``."""
    told = str(value).strip()
    if told.upper() in ("UNLIMITED", "INFINITE", "-1"):
        return "UNLIMITED"
    seconds = int(told) * 60 if told.isdigit() else exact_seconds(told)
    if seconds is None:
        raise InvalidRequest(f"time_limit {told!r} is no time; write 90 (minutes), 02:30:00 or 1-12:00:00")
    return math.ceil(seconds / 60)


def optional(value: int | str) -> dict[str, Any]:
    """A number that may be endless, as the typed versions take it."""
    endless = value == "UNLIMITED"
    return {"set": not endless, "infinite": endless, "number": 0 if endless else value}


def megabytes(name: str, value: Any) -> int:
    amount = mebibytes(str(value))
    if amount is None:
        raise InvalidRequest(f"{name}: {value!r} is not an amount such as 64G")
    return math.ceil(amount)


def moment(text: str, now: datetime) -> int:
    """The epoch of an ISO time, ``now``, or ``now+2hours``. Raises ``InvalidRequest`` for sbatch's other forms."""
    if match := _NOW.fullmatch(text.strip()):
        ahead = timedelta(**{f"{match[2] or 'second'}s": int(match[1] or 0)})
        return int((now + ahead).timestamp())
    try:
        return int(datetime.fromisoformat(text.strip()).timestamp())
    except ValueError:
        raise InvalidRequest(f"begin {text!r}: write 2026-11-21T08:00:00 or now+2hours") from None


class Moments:
    """``moment`` of now, the same for so long: a preview and what it allows must be the same request, and "now+1day"
    in both one moment."""

    SECONDS = 600.0

    def __init__(self) -> None:
        self._kept: dict[str, tuple[float, int]] = {}

    def __call__(self, text: str) -> int:
        now = time.monotonic()
        made, epoch = self._kept.get(text, (0.0, 0))
        if not epoch or now - made > self.SECONDS:
            self._kept[text] = (now, epoch := moment(text, datetime.now()))
        return epoch


def _script(fields: Mapping[str, Any]) -> str:
    made = sbatch.submission(fields)
    text = made.script
    if not text:
        text = Path(made.command[-1]).expanduser().read_text(encoding="utf-8", errors="replace")
    if lines := [line.strip() for line in _head(text) if line.startswith("#SBATCH")]:
        raise InvalidRequest(
            f"slurmrestd does not read #SBATCH lines ({'; '.join(lines)[:300]}): give them as arguments and take them "
            f"out of the script, or {INSTEAD}",
            code="not_in_api",
        )
    return text


def _head(script: str) -> list[str]:
    """The lines in which sbatch would look for options: up to the first that is neither comment nor empty."""
    lines = script.splitlines()
    end = next((place for place, line in enumerate(lines) if line.strip() and not line.startswith("#")), len(lines))
    return lines[:end]


def _file_name(fields: Mapping[str, Any]) -> str:
    script = str(fields.get("script") or "")
    return "sbatch" if script.startswith("#!") or not script else Path(script).name


def _tasks(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Node count, and the tasks that sbatch would count out itself: one a node, or ``ntasks_per_node``."""
    nodes, share = str(fields.get("nodes") or ""), int(fields.get("ntasks_per_node") or 1)
    found: dict[str, Any] = {"nodes": nodes} if nodes else {}
    least = nodes.partition("-")[0] or "1"
    if not fields.get("ntasks") and least.isdigit() and (nodes or share > 1):
        found["tasks"] = int(least) * share
    return found


def _gpus(fields: Mapping[str, Any]) -> dict[str, str]:
    """``{"gpus": "h100:2"}`` and ``gpus_per_node``; a type alone is one GPU of it."""
    kind = f"{fields['gpu_type']}:" if fields.get("gpu_type") else ""
    counts = {name: fields[name] for name in ("gpus", "gpus_per_node") if fields.get(name) is not None}
    return {name: f"{kind}{count}" for name, count in (counts or ({"gpus": 1} if kind else {})).items()}


def _by_option(fields: Mapping[str, Any]) -> dict[str, Any]:
    """v0.0.38: sbatch's options by their long names, with sbatch's own text."""
    found: dict[str, Any] = dict(_gpus(fields))
    if fields.get("time_limit") not in (None, ""):
        found["time_limit"] = limit_minutes(fields["time_limit"])
    for ours, theirs in (("mem", "memory_per_node"), ("mem_per_cpu", "memory_per_cpu")):
        if fields.get(ours) not in (None, ""):
            found[theirs] = megabytes(ours, fields[ours])
    for ours, theirs in (("mem_per_gpu", "memory_per_gpu"), ("cpus_per_gpu", "cpus_per_gpu"), ("begin", "begin_time")):
        if fields.get(ours) not in (None, ""):
            found[theirs] = fields[ours]
    if fields.get("exclusive"):
        found["exclusive"] = "exclusive"
    if fields.get("requeue") is not None:
        found["requeue" if fields["requeue"] else "no_requeue"] = True
    if signal := str(fields.get("signal") or ""):
        if ":" in signal:
            raise InvalidRequest(
                f"signal {signal!r}: slurmrestd v0.0.38 takes NAME@SECONDS alone, without B: or R:", code="not_in_api"
            )
        found["signal"] = signal
    return found


def _typed(fields: Mapping[str, Any], begin: Begin) -> dict[str, Any]:
    """v0.0.39 on: slurmctld's own fields."""
    tres = {"gpus": "tres_per_job", "gpus_per_node": "tres_per_node"}
    found: dict[str, Any] = {tres[name]: f"gres/gpu:{value}" for name, value in _gpus(fields).items()}
    given = {name: value for name, value in fields.items() if value not in (None, "")}
    if "time_limit" in given:
        found["time_limit"] = optional(limit_minutes(given["time_limit"]))
    for ours, theirs in (("mem", "memory_per_node"), ("mem_per_cpu", "memory_per_cpu")):
        if ours in given:
            found[theirs] = optional(megabytes(ours, given[ours]))
    if "mem_per_gpu" in given:
        found["memory_per_tres"] = f"gres/gpu:{megabytes('mem_per_gpu', given['mem_per_gpu'])}"
    if "cpus_per_gpu" in given:
        found["cpus_per_tres"] = f"gres/gpu:{given['cpus_per_gpu']}"
    if "begin" in given:
        found["begin_time"] = optional(begin(str(given["begin"])))
    if given.get("exclusive"):
        found["shared"] = ["none"]
    if "requeue" in given:
        found["requeue"] = bool(given["requeue"])
    if "switches" in given:
        found |= _switches(str(given["switches"]))
    if "signal" in given:
        found |= _warning(str(given["signal"]))
    if "mail_type" in given:
        words = [word.strip().upper() for word in str(given["mail_type"]).split(",")]
        found["mail_type"] = [flag for word in words for flag in _MAIL.get(word, [word])]
    return found


def _switches(text: str) -> dict[str, Any]:
    count, _, wait = text.partition("@")
    if not count.isdigit():
        raise InvalidRequest(f"switches {text!r}: write 1, or 1@00:30:00 for a longest wait")
    found: dict[str, Any] = {"required_switches": optional(int(count))}
    if wait:
        found["wait_for_switch"] = int(limit_minutes(wait)) * 60
    return found


def _warning(text: str) -> dict[str, Any]:
    match = _SIGNAL.fullmatch(text)
    if match is None:
        raise InvalidRequest(f"signal {text!r}: write USR1@120 or B:USR1@120")
    found: dict[str, Any] = {"kill_warning_signal": match[2], "kill_warning_delay": optional(int(match[3] or 60))}
    if "B" in (match[1] or ""):
        found["kill_warning_flags"] = ["BATCH_JOB"]
    return found


def _environment(given: Mapping[str, Any], user: str, api: Api) -> dict[str, str] | list[str]:
    """What the job starts with: who it is, where programs are, and what was given.

    Nothing of this process's own environment: slurmrestd's cluster may be another machine altogether.
    """
    base = {"PATH": _PATH, "USER": user, "LOGNAME": user}
    try:
        account = pwd.getpwnam(user)
        base |= {"HOME": account.pw_dir, "SHELL": account.pw_shell}
    except KeyError:
        pass
    whole = base | {name: str(value) for name, value in given.items()}
    return [f"{name}={value}" for name, value in whole.items()] if api.typed else whole
