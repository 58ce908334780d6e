"""``sask eval run``: every case of the sets, ``repeats`` times, each answer on disk as soon as it is there."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from assistant.errors import AssistantError, ConfigError, ModelError
from evals import judge
from evals.cases import Case, read_all
from evals.manifest import manifest, memory
from evals.options import Options
from evals.pool import each
from evals.records import Record, Run, read_run
from evals.state import StateSubject
from evals.store import Store
from evals.subject import Subject, subject
from evals.worlds import sandbox_here, slurm_version
from tools import BY_NAME

Ask = Callable[[Case, int], Record]
"""A case and a repeat to their record; whoever could not be asked is an error in it."""
Job = tuple[Case, int]
ROUNDS = 2
"""What failed for want of a server is asked once more, after all else."""


class Unfinished(AssistantError):
    """The model went away; what was answered is kept."""

    exit_code = 3


@dataclass
class Tally:
    """Running scores, for whoever watches: ``fresh`` are the answers of this sitting, ``streak`` infrastructure
    errors in a row."""

    total: int
    done: int = 0
    fresh: int = 0
    tool: int = 0
    exact: int = 0
    forbidden: int = 0
    errors: int = 0
    streak: int = 0
    last_error: str = ""

    def add(self, record: Record) -> None:
        if record.error:
            self.errors, self.streak, self.last_error = self.errors + 1, self.streak + 1, record.error.message
            return
        self.streak = 0
        self.done += 1
        if record.score:
            self.tool += record.score.tool
            self.exact += record.score.exact
            self.forbidden += record.score.forbidden


Watch = Callable[[Tally], None]


def unwatched(tally: Tally) -> None:
    """Nobody looks."""


@dataclass
class Runner:
    """``patience``: so many infrastructure errors in a row mean that the server is gone."""

    store: Store
    ask: Ask
    workers: int = 1
    watch: Watch = unwatched
    patience: int = field(init=False)

    def __post_init__(self) -> None:
        self.patience = 2 * self.workers + 3

    def run(self, jobs: list[Job]) -> Tally:
        """Asks what is missing; what is left then, the tally's ``done`` and ``total`` tell."""
        tally = Tally(len(jobs))
        for record in [self.store.done[key] for key in map(_key, jobs) if key in self.store.done]:
            tally.add(record)
        for _ in range(ROUNDS):
            tally.errors = 0
            missing = [job for job in jobs if _key(job) not in self.store.done]
            with contextlib.closing(each(missing, lambda job: self.ask(*job), self.workers)) as records:
                for record in records:
                    self.store.append(record)
                    tally.add(record)
                    tally.fresh += 1
                    self.watch(tally)
                    if tally.streak >= self.patience:
                        return tally
        return tally


@dataclass(frozen=True)
class Judge:
    """Asks what needs no cluster of the subject alone, and the rest with the cluster, where there is one."""

    subject: Subject
    on_cluster: StateSubject | None = None

    def __call__(self, case: Case, repeat: int) -> Record:
        if self.on_cluster and case.end_state:
            return self.on_cluster(case, repeat)
        try:
            return judge.record(case, repeat, self.subject(case, repeat), grounded=self.subject.options.ground)
        except ModelError as error:
            return judge.failed(case, repeat, error)


def _key(job: Job) -> tuple[str, int]:
    return job[0].id, job[1]


def run(
    options: Options, directory: Path, watch: Watch = unwatched, say: Callable[[str], None] = lambda _: None
) -> Run:
    """A whole run, or the rest of one.

    Raises ConfigError (CaseError, RunError) for bad input, a ModelError or ServingError when there is no model to
    begin with, and Unfinished when it went away. Cases with an end state need the sandbox, and are asked one by one.
    """
    cases = read_all(options.datasets)[: options.limit]
    sandbox = sandbox_here() if any(case.end_state for case in cases) else None
    if sandbox and (options.tools or 0) > len(BY_NAME):
        raise ConfigError("decoys cannot be carried out", f"give --tools {len(BY_NAME)} at most with state and talks")
    tested = subject(options, say)
    ask = Judge(tested, StateSubject(tested, sandbox) if sandbox else None)
    store = Store(directory.absolute(), manifest(options, cases, tested.model, slurm_version() if sandbox else ""))
    jobs = [(case, repeat) for repeat in range(options.repeats) for case in cases]
    tally = Tally(len(jobs))
    try:
        tally = Runner(store, ask, 1 if sandbox else options.workers, watch).run(jobs)
    finally:
        store.close(finished=tally.done == tally.total, memory=memory(options))
    if tally.done < tally.total:
        raise Unfinished(
            f"{tally.done} of {tally.total} answered, then: {tally.last_error}",
            f"what is there is kept; ask for the rest with: sask eval resume {shlex.quote(str(directory))}",
        )
    return read_run(directory)
