"""Waiting jobs, each kept by a limit or a rule that the real Slurm named: whose it is, what is used, by whom."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.read_tools import USER, Desk, reason, shell, states, wait
from tools.slurm.sandbox import Sandbox

# Slurm's reason → (a QoS's limit, what the job asks for, whether one like it runs before, what is to be told).
QOS = {
    "QOSMaxCpuPerJobLimit": ("MaxTRESPerJob=cpu=2", "-c4", False, "allows 2 cpu a job (MaxTRES); this job asks for 4"),
    "QOSMaxNodePerJobLimit": ("MaxTRESPerJob=node=1", "-N2", False, "allows 1 node a job (MaxTRES)"),
    "QOSMaxMemoryPerJob": ("MaxTRESPerJob=mem=1G", "--mem=2G", False, "allows 1G mem a job"),
    "QOSMaxCpuPerNode": ("MaxTRESPerNode=cpu=2", "-c4", False, "allows 2 cpu a node (MaxTRESPerNode)"),
    "QOSMaxCpuMinutesPerJobLimit": ("MaxTRESMinsPerJob=cpu=10", "-c4", False, "10 minutes of cpu a job (MaxTRESMins); "
                                    "this job asks for 240"),
    "QOSMinGRES": ("MinTRESPerJob=gres/gpu=2", "--gpus-per-node=1", False, "asks at least 2 gres/gpu a job"),
    "QOSGrpJobsLimit": ("GrpJobs=1", "-c1", True, f"allows 1 jobs (GrpJobs); 1 used ({USER} 1)"),
    "QOSGrpMemLimit": ("GrpTRES=mem=3G", "--mem=2G", True, f"allows 3G mem (GrpTRES); 2G used ({USER} 2G)"),
    "QOSGrpGRES": ("GrpTRES=gres/gpu=1", "--gpus-per-node=1", True, "1 gres/gpu (GrpTRES); 1 used"),
    "QOSMaxGRESPerUser": ("MaxTRESPerUser=gres/gpu=1", "--gpus-per-node=1", True, f"user {USER} allows 1 gres/gpu"),
    "MaxCpuPerAccount": ("MaxTRESPerAccount=cpu=4", "-c4", True, "account vision allows 4 cpu (MaxTRESPA); 4 used"),
    "QOSGrpCPURunMinutesLimit": ("GrpTRESRunMins=cpu=90", "-c1", True, "allows 90 minutes of cpu (GrpTRESRunMins)"),
}  # fmt: skip
NEVER = {code for code in QOS if "PerJob" in code or "PerNode" in code or "Min" in code[:6]}
NAMES = [f"limit{number}" for number in range(len(QOS))]


def accounting(*lines: str) -> None:
    """Several sacctmgr commands in one process. Its exit status says nothing, its complaints do."""
    done = subprocess.run(
        ["sacctmgr", "-i"], input="\n".join(lines) + "\n", capture_output=True, text=True, check=False
    )
    assert "error" not in done.stderr.lower(), done.stderr


@pytest.fixture(scope="module")
def desk(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(tmp_path_factory.mktemp("jobs"))


@pytest.fixture(scope="module")
def jobs(sandbox: Sandbox, desk: Desk) -> Iterator[dict[str, str]]:
    """One waiting job for each reason, by Slurm's name of the reason."""
    sandbox.reset()
    accounting(
        *(f"add qos {name} {limit}" for name, (limit, *_) in zip(NAMES, QOS.values(), strict=True)),
        "add qos gone",
        f"modify user {USER} where account=vision set QOS+={','.join(NAMES)},gone",
        "add account science Organization=sandbox GrpTRES=cpu=8",
        "modify account physics set parent=science",
        "add account budget Organization=sandbox GrpTRESMins=cpu=0",
        f"add user {USER} account=budget",
    )
    try:
        made = {**_by_qos(desk), **_by_rules(desk)}
        for code, job in made.items():
            wait(lambda code=code, job=job: _is(code, job), 60, f"{job} {code}, but {reason(job)}")
        yield made
    finally:
        shell("scontrol", "update", "PartitionName=debug", "AllowQos=ALL")
        sandbox.reset()
        accounting(
            f"modify user {USER} where account=vision set QOS-={','.join(NAMES)}",
            f"delete qos {','.join(NAMES)}",
            "modify account physics set parent=root",
            "delete account science,budget",
        )


