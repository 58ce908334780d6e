"""Reading a batch script for the names of the files that its commands write to, without running any of it."""

from __future__ import annotations

import itertools
import os
import pwd
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from tools.logfiles import expanded, option_of, words_of
from tools.slurm.models import Job, Submitted

ANY = re.compile("\0([tnsN*])\0")
"""A part of a path that is another for each rank (t), node (n), step (s), host (N), or run (*)."""
_PERCENT = re.compile(r"%%|%\d*([tnsNJ])")
_VARIABLE = re.compile(r"\\?\$(?:\{(\w+)\}|(\w+))|\$\(hostname(?: -s)?\)|`hostname(?: -s)?`|\$\(|`|\$\{")
_BY_RANK = {"SLURM_PROCID": "t", "SLURM_LOCALID": "t", "SLURM_NODEID": "n", "SLURMD_NODENAME": "N", "HOSTNAME": "N",
            "RANK": "t", "LOCAL_RANK": "t", "OMPI_COMM_WORLD_RANK": "t", "PMI_RANK": "t", "SLURM_STEP_ID": "s",
            "SLURM_STEPID": "s"}  # fmt: skip
_ASSIGNED = re.compile(r"^\s*(?:export\s+|readonly\s+|local\s+)?([A-Za-z_]\w*)=(.*)$")
_REDIRECTED = re.compile(
    r"(?:(?:^|\s)[12&]?>>?(?!&)|\btee(?:\s+-a)?\s)\s*[\"']?([^\s\"';|&<>()]+(?:\([^)]*\))?[^\s\"';|&<>()]*)"
)
_LAUNCHER = re.compile(
    r"(?:^|/)(?:srun|mpirun|mpiexec|torchrun|accelerate|deepspeed|python[\d.]*|apptainer|singularity|exec|bash|sh)$"
)
_TORCH = re.compile(r"(?:^|/)(?:torchrun|accelerate)$|^torch\.distributed\.(?:run|launch)$")
_FLAGS = frozenset({
    "--exclusive", "--exact", "--overlap", "--unbuffered", "--label", "--verbose", "--quiet", "--pty", "--no-kill",
    "--oversubscribe", "--overcommit", "--multi-prog", "--preserve-env", "--disable-status", "--kill-on-bad-exit",
    "--contiguous", "-u", "-l", "-v", "-vv", "-Q", "-k", "-s", "-O", "-E", "-X", "-K", "-H",
})  # fmt: skip
"""srun's options that take no value, or only one joined with ``=`` (srun(1))."""


@dataclass(frozen=True, slots=True)
class Target:
    """A file name: as it was ``written``, and its ``path`` (see :data:`ANY`), or the part of it that is ``unknown``."""

    written: str
    path: str = ""
    unknown: str = ""


def targets(job: Job, kept: Submitted, script: str) -> Iterator[Target]:
    """What the commands of a job write to, each name once, in the script's order."""
    reader = _Reader(job, kept.id or job.id)
    lines = [kept.line] if words_of(kept.line)[:1] == ["srun"] else []
    found = itertools.chain.from_iterable(map(reader.read, [*lines, *_commands(script)]))
    yield from dict.fromkeys(found)


def _commands(script: str) -> Iterator[str]:
    """The script's lines, those that go on put together, without comments."""
    for line in re.sub(r"\\\n\s*", " ", script).splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield line


