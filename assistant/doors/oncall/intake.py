"""What came in and what is due: the same alert counts once, alerts of one runbook are one incident, and nothing is
posted in quiet hours or above the hour's budget, but folded until it may be."""

from __future__ import annotations

import secrets
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from assistant.doors.oncall.alerts import Alert, Severity
from assistant.doors.oncall.rules import Rules
from assistant.doors.oncall.runbooks import Runbook, choose

MOST_KEPT = 500
"""Alerts of an incident that are kept whole; of the others only the count and the fingerprint."""
MOST_OPEN = 20_000
"""Fingerprints that are remembered; beyond it the oldest are forgotten."""
_HOUR = 3600.0
_RANK: dict[Severity, int] = {"critical": 0, "warning": 1, "info": 2}
Outcome = Literal["new", "folded", "repeated", "resolved", "unknown"]
Taken = Counter[Outcome]


@dataclass
class Incident:
    """Alerts that are handled together. ``firing`` are the fingerprints that have not been resolved."""

    runbook: Runbook
    opened: float
    id: str = field(default_factory=lambda: secrets.token_hex(3))
    alerts: list[Alert] = field(default_factory=list)
    firing: set[str] = field(default_factory=set)
    total: int = 0
    posted: bool = False
    thread: str = ""
    run: str = ""
    resolved: float = 0.0

    @property
    def severity(self) -> Severity:
        """The worst of its alerts."""
        return min((alert.severity for alert in self.alerts), key=lambda severity: _RANK[severity])

    def add(self, alert: Alert) -> None:
        self.total += 1
        self.firing.add(alert.fingerprint)
        if len(self.alerts) < MOST_KEPT:
            self.alerts.append(alert)


@dataclass(frozen=True, slots=True)
class Due:
    """What to do now; ``held`` says in words why other incidents wait."""

    to_open: tuple[Incident, ...] = ()
    to_close: tuple[Incident, ...] = ()
    gone: tuple[Incident, ...] = ()
    held: str = ""


@dataclass
class Intake:
    """Quick and in memory, under one lock: the service answers at once, whatever a diagnosis takes."""

    rules: Rules
    runbooks: Sequence[Runbook]
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _gathering: dict[str, Incident] = field(default_factory=dict)
    _closing: list[Incident] = field(default_factory=list)
    _known: OrderedDict[str, Incident] = field(default_factory=OrderedDict)
    _posts: deque[float] = field(default_factory=deque)
    changes: int = 0
    """Counts up whenever something may have changed."""

    def take(self, alerts: Iterable[Alert], now: float) -> Taken:
        """Count each alert as new, folded (into an incident that waits), repeated, resolved or unknown."""
        taken: Taken = Counter()
        with self._lock:
            self.changes += 1
            for alert in alerts:
                taken[self._firing(alert, now) if alert.firing else self._resolved(alert, now)] += 1
            while len(self._known) > MOST_OPEN:
                self._known.popitem(last=False)
        return taken

    def _firing(self, alert: Alert, now: float) -> Literal["new", "folded", "repeated"]:
        known = self._known.get(alert.fingerprint)
        if known and now - known.opened < self.rules.repeat_hours * _HOUR:
            known.firing.add(alert.fingerprint)
            return "repeated"
        runbook = choose(self.runbooks, alert)
        waiting = self._gathering.get(runbook.name)
        incident = waiting or self._gathering.setdefault(runbook.name, Incident(runbook, now))
        incident.add(alert)
        self._known[alert.fingerprint] = incident
        self._known.move_to_end(alert.fingerprint)
        return "folded" if waiting else "new"

    def _resolved(self, alert: Alert, now: float) -> Literal["resolved", "unknown"]:
        incident = self._known.pop(alert.fingerprint, None)
        if incident is None:
            return "unknown"
        incident.firing.discard(alert.fingerprint)
        if not incident.firing:
            incident.resolved = now
            if incident.posted:
                self._closing.append(incident)
        return "resolved"

    def due(self, now: float) -> Due:
        """What may be posted now, the worst first; it is taken out of the intake and counted against the budget."""
        with self._lock:
            gone = [one for one in self._gathering.values() if not one.firing]
            ripe = [one for one in self._gathering.values() if one.firing and self._ripe(one, now)]
            ripe.sort(key=lambda one: (_RANK[one.severity], one.opened))
            quiet = self.rules.is_quiet(now)
            opened = [one for one in ripe if (not quiet or one.severity == "critical") and self._afford(one, now)]
            for one in (*gone, *opened):
                del self._gathering[one.runbook.name]
                one.posted = one not in gone
            closed = [one for one in self._closing if not quiet or one.severity == "critical"]
            self._closing = [one for one in self._closing if one not in closed]
            self.changes += bool(gone or opened or closed)
            held = self._why_held([one for one in ripe if one not in opened], quiet)
        return Due(tuple(opened), tuple(closed), tuple(gone), held)

    def _ripe(self, incident: Incident, now: float) -> bool:
        return now - incident.opened >= self.rules.group_seconds

    def _afford(self, incident: Incident, now: float) -> bool:
        while self._posts and now - self._posts[0] >= _HOUR:
            self._posts.popleft()
        budget = self.rules.posts_per_hour
        if len(self._posts) >= (budget if incident.severity == "critical" else budget - budget // 4):
            return False
        self._posts.append(now)
        return True

    def _why_held(self, held: Sequence[Incident], quiet: bool) -> str:
        if not held:
            return ""
        names = ", ".join(f"{one.runbook.name} ({one.total})" for one in held)
        if quiet:
            return f"held back in the quiet hours {self.rules.quiet_hours}: {names}"
        return f"held back, the budget of {self.rules.posts_per_hour} posts an hour is spent: {names}"

    def live(self) -> list[Incident]:
        """Every incident that is not over."""
        with self._lock:
            firing = [one for one in self._known.values() if one.firing]
            return list({one.id: one for one in (*self._gathering.values(), *self._closing, *firing)}.values())

    def restore(self, incidents: Iterable[Incident]) -> None:
        """Take up incidents of an earlier process, each where it was."""
        with self._lock:
            for one in incidents:
                self._known.update(dict.fromkeys(one.firing, one))
                if not one.posted:
                    self._gathering.setdefault(one.runbook.name, one)
                elif one.resolved:
                    self._closing.append(one)

    def counts(self) -> dict[str, int]:
        """``{"firing": alerts, "waiting": incidents that were not posted yet}``."""
        with self._lock:
            return {"firing": len(self._known), "waiting": len(self._gathering)}
