"""Waiting jobs, each kept by a reason that the real Slurm gave it: what keeps it, with its numbers, and what helps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.fake_slurm import FakeSlurm
from tests.read_tools import USER, Desk, reason, shell, wait
from tools.asked import fields_of
from tools.slurm.backend import Operation
from tools.slurm.errors import AccountingUnavailable, InvalidRequest, SlurmError, UnknownJob, UnknownName
from tools.slurm.sandbox import Sandbox

pytestmark = pytest.mark.usefixtures("sandbox")


@pytest.fixture(scope="module")
def desk(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(tmp_path_factory.mktemp("jobs"))


@pytest.fixture(scope="module")
def jobs(sandbox: Sandbox, desk: Desk) -> Iterator[dict[str, str]]:
    """One job for each reason, by Slurm's name of the reason."""
    sandbox.reset()
    limits = {"physics": "MaxJobs=1", "vision": "MaxWall=1:00:00"}
    for account, limit in limits.items():
        shell("sacctmgr", "-i", "modify", "user", USER, f"account={account}", "set", limit)
    try:
        made = _crowd(desk)
        for code, job in made.items():
            wait(lambda code=code, job=job: reason(job).startswith(code), what=f"{job} {code}, but {reason(job)}")
        yield made
    finally:
        for account, limit in limits.items():
            shell(
                "sacctmgr", "-i", "modify", "user", USER, f"account={account}", "set", f"{limit.partition('=')[0]}=-1"
            )
        sandbox.reset()


def _crowd(desk: Desk) -> dict[str, str]:
    submit = desk.submit
    lost = submit(run="exit 3")
    holder = submit("-N2", "--gpus-per-node=h100:8", "--exclusive", "-t4:00:00")
    submit("-Lmatlab:2", "-plong")
    submit("--qos=small", "-c16", "-plong")
    submit("--qos=interactive", "-plong")
    submit("--qos=interactive", "-plong")
    submit("--account=physics", "-plong")
    wait(lambda: not shell("squeue", "-h", "-tPD"), what="all of these running")
    found = {
        "Resources": submit("-N1", "--gpus-per-node=h100:4", "-t8:00:00", "--qos=ai-train"),
        "PartitionTimeLimit": submit("-pdebug", "-t2:00:00"),
        "PartitionNodeLimit": submit("-ph100", "-N3"),
        "Dependency": submit(f"-dafterok:{holder}"),
        "DependencyNeverSatisfied": submit(f"-dafterok:{lost}"),
        "BeginTime": submit("--begin=now+1hour"),
        "JobHeldUser": submit("-H"),
        "Licenses": submit("-Lmatlab:1", "-pdebug", "-t5"),
        "JobArrayTaskLimit": submit("--array=1-6%2", "-pdebug", "-t5"),
        "AssocMaxWallDurationPerJobLimit": submit("--account=vision", "-t5:00:00"),
        "QOSMaxJobsPerUserLimit": submit("--qos=interactive"),
        "QOSGrpCpuLimit": submit("--qos=small", "-c4"),
        "AssocMaxJobsLimit": submit("--account=physics"),
    }
    wait(lambda: reason(found["Resources"]) == "Resources", what="the first in the queue")
    found["Priority"] = submit("-N2", "--gpus-per-node=h100:8", "-t2:00:00")
    shell("scontrol", "update", "NodeName=gpu-node05", "State=DRAIN", "Reason=Xid 79")
    found["ReqNodeNotAvail"] = submit("-pmig", "-wgpu-node05")
    held = submit("-pmig")
    shell("scontrol", "hold", held)
    # Who holds it decides: root is an administrator.
    return {**found, reason(held): held}


