"""What the service keeps in memory, all of it bounded: events that it has seen, conversations, locks. Conversations
are in the journal's database too, so that a thread goes on where it was after a restart."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import asdict, dataclass, field
from threading import Lock

from assistant.errors import JournalError
from assistant.ledger.shelf import Shelf
from assistant.loop.conversation import Conversation

KEPT_DAYS = 30.0
"""How long a thread is remembered that nobody writes in."""
log = logging.getLogger(__name__)
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
    """The conversations of the latest threads, by channel and thread; older ones are taken from the shelf."""

    shelf: Shelf
    most: int = 2_000
    _talks: OrderedDict[tuple[str, str], Talk] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def of(self, channel: str, thread: str) -> Talk:
        with self._lock:
            if (talk := self._talks.get((channel, thread))) is None:
                talk = self._talks[channel, thread] = Talk(self._recalled(channel, thread))
            self._talks.move_to_end((channel, thread))
            while len(self._talks) > self.most:
                self._talks.popitem(last=False)
            return talk

    def keep(self, channel: str, thread: str) -> None:
        """Write down what the thread is about; where that fails, it is remembered until the service ends."""
        try:
            self.shelf.put(f"{channel} {thread}", asdict(self.of(channel, thread).conversation))
        except JournalError as error:
            log.warning("a conversation is not kept: %s", error.message)

    def _recalled(self, channel: str, thread: str) -> Conversation:
        try:
            return Conversation(**(self.shelf.get(f"{channel} {thread}") or {}))
        except (JournalError, TypeError) as error:
            log.warning("a conversation begins anew: %s", error)
            return Conversation()


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
