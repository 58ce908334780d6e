"""A yes in Slack on a real Slurm: the job is there once, of the user who asked, wherever the service runs."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import pytest

from assistant.config import Settings
from assistant.doors.slack.acting import AsUser, context, executors
from assistant.ledger.approval import AskLater
from assistant.ledger.carry import Ledger
from assistant.ledger.execute import LedgerExecutor
from assistant.ledger.retry import Retry
from tests.real_bed import ask
from tests.slack_bed import ANN, Bed
from tools.slurm.cli import CliBackend
from tools.slurm.sandbox import Sandbox

ME = pwd.getpwuid(os.geteuid()).pw_name
USER = "daemon" if os.geteuid() == 0 else ME
"""Another user than the service's, where it may act as others."""


class RealBed(Bed):
    def executor(self, user: str) -> LedgerExecutor:
        mine = context(ME, Settings())
        base = LedgerExecutor(Ledger(mine, self.journal, AskLater(), self.policy, Retry(first_wait=0)))
        return executors(base, Settings())(user)


@pytest.fixture
def bed(clean_sandbox: Sandbox, tmp_path: Path) -> Iterator[Bed]:
    bed = RealBed(tmp_path, users=f'[users]\n{ANN} = "{USER}"\n')
    yield bed
    bed.close()


def jobs(name: str) -> list[str]:
    return ask("squeue", "--noheader", "--states=all", f"--name={name}", "--format=%i %u %Z")


def test_a_yes_submits_once_as_the_one_who_asked(bed: Bed) -> None:
    card = bed.slack.card("C1", bed.slack.mention(ANN, "submit chatted"))
    assert jobs("chatted") == []
    bed.slack.click(ANN, card, "Approve")
    bed.slack.until(lambda: "approved by" in card.words, "the card does not say it")
    [job] = jobs("chatted")
    number, user, folder = job.split()
    assert (user, folder) == (USER, pwd.getpwnam(USER).pw_dir)
    assert f"done {number}" in card.words


def test_a_lost_answer_is_looked_up_among_that_users_jobs(bed: Bed) -> None:
    backend = CliBackend(AsUser(USER))
    words = [
        "--begin=now+1day",
        "--output=/dev/null",
        "--chdir=/",
        "--comment=sask:lost",
        "--job-name=lost",
        "--wrap=true",
    ]
    AsUser(USER).read(["sbatch", *words])
    assert [job.user for job in backend.find_by_key("sask:lost")] == [USER]
