"""The worker: one thread that takes what is due, has it diagnosed and posts it, while the service goes on answering."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from assistant.doors.oncall import report
from assistant.doors.oncall.diagnosis import Bench, Diagnosis
from assistant.doors.oncall.intake import Incident, Intake, Taken
from assistant.doors.oncall.kept import Incidents
from assistant.doors.oncall.metrics import Metrics
from assistant.doors.oncall.outlets import NotPosted, Outlet
from assistant.doors.oncall.report import Post

LOG = logging.getLogger("sask.oncall")
_TICK = 0.5
_TELL_EVERY = 10.0
"""Seconds between two lines about what was folded: a flood is one line, not a thousand."""
_MOST_REMEMBERED = 500


@dataclass
class Worker:
    """``tick`` is one round; ``start`` runs rounds until ``stop``."""

    intake: Intake
    bench: Bench
    outlet: Outlet
    metrics: Metrics
    incidents: Incidents
    clock: Callable[[], float] = time.time
    stopped: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _found: OrderedDict[str, Diagnosis] = field(default_factory=OrderedDict)
    _folded: Taken = field(default_factory=Taken)
    _told: float = 0.0
    _held: str = ""

    def start(self) -> None:
        self.incidents.recall()
        self._thread = threading.Thread(target=self._rounds, name="oncall", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.stopped.set()
        if self._thread:
            self._thread.join(timeout=10)
        self.incidents.keep()

    @property
    def alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def note(self, taken: Taken) -> None:
        """Count what came in; the worker tells it, once in a while."""
        for outcome, count in taken.items():
            self.metrics.alerts.labels(outcome).inc(count)
        self._folded.update(taken)

    def tick(self) -> None:
        """Post what is due, worst first, then what has ended."""
        now = self.clock()
        self._tell(now)
        due = self.intake.due(now)
        if due.held != self._held:
            self._held = due.held
            if due.held:
                LOG.warning("%s", due.held)
        for incident in due.gone:
            LOG.info("incident %s (%s) resolved before it was posted", incident.id, incident.runbook.name)
        for incident in due.to_open:
            self._open(incident)
        for incident in due.to_close:
            self._say(report.closed(incident, self._found.pop(incident.id, None)), incident)
        self.incidents.keep()

    def _rounds(self) -> None:
        while not self.stopped.wait(_TICK):
            self.tick()

    def _tell(self, now: float) -> None:
        same = self._folded["folded"] + self._folded["repeated"]
        if same and now - self._told >= _TELL_EVERY:
            self._told, folded, self._folded = now, self._folded, Taken()
            LOG.warning(
                "%d alerts folded into incidents that wait, %d repeated, %d began one",
                folded["folded"], folded["repeated"], folded["new"],
            )  # fmt: skip

    def _open(self, incident: Incident) -> None:
        with self.metrics.diagnosis.time():
            found = self.bench.examine(incident)
        incident.run = found.run
        self._found[incident.id] = found
        while len(self._found) > _MOST_REMEMBERED:
            self._found.popitem(last=False)
        self.metrics.incidents.labels(incident.runbook.name).inc()
        LOG.info("incident %s: %s, %d alert(s), run %s", incident.id, incident.runbook.name, incident.total, found.run)
        self._say(report.opened(incident, found), incident)

    def _say(self, post: Post, incident: Incident) -> None:
        """What the outlet does not take is kept in the log, so that it is not lost."""
        try:
            incident.thread = self.outlet.post(post, incident.thread)
            self.metrics.posts.labels(post.kind, "ok").inc()
        except NotPosted as error:
            self.metrics.posts.labels(post.kind, "failed").inc()
            LOG.error(
                "incident %s could not be posted (%s); this is what it says:\n%s", incident.id, error.message, post.text
            )
