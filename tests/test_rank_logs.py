"""Jobs whose ranks write a file each: all are found, and the first cause is told apart from its echoes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.rank_bed import OOM, TIMEOUT, VALUE_ERROR, Bench, told
from tests.read_tools import Desk, shell, state, wait
from tools.findings import diagnose_log
from tools.slurm.sandbox import Sandbox


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


# First causes and echoes, in every way that ranks get files of their own


LAYOUTS: dict[str, tuple[str, Callable[[int], str]]] = {
    "srun %t": ("srun --output=rank-%t.out python train.py", lambda rank: f"rank-{rank}.out"),
    "srun %2t": ("srun -l -n 8 -o logs/%x-%j-%2t.log python train.py", lambda rank: f"logs/train-1-{rank:02d}.log"),
    "srun %J": ("srun -e %J.%t.err python train.py", lambda rank: f"1.0.{rank}.err"),
    "srun %N %n": ("srun -oout/%N/%n.txt python train.py", lambda rank: f"out/gpu-node{rank:02d}/{rank}.txt"),
    "set before": (
        'RUN=runs/$SLURM_JOB_NAME\nexport LOGS="$RUN/${SLURM_JOB_ID}"\n'
        "srun --ntasks=8 \\\n    --output ${LOGS}/%t.out \\\n    python train.py --output model.bin",
        lambda rank: f"runs/train/1/{rank}.out",
    ),
    "redirected": (
        "srun bash -c 'python train.py > logs/rank_$SLURM_PROCID.log 2>&1'",
        lambda rank: f"logs/rank_{rank}.log",
    ),
    "escaped": (
        'srun bash -c "python train.py &> logs/rank_\\${SLURM_PROCID}.log"',
        lambda rank: f"logs/rank_{rank}.log",
    ),
    "host": ("srun sh -c 'python t.py 2>err.$(hostname -s).txt'", lambda rank: f"err.gpu-node{rank}.txt"),
    "after cd": ("cd $SLURM_SUBMIT_DIR/work\nsrun -o %t.out python train.py", lambda rank: f"work/{rank}.out"),
    "torchrun": (
        "srun torchrun --nproc-per-node=8 --rdzv_id $SLURM_JOB_ID --log_dir=torch_logs --redirects 3 train.py",
        lambda rank: f"torch_logs/1_x8k2j/attempt_0/{rank}/stderr.log",
    ),
    "torch.distributed.run": (
        "python -m torch.distributed.run --nproc_per_node 8 --log-dir {folder}/tl -r 3 train.py --log-dir no",
        lambda rank: f"tl/none_ab12/attempt_0/{rank}/stdout.log",
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_oom_on_one_rank_is_the_cause_of_timeouts_on_seven(bench: Bench, layout: str) -> None:
    script, name = LAYOUTS[layout]
    bench.script(script.replace("{folder}", str(bench.folder)))
    bench.ranks(name, OOM, TIMEOUT)

    data = bench.diagnose()

    first = data["findings"][0]
    assert first["label"] == "cuda_oom"
    assert first["evidence"][0] == {
        "file": str(bench.folder / name(3)), "line": 41, "text": OOM.format(rank=3).strip(),
    }  # fmt: skip
    assert told(data) == {"cuda_oom": 1, "nccl_timeout": 7}
    assert data["ranks"]["files"] == 8
    assert data["ranks"]["causes"][0]["first"] == str(bench.folder / name(3))


@pytest.mark.parametrize(
    ("sick", "label"),
    [
        (VALUE_ERROR, "python_exception"),
        ("ModuleNotFoundError: No module named 'flash_attn'\n", "python_import_error"),
        ("RuntimeError: CUDA error: an illegal memory access was encountered\n", "illegal_memory_access"),
        ("OSError: [Errno 122] Disk quota exceeded\n", "disk_quota_or_full"),
        ("loss is nan at step 41, stopping training\n", "nan_or_divergence"),
    ],
)
def test_what_one_rank_says_comes_before_what_seven_make_of_it(bench: Bench, sick: str, label: str) -> None:
    """No line has a time, and by weight alone the watchdog's lines would win."""
    bench.script("srun -o rank-%t.out python train.py")
    bench.ranks(lambda rank: f"rank-{rank}.out", sick, TIMEOUT)

    data = bench.diagnose()

    assert data["findings"][0]["label"] == label
    assert label in data["summary"]
    echo = [finding for finding in data["findings"] if finding["label"] == "nccl_timeout"]
    assert all(finding.get("echo_of") == label for finding in echo)


