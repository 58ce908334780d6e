"""What Prometheus scrapes of the door. Labels are runbooks and fixed words, never anything that came with an alert."""

from __future__ import annotations

from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from assistant.doors.oncall.intake import Intake
from assistant.doors.oncall.shared import Shared

_SECONDS = (0.5, 1, 2, 5, 10, 30, 60, 120)


@dataclass
class Metrics:
    """All under ``sask_oncall_``, in a registry of their own."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        into = self.registry
        self.requests = Counter("sask_oncall_requests", "HTTP requests", ["endpoint", "code"], registry=into)
        self.alerts = Counter("sask_oncall_alerts", "Alerts, by what became of them", ["outcome"], registry=into)
        self.incidents = Counter("sask_oncall_incidents", "Incidents that were posted", ["runbook"], registry=into)
        self.posts = Counter("sask_oncall_posts", "Posts to the outlet", ["kind", "result"], registry=into)
        self.diagnosis = Histogram(
            "sask_oncall_diagnosis_seconds", "Time of one diagnosis", buckets=_SECONDS, registry=into
        )

    def watch(self, intake: Intake, shared: Shared) -> None:
        """Gauges that are read when they are scraped."""
        gauges = {
            "firing": ("Alerts that fire", lambda: intake.counts()["firing"]),
            "waiting": ("Incidents that were not posted yet", lambda: intake.counts()["waiting"]),
            "slurm_calls": ("Calls to Slurm so far", lambda: shared.asked),
            "slurm_calls_saved": ("Answers from the shared cache so far", lambda: shared.served),
            "slurm_wait_seconds": ("Time waited so far for the limit of calls", lambda: shared.waited),
            "slurm_reachable": ("0 where the last call found no Slurm", lambda: float(not shared.away)),
        }
        for name, (text, value) in gauges.items():
            Gauge(f"sask_oncall_{name}", text, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        return generate_latest(self.registry)
