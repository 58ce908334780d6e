"""read_job_log: the file that Slurm wrote, found and read without reading it all."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.read_tools import USER, Desk, shell, state, states, wait
from tools import joblog
from tools.base import Caller
from tools.logfiles import Log, NoLog, expanded, open_log, submitted_name
from tools.slurm.models import Job, Submitted
from tools.slurm.sandbox import Sandbox

ENDED = {"COMPLETED", "FAILED", "CANCELLED"}


@pytest.fixture(scope="module")
def desk(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(tmp_path_factory.mktemp("jobs"))


@pytest.fixture(scope="module")
def jobs(sandbox: Sandbox, desk: Desk) -> Iterator[dict[str, str]]:
    """Jobs that wrote to files of all kinds of names, one that runs, one that waits.

    They are held until accounting has them whole: a job that ends before slurmdbd was told of its start is kept
    without its SubmitLine.
    """
    sandbox.reset()
    out = f"-o{desk.folder}"
    many = f"{out}/%A_%a.txt"
    made = {
        "failed": desk.submit("-H", "-Jbad", "-eerr-%j.txt", run="echo out; echo wrong >&2; exit 3"),
        "fine": desk.submit("-HJgood", f"{out}/deep-%x-%u-%5j.log", run="seq 500; echo loss=nan; echo 'loss=(nan'"),
        "named": desk.submit("-H", "-Jnode", f"{out}/%N-%j.txt", run="echo here"),
        "array": desk.submit("-H", "--array=1-4%2", "-Jmany", many, run="echo task $SLURM_ARRAY_TASK_ID"),
    }
    for job in made.values():
        wait(lambda job=job: shell("sacct", "-nX", "-o", "SubmitLine", "-j", job), 40, f"accounting knows of {job}")
        shell("scontrol", "release", job)
    for job in made.values():
        wait(lambda job=job: states(job) <= ENDED, 40, f"the end of {job}")
    made["running"] = desk.submit(run="echo alive; sleep 300")
    wait(lambda: state(made["running"]) == "RUNNING")
    made["pending"] = desk.submit("-H")
    yield made
    sandbox.reset()


def test_the_end_of_a_log(desk: Desk, jobs: dict[str, str]) -> None:
    data = desk.data("read_job_log", job_id=jobs["fine"], lines=3)

    assert data["lines"] == ["500", "loss=nan", "loss=(nan"]
    assert data["path"] == f"{desk.folder}/deep-good-{USER}-{int(jobs['fine']):05}.log"
    assert "more" in data
    assert len(desk.data("read_job_log", job_id=jobs["fine"])["lines"]) == joblog.LINES
    assert len(desk.data("read_job_log", job_id=jobs["fine"], lines=100_000)["lines"]) == joblog.MOST_LINES


def test_lines_that_match(desk: Desk, jobs: dict[str, str]) -> None:
    data = desk.data("read_job_log", job_id=jobs["fine"], pattern="^49[5-9]$|NAN", lines=2)
    lower = desk.data("read_job_log", job_id=jobs["fine"], pattern="^49[5-9]$|nan", lines=2)

    assert (data["lines"], data["total"]) == (["498", "499"], 5)  # a capital in the pattern: case counts
    assert (lower["lines"], lower["line_numbers"], lower["total"]) == (["loss=nan", "loss=(nan"], [501, 502], 7)


def test_a_pattern_that_is_no_expression_is_taken_literally(desk: Desk, jobs: dict[str, str]) -> None:
    data = desk.data("read_job_log", job_id=jobs["fine"], pattern="loss=(nan")

    assert data["lines"] == ["loss=(nan"]
    assert "letter by letter" in data["notes"][0]


def test_stderr_alone_and_together(desk: Desk, jobs: dict[str, str]) -> None:
    apart = desk.data("read_job_log", job_id=jobs["failed"], stream="stderr")
    together = desk.data("read_job_log", job_id=jobs["running"], stream="stderr")

    assert apart["lines"] == ["wrong"]
    assert together["lines"] == ["alive"]
    assert "same file as stdout" in together["notes"][0]


def test_an_array_task_and_the_array(desk: Desk, jobs: dict[str, str]) -> None:
    assert desk.data("read_job_log", job_id=f"{jobs['array']}_2")["lines"] == ["task 2"]
    whole = desk.data("read_job_log", job_id=jobs["array"])
    assert whole["job_id"].startswith(f"{jobs['array']}_")
    assert "several parts" in whole["notes"][0]


def test_a_heterogeneous_job_writes_where_its_first_component_runs(desk: Desk, jobs: dict[str, str]) -> None:
    job = desk.submit("-pdebug", ":", "-pmig", run="echo both")
    wait(lambda: states(job) == {"COMPLETED"})

    for word in (job, f"{job}+0", f"{job}+1"):
        data = desk.data("read_job_log", job_id=word)
        assert (data["lines"], data["job_id"]) == (["both"], f"{job}+0")
    assert len(desk.data("show_job", job_id=job)["tasks"]) == 2


def test_a_file_named_after_the_host(desk: Desk, jobs: dict[str, str]) -> None:
    """Slurm writes the host's own name for %N, which in a sandbox is no node's name."""
    assert desk.data("read_job_log", job_id=jobs["named"])["lines"] == ["here"]


def test_a_job_that_slurmctld_has_forgotten(desk: Desk, jobs: dict[str, str]) -> None:
    """As if only accounting knew of it: the names come from the submission."""

    class Forgetful(type(desk.backend)):  # type: ignore[misc]
        def job(self, job_id: str) -> list[Job]:
            return [replace(job, stdout="", stderr="", raw={}) for job in super().job(job_id)]

    later = Desk(desk.folder, Forgetful())
    for name in ("fine", "failed", "named"):
        now = desk.data("read_job_log", job_id=jobs[name])
        assert later.data("read_job_log", job_id=jobs[name])["path"] == now["path"]
    assert later.data("read_job_log", job_id=f"{jobs['array']}_4")["lines"] == ["task 4"]
    assert later.data("read_job_log", job_id=jobs["failed"], stream="stderr")["lines"] == ["wrong"]


@pytest.mark.parametrize(("name", "code"), [("pending", "not_started"), ("removed", "no_file"), ("null", "not_a_file")])
def test_no_log_is_a_clear_result(desk: Desk, jobs: dict[str, str], name: str, code: str) -> None:
    job = jobs.get(name)
    if job is None:
        job = desk.submit("-o/dev/null" if name == "null" else f"-o{desk.folder}/gone.txt", run="true")
        wait(lambda: state(job) == "COMPLETED")
        (desk.folder / "gone.txt").unlink(missing_ok=True)
    result = desk.ask("read_job_log", job_id=job)

    assert result.status == "failed"
    assert (result.items[0].code, result.data["lines"]) == (code, [])
    assert result.items[0].message in result.data["notes"]


def test_a_service_reads_for_others_only_what_they_may(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("secret\n")
    mine = Log(Job("1", user=USER), path)

    path.chmod(0o600)
    for caller in (Caller(USER), Caller("nobody", "operator")):
        with open_log(mine, caller) as file:
            assert file.read() == b"secret\n"
    with pytest.raises(NoLog, match="nobody may not read"):
        open_log(mine, Caller("nobody"))
    # Whoever names a file of somebody else as the output gets nothing of it.
    with pytest.raises(NoLog, match="may not read"):
        open_log(Log(Job("1", user="nobody"), path), Caller("nobody"))
    path.chmod(0o644)
    with open_log(Log(Job("1", user="daemon"), path), Caller("nobody")) as file:
        assert file.read() == b"secret\n"


def test_a_pipe_is_no_log_and_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NoLog, match="no plain file"):
        open_log(Log(Job("1", user=USER), tmp_path / "pipe"), Caller(USER))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("%x-%j.out", "train-7.out"),
        ("%A_%a.log", "5_3.log"),
        ("%4j-%3a%%", "0007-003%"),
        ("%N.%t.%n.%s", "gpu-node01.0.0.batch"),
        ("%u/%J", "alice/7"),
        ("a\\%j", "a%j"),
        ("%q", "%q"),
    ],
)
def test_patterns_of_sbatch(pattern: str, expected: str) -> None:
    job = Job("5_3", name="train", user="alice", node_list="gpu-node[01-02]")
    assert expanded(pattern, job, "7") == expected


@pytest.mark.parametrize(
    ("line", "script", "stdout", "stderr"),
    [
        ("sbatch run.sh", "", "slurm-%j.out", "slurm-%j.out"),
        ("sbatch -o a.txt run.sh -o b", "", "a.txt", "a.txt"),
        ("sbatch --output=a --error=b run.sh", "", "a", "b"),
        ("sbatch -oa -e b run.sh", "#!/bin/sh\n#SBATCH -o c\n", "a", "b"),
        ("sbatch run.sh", "#!/bin/sh\n#SBATCH --output c\n#SBATCH -e d # why\ntrue\n#SBATCH -o e\n", "c", "d"),
        ("sbatch --wrap echo -o x", "", "slurm-%j.out", "slurm-%j.out"),
        ("sbatch --wrap it's", "", "slurm-%j.out", "slurm-%j.out"),
    ],
)
def test_names_out_of_a_submission(line: str, script: str, stdout: str, stderr: str) -> None:
    kept, job = Submitted("7", line, script), Job("7")
    assert submitted_name(kept, job, "stdout") == stdout
    assert submitted_name(kept, job, "stderr") == stderr


def test_a_large_file_is_read_from_its_end(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(2 << 30)  # a hole of two gigabytes
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + b"".join(b"line %d\n" % number for number in range(1000)))
    begun = time.monotonic()
    with path.open("rb") as file:
        assert joblog.read(file, 2, None)["lines"] == ["line 998", "line 999"]
        found = joblog.read(file, 5, "line 99[89]")
    assert found["lines"] == ["line 998", "line 999"]
    assert "last 64 MiB" in found["notes"][0]
    assert "line_numbers" not in found
    assert time.monotonic() - begun < 5


def test_a_pattern_cannot_run_for_ever() -> None:
    begun = time.monotonic()
    data = joblog.read(io.BytesIO(b"a" * 5000 + b"b\n" + b"aab\n" * 10), 5, "(a+a+)+$")

    assert time.monotonic() - begun < 8
    assert data["total"] == 0


def test_lines_are_shown_as_a_terminal_would() -> None:
    raw = b"10%\r50%\r100%\n\x1b[31mred\x1b[0m \xff\n" + b"x" * 5000 + b"\n"
    lines = joblog.read(io.BytesIO(raw), 5, None)["lines"]

    assert lines[0] == "100%"
    assert lines[1].startswith("red")
    assert len(lines[2]) == 1000
    wide = joblog.read(io.BytesIO(b"".join(b"%0900d\n" % n for n in range(300))), 200, None)["lines"]
    assert sum(map(len, wide)) <= joblog.MOST_BYTES
    assert wide[-1].endswith("299")


def test_an_empty_file_and_one_long_line() -> None:
    assert joblog.read(io.BytesIO(b""), 5, None)["notes"] == ["the file is empty"]
    assert joblog.read(io.BytesIO(b"no end of line"), 5, None)["lines"] == ["no end of line"]
    data = joblog.read(io.BytesIO(b"y" * (50 << 20)), 5, None)
    assert len(data["lines"]) == 1
    assert len(data["lines"][0]) <= 1000
