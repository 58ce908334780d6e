"""The service as a whole: what ``sask oncall`` starts, and how it ends."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from assistant.doors.listening import listen, read_secret, tell
from assistant.doors.oncall.rules import Rules
from assistant.errors import ConfigError

if TYPE_CHECKING:
    from assistant.doors.oncall.outlets import Outlet
    from assistant.doors.oncall.web import Web
    from assistant.doors.oncall.work import Worker
    from assistant.ledger.execute import LedgerExecutor

_NEEDED = ("starlette", "uvicorn", "prometheus_client")
_CLOSING_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Place:
    """Where it listens and what it asks of those who come."""

    host: str
    port: int
    token_file: Path
    key_file: Path | None = None


def serve(place: Place, rules: Rules) -> None:
    """Serve until Ctrl-C or SIGTERM. Raises ConfigError before anything is begun."""
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise ConfigError(f"the on-call door needs {', '.join(missing)}", "pip install 'slurm-assistant[oncall]'")
    import uvicorn

    _log()
    web = build(place, rules)
    listening = listen(place.host, place.port, "--listen")
    tell("on call", place.host, listening)
    config = uvicorn.Config(
        web.application(),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_CLOSING_SECONDS,
    )
    web.worker.start()
    try:
        uvicorn.Server(config).run(sockets=[listening])
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the on-call service has ended; `sask approvals` lists what it left open") from None
    finally:
        web.worker.stop()


def build(place: Place, rules: Rules) -> Web:
    """Everything wired; no process, no thread and no call to Slurm yet. Raises ConfigError."""
    from assistant import app
    from assistant.doors.oncall.access import Access
    from assistant.doors.oncall.web import Web
    from assistant.ledger.approval import AskLater

    key = read_secret(place.key_file, "secret") if place.key_file else ""
    access = Access(read_secret(place.token_file, "secret"), key)
    settings = app.load()
    base = app.executor(settings, AskLater())

    def fresh() -> LedgerExecutor:
        return replace(base, ledger=replace(base.ledger, context=app.context(settings=settings)))

    return Web(worker(fresh, rules, outlet(rules)), access, base.ledger.journal)


def worker(fresh: Callable[[], LedgerExecutor], rules: Rules, to: Outlet) -> Worker:
    """The intake, the diagnosis and the outlet over one shared view of Slurm; ``fresh`` makes a ledger for each
    incident, whose approver leaves every question for later."""
    from assistant.doors.oncall.diagnosis import Bench
    from assistant.doors.oncall.intake import Intake
    from assistant.doors.oncall.kept import Incidents
    from assistant.doors.oncall.metrics import Metrics
    from assistant.doors.oncall.runbooks import load
    from assistant.doors.oncall.shared import Shared
    from assistant.doors.oncall.work import Worker
    from assistant.ledger.retry import Retry
    from assistant.ledger.shelf import Shelf

    shared = Shared(rules.cache_seconds, rules.slurm_calls_per_minute)
    once = Retry(attempts=1)  # the cache keeps for some seconds that Slurm is away; asking again gives the same

    def executor() -> LedgerExecutor:
        base = fresh()
        ctx = base.ledger.context()
        minute = replace(ctx, backend=shared.backend(ctx.backend), now=ctx.now.replace(second=0, microsecond=0))
        return replace(base, ledger=replace(base.ledger, context=lambda: minute, retry=once))

    intake, metrics = Intake(rules, load(rules.runbooks)), Metrics()
    metrics.watch(intake, shared)
    incidents = Incidents(intake, Shelf(fresh().ledger.journal, "oncall"))
    made = Worker(intake, Bench(executor, shared, rules.diagnosed), to, metrics, incidents)
    shared.wait = made.stopped.wait
    return made


def outlet(rules: Rules) -> Outlet:
    from assistant.doors.oncall.outlets import Stdout, Webhook

    if rules.outlet == "stdout":
        return Stdout()
    return Webhook(rules.outlet, read_secret(rules.outlet_key_file, "secret") if rules.outlet_key_file else "")


def _log() -> None:
    """One line an event on standard error."""
    log, handler = logging.getLogger("sask.oncall"), logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s sask oncall: %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
