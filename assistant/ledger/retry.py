"""Retry, by an allow-list: reads on what is transient, writes only where Slurm has said that it did nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

from tools.slurm.errors import AccountingUnavailable, OutcomeUnknown, SlurmError

Answer = TypeVar("Answer")


class Retry(BaseModel):
    """Waits in seconds. ``first_wait=0`` takes the waiting out of tests."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    attempts: int = Field(default=4, ge=1)
    deadline: float = Field(default=25.0, gt=0)
    first_wait: float = Field(default=0.3, ge=0)
    longest_wait: float = Field(default=5.0, ge=0)
    settle: float = Field(default=150.0, ge=0)
    """How long a command whose process died may still reach Slurm: sbatch retries by itself for two minutes."""

    def read(self, ask: Callable[[], Answer]) -> Answer:
        """Ask until it answers or fails for good; raises the last SlurmError."""
        return self._run(ask, _is_transient)

    def write(self, change: Callable[[], Answer]) -> Answer:
        """The same for a change, and only while nothing can have happened."""
        return self._run(change, _did_nothing)

    def _run(self, ask: Callable[[], Answer], on: Callable[[Exception], bool]) -> Answer:
        import stamina

        # stamina warns of each retry; without a handler logging prints that into the middle of an answer
        logging.getLogger("stamina").addHandler(logging.NullHandler())
        for attempt in stamina.retry_context(
            on=on,
            attempts=self.attempts,
            timeout=self.deadline,
            wait_initial=self.first_wait,
            wait_max=self.longest_wait if self.first_wait else 0,
            wait_jitter=self.first_wait,
        ):
            with attempt:
                return ask()
        raise AssertionError("stamina raises the last error itself")


def _is_transient(error: Exception) -> bool:
    return isinstance(error, SlurmError) and error.transient


def _did_nothing(error: Exception) -> bool:
    return _is_transient(error) and not isinstance(error, OutcomeUnknown | AccountingUnavailable)