SAID = {
    "Resources": ("1 node with 4 h100", "2 such in gpu", "0 are free", "2 busy"),
    "Priority": ("comes first", "own priority is"),
    "PartitionTimeLimit": ("asks for 02:00:00", "debug allows 00:30:00"),
    "PartitionNodeLimit": ("asks for 3 nodes", "h100 allows 2"),
    "Dependency": ("afterok:",),
    "DependencyNeverSatisfied": ("can no longer come true",),
    "BeginTime": ("not to start before",),
    "JobHeldUser": (f"{USER} or an operator holds it",),
    "Licenses": ("1 of licence matlab", "2 of 2 are used"),
    "JobArrayTaskLimit": ("2 tasks of the array run", "allows 2 at once"),
    "AssocMaxWallDurationPerJobLimit": ("account vision allows 01:00:00", "asks for 05:00:00"),
    "QOSMaxJobsPerUserLimit": ("allows 2 jobs", f"2 used ({USER} 2)"),
    "QOSGrpCpuLimit": ("allows 16 cpu", "16 used", "asks for 4"),
    "AssocMaxJobsLimit": ("account physics allows 1 jobs", f"1 used ({USER} 1)"),
    "ReqNodeNotAvail": ("1 out of service",),
}
NEVER = {"PartitionTimeLimit", "PartitionNodeLimit", "DependencyNeverSatisfied", "JobHeldUser",
         "AssocMaxWallDurationPerJobLimit"}  # fmt: skip


@pytest.mark.parametrize("code", SAID)
def test_each_reason_is_told_with_the_numbers_of_this_job(desk: Desk, jobs: dict[str, str], code: str) -> None:
    data = desk.data("diagnose_job", job_id=jobs[code])

    first = data["findings"][0]
    assert data["state"] == "PENDING"
    assert first["label"] == code
    for part in SAID[code]:
        assert part in data["summary"]
    assert first["who"] in ("user", "admin", "coordinator", "nobody")
    assert first["fix"]
    assert first.get("never", False) == (code in NEVER)
    assert ("cannot start as it is" in data["summary"]) == (code in NEVER)


def test_resources_name_the_holder_and_the_schedulers_own_time(desk: Desk, jobs: dict[str, str]) -> None:
    data = desk.data("diagnose_job", job_id=jobs["Resources"])

    assert any("on gpu-node[03-04], 16 h100 until" in line for line in data["findings"][0]["evidence"])
    assert data["expected_start"]["source"] == "squeue --start"
    start = datetime.fromisoformat(data["expected_start"]["start_time"])
    assert 3 < (start - datetime.now()).total_seconds() / 3600 <= 4
    assert data["priority"]["factors"]["qos"] == 10000
    # Nothing frees an h100 sooner, so no wish that keeps the type may claim to.
    assert all(row["change"].get("gpu_type") == "a100" for row in data.get("what_ifs", []))


def test_what_ifs_were_tried_and_are_sooner_and_come_with_the_call(desk: Desk, jobs: dict[str, str]) -> None:
    result = desk.ask("diagnose_job", job_id=jobs["PartitionTimeLimit"])

    tried = [command for command in result.commands if command.startswith("sbatch") and "--test-only" in command]
    rows = {str(row["change"]): row for row in result.data["what_ifs"]}
    assert 3 <= len(tried) <= 13
    assert rows["{'time_limit': '00:30:00'}"]["call"] == {
        "tool": "resize_job", "arguments": {"job_id": jobs["PartitionTimeLimit"], "time_limit": "00:30:00"},
    }  # fmt: skip
    assert "{'partition': 'long'}" in rows
    starts = [row["start_time"] for row in result.data["what_ifs"]]
    assert starts == sorted(starts)


def test_no_what_if_breaks_another_limit(desk: Desk, jobs: dict[str, str]) -> None:
    data = desk.data("diagnose_job", job_id=jobs["QOSGrpCpuLimit"])

    changes = [row["change"] for row in data["what_ifs"]]
    assert {"qos": "ai-train"} in changes
    assert {"qos": "interactive"} not in changes  # two jobs a user, and two run


def test_a_priority_tells_who_is_ahead(desk: Desk, jobs: dict[str, str]) -> None:
    data = desk.data("diagnose_job", job_id=jobs["Priority"])

    assert data["priority"]["ahead"] >= 1
    assert any(jobs["Resources"] in line for line in data["findings"][0]["evidence"])


def test_a_drained_node_is_named_with_its_reason(desk: Desk, jobs: dict[str, str]) -> None:
    data = desk.data("diagnose_job", job_id=jobs["ReqNodeNotAvail"])

    assert any("gpu-node05" in line and "Xid 79" in line for line in data["findings"][0]["evidence"])
    assert "cannot start" not in data["summary"]