def test_the_jobs_own_log_may_hold_the_echoes_too(bench: Bench) -> None:
    bench.script("srun -o rank-%t.out python train.py")
    bench.ranks(lambda rank: f"rank-{rank}.out", VALUE_ERROR, "step 41\n")
    bench.write("batch.out", "".join(TIMEOUT.format(rank=rank) for rank in range(8) if rank != 3))
    data = bench.diagnose()

    assert [finding["label"] for finding in data["findings"]] == ["python_exception", "nccl_timeout"]
    assert data["findings"][1]["echo_of"] == "python_exception"
    assert "python_exception" in data["summary"]


def test_a_rank_that_fails_after_its_own_timeout_is_no_root(bench: Bench) -> None:
    bench.script("srun -o rank-%t.out python train.py")
    bench.ranks(lambda rank: f"rank-{rank}.out", TIMEOUT + VALUE_ERROR, TIMEOUT)

    assert bench.diagnose()["findings"][0]["label"] == "nccl_timeout"


CLOCK = "[rank{rank}]:[E{clock} ProcessGroupNCCL.cpp:616] [Rank {rank}] Watchdog caught collective operation timeout\n"
RESET = "Traceback (most recent call last):\nConnectionResetError: [Errno 104] Connection reset by peer\n"
PORT = (
    "RuntimeError: The server socket has failed to listen on any local network address. port: 29500, useIpv6: false, "
    "code: -98, name: EADDRINUSE, message: address already in use\n"
)


@pytest.mark.parametrize(
    ("sick", "echo", "label"),
    [
        (PORT, RESET, "port_in_use_or_rendezvous"),
        (VALUE_ERROR, RESET, "python_exception"),
        (OOM, "Aborted (core dumped)\n", "cuda_oom"),
        ("Segmentation fault (core dumped)\n", "MPI_ABORT was invoked on rank 3 in communicator\n", "segfault"),
        (TIMEOUT, "Aborted (core dumped)\n", "nccl_timeout"),
    ],
)
def test_what_the_loss_of_a_rank_looks_like_is_no_cause(bench: Bench, sick: str, echo: str, label: str) -> None:
    bench.script("srun -o rank-%t.out python train.py")
    bench.ranks(lambda rank: f"rank-{rank}.out", sick, echo)
    data = bench.diagnose()

    assert data["findings"][0]["label"] == label
    assert data["findings"][0]["evidence"][0]["file"].endswith("rank-3.out")
    assert [cause["files"] for cause in data["ranks"]["causes"] if cause.get("echo")][-1] == 7


def test_what_came_after_the_timeouts_by_the_clock_is_not_first(bench: Bench) -> None:
    bench.script("srun -o rank-%t.out python train.py")
    late = f"2026-06-26 09:00:00,123 ERROR teardown failed\n2026-06-26 09:00:01,000 {VALUE_ERROR.splitlines()[-1]}\n"
    bench.ranks(lambda rank: f"rank-{rank}.out", late, CLOCK.replace("{clock}", "0626 06:24:44.9"))
    assert bench.diagnose()["findings"][0]["label"] == "nccl_timeout"

    bench.ranks(lambda rank: f"rank-{rank}.out", late, CLOCK.replace("{clock}", "0626 09:10:00.9"))
    assert bench.diagnose()["findings"][0]["label"] == "python_exception"


