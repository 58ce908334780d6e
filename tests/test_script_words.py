"""What a batch script says of the files that its commands write, read without running any of it."""

from __future__ import annotations

import pytest

from tests.read_tools import USER
from tools.scriptwords import targets
from tools.slurm.models import Job, Submitted


@pytest.mark.parametrize(
    ("line", "written"),
    [
        ("srun -n 8 ./solver -o result.dat", []),
        ("srun --exclusive ./solver -o result.dat", []),
        ("srun -N 2 -n8 --mpi=pmix -o a.%t ./solver -e x", ["a.%t"]),
        ("srun -K1 -l --error e.%t --output=o.%t prog", ["o.%t", "e.%t"]),
        ("/usr/bin/srun -oo.%t prog", ["o.%t"]),
        ("srun python train.py > train.log 2>&1", ["train.log"]),
        ("python train.py 2>&1 | tee -a logs/all.log", ["logs/all.log"]),
        ("exec > run.log 2>&1", ["run.log"]),
        ("echo done > status.txt", []),
        ("# srun -o a.%t prog", []),
        ("torchrun --log-dir logs train.py --log-dir other", ["logs/\0*\0/attempt_\0n\0/\0t\0/stderr.log",
                                                              "logs/\0*\0/attempt_\0n\0/\0t\0/stdout.log"]),
        ("srun -o 'unfinished", ["'unfinished"]),
    ],
)  # fmt: skip
def test_the_names_that_a_line_gives(line: str, written: list[str]) -> None:
    job = Job("7", user=USER, working_directory="/w")
    assert [target.written for target in targets(job, Submitted("7"), line)] == written


@pytest.mark.parametrize(
    ("script", "path", "unknown"),
    [
        ("A=x\nA=y\nsrun -o $A p", "/w/y", ""),
        ("A=x\nA=$(date)\nsrun -o $A p", "", "$A"),
        ("A=x$B\nsrun -o $A p", "", "$A"),
        ("srun -o ${A:-x} p", "", "${"),
        ("srun -o `date`.log p", "", "`"),
        ("cd $SCRATCH\nsrun -o x p", "", "$SCRATCH"),
        ("cd $SCRATCH\ncd /s\nsrun -o x p", "/s/x", ""),
        ("cd $SCRATCH\nsrun -o /abs/x p", "/abs/x", ""),
        ("cd a\ncd b\nsrun -o x p", "/w/a/b/x", ""),
        ("srun -o %x_%A_%a_%u.log p", f"/w/train_7_3_{USER}.log", ""),
        ("srun -o $SLURM_ARRAY_JOB_ID.$SLURM_ARRAY_TASK_ID p", "/w/7.3", ""),
        ("srun -o %%t p", "/w/%t", ""),
    ],
)
def test_what_a_name_stands_for(script: str, path: str, unknown: str) -> None:
    job = Job("7_3", "train", USER, working_directory="/w")
    (target,) = targets(job, Submitted("9"), f"#!/bin/bash\n{script}\n")
    assert (target.path, target.unknown) == (path, unknown)