class _Reader:
    """What the script's variables and its directory are at each line, as far as that can be told."""

    def __init__(self, job: Job, number: str) -> None:
        self.job, self.number = job, number
        self.folder = job.working_directory or "/"
        self.lost = ""
        self.known = _own_variables(job, number)

    def read(self, line: str) -> Iterator[Target]:
        """The targets of a line; or what it sets."""
        words = words_of(line)
        if assigned := _ASSIGNED.match(line):
            self._assign(assigned[1], words_of(assigned[2]))
        elif words[:1] == ["cd"] and len(words) >= 2:
            self._go(words[1].rstrip(";"))
        for name in _names(line, words):
            yield self._target(name)

    def _assign(self, name: str, value: Sequence[str]) -> None:
        self.known.pop(name, None)
        text, unknown = self._substituted(value[0]) if len(value) == 1 else ("", "") if not value else ("", "?")
        if not unknown and name not in _BY_RANK:
            self.known[name] = text

    def _go(self, where: str) -> None:
        text, unknown = self._substituted(where.replace("~/", "${HOME}/", 1))
        if unknown and not os.path.isabs(text):
            self.lost = self.lost or unknown
        else:
            self.folder, self.lost = os.path.join(self.folder, text), unknown

    def _target(self, name: str) -> Target:
        text, unknown = self._substituted(name)
        if not os.path.isabs(text):
            unknown = unknown or self.lost
        if unknown:
            return Target(name, "", unknown)
        if "\\" not in text:
            text = _PERCENT.sub(self._percent, text)
        return Target(name, os.path.join(self.folder, expanded(text, self.job, self.number)))

    def _percent(self, part: re.Match[str]) -> str:
        if not part[1]:
            return part[0]
        return f"{self.number}.\0s\0" if part[1] == "J" else f"\0{part[1]}\0"

    def _substituted(self, name: str) -> tuple[str, str]:
        """(the name with its variables replaced, the first that is not known or ``""``)."""
        unknown: list[str] = []

        def value(found: re.Match[str]) -> str:
            variable = found[1] or found[2] or ("HOSTNAME" if "hostname" in found[0] else "")
            if variable in _BY_RANK:
                return f"\0{_BY_RANK[variable]}\0"
            if variable not in self.known:
                unknown.append(found[0])
            return self.known.get(variable, "")

        return _VARIABLE.sub(value, name), unknown[0] if unknown else ""


def _own_variables(job: Job, number: str) -> dict[str, str]:
    """What Slurm and the login set (sbatch(1), "OUTPUT ENVIRONMENT VARIABLES")."""
    array, _, task = job.id.partition("_")
    known = {"SLURM_JOB_ID": number, "SLURM_JOBID": number, "SLURM_JOB_NAME": job.name, "USER": job.user,
             "SLURM_JOB_USER": job.user, "SLURM_SUBMIT_DIR": job.working_directory, "PWD": job.working_directory,
             "SLURM_JOB_PARTITION": job.partition, "SLURM_JOB_ACCOUNT": job.account}  # fmt: skip
    if task.isdigit():
        known |= {"SLURM_ARRAY_JOB_ID": array, "SLURM_ARRAY_TASK_ID": task}
    with suppress(KeyError):
        known["HOME"] = pwd.getpwnam(job.user).pw_dir
    return {name: value for name, value in known.items() if value}


def _names(line: str, words: Sequence[str]) -> Iterator[str]:
    """The file names that a line gives, as it writes them."""
    for at, word in enumerate(words):
        if word.rpartition("/")[2] == "srun":
            own = _srun_options(words[at + 1 :])
            yield from filter(None, (option_of(own, "output", "o"), option_of(own, "error", "e")))
        if _TORCH.search(word):
            yield from _torch_names(words[at + 1 :])
    if any(_LAUNCHER.search(word) for word in words):
        yield from (found[1] for found in _REDIRECTED.finditer(line))


def _srun_options(words: Sequence[str]) -> list[str]:
    """srun's own words: up to the program, whose options may look alike."""
    for at, word in enumerate(words):
        before = words[at - 1] if at else ""
        joined = "=" in before or re.fullmatch(r"-[a-zA-Z][^-]\S*", before)
        takes_value = before.startswith("-") and not joined and before not in _FLAGS
        if not word.startswith("-") and not takes_value:
            return list(words[:at])
    return list(words)


def _torch_names(words: Sequence[str]) -> Iterator[str]:
    """torchrun's files: a directory a run, named by its id and some letters, below it one for each attempt and rank.

    Source: ``torch.distributed.elastic.multiprocessing.DefaultLogsSpecs``.
    """
    own = list(itertools.takewhile(lambda word: not word.endswith(".py"), words))
    folder, run = _long_option(own, "log-dir"), _long_option(own, "rdzv-id")
    begin = re.sub(r"\$(\w+)$", r"${\1}", run) + "_" if run else ""
    if folder:
        for stream in ("stderr", "stdout"):
            yield f"{folder}/{begin}\0*\0/attempt_\0n\0/\0t\0/{stream}.log"


def _long_option(words: Sequence[str], name: str) -> str:
    """``--name=X`` or ``--name X``; torchrun takes ``_`` for ``-`` in its names."""
    for word, following in itertools.zip_longest(words, words[1:], fillvalue=""):
        option, equals, value = word.partition("=")
        if option.replace("_", "-") == f"--{name}":
            return value if equals else following
    return ""
