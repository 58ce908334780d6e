"""Read tools on a cluster in memory: many jobs, sick nodes, accounting that is away."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from tests.fake_slurm import FakeSlurm
from tests.read_tools import Desk
from tools import TOOLS
from tools.base import ReadTool
from tools.slurm.errors import AccountingUnavailable, SlurmError
from tools.slurm.models import Job, JobQuery


def test_a_job_is_listed_once_though_both_know_it(tmp_path: Path) -> None:
    """Accounting also has the earlier end of a job that was requeued, and an array's remainder as it once was."""

    class Remembers(FakeSlurm):
        def history(self, query: JobQuery) -> list[Job]:
            requeued = replace(self.jobs["2"], state="NODE_FAIL", end_time=self.now)
            return [*super().history(query), requeued, Job("3_[0-9]", state="CANCELLED", end_time=self.now)]

    fake = Remembers()
    for number in range(3):
        fake.submit_as("alice", command="true", nodes=1)
        fake.start(str(number + 1))
    fake.finish("1")
    fake.jobs["3"] = replace(fake.jobs["3"], id="3_[0-9%4]", state="PENDING")

    data = Desk(tmp_path, fake, "alice", now=fake.now).data("list_jobs", since="2026-11-01")

    assert [(row["job_id"], row["state"]) for row in data["jobs"]] == [
        ("2", "RUNNING"), ("3_[0-9%4]", "PENDING"), ("1", "COMPLETED"),
    ]  # fmt: skip


def test_many_jobs_are_bounded_and_counted(tmp_path: Path) -> None:
    fake = FakeSlurm()
    for number in range(400):
        fake.submit_as("alice", command="true", job_name=f"a-job-with-a-rather-long-name-{number:04}", nodes=1)
    data = Desk(tmp_path, fake, "alice", now=fake.now).data("list_jobs")

    assert data["total"] == 400
    assert 10 <= data["shown"] == len(data["jobs"]) <= 50
    assert sum(data["by_state"].values()) == 400
    assert "narrow" in data["more"]


def test_without_accounting_the_queue_answers_with_a_note(tmp_path: Path) -> None:
    fake = FakeSlurm()
    job = fake.submit_as("alice", command="true")
    fake.finish(job, "FAILED", "1:0")
    fake.fail("history", AccountingUnavailable("slurmdbd is away"))

    data = Desk(tmp_path, fake, "alice", now=fake.now).data("list_jobs", states=["FAILED"])

    assert [row["job_id"] for row in data["jobs"]] == [job]
    assert "slurmdbd is away" in data["notes"][0]


def _ended(fake: FakeSlurm, node: str, state_: str, users: list[str]) -> None:
    for user in users:
        job = fake.submit_as(user, command="true")
        fake.start(job, node)
        fake.finish(job, state_, "1:0" if state_ == "FAILED" else "0:0")


@pytest.mark.parametrize(
    ("here", "peers", "verdict"),
    [
        ({"FAILED": ["alice"]}, {"COMPLETED": ["bob"] * 9}, "healthy"),  # one failure proves nothing
        ({"FAILED": ["alice"] * 9}, {"COMPLETED": ["bob"] * 9}, "healthy"),  # nor does one user's script
        ({"FAILED": ["alice", "bob"] * 3}, {"COMPLETED": ["bob"] * 9}, "watch"),
        ({"FAILED": ["alice", "bob"] * 3}, {"FAILED": ["bob"] * 9}, "healthy"),  # it is as bad elsewhere
        ({"NODE_FAIL": ["alice"]}, {}, "watch"),
        ({"NODE_FAIL": ["alice", "bob", "alice"]}, {}, "drain"),
    ],
)
def test_blame(tmp_path: Path, here: dict[str, list[str]], peers: dict[str, list[str]], verdict: str) -> None:
    fake = FakeSlurm()
    for node, ended in (("gpu-node03", here), ("gpu-node04", peers)):
        for state_, users in ended.items():
            _ended(fake, node, state_, users)

    data = Desk(tmp_path, fake, "alice", now=fake.now).data("diagnose_node", node="gpu-node03")

    assert data["verdict"] == verdict
    assert ("call" in data) == (verdict == "drain")


def test_a_node_without_accounting(tmp_path: Path) -> None:
    fake = FakeSlurm()
    fake.cluster_nodes["gpu-node01"] = replace(fake.cluster_nodes["gpu-node01"], state="DOWN+NOT_RESPONDING")
    fake.fail("history", AccountingUnavailable("slurmdbd is away"))

    data = Desk(tmp_path, fake, "alice", now=fake.now).data("diagnose_node", node="gpu-node01")

    assert data["verdict"] == "out_of_service"
    assert data["findings"][0]["label"] == "node_failure"
    assert "slurmdbd is away" in data["notes"][0]


def test_limits_where_there_is_no_accounting(tmp_path: Path) -> None:
    fake = FakeSlurm()
    fake.fail("associations", AccountingUnavailable("none", transient=False))
    data = Desk(tmp_path, fake, "alice", now=fake.now).data("show_limits")
    assert "no accounting" in data["notes"][0]
    assert data["partitions"]

    fake.fail("associations", AccountingUnavailable("slurmdbd is away"))
    with pytest.raises(SlurmError, match="away"):
        Desk(tmp_path, fake, "alice", now=fake.now).ask("show_limits")


@pytest.mark.parametrize("tool", [tool for tool in TOOLS if isinstance(tool, ReadTool)], ids=lambda tool: tool.name)
def test_examples_are_valid_and_canonical(tool: ReadTool) -> None:
    assert 2 <= len(tool.examples) <= 4
    for words, arguments in tool.examples:
        assert words
        assert tool.Arguments.model_validate(arguments, context={"now": datetime(2026, 11, 21)}).given() == arguments
