"""The command-line backend: every read and every change of the Protocol, by Slurm's own commands."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Literal

from tools.slurm.backend import Operation, Receipt
from tools.slurm.cli import accounting, change, cluster, paging, queue, sbatch, submitted
from tools.slurm.cli.runner import Answer, Runner
from tools.slurm.errors import (
    AccountingUnavailable,
    InvalidRequest,
    OutcomeUnknown,
    SlurmError,
    UnknownJob,
    UnknownName,
)
from tools.slurm.failures import failure, known
from tools.slurm.models import (
    Association,
    Estimate,
    Job,
    JobQuery,
    Node,
    Page,
    Partition,
    Qos,
    Share,
    Step,
    Submitted,
    Usage,
)
from tools.slurm.paging import ENDED, page_of
from tools.slurm.parse.values import moment

_WOULD_START = re.compile(r"Job \d+ to start at (\S+).{0,40} using \d+ processors on (?:nodes )?(\S*)")
_KEY_REACH = timedelta(days=2)


class CliBackend:
    """Slurm through its commands. Where Slurm is comes from the runner's environment (``SLURM_CONF``).

    ``separator`` stands between the columns that are read; by default it is new in each object, so that no job's
    name can contain it.
    """

    def __init__(self, runner: Runner | None = None, *, separator: str | None = None) -> None:
        self._runner = runner or Runner()
        self._separator = separator or f"@{secrets.token_hex(4)}@"

    @cached_property
    def _configuration(self) -> dict[str, str]:
        return cluster.configuration(self._runner)

    @cached_property
    def _has_pyxis(self) -> bool:
        return "--container-image" in self._runner.read(["sbatch", "--help"])

    def version(self) -> tuple[int, int, int]:
        """slurmctld's version, for example ``(22, 5, 8)``."""
        major, minor, patch = (re.findall(r"\d+", self._configuration.get("SLURM_VERSION", "")) + ["0"] * 3)[:3]
        return int(major), int(minor), int(patch)

    def cluster(self) -> str:
        return self._configuration.get("ClusterName", "")

    def private_data(self) -> str:
        """What users may not see of each other (PrivateData of slurm.conf(5)): ``none``, or a comma list."""
        return self._configuration.get("PrivateData", "none")

    def queue(self, query: JobQuery) -> list[Job]:
        """Jobs that slurmctld knows, those not finished unless ids or states ask for more.

        Raises ``UnknownName`` for a partition or user that does not exist.
        """
        found = queue.queue(self._runner, query, self._separator)
        if not found and query.partition:
            cluster.require_partition(self._runner, query.partition)
        return found

    def page(self, query: JobQuery, most: int) -> Page:
        if query.ids:
            return page_of(self.queue(query), most)
        found = paging.page(self._runner, query, self._separator, most)
        if not found.total and query.partition:
            cluster.require_partition(self._runner, query.partition)
        return found

    def history(self, query: JobQuery) -> list[Job]:
        return queue.history(self._runner, query, self._separator)

    def job(self, job_id: str) -> list[Job]:
        """Records of slurmctld, else of accounting. Raises ``UnknownJob``."""
        word = change.job_word(job_id)
        try:
            return queue.job(self._runner, word, self._separator)
        except UnknownJob as gone:
            try:
                # Accounting's own default is midnight; with an id it looks as far back as it has to.
                found = queue.history(self._runner, JobQuery(ids=(word,)), self._separator)
            except AccountingUnavailable:
                raise gone from None
            if not found:
                raise UnknownJob(f"no job {job_id} in queue or accounting", code=gone.code) from None
            return found

    def steps(self, job_id: str) -> list[Step]:
        return queue.steps(self._runner, change.job_word(job_id), self._separator)

    def submitted(self, job_id: str) -> Submitted:
        return submitted.submitted(self._runner, change.job_word(job_id), self._separator)

    def nodes(self, names: str = "") -> list[Node]:
        return cluster.nodes(self._runner, names)

    def partitions(self) -> list[Partition]:
        return cluster.partitions(self._runner)

    def licenses(self) -> dict[str, tuple[int, int]]:
        return cluster.licenses(self._runner)

    def reservations(self) -> list[str]:
        return cluster.reservations(self._runner)

    def qos(self) -> list[Qos]:
        return accounting.qos(self._runner)

    def associations(self, user: str = "", account: str = "") -> list[Association]:
        return accounting.associations(self._runner, user, account)

    def shares(self, accounts: Sequence[str]) -> list[Share]:
        return accounting.shares(self._runner, accounts)

    def usage(self, group_by: str, start: datetime, end: datetime, user: str = "", account: str = "") -> list[Usage]:
        return accounting.usage(self._runner, group_by, start, end, user, account)

    def priority_factors(self, job_id: str) -> dict[str, float]:
        return queue.priority_factors(self._runner, change.job_word(job_id))

    def expected_start(self, job_id: str) -> Estimate:
        return queue.expected_start(self._runner, change.job_word(job_id), self._separator)

    def test_submit(self, fields: dict[str, Any]) -> Estimate:
        """``sbatch --test-only``: raises the error that a real submission would."""
        job = self._submission({**fields, "test_only": True})
        answer = self._runner.ask(job.command, job.script)
        match = _WOULD_START.search(answer.err)
        if answer.code != 0 or match is None:
            raise self._explained(failure(answer.said, job.command))
        return Estimate(moment(match[1]), match[2])

    def admin_level(self, user: str) -> Literal["none", "operator", "administrator"]:
        slurm_user = self._configuration.get("SlurmUser", "").partition("(")[0]
        return accounting.admin_level(self._runner, user, slurm_user)

    def coordinated_accounts(self, user: str) -> tuple[str, ...]:
        return accounting.coordinated_accounts(self._runner, user)

    def find_by_key(self, key: str) -> list[Job]:
        """Jobs of this login, of the last two days, whose comment has ``key`` as a word, ``sask:KEY`` included.

        slurmctld first, then accounting (which keeps comments only with AccountingStoreFlags=job_comment).
        """
        pattern = re.compile(rf"(?:^|[\s:]){re.escape(key)}(?:\s|$)")
        query = JobQuery(user=self._runner.user, states=("all",))
        found = [job for job in self.queue(query) if pattern.search(job.comment)]
        if found:
            return found
        try:
            past = self.history(replace(query, states=(), since=datetime.now() - _KEY_REACH))
        except AccountingUnavailable:
            return []
        return [job for job in past if pattern.search(job.comment)]

    def render(self, operation: Operation) -> list[list[str]]:
        return [self._command(operation)]

    def script(self, operation: Operation) -> str:
        """The batch script that a submit hands over on standard input; ``""`` where there is none."""
        return sbatch.submission(operation.fields).script if operation.verb == "submit" else ""

    def perform(self, operation: Operation) -> Receipt:
        if operation.verb == "submit":
            return self._submit(operation)
        if operation.verb == "cancel":
            self._check_state(operation)
        answer = self._runner.write(self._command(operation))
        self._check(answer)
        return Receipt(operation.target, answer.said)

    def commands(self) -> Sequence[str]:
        return self._runner.ran

    def _command(self, operation: Operation) -> list[str]:
        match operation.verb:
            case "submit":
                return sbatch.submission(operation.fields).command
            case "cancel":
                return change.cancel(operation)
            case "update_job":
                return change.update_job(operation, self.job)
            case "update_node":
                return change.update_node(operation)
            case _:
                return change.control(operation)

    def _submission(self, fields: dict[str, Any]) -> sbatch.Submission:
        wanted = [name for name in sbatch.PYXIS if fields.get(name)]
        if wanted and not self._has_pyxis:
            raise InvalidRequest(
                f"{' and '.join(wanted)} need the pyxis plugin, which this cluster's sbatch does not have",
                code="no_pyxis",
            )
        return sbatch.submission(fields)

    def _submit(self, operation: Operation) -> Receipt:
        job = self._submission(operation.fields)
        answer = self._runner.write(job.command, job.script)
        self._check(answer)
        if operation.fields.get("test_only"):
            return Receipt("", answer.said)
        match = re.fullmatch(r"(\d+)(?:;\S+)?", answer.out.strip())
        if match is None:
            raise OutcomeUnknown(
                f"sbatch succeeded but its answer names no job: {answer.out[:200]!r}",
                code="garbage",
                command=job.command,
            )
        return Receipt(match[1], answer.err.strip())

    def _check(self, answer: Answer) -> None:
        """scancel may end with 0 whatever happened, so its words count too."""
        gone = "No active jobs match ALL job filters" in answer.err
        if answer.code == 0 and not (answer.command[0] == "scancel" and (gone or known(answer.said))):
            return
        if gone:
            raise InvalidRequest(
                f"{answer.command[-1]} is no longer in the state it was in: {answer.said}",
                code="state_changed",
                command=answer.command,
            )
        raise self._explained(failure(answer.said, answer.command, write=True))

    def _check_state(self, operation: Operation) -> None:
        """What scancel itself does not check well: a signal to a job that has not started is retried without end,
        and ``--state`` with an array's task reaches the whole array.
        """
        wanted, word = operation.fields.get("state"), change.job_word(operation.target)
        signal = operation.fields.get("signal")
        if not signal and not (wanted and "_" in word):
            return
        states = {job.state for job in self.job(word)} - ENDED
        if wanted and "_" in word and states and states != {wanted}:
            raise InvalidRequest(f"{word} is {', '.join(sorted(states))}, not {wanted}", code="state_changed")
        if signal and (not states or "PENDING" in states):
            raise InvalidRequest(
                f"job {word} is not running, or not all of its tasks are: no signal can reach those",
                code="ESLURM_JOB_NOT_RUNNING",
            )

    def _explained(self, error: SlurmError) -> SlurmError:
        """An unknown name together with the names that there are, as far as Slurm answers."""
        if not isinstance(error, UnknownName):
            return error
        try:
            valid = self._names(error.code)
        except SlurmError:
            return error
        if not valid:
            return error
        return UnknownName(
            f"{error.message} (there are: {', '.join(valid)})", code=error.code, command=error.command, valid=valid
        )

    def _names(self, code: str) -> list[str]:
        match code:
            case "ESLURM_INVALID_PARTITION_NAME":
                return [partition.name for partition in self.partitions()]
            case "ESLURM_INVALID_QOS":
                return [qos.name for qos in self.qos()]
            case "ESLURM_INVALID_ACCOUNT":
                return sorted({row.account for row in self.associations(self._runner.user)})
            case "ESLURM_INVALID_NODE_NAME":
                return [node.name for node in self.nodes()]
            case "ESLURM_INVALID_LICENSES":
                return list(self.licenses())
            case "ESLURM_INVALID_FEATURE":
                return sorted({feature for node in self.nodes() for feature in node.features})
            case "ESLURM_RESERVATION_INVALID":
                return cluster.reservations(self._runner)
        return []
