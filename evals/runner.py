"""``sask eval run``: every case of the sets, ``repeats`` times, each answer on disk as soon as it is there."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from assistant.errors import AssistantError, ModelError
from evals import judge
from evals.cases import Case, read_all
from evals.manifest import manifest, memory
from evals.options import Options
from evals.pool import each
from evals.records import Record, Run, read_run
from evals.store import Store
from evals.subject import Asked, subject

Decide = Callable[[Case, int], Asked]
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
    decide: Decide
    workers: int = 1
    grounded: bool = True
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
            with contextlib.closing(each(missing, self._one, self.workers)) as records:
                for record in records:
                    self.store.append(record)
                    tally.add(record)
                    tally.fresh += 1
                    self.watch(tally)
                    if tally.streak >= self.patience:
                        return tally
        return tally

    def _one(self, job: Job) -> Record:
        case, repeat = job
        try:
            return judge.record(case, repeat, self.decide(case, repeat), grounded=self.grounded)
        except ModelError as error:
            return judge.failed(case, repeat, error)


def _key(job: Job) -> tuple[str, int]:
    return job[0].id, job[1]


def run(
    options: Options, directory: Path, watch: Watch = unwatched, say: Callable[[str], None] = lambda _: None
) -> Run:
    """A whole run, or the rest of one.

    Raises ConfigError (CaseError, RunError) for bad input, a ModelError or ServingError when there is no model to
    begin with, and Unfinished when it went away.
    """
    cases = read_all(options.datasets)[: options.limit]
    tested = subject(options, say)
    store = Store(directory, manifest(options, cases, tested.model))
    jobs = [(case, repeat) for repeat in range(options.repeats) for case in cases]
    tally = Tally(len(jobs))
    try:
        tally = Runner(store, tested, options.workers, options.ground, watch).run(jobs)
    finally:
        store.close(finished=tally.done == tally.total, memory=memory(options))
    if tally.done < tally.total:
        raise Unfinished(
            f"{tally.done} of {tally.total} answered, then: {tally.last_error}",
            f"what is there is kept; ask for the rest with: sask eval resume {shlex.quote(str(directory))}",
        )
    return read_run(directory)