def test_a_hold_comes_with_the_release(desk: Desk, jobs: dict[str, str]) -> None:
    data = desk.data("diagnose_job", job_id=jobs["JobHeldUser"])

    released = {"tool": "control_jobs", "arguments": {"action": "release", "job_ids": [jobs["JobHeldUser"]]}}
    assert data["findings"][0]["call"] == released
    assert "what_ifs" not in data


def test_a_dependency_tells_how_the_other_job_is(desk: Desk, jobs: dict[str, str]) -> None:
    waiting = desk.data("diagnose_job", job_id=jobs["Dependency"])["findings"][0]
    lost = desk.data("diagnose_job", job_id=jobs["DependencyNeverSatisfied"])["findings"][0]

    assert any("is RUNNING until" in line for line in waiting["evidence"])
    assert any("is FAILED" in line for line in lost["evidence"])
    assert lost["call"]["arguments"]["dependency"] == ""


def test_a_job_that_no_node_can_hold_is_said_to_be_so(desk: Desk, jobs: dict[str, str]) -> None:
    shell("scontrol", "update", "PartitionName=mig", "State=DOWN")
    try:
        job = desk.submit("-pmig,h100", "-N2", "--mem=900G", "-H")
        shell("scontrol", "update", "PartitionName=mig", "State=UP")
        shell("scontrol", "update", f"JobId={job}", "Features=ib", "MinMemoryNode=2000000")
        data = desk.data("diagnose_job", job_id=job)
    finally:
        shell("scontrol", "update", "PartitionName=mig", "State=UP")

    impossible = next(found for found in data["findings"] if found["label"] == "BadConstraints")
    assert "partition mig,h100 has 0 such of 3" in impossible["summary"]
    assert impossible["never"]


def test_a_partition_that_is_down(desk: Desk, jobs: dict[str, str]) -> None:
    shell("scontrol", "update", "PartitionName=h100", "State=DOWN")
    try:
        job = desk.submit("-ph100")
        wait(lambda: reason(job) == "PartitionDown")
        found = desk.data("diagnose_job", job_id=job)["findings"][0]
    finally:
        shell("scontrol", "update", "PartitionName=h100", "State=UP")

    assert found["label"] == "PartitionDown"
    assert "h100 is DOWN" in found["summary"]


def test_the_start_of_a_pending_job(desk: Desk, jobs: dict[str, str]) -> None:
    data = desk.data("estimate_start", job_id=jobs["Resources"])

    assert data["source"] == "squeue --start"
    assert data["nodes"].startswith("gpu-node0")
    hours = int(data["wait"].split(":")[0])
    assert 3 <= hours <= 4


def test_the_start_of_a_job_that_has_none(desk: Desk, jobs: dict[str, str]) -> None:
    data = desk.data("estimate_start", job_id=jobs["JobHeldUser"])

    assert "start_time" not in data
    assert "JobHeldUser" in data["notes"][0]
    assert "JobArrayTaskLimit" in str(desk.data("estimate_start", job_id=jobs["JobArrayTaskLimit"]))


def test_the_start_of_a_running_job_is_when_it_began(desk: Desk, jobs: dict[str, str]) -> None:
    running = shell("squeue", "-h", "-tR", "--format=%A").split()[0]

    data = desk.data("estimate_start", job_id=running)
    assert data["state"] == "RUNNING"
    assert data["start_time"] < datetime.now().isoformat()
    with pytest.raises(InvalidRequest, match="does not wait"):
        desk.ask("estimate_start", job_id=running, nodes=2)


def test_the_start_of_resources(desk: Desk, jobs: dict[str, str]) -> None:
    busy = desk.data("estimate_start", nodes=2, gpus_per_node=8, gpu_type="h100", time_limit="1:00:00")
    free = desk.data("estimate_start", gpus=1, gpu_type="a100", partition="long", qos="ai-train")

    assert int(busy["wait"].split(":")[0]) >= 3
    assert busy["nodes"] == "gpu-node[03-04]"
    assert free["wait"] == "00:00:00"
    assert free["source"] == "sbatch --test-only"


