"""An array's failed tasks by cause: every task's own log is read; logs that differ in numbers alone are judged once."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from tools.base import ToolContext
from tools.failed import explain, read_logs
from tools.findings import UNKNOWN, Diagnosis, Evidence, diagnose_log
from tools.logfiles import Log, NoLog, leader, log_paths, open_log, plain_number, submission
from tools.ranklogs import both_ends
from tools.slurm.hostlist import expand
from tools.slurm.models import Job, Submitted
from tools.views import Row, said, short

_BUDGET = 48 << 20
_LEAST_SHARE, _MOST_SHARE = 16 << 10, 1 << 20
_MOST_CAUSES = 8
_FEW_NODES = 3
_DIGITS = b"0123456789"


@dataclass(slots=True)
class Cause:
    """Tasks that ended alike and whose logs say the same; ``proof`` is a line of the first one's."""

    label: str
    state: str
    exit_code: str
    jobs: list[Job] = field(default_factory=list)
    proof: Evidence | None = None

    @property
    def tasks(self) -> int:
        return sum(job.array_size for job in self.jobs)

    def row(self, nodes: int) -> Row:
        """``{"label", "tasks", "state", "exit_code", "ids", "example"?, "nodes"?}``; ``nodes`` all tasks had."""
        places = Counter(name for job in self.jobs for name in expand(job.node_list))
        few = len(self.jobs) > len(places) and len(places) <= min(_FEW_NODES, nodes - 1)
        proof = self.proof
        line = {"file": proof.file, "line": proof.line or None, "text": short(proof.text)} if proof else {}
        return said(
            {
                "label": self.label,
                "tasks": self.tasks,
                "state": self.state,
                "exit_code": self.exit_code,
                "ids": sorted((job.id for job in self.jobs), key=lambda name: (len(name), name))[:6],
                "example": said(line),
                "nodes": dict(places) if few else {},
            }
        )


def explain_many(jobs: Sequence[Job], ctx: ToolContext) -> Row:
    """``{"causes": rows of :meth:`Cause.row`, "more_causes"?, …}``, the most frequent first, and the whole
    explanation of the first task of the biggest cause."""
    reader = _Reader(ctx, jobs)
    causes = reader.causes()
    data = explain(causes[0].jobs[0], ctx)
    total = sum(cause.tasks for cause in causes)
    nodes = len({name for job in jobs for name in expand(job.node_list)})
    parts = [f"{one.tasks} × {one.state} {one.exit_code} ({one.label})" for one in causes[:_MOST_CAUSES]]
    rest = sum(cause.tasks for cause in causes[_MOST_CAUSES:])
    parts += [f"{rest} of other kinds"] if rest else []
    data["notes"] = list(dict.fromkeys([*data.get("notes", []), *reader.notes()]))
    rows = [cause.row(nodes) for cause in causes[:_MOST_CAUSES]]
    return said({**data, "summary": f"{total} tasks failed: {', '.join(parts)}", "causes": rows})


class _Reader:
    def __init__(self, ctx: ToolContext, jobs: Sequence[Job]) -> None:
        self.ctx = ctx
        self.jobs = jobs
        self.share = max(_LEAST_SHARE, min(_MOST_SHARE, _BUDGET // len(jobs)))
        self.judged: dict[tuple[str, str, bytes], Diagnosis] = {}
        self.unread: list[str] = []
        self.silent = False
        self.kept: Submitted | None = None

    def causes(self) -> list[Cause]:
        """The biggest first; a cause that is known before one that is not."""
        found: dict[tuple[str, str, str], Cause] = {}
        for job in self.jobs:
            diagnosis = self._of(job)
            key = (diagnosis.label, job.state, job.exit_code)
            cause = found.setdefault(key, Cause(*key))
            cause.jobs.append(job)
            cause.proof = cause.proof or _proof(diagnosis)
        for cause in found.values():
            if cause.label == UNKNOWN:
                self._look_closer(cause)
        return sorted(found.values(), key=lambda cause: (-cause.tasks, cause.label == UNKNOWN))

    def notes(self) -> list[str]:
        """What could not be read, once."""
        others = f" (and {len(self.unread) - 1} more like this)" if len(self.unread) > 1 else ""
        return [f"{self.unread[0]}{others}"] if self.unread else []

    def _look_closer(self, cause: Cause) -> None:
        """Two tasks' other files too, such as those of their ranks."""
        ends = {job.id: job for job in (cause.jobs[0], cause.jobs[-1])}
        told = [read_logs(job, self.ctx).diagnosis for job in ends.values()]
        if len({one.label for one in told}) == 1:
            cause.label, cause.proof = told[0].label, _proof(told[0])

    def _of(self, job: Job) -> Diagnosis:
        with ExitStack() as stack:
            texts = [(str(path), source) for path in self._paths(job) if (source := self._text(job, path, stack))]
            mark = hashlib.blake2b()
            for _, source in texts:
                mark.update(source.read().translate(None, _DIGITS) + b"\0")
                source.seek(0)
            key = (job.state, job.exit_code, mark.digest())
            if key not in self.judged:
                self.judged[key] = diagnose_log(texts, state=job.state, exit_code=job.exit_code)
        return self.judged[key]

    def _paths(self, job: Job) -> list[Path]:
        if not job.start_time:
            return []
        try:
            head = leader(self.ctx.backend, job) if "+" in job.id else job
            return list(dict.fromkeys(log_paths(self.ctx.backend, head, self._submission(head)).values()))
        except NoLog as unknown:
            self.unread.append(unknown.message)
            return []

    def _submission(self, job: Job) -> Submitted | None:
        """One look for the whole array: its tasks differ in their numbers only."""
        if job.stdout or not plain_number(job):
            return None
        if self.silent:
            raise NoLog("unknown_file", f"nor does it tell of job {job.id}")
        if self.kept is None:
            self.silent = True
            self.kept = submission(self.ctx.backend, job)
            self.silent = False
        return self.kept

    def _text(self, job: Job, path: Path, stack: ExitStack) -> BinaryIO | None:
        try:
            with open_log(Log(job, path), self.ctx.caller) as file:
                return stack.enter_context(both_ends(file, self.share)[0])
        except NoLog as missing:
            self.unread.append(missing.message)
        except OSError as broken:
            self.unread.append(f"{path}: {broken.strerror}")
        return None


def _proof(diagnosis: Diagnosis) -> Evidence | None:
    finding = next((one for one in diagnosis.findings if one.label == diagnosis.label != UNKNOWN), None)
    lines = [line for line in finding.evidence if line.text] if finding else []
    return next((line for line in lines if line.line), lines[0] if lines else None)
