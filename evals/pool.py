"""Many questions in flight at once: plain threads, one shared client, results in the order in which they come.

Threads, because a thread waits for its answer at no cost, while one AsyncClient of httpx 0.28 scans its whole pool
for every request (six times slower at 64 in flight). They are daemons: Ctrl-C does not wait for a slow model.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Generic, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


def each(jobs: Iterable[Job], work: Callable[[Job], Result], workers: int) -> Generator[Result, None, None]:
    """``work(job)`` for every job, at most ``workers`` at a time; closing the iterator begins no more of them.

    Raises WorkerDied where ``work`` raised; Python has then printed the thread's traceback.
    """
    todo = _Todo(jobs)
    done: queue.SimpleQueue[tuple[Result] | None] = queue.SimpleQueue()

    def serve() -> None:
        for job in todo:
            result = None
            try:
                result = (work(job),)
            finally:
                done.put(result)

    for _ in range(min(workers, todo.count)):
        threading.Thread(target=serve, daemon=True).start()
    try:
        for _ in range(todo.count):
            if (result := done.get()) is None:
                raise WorkerDied("a worker's thread ended with the error above")
            yield result[0]
    finally:
        todo.stop()


class WorkerDied(RuntimeError):
    """A fault of ours: work raises nothing that it does not expect."""


class _Todo(Generic[Job]):
    """Jobs that several threads take from, until there are none or somebody stops it."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._jobs = list(jobs)[::-1]
        self.count = len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        while True:
            try:
                job = self._jobs.pop()
            except IndexError:
                return
            yield job

    def stop(self) -> None:
        self._jobs.clear()
