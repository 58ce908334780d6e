"""The files that a job's own commands write, one for each rank or all into one: where the job's words say they are.

``srun --output=out.%t`` (srun(1), "IO Redirection"), ``… > log.$SLURM_PROCID``, torchrun's ``--log-dir``
(``DIR/RUN_XXXX/attempt_0/RANK/stderr.log``). Nothing is guessed: a name with a part that is not known is a note.
"""

from __future__ import annotations

import glob
import io
import itertools
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from tools.base import Caller
from tools.findings import UNKNOWN, Diagnosis, diagnose_log
from tools.logfiles import Log, NoLog, open_log
from tools.scriptwords import ANY, Target, targets
from tools.slurm.backend import Backend
from tools.slurm.errors import AccountingUnavailable, UnknownJob
from tools.slurm.models import Job, Submitted

MOST_FILES = 2048
_ECHOES = frozenset({UNKNOWN, "nccl_timeout", "nccl_init_network", "port_in_use_or_rendezvous", "cancelled_by_user"})
"""What a rank reports because another one is gone."""
_LOST_PEER = re.compile(
    r"Connection(Reset|Aborted|Refused)Error|BrokenPipeError|EOFError|Connection (reset|closed|refused)|"
    r"DistBackendError|remote process exited|ChildFailedError|MPI_ABORT|^Traceback"
)
_SURE = 0.5
"""Less than this is no more than a hint, such as a program that ended itself (``Aborted``)."""
_MOST_JOINT = 8
_BUDGET = 32 << 20
_LEAST_SHARE, _MOST_SHARE = 16 << 10, 4 << 20
_MOST_SCRIPT = 1 << 18
_BEFORE, _AFTER = timedelta(minutes=1), timedelta(minutes=15)
"""File systems and nodes do not agree to the second, and a file may be flushed after the job's end."""
_LOOSE = {"t": ("[0-9]*", r"\d+"), "n": ("[0-9]*", r"\d+"), "s": ("*", r"\d+|batch"), "N": ("*", r"[\w.-]+"),
          "*": ("*", r"[^/]+")}  # fmt: skip
"""(glob, expression) for what a rank, a node's number, a step, a host's name, or anything may be."""


@dataclass(frozen=True, slots=True)
class RankLogs:
    """Files, the one that was written last at the end; ``notes`` say what could not be followed."""

    paths: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Said:
    """What one file says by itself. ``own``: that it is a cause, and not what the loss of another rank looks like."""

    label: str
    own: bool


@dataclass(slots=True)
class Survey:
    """What each file says by itself, the one that was written last at the end; ``share``: bytes read of a file."""

    share: int = 0
    said: dict[Path, Said] = field(default_factory=dict)
    cuts: dict[str, Cut] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def causes(self) -> list[tuple[Said, list[Path]]]:
        """The files by what they say: causes of their own before echoes, the rarest first; no silent ones."""
        groups: dict[Said, list[Path]] = {}
        for path, said in self.said.items():
            if said.label != UNKNOWN:
                groups.setdefault(said, []).append(path)
        return sorted(groups.items(), key=lambda group: (not group[0].own, len(group[1])))

    def telling(self) -> list[Path]:
        """A few files that stand for all: of each cause the one that fell silent first, then others."""
        groups = [paths for _, paths in self.causes()]
        firsts = [paths[0] for paths in groups]
        return list(dict.fromkeys([*firsts, *itertools.chain.from_iterable(groups)]))[:_MOST_JOINT]

    def row(self) -> dict[str, object]:
        """``{"files", "causes": [{"label", "files", "first", "echo"?}]}``; empty where there are no files."""
        rows = [
            {"label": said.label, "files": len(paths), "first": str(paths[0])} | ({} if said.own else {"echo": True})
            for said, paths in self.causes()
        ]
        return {"files": len(self.said), "causes": rows} if self.said else {}


@dataclass(frozen=True, slots=True)
class Cut:
    """A file of which only both ends were read: lines of the beginning, and of both ends together."""

    head: int
    total: int

    def line(self, number: int) -> int:
        """The line's number in the file: from 1 in the beginning, from -1 backwards in the end."""
        return number if number <= self.head else number - self.total - 1


