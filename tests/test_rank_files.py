"""Which files are a job's ranks' own, and how many and large ones are read."""

from __future__ import annotations

import io
import os
from datetime import timedelta
from pathlib import Path

import pytest

from tests.rank_bed import OOM, TIMEOUT, VALUE_ERROR, Bench, told
from tests.read_tools import Desk
from tools.ranklogs import both_ends
from tools.slurm.errors import AccountingUnavailable
from tools.slurm.models import Submitted


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


# Only the job's own files


def test_files_of_another_time_are_left_out(bench: Bench) -> None:
    bench.script("srun -o rank-%t.out python train.py\nsrun -o old-%t.out python eval.py")
    bench.write("old-0.out", OOM.format(rank=0), timedelta(days=-2))
    bench.write("rank-0.out", VALUE_ERROR)
    bench.write("rank-1.out", OOM.format(rank=1), timedelta(hours=3))
    data = bench.diagnose()

    assert data["findings"][0]["label"] == "python_exception"
    assert data["ranks"]["files"] == 1
    assert f"{bench.folder / 'old-0.out'} was not written while job {bench.id} ran" in data["notes"]


def test_names_that_only_look_alike_are_left_out(bench: Bench) -> None:
    bench.script("srun -o rank-%t.out python train.py")
    bench.write("rank-0.out", VALUE_ERROR)
    for name in ("rank-0b.out", "rank-best.out", "rank-0.out.bak", "rank-.out"):
        bench.write(name, OOM.format(rank=0))
    (bench.folder / "rank-7.out").mkdir()

    assert bench.diagnose()["ranks"]["files"] == 1


def test_a_name_that_cannot_be_known_is_said(bench: Bench) -> None:
    bench.script("OUT=logs/$(date +%F)\nsrun -o $OUT/%t.out python train.py")
    bench.write("logs/2026-11-21/0.out", OOM.format(rank=0))
    data = bench.diagnose()

    assert "ranks" not in data
    assert "output goes to $OUT/%t.out, but what $OUT is there is not known" in data["notes"]


def test_a_script_that_was_changed_since_is_not_believed(bench: Bench) -> None:
    bench.script("srun -o rank-%t.out python train.py")
    bench.write("rank-0.out", OOM.format(rank=0))
    os.utime(bench.job.command, (bench.fake.now.timestamp() + 600,) * 2)

    assert "ranks" not in bench.diagnose()


def test_the_script_that_accounting_keeps_is_read(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Submitted(bench.id, "sbatch job.sh", "#!/bin/bash\nsrun -o rank-%t.out python train.py\n")
    monkeypatch.setattr(bench.fake, "submitted", lambda _: kept)
    bench.ranks(lambda rank: f"rank-{rank}.out", OOM, TIMEOUT)
    assert bench.diagnose()["findings"][0]["label"] == "cuda_oom"

    monkeypatch.setattr(bench.fake, "submitted", lambda _: Submitted(bench.id, "srun -n 8 -o rank-%t.out ./a.out"))
    assert bench.diagnose()["findings"][0]["label"] == "cuda_oom"


def test_without_accounting_the_rest_is_told(bench: Bench) -> None:
    bench.fake.fail("submitted", AccountingUnavailable("slurmdbd is away"))
    assert bench.diagnose()["findings"][0]["label"] in ("python_exception", "unknown")


def test_what_others_may_not_read_is_a_note(bench: Bench) -> None:
    bench.script("srun -o rank-%t.out python train.py")
    for rank in range(8):
        bench.write(f"rank-{rank}.out", OOM.format(rank=rank)).chmod(0o600)
    data = Desk(bench.folder, bench.fake, "mallory", "none", bench.fake.now).data("diagnose_job", job_id=bench.id)

    assert "ranks" not in data
    assert len([note for note in data["notes"] if "mallory may not read it" in note]) <= 4
    assert any(note.endswith("more like these") for note in data["notes"])


# Many and large


def test_large_files_are_read_from_both_ends(bench: Bench) -> None:
    bench.script("srun -o rank-%t.out python train.py")
    lines = 300_000
    bench.write("rank-0.out", "".join(f"step {step:06d} loss 2.0\n" for step in range(lines)) + OOM.format(rank=0))
    bench.write("rank-1.out", OOM.format(rank=1) + "x" * (8 << 20))
    data = bench.diagnose()

    proof = {Path(line["file"]).name: line["line"] for line in data["findings"][0]["evidence"]}
    assert proof == {"rank-0.out": -1, "rank-1.out": 1}
    assert "2 large files of ranks were read from both ends: line -1 is the last" in data["notes"]


def test_a_cut_keeps_whole_lines_and_their_places() -> None:
    text = b"".join(b"line %04d\n" % number for number in range(1000))
    for share in (64, 100, 1000):
        source, cut = both_ends(io.BytesIO(text), share)
        kept = source.read().splitlines()
        assert cut and len(kept) == cut.total
        assert set(kept) <= set(text.splitlines())
        for at, line in enumerate(kept, start=1):
            place = cut.line(at)
            assert text.splitlines()[place - 1 if place > 0 else place] == line
    assert both_ends(io.BytesIO(text), len(text))[1] is None


def test_one_endless_line_is_cut_too() -> None:
    source, cut = both_ends(io.BytesIO(b"x" * 10_000), 100)
    assert cut and len(source.read()) <= 101


def test_five_hundred_ranks(bench: Bench) -> None:
    bench.script("srun -o out/%t.log python train.py")
    for rank in range(500):
        bench.write(f"out/{rank}.log", (OOM if rank == 321 else TIMEOUT).format(rank=rank))
    data = bench.diagnose()

    assert data["findings"][0]["label"] == "cuda_oom"
    assert told(data) == {"cuda_oom": 1, "nccl_timeout": 499}
