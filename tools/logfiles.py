"""Which file Slurm wrote a job's output to, and whether the caller may read it here.

File name patterns are those of sbatch(1), "filename pattern". slurmctld tells the name with most of them replaced;
accounting keeps only how the job was submitted, so the name is put together from that.
"""

from __future__ import annotations

import errno
import glob
import itertools
import os
import pwd
import re
import shlex
import stat
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Literal

from tools.base import Caller
from tools.slurm.backend import Backend
from tools.slurm.errors import AccountingUnavailable, UnknownJob
from tools.slurm.hostlist import expand
from tools.slurm.models import Job, Submitted

Stream = Literal["stdout", "stderr"]
_PATTERN = re.compile(r"%(\d*)([A-Za-z%])")
_OPTIONS = {"stdout": ("output", "o"), "stderr": ("error", "e")}


class NoLog(Exception):
    """There is no log to read: ``message`` for people, ``code`` for programs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass(frozen=True, slots=True)
class Log:
    """The file of one stream of one job or array task."""

    job: Job
    path: Path
    notes: tuple[str, ...] = ()


def find_log(backend: Backend, job_id: str, stream: Stream) -> Log:
    """The file of a job's stream. Raises ``NoLog`` (not started, not known), ``UnknownJob``, ``SlurmError``.

    Of an array without a task number, the task that began last is taken, with a note.
    """
    records = backend.job(job_id)
    started = [job for job in records if job.state not in ("PENDING", "CONFIGURING")]
    if not started:
        raise NoLog(
            "not_started", f"job {job_id} has not started ({records[0].reason or 'pending'}): it wrote nothing yet"
        )
    job = leader(backend, max(started, key=lambda one: (one.start_time or datetime.min, one.id)))
    several = len(records) > 1 or job.id not in (job_id, records[0].id)
    notes = [f"job {job_id} has several parts: this is {job.id}"] if several else []
    paths = log_paths(backend, job)
    if stream == "stderr" and paths["stderr"] == paths["stdout"]:
        notes.append("stderr goes to the same file as stdout")
    return Log(job, paths[stream], tuple(notes))


def leader(backend: Backend, job: Job) -> Job:
    """Of a heterogeneous job the first component, where its one batch script runs and writes; else the job."""
    root, plus, number = job.id.partition("+")
    return backend.job(f"{root}+0")[0] if plus and number != "0" else job


def log_paths(backend: Backend, job: Job, kept: Submitted | None = None) -> dict[Stream, Path]:
    """Where the job's streams went. Raises ``NoLog`` where neither slurmctld nor accounting tells.

    ``kept``: how the job's array was submitted, where that is known already.
    """
    told: dict[Stream, str] = {"stdout": job.stdout, "stderr": job.stderr}
    number = plain_number(job)
    if not all(told.values()) or not number:
        kept = kept or submission(backend, job)
        number = number or kept.id
        known: dict[Stream, str] = {"stdout": kept.stdout, "stderr": kept.stderr}
        told = {stream: told[stream] or known[stream] or submitted_name(kept, job, stream) for stream in told}
    folder = job.working_directory or "/"
    return {
        stream: _existing(Path(folder, expanded(name, job, number)), name, job, number) for stream, name in told.items()
    }


def submitted_name(kept: Submitted, job: Job, stream: Stream) -> str:
    """The pattern that the submission asked for: the command line first, then ``#SBATCH`` lines, then Slurm's own."""
    sources = [words_of(kept.line), *map(words_of, reversed(_directives(kept.script)))]
    for one in (stream, "stdout") if stream == "stderr" else (stream,):
        for words in sources:
            if name := option_of(words, *_OPTIONS[one]):
                return name
    return "slurm-%A_%a.out" if "_" in job.id else "slurm-%j.out"


def expanded(pattern: str, job: Job, number: str, host: str = "") -> str:
    """The name with what is known of the job; a backslash in it switches that off (sbatch(1))."""
    if "\\" in pattern:
        return pattern.replace("\\", "")
    array, _, task = job.id.partition("_")
    hosts = expand(job.node_list)
    known = {
        "A": array.partition("+")[0], "a": task or "4294967294", "j": number or array, "J": number or array,
        "N": host or (hosts[0].partition(".")[0] if hosts else ""), "n": "0", "s": "batch", "t": "0", "u": job.user,
        "x": job.name, "%": "%", "b": str(int(task) % 10) if task.isdigit() else "",
    }  # fmt: skip

    def value(match: re.Match[str]) -> str:
        text = known.get(match[2], match[0])
        return text.zfill(min(int(match[1]), 10)) if match[1] and text.isdigit() else text

    return _PATTERN.sub(value, pattern)


