"""Slurm as all threads of one long-living process see it: answers are shared for some seconds, the same question is
asked once however many want to know, and slurmctld gets no more calls a second than it is meant to bear.

What is about to be changed is judged on fresh answers (:meth:`Manners.fresh`), and a change makes everything shared
forgotten, so that whoever made it sees it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

from prometheus_client import CollectorRegistry, Counter

from tools.slurm.backend import Backend
from tools.slurm.errors import SlurmError, SlurmUnreachable

LONGEST_WAIT = 30.0
"""Seconds; whoever would have to wait longer for the limit of calls is told so instead."""
_MOST_KEPT = 500
# How long an answer may be shared, in lifetimes of the shortest kind.
LIFETIMES = {
    "queue": 1, "page": 1, "job": 1, "steps": 1, "nodes": 1, "licenses": 1, "expected_start": 2, "test_submit": 2,
    "priority_factors": 2, "history": 2, "submitted": 6, "usage": 6, "partitions": 6, "reservations": 6, "qos": 12,
    "associations": 12, "admin_level": 6, "coordinated_accounts": 6, "version": 60, "cluster": 60,
    "private_data": 60, "shares": 6,
}  # fmt: skip
_OWN = frozenset({"test_submit", "submitted"})
"""Answered for the one who asks: by that user's rights, or with that user's script."""
_NOT_ASKED = frozenset({"render", "script", "commands"})


@dataclass
class Limit:
    """A token bucket: ``per_second`` calls in the long run, ``burst`` at once. Waiters are served in their order."""

    per_second: float
    burst: int
    clock: Callable[[], float] = time.monotonic
    wait: Callable[[float], object] = time.sleep
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _level: float = field(init=False)
    _at: float = field(init=False)

    def __post_init__(self) -> None:
        self._level, self._at = float(self.burst), self.clock()

    def take(self) -> float:
        """Wait until one more call is allowed; the seconds waited. Raises ``SlurmUnreachable`` at once where that
        would be more than :data:`LONGEST_WAIT`; nothing was sent then."""
        with self._lock:
            now = self.clock()
            level = min(float(self.burst), self._level + (now - self._at) * self.per_second) - 1
            pause = max(-level / self.per_second, 0.0)
            if pause > LONGEST_WAIT:
                text = f"too many questions at once: the limit is {self.per_second:g} calls a second, try again later"
                raise SlurmUnreachable(text, code="busy")
            self._level, self._at = level, now
        if pause:
            self.wait(pause)
        return pause


@dataclass(frozen=True, slots=True)
class _Made:
    """An answer; Slurm being away is one too, so that a controller in trouble is not asked again and again."""

    until: float
    value: Any
    away: SlurmUnreachable | None
    commands: tuple[str, ...]


@dataclass
class Manners:
    """The answers and the limit, one object a process. ``seconds`` is the lifetime of what changes fastest.

    ``registry`` gets ``sask_slurm_calls_total`` (by what was asked), ``sask_slurm_answers_shared_total`` and
    ``sask_slurm_wait_seconds_total``.
    """

    seconds: float = 5.0
    limit: Limit = field(default_factory=lambda: Limit(5.0, 20))
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    clock: Callable[[], float] = time.monotonic
    _kept: dict[str, _Made] = field(default_factory=dict)
    _flights: dict[str, Future[_Made]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _changes: int = 0

    def __post_init__(self) -> None:
        into = self.registry
        self.calls = Counter("sask_slurm_calls", "Calls to Slurm", ["what"], registry=into)
        self.shared = Counter("sask_slurm_answers_shared", "Answers that cost Slurm nothing", registry=into)
        self.waited = Counter("sask_slurm_wait_seconds", "Time waited for the limit of calls", registry=into)

    def reading(self, inner: Backend, user: str) -> Backend:
        """``inner``, which asks as ``user``, behind the shared answers; not for planning a change.

        Answers are shared among users where the cluster is known to show all of them the same (no PrivateData in
        slurm.conf(5)), else among one user's questions. One object serves one thread at a time.
        """
        return cast(Backend, _Reading(inner, self, user))

    def fresh(self, inner: Backend) -> Backend:
        """``inner`` with the limit alone: every read is asked anew, and a change makes the shared answers forgotten."""
        return cast(Backend, _Fresh(inner, self))

    def moment(self, now: datetime) -> datetime:
        """``now`` rounded down to a lifetime, so that questions about a period up to now are the same for a while."""
        step = max(self.seconds, 1.0)
        return now - timedelta(seconds=now.timestamp() % step)

    def forget(self) -> None:
        """Also what is on its way: it may have been looked up before the change."""
        with self._lock:
            self._changes += 1
            self._kept.clear()
            self._flights.clear()

    def call(self, what: str, ask: Callable[[], Any]) -> Any:
        """One call within the limit, counted."""
        self.waited.inc(self.limit.take())
        self.calls.labels(what).inc()
        return ask()

    def answer(self, key: str, what: str, inner: Backend, ask: Callable[[], Any]) -> _Made:
        """From what is kept, from whoever is asking already, or from Slurm. Raises SlurmError; SlurmUnreachable is
        kept like an answer."""
        while True:
            with self._lock:
                made = self._kept.get(key)
                if made and made.until > self.clock():
                    self.shared.inc()
                    return made
                flight = self._flights.get(key)
                if flight is None:
                    mine = self._flights[key] = Future()
                    changes = self._changes
                    break
            try:
                made = flight.result()
            except CancelledError:  # who asked was interrupted
                continue
            self.shared.inc()
            return made
        return self._fly(key, mine, changes, lambda: self._made(what, inner, ask))

    def _fly(self, key: str, mine: Future[_Made], changes: int, make: Callable[[], _Made]) -> _Made:
        """Ask, and tell those who wait for the same."""
        try:
            made = make()
            with self._lock:
                if changes == self._changes:
                    self._keep(key, made)
            mine.set_result(made)
        except SlurmError as error:
            mine.set_exception(error)
            raise
        finally:
            self._landed(key, mine)
            mine.cancel()  # of no effect but where this was interrupted: those who wait ask for themselves
        return made

    def _landed(self, key: str, mine: Future[_Made]) -> None:
        with self._lock:
            if self._flights.get(key) is mine:
                del self._flights[key]

    def _keep(self, key: str, made: _Made) -> None:
        now = self.clock()
        self._kept = {name: one for name, one in self._kept.items() if one.until > now}
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        self._kept[key] = made

    def _made(self, what: str, inner: Backend, ask: Callable[[], Any]) -> _Made:
        before, value, away = len(inner.commands()), None, None
        try:
            value = self.call(what, ask)
        except SlurmUnreachable as gone:
            if gone.code == "busy":
                raise
            away = gone
        until = self.clock() + self.seconds * (1 if away else LIFETIMES[what])
        return _Made(until, value, away, tuple(inner.commands()[before:]))


class _Reading:
    """A backend that only reads; ``commands`` are those that gave the answers."""

    def __init__(self, inner: Backend, manners: Manners, user: str) -> None:
        self._inner = inner
        self._manners = manners
        self._user = user
        self._ran: list[str] = []

    def commands(self) -> Sequence[str]:
        return self._ran

    def __getattr__(self, name: str) -> Any:
        inner = getattr(self._inner, name)
        if name in _NOT_ASKED:
            return inner
        if name not in LIFETIMES:
            raise AttributeError(f"{name} is not for shared answers: a change is planned and made on fresh ones")

        def ask(*args: Any, **more: Any) -> Any:
            whose = self._user if name in _OWN or not self._alike() else ""
            made = self._made(f"{whose}:{name}{args!r}{more!r}", name, lambda: inner(*args, **more))
            if made.away:
                raise type(made.away)(made.away.message, code=made.away.code, command=made.away.command)
            # The list is everybody's: what one sorts or fills must not be another's.
            return made.value.copy() if isinstance(made.value, list | dict) else made.value

        return ask

    def _alike(self) -> bool:
        """Whether every user sees the same of the cluster; no where nobody says so."""
        asked = getattr(self._inner, "private_data", None)
        if asked is None:
            return False
        made = self._made(":private_data", "private_data", asked)
        return not made.away and made.value in ("", "none")

    def _made(self, key: str, name: str, ask: Callable[[], Any]) -> _Made:
        made = self._manners.answer(key, name, self._inner, ask)
        self._ran += made.commands
        return made


class _Fresh:
    """A backend within the limit that never answers from what is kept."""

    def __init__(self, inner: Backend, manners: Manners) -> None:
        self._inner = inner
        self._manners = manners

    def __getattr__(self, name: str) -> Any:
        inner = getattr(self._inner, name)
        if name in _NOT_ASKED or not callable(inner):
            return inner

        def ask(*args: Any, **more: Any) -> Any:
            try:
                return self._manners.call(name, lambda: inner(*args, **more))
            finally:
                if name == "perform":
                    self._manners.forget()

        return ask
