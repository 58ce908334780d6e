"""Slurm as the on-call door sees it: answers are shared for some seconds, calls are counted and limited in rate, and
nothing can be changed."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from tools.slurm.backend import Backend
from tools.slurm.errors import PermissionRefused, SlurmUnreachable

_MINUTE = 60.0
_NOT_ASKED = frozenset({"render", "script"})
"""They put words together and ask nothing."""
_NEVER = frozenset({"perform"})
_CONFIGURATION = ("cluster", "version")
"""They may be answered from a file, and so say nothing about slurmctld."""
_MOST_KEPT = 1000


@dataclass(frozen=True, slots=True)
class _Kept:
    until: float
    value: Any
    error: SlurmUnreachable | None
    commands: tuple[str, ...]


@dataclass
class Shared:
    """The answers and the rate, for all diagnoses together. Slurm being away is an answer too: one that is in trouble
    is not asked again for as long."""

    seconds: float
    per_minute: int
    clock: Callable[[], float] = time.monotonic
    wait: Callable[[float], object] = time.sleep
    asked: int = 0
    served: int = 0
    waited: float = 0.0
    away: str = ""
    _kept: dict[str, _Kept] = field(default_factory=dict)
    _times: deque[float] = field(default_factory=deque)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def backend(self, inner: Backend) -> Backend:
        """``inner`` behind the cache."""
        return cast(Backend, _Reads(inner, self))

    def answer(self, key: str, inner: Backend, ask: Callable[[], Any]) -> _Kept:
        """From the cache or from Slurm. Raises SlurmError other than SlurmUnreachable, which is kept."""
        with self._lock:
            found = self._kept.get(key)
            if found and found.until > self.clock():
                self.served += 1
                return found
            self._pause()
            self.asked += 1
            before, value, error = len(inner.commands()), None, None
            try:
                value = ask()
            except SlurmUnreachable as gone:
                error = gone
            if error or not key.startswith(_CONFIGURATION):
                self.away = error.message if error else ""
            made = _Kept(self.clock() + self.seconds, value, error, tuple(inner.commands()[before:]))
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[key] = made
            return made

    def _pause(self) -> None:
        """Wait until the rate allows one more call."""
        now = self.clock()
        while self._times and now - self._times[0] >= _MINUTE:
            self._times.popleft()
        if len(self._times) >= self.per_minute:
            pause = _MINUTE - (now - self._times.popleft())
            self.waited += pause
            self.wait(pause)
        self._times.append(self.clock())

    def forget(self) -> None:
        """What is planned to be changed is planned from fresh answers."""
        with self._lock:
            self._kept.clear()


class _Reads:
    """A backend that only reads, through the cache; ``commands`` are those that gave the answers."""

    def __init__(self, inner: Backend, shared: Shared) -> None:
        self._inner = inner
        self._shared = shared
        self._ran: list[str] = []

    def commands(self) -> Sequence[str]:
        return self._ran

    def __getattr__(self, name: str) -> Any:
        inner = getattr(self._inner, name)
        if name in _NOT_ASKED:
            return inner
        if name in _NEVER:
            raise PermissionRefused("the on-call door changes nothing: a person approves, with `sask approve`")

        def ask(*args: Any, **more: Any) -> Any:
            made = self._shared.answer(f"{name}{args!r}{more!r}", self._inner, lambda: inner(*args, **more))
            self._ran += made.commands
            if made.error:
                raise SlurmUnreachable(made.error.message, code=made.error.code, command=made.error.command)
            return made.value

        return ask
