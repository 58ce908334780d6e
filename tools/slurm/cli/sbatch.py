"""submit_job's fields as an ``sbatch`` command and, where there is one, the script on its standard input.

Facts: sbatch(1) of 22.05 to 26.05. A GPU type goes into the count's own option (``--gpus-per-node=h100:8``), which
select/cons_tres honours exactly; ``gpu_type`` with no count at all asks for one GPU of it (``--gpus=h100:1``).
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.slurm.cli.runner import operand, option
from tools.slurm.errors import InvalidRequest

# Field → sbatch option, where the value goes over as it is; the order is the command's.
_PLAIN = {
    "job_name": "job-name", "partition": "partition", "account": "account", "qos": "qos", "nodes": "nodes",
    "ntasks": "ntasks", "ntasks_per_node": "ntasks-per-node", "cpus_per_task": "cpus-per-task",
    "cpus_per_gpu": "cpus-per-gpu", "mem": "mem", "mem_per_cpu": "mem-per-cpu", "mem_per_gpu": "mem-per-gpu",
    "time_limit": "time", "constraint": "constraint", "switches": "switches", "array": "array",
    "dependency": "dependency", "begin": "begin", "output": "output", "error": "error", "working_directory": "chdir",
    "container_image": "container-image", "container_mounts": "container-mounts", "reservation": "reservation",
    "nodelist": "nodelist", "exclude": "exclude", "licenses": "licenses", "mail_type": "mail-type",
    "mail_user": "mail-user", "signal": "signal", "comment": "comment",
}  # fmt: skip
_OTHERS = frozenset(
    {
        "command",
        "script",
        "gpus",
        "gpus_per_node",
        "gpu_type",
        "exclusive",
        "requeue",
        "environment",
        "modules",
        "test_only",
    }
)
PYXIS = ("container_image", "container_mounts")
_SHELL = re.compile(r"#!\s*(?:/usr/bin/env\s+)?(?:\S*/)?(?:ba|z|k|da)?sh\b")
_VARIABLE = re.compile(r"[A-Za-z_]\w*")
_AWKWARD = re.compile(r"[,'\"\\\n\r]|^\s|\s$")


@dataclass(frozen=True, slots=True)
class Submission:
    """An argument list and the text for its standard input (``""``: the script is a file that sbatch reads)."""

    command: list[str]
    script: str = ""


def submission(fields: Mapping[str, Any], directory: Path | None = None) -> Submission:
    """The command for ``fields``; a script's path is looked for in ``directory`` (default: the current one).

    Raises ``InvalidRequest`` for a field that submit_job does not have, a script that is not there, or modules and
    variables for a script that no shell runs.
    """
    if unknown := fields.keys() - _PLAIN.keys() - _OTHERS:
        raise InvalidRequest(f"submit has no {', '.join(sorted(unknown))}")
    command, plain = ["sbatch", "--parsable"], dict(fields)
    if not plain.get("job_name") and plain.get("command"):
        plain["job_name"] = _name_for(plain["command"])
    for name, flag in _PLAIN.items():
        if plain.get(name) not in (None, ""):
            command.append(option(flag, plain[name]))
        if name == "cpus_per_task":
            command += _gpu_options(fields)
    command += _switches(fields)
    easy, hard = _variables(fields.get("environment") or {})
    if easy:
        command.append(option("export", ",".join(["ALL", *easy])))
    prologue = _prologue(fields.get("modules") or (), hard)
    if fields.get("command"):
        return Submission(command, _wrap(fields["command"], prologue, bool(fields.get("modules"))))
    return _with_script(command, str(fields.get("script") or ""), prologue, directory or Path.cwd())


def _gpu_options(fields: Mapping[str, Any]) -> list[str]:
    kind = f"{fields['gpu_type']}:" if fields.get("gpu_type") else ""
    counts = {name: fields[name] for name in ("gpus", "gpus_per_node") if fields.get(name) is not None}
    if kind and not counts:
        counts = {"gpus": 1}
    return [option(name.replace("_", "-"), f"{kind}{count}") for name, count in counts.items()]


def _switches(fields: Mapping[str, Any]) -> list[str]:
    words = []
    if fields.get("exclusive"):
        words.append("--exclusive")
    if fields.get("requeue") is not None:
        words.append("--requeue" if fields["requeue"] else "--no-requeue")
    if fields.get("test_only"):
        words.append("--test-only")
    return words


def _variables(environment: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """``K=V`` words for --export, and shell lines for the values that --export would split or unquote."""
    easy, hard = [], []
    for name, value in environment.items():
        if not _VARIABLE.fullmatch(name) or "\0" in str(value):
            raise InvalidRequest(f"environment: {name!r} is not a variable name, or its value holds a NUL")
        if _AWKWARD.search(str(value)):
            hard.append(f"export {name}={shlex.quote(str(value))}")
        else:
            easy.append(f"{name}={value}")
    return easy, hard


def _prologue(modules: Any, exports: list[str]) -> list[str]:
    load = [f"module load {shlex.join(operand(name, 'module') for name in modules)} || exit 1"] if modules else []
    return load + exports


def _wrap(command: str, prologue: list[str], login: bool) -> str:
    # A login shell reads /etc/profile, which is where `module` comes from.
    first = "#!/bin/bash -l" if login else "#!/bin/bash"
    return "\n".join([first, *prologue, command.rstrip("\n")]) + "\n"


def _with_script(command: list[str], script: str, prologue: list[str], directory: Path) -> Submission:
    if not script:
        raise InvalidRequest("nothing to run: give command or script")
    if script.startswith("#!"):
        return Submission(command, _insert(script, prologue))
    path = Path(script).expanduser()
    text = _read(path if path.is_absolute() else directory / path, script, directory)
    if prologue:
        return Submission(command, _insert(text, prologue))
    return Submission([*command, operand(str(path), "script path")])


def _read(path: Path, given: str, directory: Path) -> str:
    if not path.is_file():
        why = "is a directory" if path.is_dir() else "does not exist"
        raise InvalidRequest(f"script {given!r} {why} (looked in {directory})", code="no_script")
    if not os.access(path, os.R_OK):
        raise InvalidRequest(f"script {given!r} cannot be read (looked in {directory})", code="no_script")
    text = path.read_text(encoding="utf-8", errors="replace")
    if not text.startswith("#!"):
        raise InvalidRequest(f"script {given!r} must begin with #! and the path of an interpreter", code="no_script")
    return text


def _insert(script: str, prologue: list[str]) -> str:
    """The script with lines added where its commands begin: sbatch reads #SBATCH lines only before that."""
    if not prologue:
        return script
    if not _SHELL.match(script):
        raise InvalidRequest(
            f"modules and such variables need a shell script, this one starts with {script.splitlines()[0]!r}"
        )
    lines = script.splitlines()
    start = next((i for i, line in enumerate(lines) if line.strip() and not line.startswith("#")), len(lines))
    return "\n".join([*lines[:start], *prologue, *lines[start:]]) + "\n"


def _name_for(command: str) -> str:
    """``train.py`` of ``torchrun --nproc 8 train.py``: sbatch would call every piped script "sbatch"."""
    words = re.findall(r"[^\s'\"|;&<>()$`=]+", command)
    scripts = [word for word in words if re.search(r"\w\.(?:py|sh|R|jl|m|pl|rb|lua)$", word)]
    name = os.path.basename((scripts or words or ["job"])[0]).lstrip("-")
    return name[:64] or "job"