def test_a_rank_that_was_killed_says_nothing_and_slurm_says_why(bench: Bench) -> None:
    bench.script("srun -o rank-%t.out python train.py")
    bench.ranks(lambda rank: f"rank-{rank}.out", "loading shard 7\n", TIMEOUT)
    bench.write("batch.out", "slurmstepd: error: Detected 1 oom_kill event in StepId=1.0.\n")

    assert bench.diagnose()["findings"][0]["label"] == "host_oom"


def test_timeouts_everywhere_are_timeouts(bench: Bench) -> None:
    bench.script("srun -o rank-%t.out python train.py")
    bench.ranks(lambda rank: f"rank-{rank}.out", TIMEOUT, TIMEOUT)
    data = bench.diagnose()

    assert data["findings"][0]["label"] == "nccl_timeout"
    assert told(data) == {"nccl_timeout": 8}


def test_the_rank_that_stopped_first_is_the_evidence(bench: Bench) -> None:
    """All ranks fail alike: the one that was written last the earliest is shown."""
    bench.script("srun -o rank-%t.out python train.py")
    bench.ranks(lambda rank: f"rank-{rank}.out", VALUE_ERROR, VALUE_ERROR)

    assert bench.diagnose()["ranks"]["causes"] == [
        {"label": "python_exception", "files": 8, "first": str(bench.folder / "rank-3.out")}
    ]


def test_slurms_own_record_still_counts(bench: Bench) -> None:
    bench.script("srun -o rank-%t.out python train.py")
    bench.fake.finish(bench.id, "OUT_OF_MEMORY", "0:125")
    bench.ranks(lambda rank: f"rank-{rank}.out", "loading shard 7\n", TIMEOUT)

    assert bench.diagnose()["findings"][0]["label"] == "host_oom"


# A real job


WORK = """#!/bin/bash
if [ $SLURM_PROCID = 2 ]; then cat oom.txt; exit 1; fi
cat timeout.txt; exit 6
"""


@pytest.fixture
def desk(clean_sandbox: Sandbox, tmp_path: Path) -> Desk:
    """Where a job's four tasks find what to say."""
    (tmp_path / "oom.txt").write_text(OOM.format(rank=2))
    (tmp_path / "timeout.txt").write_text(TIMEOUT.format(rank=0))
    (tmp_path / "work.sh").write_text(WORK)
    (tmp_path / "work.sh").chmod(0o755)
    return Desk(tmp_path)


def test_a_real_job_of_four_tasks(desk: Desk) -> None:
    run = "srun -n4 --kill-on-bad-exit=0 -o $OUT/%x-%j-%t.out ./work.sh"
    job = desk.submit("-N2", "-n4", "-Jtrain", script=f"#!/bin/bash\nOUT=ranks\nmkdir -p $OUT\n{run}\n")
    wait(lambda: state(job) == "FAILED", 40, f"{job} failed, but {state(job)}")

    data = desk.data("diagnose_job", job_id=job)

    assert told(data) == {"cuda_oom": 1, "nccl_timeout": 3}
    assert data["findings"][0]["label"] == "cuda_oom"
    evidence = data["findings"][0]["evidence"][0]
    assert evidence["file"] == str(desk.folder / "ranks" / f"train-{job}-2.out")
    assert diagnose_log(Path(evidence["file"])).label == "cuda_oom"


def test_a_real_job_of_srun_alone(desk: Desk) -> None:
    """Its line is in accounting only; what slurmctld calls its command is the program."""
    out = "--output=alone-%2t.out"
    command = ["srun", "-n4", "-N2", "--kill-on-bad-exit=0", "-Jalone", out, str(desk.folder / "work.sh")]
    ended = subprocess.run(command, cwd=desk.folder, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode != 0, ended.stderr
    job = shell("squeue", "--noheader", "--states=all", "--name=alone", "--format=%A").splitlines()[0]
    wait(lambda: state(job) == "FAILED", 20, f"{job} failed, but {state(job)}")
    wait(lambda: desk.backend.submitted(job).line, 60, "accounting with the line")

    data = desk.data("diagnose_job", job_id=job)

    assert data["findings"][0]["label"] == "cuda_oom"
    assert data["findings"][0]["evidence"][0]["file"] == str(desk.folder / "alone-02.out")