def test_the_start_of_a_job_that_asked_otherwise(desk: Desk, jobs: dict[str, str]) -> None:
    data = desk.data("estimate_start", job_id=jobs["Resources"], gpu_type="a100", partition="long")

    assert data["job_id"] == jobs["Resources"]
    assert data["asked"]["gpus_per_node"] == 4
    assert data["nodes"] in ("gpu-node01", "gpu-node02")


@pytest.mark.parametrize(
    ("arguments", "valid"),
    [
        ({"partition": "nope", "nodes": 1}, "gpu"),
        ({"qos": "nope"}, "ai-train"),
        ({"account": "nope"}, "physics"),
        ({"gpu_type": "v100"}, "h100"),
    ],
)
def test_unknown_names_of_an_estimate(desk: Desk, arguments: dict[str, Any], valid: str) -> None:
    with pytest.raises(UnknownName) as caught:
        desk.ask("estimate_start", **arguments)
    assert valid in caught.value.valid


def test_impossible_resources_are_slurms_own_refusal(desk: Desk) -> None:
    with pytest.raises(SlurmError, match="configuration"):
        desk.ask("estimate_start", nodes=9, gpus_per_node=8)


@pytest.mark.parametrize("tool", ["diagnose_job", "estimate_start", "show_job", "read_job_log"])
def test_a_job_that_nobody_knows(desk: Desk, tool: str) -> None:
    with pytest.raises(UnknownJob, match="999999"):
        desk.ask(tool, job_id="999999")


def test_without_accounting_the_rest_is_still_told(tmp_path: Path) -> None:
    fake = FakeSlurm()
    job = fake.submit_as("alice", command="true", nodes=1, gpus_per_node=8, gpu_type="h100", time_limit="9-00:00:00")
    fake.jobs[job] = replace(fake.jobs[job], state="PENDING", reason="PartitionTimeLimit")
    away = AccountingUnavailable("slurmdbd is away")
    for method in ("qos", "associations"):
        for _ in range(20):
            fake.fail(method, away)

    data = Desk(tmp_path, fake, "alice", now=fake.now).data("diagnose_job", job_id=job)

    assert data["findings"]
    assert any("slurmdbd is away" in note for note in data["notes"])


@pytest.mark.parametrize(
    "options",
    [
        ["-N2", "--gpus-per-node=h100:2", "--cpus-per-gpu=4", "--mem-per-gpu=20G", "--ntasks-per-node=2"],
        ["-N2", "--switches=1", "--gpus=a100:16"],
        ["-N1", "--gpus=a100:3", "-c4", "--mem=64G", "-t1-12:00:00", "-Cib|mig", "--exclusive"],
        ["-n8", "-c2", "--mem=0", "-xgpu-node01", "-Lansys:2", "--account=vision", "--qos=ai-train"],
        ["-pmig", "--gpus=a100_3g.20gb:1", "-wgpu-node05", "--mem-per-cpu=1500M"],
    ],
)
def test_what_is_tried_is_what_the_job_asked(desk: Desk, sandbox: Sandbox, options: list[str]) -> None:
    """A job made anew from the first one's record has the same record."""
    first = desk.backend.job(desk.submit("-H", *options, run="true"))[0]
    anew = desk.backend.perform(Operation("submit", "", {**fields_of(first), "command": "true"}))
    second = desk.backend.job(anew.id)[0]

    own = {"JobId", "JobName", "Priority", "EligibleTime", "AccrueTime", "StdOut", "StdErr", "WorkDir", "Command"}
    later = {"SubmitTime", "LastSchedEval", "RunTime", "Scheduler", "StartTime", "EndTime", "JobState", "Reason"}
    for job in (first.id, second.id):
        shell("scancel", job)
    told = first.raw.keys() | second.raw.keys()
    differing = {key for key in told - own - later if first.raw.get(key) != second.raw.get(key)}
    guessed = set() if "-" in first.raw["NumNodes"] else {"NumNodes"}  # Slurm's own guess, 1 or 2 from time to time
    assert differing <= guessed | {"ExitCode", "BatchHost", "NodeList", "SchedNodeList"}