def _is(code: str, job: str) -> bool:
    # slurmctld writes a sentence in this code's place
    return reason(job).startswith("Job's QOS not permitted" if code == "QOSNotAllowed" else code)


def _by_qos(desk: Desk) -> dict[str, str]:
    options = {
        code: (f"--qos={name}", "-Avision", asked)
        for name, (code, (_, asked, *_)) in zip(NAMES, QOS.items(), strict=True)
    }
    for code, (*_, before, _) in QOS.items():
        if before:
            desk.submit(*options[code])
    return {code: desk.submit(*asked) for code, asked in options.items()}


def _by_rules(desk: Desk) -> dict[str, str]:
    large = desk.submit("-Aphysics", "-c6")
    wait(lambda: states(large) == {"RUNNING"})
    shell("scontrol", "create", "reservation", "ReservationName=later", "StartTime=now+2hours", "Duration=60",
          "Nodes=gpu-node05", f"Users={USER}")  # fmt: skip
    found = {
        "AssocGrpCpuLimit": desk.submit("-Aphysics", "-c4"),
        "AssocGrpCPUMinutesLimit": desk.submit("-Abudget"),
        "Reservation": desk.submit("--reservation=later"),
        "InvalidQOS": desk.submit("-Avision", "--qos=gone", "-H"),
        "PartitionInactive": desk.submit("-pmig", "-H"),
        "QOSNotAllowed": desk.submit("-pdebug", "-t5", "-H", "--qos=ai-train"),
    }
    shell("scontrol", "update", "PartitionName=debug", "AllowQos=normal")
    accounting("delete qos gone")
    for code in ("InvalidQOS", "PartitionInactive", "QOSNotAllowed"):
        shell("scontrol", "release", found[code])
    shell("scontrol", "update", "PartitionName=mig", "State=INACTIVE")
    return found


@pytest.mark.parametrize("code", QOS)
def test_a_limit_of_a_qos_is_told_with_its_numbers(desk: Desk, jobs: dict[str, str], code: str) -> None:
    data = desk.data("diagnose_job", job_id=jobs[code])

    first = data["findings"][0]
    assert first["label"] == code
    assert QOS[code][-1] in data["summary"]
    assert first.get("never", False) == (code in NEVER)


@pytest.mark.parametrize(
    ("code", "told", "never"),
    [
        ("AssocGrpCpuLimit", f"account science allows 8 cpu (GrpTRES); 6 used ({USER} 6); this job asks for 4", False),
        ("AssocGrpCPUMinutesLimit", "account budget allows 0 minutes of cpu (GrpTRESMins); 0 used; this job", True),
        ("Reservation", "it waits for its reservation later", False),
        ("InvalidQOS", "its QoS is gone", True),
        ("PartitionInactive", "partition mig is INACTIVE", False),
        ("QOSNotAllowed", "partition debug takes only QoS normal; the job has ai-train", True),
    ],
)
def test_a_rule_is_told_with_its_numbers(desk: Desk, jobs: dict[str, str], code: str, told: str, never: bool) -> None:
    data = desk.data("diagnose_job", job_id=jobs[code])

    assert told in data["summary"]
    assert data["findings"][0]["label"] == code
    assert data["findings"][0].get("never", False) == never


def test_a_parents_limit_comes_with_accounts_that_it_does_not_hold(desk: Desk, jobs: dict[str, str]) -> None:
    data = desk.data("diagnose_job", job_id=jobs["AssocGrpCpuLimit"])

    changes = [row["change"] for row in data["what_ifs"]]
    assert {"account": "ml-research"} in changes
    assert {"account": "budget"} not in changes


def test_a_priority_comes_with_the_fair_share_of_the_accounts_above(desk: Desk, jobs: dict[str, str]) -> None:
    shares = desk.data("diagnose_job", job_id=jobs["AssocGrpCpuLimit"])["priority"]["fair_share"]

    assert [(row["account"], row.get("user")) for row in shares] == [
        ("science", None), ("physics", None), ("physics", USER),
    ]  # fmt: skip
    assert all("norm_shares" in row for row in shares)
