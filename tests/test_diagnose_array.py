"""An array whose tasks failed in many ways, from recorded accounting: every cause counted, Slurm asked a few times."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from evals.bench import array_summary
from tests.fake_slurm import FakeSlurm
from tests.read_tools import Desk
from tools.efficiency import efficiency
from tools.failed_many import Cause
from tools.findings import Evidence
from tools.slurm.errors import AccountingUnavailable
from tools.slurm.models import Job, Step

TASKS = 200
OOM = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate {n} GiB\n"


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("array")
    array_summary.write_logs(folder, TASKS, lines=20)
    return folder


def test_every_cause_is_counted_even_where_tasks_ended_alike(logs: Path) -> None:
    data, _ = array_summary.summarise(logs, TASKS)

    assert Counter({row["label"]: row["tasks"] for row in data["causes"]}) == array_summary.expected(TASKS)
    first = data["causes"][0]
    assert (first["label"], first["state"], first["exit_code"]) == ("cuda_oom", "FAILED", "1:0")
    assert data["summary"].startswith(f"{TASKS * 7 // 10} tasks failed: {TASKS // 4} × FAILED 1:0 (cuda_oom)")
    example = first["example"]
    assert example["text"] in Path(example["file"]).read_text().splitlines()[example["line"] - 1]
    assert data["by_state"]["COMPLETED"] == TASKS * 3 // 10


def test_logs_that_are_gone_are_said_once(logs: Path, tmp_path: Path) -> None:
    for log in list(logs.iterdir())[: TASKS // 2]:
        (tmp_path / log.name).write_bytes(log.read_bytes())

    data, _ = array_summary.summarise(tmp_path, TASKS)

    gone = [note for note in data["notes"] if "more like this" in note]
    assert len(gone) == 1
    assert "removed, moved, or never written" in gone[0]
    assert {"time_limit", "host_oom"} <= {row["label"] for row in data["causes"]}


def test_without_accounting_the_states_still_tell(tmp_path: Path) -> None:
    fake = FakeSlurm()
    for number in range(3):
        job = fake.submit_as("alice", command="true")
        fake.finish(job, "TIMEOUT", "0:0")
        fake.jobs[f"90_{number}"] = replace(fake.jobs.pop(job), id=f"90_{number}", raw={"JobIDRaw": str(number)})
    for method in ("steps", "submitted"):
        for at in range(1, 9):
            fake.fail(method, AccountingUnavailable("slurmdbd is away"), at)

    data = Desk(tmp_path, fake, "alice", now=fake.now).data("diagnose_job", job_id="90")

    assert [(row["label"], row["tasks"]) for row in data["causes"]] == [("time_limit", 3)]
    assert any("neither slurmctld nor accounting tells" in note for note in data["notes"])


def test_a_cause_on_one_node_alone_names_it() -> None:
    here = [Job(f"7_{task}", node_list="n1") for task in range(9)]
    cause = Cause("gpu_xid_ecc", "FAILED", "1:0", here, Evidence("a.log", 3, "Xid"))

    assert cause.row(nodes=8)["nodes"] == {"n1": 9}
    assert "nodes" not in cause.row(nodes=1)
    assert cause.row(nodes=8)["ids"] == ["7_0", "7_1", "7_2", "7_3", "7_4", "7_5"]


def test_use_is_told_for_each_step_beside_what_it_was_given() -> None:
    job = Job("5", state="COMPLETED", cpus=8, mem_mb=8192, elapsed=1000, time_limit=4000)
    steps = [
        Step("5.batch", "batch", "COMPLETED", "0:0", 1000, 80.0, 8, 100.0),
        Step("5.extern", "extern", "COMPLETED", "0:0", 1000, 0.1, 8, 1.0),
        Step("5.0", "train", "COMPLETED", "0:0", 900, 3240.0, 4, 7900.0),
    ]

    data = efficiency(job, steps)

    assert data["steps"] == [
        {"step": "batch", "cpu_percent": 1, "max_rss": "100M", "mem_percent": 1},
        {"step": "0", "cpu_percent": 90, "max_rss": "7900M", "mem_percent": 96},
    ]
    assert "steps" not in efficiency(job, steps[:2])
