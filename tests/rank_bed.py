"""A failed job of eight ranks, and the files that such a job writes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.fake_slurm import FakeSlurm
from tests.read_tools import Desk
from tools.slurm.models import Job

OOM = "[rank{rank}]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 3 has 1.31 GiB free\n"
TIMEOUT = (
    "[rank{rank}]:[E626 06:24:44.9 ProcessGroupNCCL.cpp:616] [Rank {rank}] Watchdog caught collective operation "
    "timeout: WorkNCCL(SeqNum=8, OpType=ALLREDUCE, Timeout(ms)=600000) ran for 600020 milliseconds\n"
)
VALUE_ERROR = (
    "Traceback (most recent call last):\n"
    '  File "train.py", line 88, in <module>\n'
    "    batch = collate(samples)\n"
    "ValueError: expected 2048 tokens, got 0\n"
)
STEPS = "".join(f"step {step} loss 2.{step:04d}\n" for step in range(40))


class Bench:
    """A failed job of eight ranks, and the directory that it ran in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fake = FakeSlurm()
        self.id = self.fake.submit_as("alice", command="true", job_name="train")
        self.fake.finish(self.id, "FAILED", "1:0")
        self.write("batch.out", "srun: error: gpu-node01: task 3: Exited with exit code 1\n")
        log = str(folder / "batch.out")
        self.fake.jobs[self.id] = replace(
            self.job, working_directory=str(folder), stdout=log, stderr=log, raw={"JobId": self.id}
        )

    @property
    def job(self) -> Job:
        return self.fake.jobs[self.id]

    def script(self, text: str) -> None:
        """The batch script, as it lies where it was submitted from."""
        path = self.write("job.sh", f"#!/bin/bash\n{text}\n", timedelta(hours=-1))
        self.fake.jobs[self.id] = replace(self.job, command=str(path))

    def write(self, name: str, text: str | bytes, later: timedelta = timedelta()) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        when = (self.fake.now + later).timestamp()
        os.utime(path, (when, when))
        return path

    def ranks(self, name: Callable[[int], str], sick: str, echo: str, seconds_between: int = 1) -> None:
        """Seven ranks that say ``echo``, and rank 3, which says ``sick`` first of all."""
        for rank in range(8):
            told = (sick if rank == 3 else echo).format(rank=rank)
            self.write(name(rank), STEPS + told, timedelta(seconds=0 if rank == 3 else seconds_between * (rank + 1)))

    def diagnose(self) -> dict[str, Any]:
        data = Desk(self.folder, self.fake, "alice", now=self.fake.now).data("diagnose_job", job_id=self.id)
        assert isinstance(data, dict)
        return data


def told(data: dict[str, Any]) -> dict[str, int]:
    return {cause["label"]: cause["files"] for cause in data["ranks"]["causes"]}
