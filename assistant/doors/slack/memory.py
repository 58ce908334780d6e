"""What the service keeps in memory, all of it bounded: events that it has seen, conversations, locks."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from threading import Lock

from assistant.loop.conversation import Conversation

Names = Mapping[str, frozenset[str]]


@dataclass
class Seen:
    """Slack delivers an event again when it heard no answer in time; each counts once."""

    most: int = 20_000
    _keys: OrderedDict[Hashable, None] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def first(self, *keys: Hashable) -> bool:
        """Whether none of these keys was seen before; from now on all of them are."""
        with self._lock:
            new = not any(key in self._keys for key in keys)
            self._keys.update(dict.fromkeys(keys))
            while len(self._keys) > self.most:
                self._keys.popitem(last=False)
            return new


@dataclass
class Talk:
    """One thread's conversation; ``turn`` is held by the request that it is about, so that requests keep in line."""

    conversation: Conversation = field(default_factory=Conversation)
    turn: Lock = field(default_factory=Lock)


@dataclass
class Talks:
    """The conversations of the latest threads, by channel and thread."""

    most: int = 2_000
    _talks: OrderedDict[tuple[str, str], Talk] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def of(self, channel: str, thread: str) -> Talk:
        with self._lock:
            talk = self._talks.setdefault((channel, thread), Talk())
            self._talks.move_to_end((channel, thread))
            while len(self._talks) > self.most:
                self._talks.popitem(last=False)
            return talk


@dataclass
class Known:
    """The cluster's names as each user may know them, asked for at most once in ``seconds``."""

    ask: Callable[[str], Names]
    seconds: float = 60.0
    _names: dict[str, tuple[float, Names]] = field(default_factory=dict)

    def of(self, user: str) -> Names:
        until, names = self._names.get(user, (0.0, {}))
        if time.monotonic() >= until:
            names = self.ask(user)
            self._names[user] = time.monotonic() + self.seconds, names
        return names


@dataclass
class Locks:
    """One lock for each run, as good as: two buttons of one run must not be acted on side by side."""

    _locks: tuple[Lock, ...] = field(default_factory=lambda: tuple(Lock() for _ in range(64)))

    def of(self, run: str) -> Lock:
        return self._locks[hash(run) % len(self._locks)]
