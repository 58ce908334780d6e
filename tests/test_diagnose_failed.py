"""Ended jobs, made to fail for real: the cause with the line that proves it, and what would mend it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from tests.fake_slurm import FakeSlurm
from tests.read_tools import Desk, shell, state, states, wait
from tools import failed, failed_many
from tools.base import Caller, ToolContext
from tools.slurm.errors import AccountingUnavailable
from tools.slurm.sandbox import Sandbox

ENDED = {"COMPLETED", "FAILED", "CANCELLED", "OUT_OF_MEMORY"}
OUT_OF_GPU = "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"


@pytest.fixture(scope="module")
def desk(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(tmp_path_factory.mktemp("jobs"))


@pytest.fixture(scope="module")
def jobs(sandbox: Sandbox, desk: Desk) -> Iterator[dict[str, str]]:
    sandbox.reset()
    bash = "#!/bin/bash\n"
    made = {
        "gpu": desk.submit("-eerr-%j.txt", script=f"{bash}echo epoch 1\necho '{OUT_OF_GPU}' >&2\nexit 1\n"),
        "import": desk.submit(script=f"{bash}python3 -c 'import nosuchmodule'\n"),
        "memory": desk.submit(
            "--mem=100M", script=f"{bash}python3 -c 'x = bytearray(700 << 20); import time; time.sleep(60)'\n"
        ),
        "folder": desk.submit(f"-o{desk.folder}/nowhere/x.out", run="true"),
        "silent": desk.submit(run="exit 3"),
        "cancelled": desk.submit(run="sleep 300"),
        "fine": desk.submit(run="echo done"),
        "running": desk.submit(run="echo 'NCCL WARN Call to connect'; sleep 300"),
        "array": desk.submit(
            "--array=1-6",
            script=f"{bash}[ $((SLURM_ARRAY_TASK_ID % 3)) = 0 ] && exit 0\n"
            "[ $((SLURM_ARRAY_TASK_ID % 3)) = 1 ] && exec nosuchcommand\npython3 -c 'import nosuch'\n",
        ),
    }
    wait(lambda: state(made["cancelled"]) == "RUNNING")
    shell("scancel", made["cancelled"])
    for name, job in made.items():
        if name != "running":
            wait(lambda job=job: states(job) <= ENDED, 40, f"the end of {name}")
    yield made
    sandbox.reset()


@pytest.mark.parametrize(
    ("name", "label", "proof"),
    [
        ("gpu", "cuda_oom", "CUDA out of memory"),
        ("import", "python_import_error", "No module named 'nosuchmodule'"),
        ("memory", "host_oom", "exceeded memory limit"),
        ("cancelled", "cancelled_by_user", "CANCELLED AT"),
    ],
)
def test_the_cause_with_its_line(desk: Desk, jobs: dict[str, str], name: str, label: str, proof: str) -> None:
    data = desk.data("diagnose_job", job_id=jobs[name])

    first = data["findings"][0]
    assert first["label"] == label
    assert label in data["summary"]
    line = next(line for line in first["evidence"] if proof in line["text"])
    assert line["line"] > 0
    assert proof in Path(line["file"]).read_text().splitlines()[line["line"] - 1]


def test_stderr_in_its_own_file_is_read(desk: Desk, jobs: dict[str, str]) -> None:
    data = desk.data("diagnose_job", job_id=jobs["gpu"])

    assert data["findings"][0]["evidence"][0]["file"] == f"{desk.folder}/err-{jobs['gpu']}.txt"
    assert [step["exit_code"] for step in data["steps"]] == ["1:0"]


def test_memory_that_was_not_enough_is_proposed_anew(desk: Desk, jobs: dict[str, str]) -> None:
    data = desk.data("diagnose_job", job_id=jobs["memory"])

    assert data["efficiency"]["mem"] == "100M"
    assert data["efficiency"]["mem_percent"] > 100
    call = data["call"]
    assert call["tool"] == "submit_job"
    assert call["arguments"]["mem"] in ("1G", "2G")
    assert Path(call["arguments"]["script"]).read_text().startswith("#!/bin/bash")
    assert "mem_per_cpu" not in call["arguments"]


def test_an_output_that_slurm_could_not_create(desk: Desk, jobs: dict[str, str]) -> None:
    data = desk.data("diagnose_job", job_id=jobs["folder"])

    assert data["findings"][0]["label"] == "file_not_found"
    assert "does its directory exist" in data["notes"][0]


def test_not_enough_evidence_is_said(desk: Desk, jobs: dict[str, str]) -> None:
    data = desk.data("diagnose_job", job_id=jobs["silent"])

    assert data["findings"][0]["label"] == "unknown"
    assert "exit code 3:0; not enough evidence" in data["summary"]
    assert "call" not in data


def test_a_job_that_went_well(desk: Desk, jobs: dict[str, str]) -> None:
    data = desk.data("diagnose_job", job_id=jobs["fine"])

    assert data["state"] == "COMPLETED"
    assert "findings" not in data
    assert "completed in 00:00:0" in data["summary"]


def test_a_job_that_runs(desk: Desk, jobs: dict[str, str]) -> None:
    data = desk.data("diagnose_job", job_id=jobs["running"])

    assert "is RUNNING on gpu-node0" in data["summary"]
    assert "at the latest" in data["summary"]


def test_an_array_by_cause(desk: Desk, jobs: dict[str, str]) -> None:
    data = desk.data("diagnose_job", job_id=jobs["array"])

    assert data["by_state"] == {"FAILED": 4, "COMPLETED": 2}
    found = {cause["label"]: (cause["tasks"], cause["exit_code"]) for cause in data["causes"]}
    assert found == {"missing_module_or_command": (2, "127:0"), "python_import_error": (2, "1:0")}
    assert "4 tasks failed" in data["summary"]


def test_one_task_of_an_array(desk: Desk, jobs: dict[str, str]) -> None:
    data = desk.data("diagnose_job", job_id=f"{jobs['array']}_2")

    assert data["findings"][0]["label"] == "python_import_error"
    assert data["findings"][0]["evidence"][0]["file"].endswith(f"slurm-{jobs['array']}_2.out")


def test_a_thousand_tasks_ask_slurm_no_more_than_a_few(desk: Desk, jobs: dict[str, str]) -> None:
    ctx = ToolContext(desk.backend, Caller(desk.user, "administrator"), datetime.now())
    one, two = desk.backend.job(f"{jobs['array']}_1")[0], desk.backend.job(f"{jobs['array']}_2")[0]

    before = len(desk.backend.commands())
    data = failed_many.explain_many([one, two] * 500, ctx)

    assert len(desk.backend.commands()) - before < 15
    assert sorted(cause["tasks"] for cause in data["causes"]) == [500, 500]


def test_a_time_limit_is_doubled_within_the_partition(desk: Desk, jobs: dict[str, str]) -> None:
    ctx = ToolContext(desk.backend, Caller(desk.user, "administrator"), datetime.now())
    job = replace(desk.backend.job(jobs["fine"])[0], state="TIMEOUT", exit_code="0:15")

    near = failed.explain(replace(job, time_limit=3600), ctx)
    far = failed.explain(replace(job, time_limit=100_000), ctx)
    longest = failed.explain(replace(job, time_limit=172_800), ctx)

    assert near["findings"][0]["label"] == "time_limit"
    assert near["call"]["arguments"]["time_limit"] == "02:00:00"
    assert "echo done" in near["call"]["arguments"]["script"]  # what --wrap made, as accounting kept it
    assert far["call"]["arguments"]["time_limit"] == "2-00:00:00"
    assert "call" not in longest


def test_a_log_that_the_caller_may_not_read_is_a_note(desk: Desk, jobs: dict[str, str]) -> None:
    log = Path(desk.data("show_job", job_id=jobs["import"])["job"]["stdout"])
    log.chmod(0o600)
    data = Desk(desk.folder, desk.backend, "nobody", "none").data("diagnose_job", job_id=jobs["import"])

    assert data["findings"][0]["label"] == "unknown"
    assert "nobody may not read it" in data["notes"][0]


def test_a_node_that_died_under_a_job(sandbox: Sandbox, desk: Desk, jobs: dict[str, str]) -> None:
    job = desk.submit("-wgpu-node04", "--no-requeue", script="#!/bin/bash\nsleep 300\n")
    wait(lambda: state(job) == "RUNNING")
    sandbox.kill_slurmd("gpu-node04")
    try:
        wait(lambda: state(job) == "NODE_FAIL", 60)
        data = desk.data("diagnose_job", job_id=job)
        node = desk.data("diagnose_node", node="gpu-node04")
    finally:
        sandbox.start_slurmd("gpu-node04")

    assert data["findings"][0]["label"] == "node_failure"
    assert data["nodes"][0]["node"] == "gpu-node04"
    assert data["call"]["arguments"]["exclude"] == "gpu-node04"
    assert node["verdict"] == "out_of_service"
    assert node["findings"][0]["label"] == "node_failure"
    assert node["failures"]["by_state"].get("NODE_FAIL", 0) >= 1


def test_without_accounting_a_failure_is_still_explained(tmp_path: Path) -> None:
    fake = FakeSlurm()
    job = fake.submit_as("alice", command="true")
    fake.finish(job, "FAILED", "1:0")
    log = tmp_path / "out.txt"
    log.write_text(f"{OUT_OF_GPU}\n")
    raw = {"JobId": job}
    fake.jobs[job] = replace(fake.jobs[job], stdout=str(log), stderr=str(log), raw=raw)
    for method in ("steps", "submitted"):
        fake.fail(method, AccountingUnavailable("slurmdbd is away"))

    data = Desk(tmp_path, fake, "alice", now=fake.now).data("diagnose_job", job_id=job)

    assert data["findings"][0]["label"] == "cuda_oom"
    assert "slurmdbd is away" in data["notes"][0]
