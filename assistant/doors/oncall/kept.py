"""Incidents across a restart: what the intake has in hand, written down after each round in which something changed.

A post that was made just before a crash may be made once more; none is forgotten. Quiet hours and the budget need no
memory: an hour begins anew.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from assistant.doors.oncall.alerts import Alert
from assistant.doors.oncall.intake import Incident, Intake
from assistant.doors.oncall.runbooks import Runbook, choose
from assistant.errors import JournalError
from assistant.ledger.shelf import Shelf

LOG = logging.getLogger("sask.oncall")
MOST_ALERTS = 100
"""Of one incident that are written down whole."""
DAYS = 30.0


@dataclass
class Incidents:
    """The intake's incidents on a shelf of the journal."""

    intake: Intake
    shelf: Shelf
    _at: int = 0
    _kept: dict[str, dict[str, Any]] = field(default_factory=dict)

    def recall(self) -> None:
        """Take up what an earlier process had in hand."""
        try:
            self.shelf.forget(DAYS)
            self._kept = self.shelf.all()
            found = [incident_from(kept, self.intake.runbooks) for kept in self._kept.values()]
        except (JournalError, AttributeError, TypeError, KeyError, ValueError) as error:
            LOG.error("earlier incidents are not taken up: %s", error)
            return
        self.intake.restore(found)
        if found:
            LOG.info("%d incident(s) taken up from before: %s", len(found), ", ".join(one.id for one in found))

    def keep(self) -> None:
        """Write down what has changed, drop what has ended."""
        changes = self.intake.changes
        if changes == self._at:
            return
        new = {incident.id: document(incident) for incident in self.intake.live()}
        try:
            for name in self._kept.keys() - new.keys():
                self.shelf.drop(name)
            for name in new:
                if new[name] != self._kept.get(name):
                    self.shelf.put(name, new[name])
        except JournalError as error:
            LOG.error("incidents are not kept over a restart: %s", error.message)
            return
        self._at, self._kept = changes, new


def document(incident: Incident) -> dict[str, Any]:
    """As JSON, with the runbook by its name and the fingerprints in one text: they can be twenty thousand."""
    plain = {name: getattr(incident, name) for name in ("id", "opened", "total", "posted", "thread", "run", "resolved")}
    alerts = [{**asdict(alert), "nodes": list(alert.nodes)} for alert in incident.alerts[:MOST_ALERTS]]
    return {**plain, "runbook": incident.runbook.name, "firing": "\n".join(sorted(incident.firing)), "alerts": alerts}


def incident_from(kept: dict[str, Any], runbooks: Sequence[Runbook]) -> Incident:
    """Raises TypeError, KeyError, ValueError for a document of another form."""
    alerts = [Alert(**{**alert, "nodes": tuple(alert["nodes"])}) for alert in kept["alerts"]]
    named = [runbook for runbook in runbooks if runbook.name == kept["runbook"]]
    runbook = named[0] if named else choose(runbooks, alerts[0])
    rest = {name: value for name, value in kept.items() if name not in ("runbook", "firing", "alerts")}
    return Incident(runbook=runbook, alerts=alerts, firing=set(filter(None, kept["firing"].split("\n"))), **rest)