def survey(paths: Sequence[Path], job: Job, caller: Caller) -> Survey:
    """Every file by itself, from both ends where they are many or large. What may not be read is a note."""
    found = Survey(max(_LEAST_SHARE, min(_MOST_SHARE, _BUDGET // max(1, len(paths)))))
    for path in paths:
        try:
            with open_log(Log(job, path), caller) as file:
                source, cut = both_ends(file, found.share)
        except (NoLog, OSError) as missing:
            found.notes.append(missing.message if isinstance(missing, NoLog) else f"{path}: {missing.strerror}")
            continue
        if cut:
            found.cuts[str(path)] = cut
        found.said[path] = _said(diagnose_log([(str(path), source)]))
    if found.cuts:
        found.notes.append(f"{len(found.cuts)} large files of ranks were read from both ends: line -1 is the last")
    found.notes[3:] = [f"{len(found.notes) - 3} more like these"] if len(found.notes) > 4 else found.notes[3:]
    return found


def _said(diagnosis: Diagnosis) -> Said:
    cause = next((finding for finding in diagnosis.findings if finding.label == diagnosis.label), None)
    if cause is None or cause.label in _ECHOES or cause.confidence < _SURE:
        return Said(diagnosis.label, False)
    return Said(cause.label, not all(_LOST_PEER.search(line.text) for line in cause.evidence))


def both_ends(file: BinaryIO, share: int) -> tuple[BinaryIO, Cut | None]:
    """(what to read, how it was cut): at most ``share`` bytes, half of them from the end, in whole lines."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size <= share:
        return io.BytesIO(file.read(share)), None
    head = file.read(share // 2)
    file.seek(size - share // 2)
    tail = file.read(share // 2)
    head = head[: head.rfind(b"\n") + 1] or head + b"\n"
    tail = tail[tail.find(b"\n") + 1 :]
    lines = tail.count(b"\n") + (not tail.endswith(b"\n"))
    return io.BytesIO(head + tail), Cut(head.count(b"\n"), head.count(b"\n") + lines)


def rank_logs(backend: Backend, job: Job) -> RankLogs:
    """The files of the job's commands that are there and were written while it ran.

    The script is the one on disk where nobody changed it since, else what accounting keeps.
    """
    script, kept = _script_on_disk(job), Submitted(job.raw.get("JobId") or job.id.partition("_")[0])
    if not script:
        try:
            kept = backend.submitted(job.id)
        except (AccountingUnavailable, UnknownJob):
            return RankLogs()
        script = kept.script
    found: dict[Path, datetime] = {}
    notes: list[str] = []
    for target in targets(job, kept, script.replace("\0", "")):
        if target.unknown:
            notes.append(f"output goes to {target.written}, but what {target.unknown} is there is not known")
            continue
        fresh, stale = _written(_existing(target), job)
        found |= fresh
        if stale and not fresh:
            notes.append(f"{stale[0]} was not written while job {job.id} ran")
    ordered = sorted(found, key=lambda path: (found[path], str(path)))
    if len(ordered) > MOST_FILES:
        notes.append(f"of {len(ordered)} files of ranks the first {MOST_FILES} are read")
    return RankLogs(tuple(ordered[:MOST_FILES]), tuple(dict.fromkeys(notes)))


def _existing(target: Target) -> Iterator[Path]:
    """Files whose names fit."""
    pieces = ANY.split(target.path)
    loose = "".join(_LOOSE[piece][0] if at % 2 else glob.escape(piece) for at, piece in enumerate(pieces))
    exact = "".join(f"(?:{_LOOSE[piece][1]})" if at % 2 else re.escape(piece) for at, piece in enumerate(pieces))
    for path in itertools.islice(glob.iglob(loose), 4 * MOST_FILES):
        if re.fullmatch(exact, path):
            yield Path(path)


def _written(paths: Iterator[Path], job: Job) -> tuple[dict[Path, datetime], list[Path]]:
    """(plain files written while the job ran, with when; other plain files)."""
    fresh, stale = dict[Path, datetime](), list[Path]()
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue
        when = datetime.fromtimestamp(status.st_mtime)
        early = job.start_time is not None and when < job.start_time - _BEFORE
        late = job.end_time is not None and when > job.end_time + _AFTER
        if stat.S_ISREG(status.st_mode) and (early or late):
            stale.append(path)
        elif stat.S_ISREG(status.st_mode):
            fresh[path] = when
    return fresh, stale


def _script_on_disk(job: Job) -> str:
    """The batch script as it is now, where it was not changed since it was submitted."""
    path = Path(job.command)
    of_srun = job.raw.get("BatchFlag") == "0"  # the command is a program then
    if of_srun or not job.command or not path.is_absolute() or job.submit_time is None:
        return ""
    try:
        with path.open("rb") as file:
            if datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime) > job.submit_time + _BEFORE:
                return ""
            text = file.read(_MOST_SCRIPT).decode("utf-8", errors="replace")
            return text if text.startswith("#!") else ""
    except OSError:
        return ""
