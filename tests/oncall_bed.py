"""The on-call door over real HTTP, with a cluster in memory behind it and an outlet that keeps what it is given."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from assistant.doors.listening import LOCAL
from assistant.doors.oncall.access import Access
from assistant.doors.oncall.report import Post
from assistant.doors.oncall.rules import Rules
from assistant.doors.oncall.service import worker
from assistant.doors.oncall.web import Web
from assistant.doors.oncall.work import Worker
from assistant.ledger.approval import AskLater
from assistant.ledger.carry import Ledger
from assistant.ledger.execute import LedgerExecutor
from assistant.ledger.journal import Journal
from tests.fake_slurm import FakeSlurm
from tests.shell import until
from tools.base import Caller, ToolContext

TOKEN = "0123456789abcdef" * 2
KEY = "fedcba9876543210" * 2
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@dataclass
class Kept:
    """An outlet that keeps posts with their threads."""

    name: str = "kept"
    posts: list[tuple[Post, str]] = field(default_factory=list)

    def post(self, post: Post, thread: str) -> str:
        self.posts.append((post, thread))
        return f"thread-{post.incident}"


class Fake(FakeSlurm):
    """Its user is an administrator of Slurm, as the service's own is where it may propose a drain."""

    def set(self, node: str, **what: Any) -> None:
        self.cluster_nodes[node] = replace(self.cluster_nodes[node], **what)


@dataclass
class Bed:
    folder: Path
    rules: Rules = field(default_factory=lambda: Rules(group_seconds=0, cache_seconds=600))
    fake: Fake = field(default_factory=lambda: Fake(user="oncall", level="administrator"))
    outlet: Kept = field(default_factory=Kept)
    late: float = 0

    def __post_init__(self) -> None:
        self.journal = Journal(f"sqlite:///{self.folder / 'journal.db'}")
        self.worker: Worker = worker(self.executor, self.rules, self.outlet)
        started = self.worker.clock()
        self.worker.clock = lambda: started + self.late
        self.web = Web(self.worker, Access(TOKEN, KEY), self.journal)

    def executor(self) -> LedgerExecutor:
        return LedgerExecutor(Ledger(self._context, self.journal, AskLater()))

    def _context(self) -> ToolContext:
        return ToolContext(self.fake, Caller(self.fake.user, self.fake.level), self.fake.now)

    @contextmanager
    def served(self) -> Iterator[httpx.Client]:
        """The service, with its worker's thread, until the block ends."""
        self.worker.start()
        try:
            with over_http(self.web) as client:
                yield client
        finally:
            self.worker.stop()

    def wait_for(self, count: int) -> list[Post]:
        until(lambda: len(self.outlet.posts) >= count)
        return [post for post, _ in self.outlet.posts]


@contextmanager
def over_http(web: Web) -> Iterator[httpx.Client]:
    server = uvicorn.Server(uvicorn.Config(web.application(), host=LOCAL, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://{LOCAL}:{port}", headers=BEARER, timeout=60, trust_env=False) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(timeout=30)


def alert(name: str, status: str = "firing", summary: str = "", xid: str = "", **labels: str) -> dict[str, Any]:
    """One alert, as Alertmanager has it."""
    annotations = {key: value for key, value in (("summary", summary), ("xid", xid)) if value}
    return {
        "status": status,
        "labels": {"alertname": name, "severity": "warning", **labels},
        "annotations": annotations,
        "startsAt": "2026-11-21T02:14:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus.example:9090/graph",
    }


def webhook(*alerts: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Alertmanager's webhook, version 4 (prometheus.io/docs/alerting/latest/configuration, webhook_config)."""
    head = {"version": "4", "groupKey": "{}:{}", "truncatedAlerts": 0, "status": "firing", "receiver": "sask"}
    common = {"groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://am.example:9093"}
    return {**head, **common, "alerts": list(alerts), **more}


def metric(client: httpx.Client, name: str) -> float:
    """The sum of a metric's series."""
    lines = [line for line in client.get("/metrics").text.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def posted(client: httpx.Client, *alerts: dict[str, Any]) -> dict[str, Any]:
    answer = client.post("/alertmanager", json=webhook(*alerts))
    assert answer.status_code == 202, answer.text
    return dict(json.loads(answer.text))
