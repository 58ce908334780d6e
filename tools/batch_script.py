"""What a batch script asks for itself: its file, and its #SBATCH lines (sbatch(1), DESCRIPTION)."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from tools.durations import read_seconds, slurm_duration
from tools.slurm.errors import InvalidRequest

_LONG = {
    "partition": "partition", "time": "time_limit", "nodes": "nodes", "ntasks": "ntasks", "account": "account",
    "qos": "qos", "array": "array", "gpus": "gpus", "gpus-per-node": "gpus_per_node", "job-name": "job_name",
    "ntasks-per-node": "ntasks_per_node", "constraint": "constraint", "mem": "mem", "dependency": "dependency",
    "reservation": "reservation", "nodelist": "nodelist",
}  # fmt: skip
_SHORT = {
    "p": "partition", "t": "time", "N": "nodes", "n": "ntasks", "A": "account", "q": "qos", "a": "array", "G": "gpus",
    "J": "job-name", "C": "constraint", "d": "dependency", "w": "nodelist",
}  # fmt: skip
_COUNTS = frozenset({"nodes", "ntasks", "ntasks_per_node", "gpus", "gpus_per_node"})


def find_script(script: str, directory: str | None) -> str:
    """The path to hand to sbatch: looked for in ``directory`` (working_directory), then in the current one.

    Raises ``InvalidRequest`` that names the places.
    """
    path = Path(script).expanduser()
    places = [Path(directory).expanduser(), Path.cwd()] if directory else [Path.cwd()]
    if path.is_absolute():
        places = [path.parent]
    tried = [place / path for place in places]
    for one in tried:
        if one.is_file():
            return script if one == Path.cwd() / script else str(one)
    said = ", ".join(map(str, dict.fromkeys(tried)))
    raise InvalidRequest(
        f"no script {script[:200]!r}: looked for {said[:1000]} (the text of a script begins with #!)", code="no_script"
    )


def script_text(script: str) -> str:
    """The script itself; empty where this user cannot read it (sbatch then says so)."""
    if script.startswith("#!"):
        return script
    try:
        return Path(script).expanduser().read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def asked_in(script: str) -> dict[str, Any]:
    """submit_job's fields that the #SBATCH lines give: those that a check or an estimate needs.

    sbatch stops looking at the first line that is neither comment nor empty.
    """
    words: list[str] = []
    for line in script.splitlines()[1:]:
        if line.strip() and not line.startswith("#"):
            break
        if line.startswith("#SBATCH"):
            words += _words(line.removeprefix("#SBATCH"))
    return _fields(words)


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:
        return []


def _fields(words: list[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for place, word in enumerate(words):
        following = words[place + 1] if place + 1 < len(words) else ""
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            value = value if equals else following
        elif word.startswith("-") and len(word) > 1:
            name, value = _SHORT.get(word[1], ""), word[2:] or following
        else:
            continue
        if name in _LONG:
            _put(fields, _LONG[name], value)
    return fields


def _put(fields: dict[str, Any], name: str, value: str) -> None:
    if name == "time_limit":
        try:
            fields[name] = slurm_duration(read_seconds(value))
        except ValueError:
            return
    elif name in _COUNTS:
        kind, _, count = value.rpartition(":")
        if (count := count.partition("-")[0]).isdigit():
            fields[name] = int(count)
        if kind:
            fields["gpu_type"] = kind
    else:
        fields[name] = value