def open_log(log: Log, caller: Caller) -> BinaryIO:
    """The file, open for reading. Raises ``NoLog``: not here, not a plain file, not the caller's to read.

    The process may be allowed more than the caller (a service for many people): then only the job owner's own
    files are read, and only for the owner, an operator, or where everybody may.
    """
    try:
        descriptor = os.open(log.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _refusal(log, error) from None
    file = os.fdopen(descriptor, "rb")
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        file.close()
        raise NoLog("not_a_file", f"{log.path} is no plain file: its content is not kept")
    if not _permitted(found, log.job, caller):
        file.close()
        raise NoLog("permission_refused", f"{log.path} belongs to {log.job.user}: {caller.user} may not read it")
    return file


def _permitted(found: os.stat_result, job: Job, caller: Caller) -> bool:
    if caller.user == pwd.getpwuid(os.geteuid()).pw_name or found.st_mode & stat.S_IROTH:
        return True
    try:
        owner = pwd.getpwuid(found.st_uid).pw_name
    except KeyError:
        return False
    return owner == job.user and (caller.user == job.user or caller.is_admin)


def _refusal(log: Log, error: OSError) -> NoLog:
    if error.errno in (errno.EACCES, errno.EPERM):
        return NoLog("permission_refused", f"no permission to read {log.path}")
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        where = f"; it may be on {log.job.node_list} only" if log.job.node_list else ""
        if log.job.exit_code.endswith(":53"):  # Slurm's own sign that it could not open the job's files
            where = f": Slurm could not create it (exit code {log.job.exit_code}); does its directory exist?"
            return NoLog("no_file", f"there is no {log.path}{where}")
        return NoLog("no_file", f"there is no {log.path} on this machine: removed, moved, or never written{where}")
    return NoLog("no_file", f"{log.path} cannot be read: {error.strerror}")


def plain_number(job: Job) -> str:
    """The number behind ``123_4`` (``%j`` in a file's name), by slurmctld or accounting; ``""`` where neither told."""
    return job.raw.get("JobId") or job.raw.get("JobIDRaw") or ""


def submission(backend: Backend, job: Job) -> Submitted:
    """How it was submitted. Raises ``NoLog`` where accounting does not tell."""
    try:
        return backend.submitted(job.id)
    except (AccountingUnavailable, UnknownJob):
        raise NoLog("unknown_file", f"neither slurmctld nor accounting tells where job {job.id} wrote") from None


def _existing(path: Path, told: str, job: Job, number: str) -> Path:
    """The name itself, or the one file that differs from it only where the host's name stands (%N).

    A node's own host name may be another than Slurm's name for it.
    """
    if path.exists() or "%" not in told or "\\" in told:
        return path
    loose = Path(job.working_directory or "/", expanded(told, job, number, host="\0"))
    try:
        found = list(path.parent.glob(glob.escape(loose.name).replace("\0", "*")))
    except OSError:
        return path
    return found[0] if len(found) == 1 else path


def words_of(line: str) -> list[str]:
    """A command line as the shell would part it; by blanks alone where its quotes do not match."""
    try:
        return shlex.split(line, comments=True)
    except ValueError:
        return line.split()


def _directives(script: str) -> list[str]:
    """The options on ``#SBATCH`` lines, which end where the commands begin."""
    found = []
    for line in script.splitlines():
        if line.strip() and not line.startswith("#"):
            break
        if line.startswith("#SBATCH"):
            found.append(line.removeprefix("#SBATCH"))
    return found


def option_of(words: list[str], long: str, letter: str) -> str:
    """The value of the first ``--output=X``, ``--output X``, ``-o X`` or ``-oX``; later ones may be the script's."""
    for word, following in itertools.zip_longest(words, words[1:], fillvalue=""):
        if word in (f"--{long}", f"-{letter}"):
            return following
        if word.startswith(f"--{long}="):
            return word.partition("=")[2]
        if re.match(rf"-{letter}[^-]", word):
            return word[2:]
        if word.partition("=")[0] == "--wrap":
            break
    return ""
