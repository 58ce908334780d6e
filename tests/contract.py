"""One way to drive every backend in a test: submit, wait, be refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tools.slurm.backend import Backend, Operation
from tools.slurm.errors import SlurmError
from tools.slurm.models import Job


@dataclass
class Cluster:
    """A backend and how to wait on it: the fake needs none."""

    backend: Backend
    patience: float
    directory: str

    def submit(self, **fields: Any) -> str:
        fields = {"working_directory": self.directory, **fields}
        if "script" not in fields:
            fields.setdefault("command", "sleep 60")
        return self.backend.perform(Operation("submit", "", fields)).id

    def until(self, job_id: str, wanted: Callable[[Job], bool]) -> Job:
        deadline = time.monotonic() + self.patience
        while not wanted(found := self.backend.job(job_id)[0]):
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
        return found

    def eventually(self, true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + self.patience
        while not true():
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def refused(self, verb: Any, target: str = "", **fields: Any) -> SlurmError:
        with pytest.raises(SlurmError) as caught:
            self.backend.perform(Operation(verb, target, fields))
        return caught.value
