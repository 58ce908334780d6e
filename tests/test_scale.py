"""Very many jobs and nodes: answers stay small and say what they leave out, memory stays flat, one page is cheap."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

import pytest

from evals.bench.bench_memory import answers
from evals.bench.bench_scale import MOST_TOKENS
from evals.bench.generated import Generated
from tests.recording import SEPARATOR
from tools.slurm.cli import CliBackend
from tools.slurm.cli.runner import Answer, Runner
from tools.slurm.errors import SlurmUnreachable
from tools.slurm.models import JobQuery
from tools.slurm.paging import page_of

JOBS, NODES = 4000, 400


def test_answers_are_small_and_say_what_is_left_out() -> None:
    found = {name: json.loads(text) for name, text in answers(JOBS, NODES).items()}
    for name, data in found.items():
        assert len(json.dumps(data)) / 2.8 <= MOST_TOKENS, f"{name}: JSON with many numbers has few characters a token"
    listed = found["list_jobs {}"]
    assert listed["total"] == JOBS and 15 <= listed["shown"] == len(listed["jobs"]) < JOBS
    assert "narrow it" in listed["more"] and listed["by_state"] == {"PENDING": JOBS * 4 // 5, "RUNNING": JOBS // 5}
    status = found["cluster_status {}"]
    assert status["nodes"]["total"] == NODES and status["jobs"] == listed["by_state"]
    for part in ("free_nodes", "unavailable"):
        assert status[f"{part}_total"] > status[f"{part}_shown"] == len(status[part]) and status[f"{part}_more"]
    usage = next(data for name, data in found.items() if name.startswith("usage_report"))
    assert usage["total"] == 300 > usage["shown"] and usage["more"] and usage["sum"]["jobs"] == JOBS


def test_memory_does_not_grow_with_the_questions() -> None:
    words = [sys.executable, "-m", "evals.bench.bench_memory", str(JOBS), str(NODES), "5"]
    found = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    assert found["peak_mib"] < 150 and found["growth_mib"] < 25


@pytest.mark.parametrize("most", [0, 1, 30, 900, 5000])
def test_a_page_is_the_beginning_of_the_whole_list(most: int) -> None:
    slurm = CliBackend(Generated(1000, 10))
    page, whole = slurm.page(JobQuery(), most), page_of(slurm.queue(JobQuery()), most)
    assert [job.id for job in page.jobs] == [job.id for job in whole.jobs]
    assert (page.total, page.by_state) == (whole.total, whole.by_state)
    for job, same in zip(page.jobs[:50], whole.jobs, strict=False):
        assert (job.state, job.gpus, job.node_list, job.start_time) == (
            same.state, same.gpus, same.node_list, same.start_time,
        )  # fmt: skip


class Said(Runner):
    """squeue with these jobs: (id, state, priority, name)."""

    def __init__(self, jobs: Sequence[tuple[str, str, str, str]], cut: int = 0) -> None:
        super().__init__({})
        self.jobs = jobs
        self.cut = cut

    def _run(self, command: Sequence[str], stdin: str, environment: dict[str, str], limit: float) -> Answer:
        columns = [part.split(":") for part in command[-1].removeprefix("--Format=").split(",")]
        out = ""
        for job in self.jobs:
            known = dict(zip(("JobArrayID", "State", "PriorityLong", "Name"), job, strict=True))
            out += "".join(f"{known.get(name, 'N/A')}{end}" for name, end in columns) + "\n"
        return Answer(tuple(command), 0, out[: len(out) - self.cut], "")


def test_a_page_counts_tasks_and_is_in_order() -> None:
    jobs = [
        ("9", "PENDING", "5", "late"), ("8", "PENDING", "5", "early"), ("7_[0-9%2]", "PENDING", "9", "array"),
        ("7_11", "PENDING", "9", "b"), ("7_2", "PENDING", "9", "a"), ("6+1", "RUNNING", "1", "part"),
        ("6+0", "RUNNING", "1", "first"),
    ]  # fmt: skip
    page = CliBackend(Said(jobs)).page(JobQuery(), 6)
    assert [job.id for job in page.jobs] == ["6+0", "6+1", "7_[0-9%2]", "7_2", "7_11", "8"]
    assert page.by_state == {"PENDING": 14, "RUNNING": 2} and page.total == 7


@pytest.mark.parametrize("name", ["two\nlines", "#=#", "x\n9#", "@#", "7#=\n"])
def test_no_name_can_write_a_row_of_its_own(name: str) -> None:
    page = CliBackend(Said([("5", "RUNNING", "1", name), ("6", "RUNNING", "1", "plain")])).page(JobQuery(), 9)
    assert [job.name for job in page.jobs] == [name, "plain"]


def test_a_page_that_is_cut_off_is_no_answer() -> None:
    with pytest.raises(SlurmUnreachable, match="cut off"):
        CliBackend(Said([("5", "RUNNING", "1", "a")], cut=3), separator=SEPARATOR).page(JobQuery(), 9)
