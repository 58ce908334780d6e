"""The service as a whole: what ``sask oncall`` starts, and how it ends."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from assistant.doors.oncall.rules import Rules
from assistant.errors import ConfigError, RequestRefused

if TYPE_CHECKING:
    from assistant.doors.oncall.outlets import Outlet
    from assistant.doors.oncall.web import Web
    from assistant.doors.oncall.work import Worker
    from assistant.ledger.execute import LedgerExecutor

LOCAL = "127.0.0.1"
_NEEDED = ("starlette", "uvicorn", "prometheus_client")
_CLOSING_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Place:
    """Where it listens and what it asks of those who come."""

    host: str
    port: int
    token_file: Path
    key_file: Path | None = None


def address(text: str) -> tuple[str, int]:
    """``(host, port)`` of ``HOST:PORT``, ``:PORT`` or ``PORT``; this machine alone unless a host is named."""
    host, _, port = text.strip().rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise RequestRefused(f"--listen {text!r} has no port", f"write --listen {LOCAL}:9096, or --listen 9096")
    return host.strip("[]") or LOCAL, int(port)


def serve(place: Place, rules: Rules) -> None:
    """Serve until Ctrl-C or SIGTERM. Raises ConfigError before anything is begun."""
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise ConfigError(f"the on-call door needs {', '.join(missing)}", "pip install 'slurm-assistant[oncall]'")
    import uvicorn

    _log()
    web = build(place, rules)
    listening = _listening(place)
    shown = f"[{place.host}]" if ":" in place.host else place.host
    print(f"sask: on call at http://{shown}:{listening.getsockname()[1]}", file=sys.stderr, flush=True)
    if not _is_local(place.host):
        print("sask: it speaks plain HTTP, the token with it: put TLS in front", file=sys.stderr, flush=True)
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
    from assistant.doors.oncall.access import Access, read_secret
    from assistant.doors.oncall.web import Web
    from assistant.ledger.approval import AskLater

    access = Access(read_secret(place.token_file), read_secret(place.key_file) if place.key_file else "")
    base = app.executor(app.load(), AskLater())

    def fresh() -> LedgerExecutor:
        return replace(base, ledger=replace(base.ledger, context=app.context()))

    return Web(worker(fresh, rules, outlet(rules)), access, base.ledger.journal)


def worker(fresh: Callable[[], LedgerExecutor], rules: Rules, to: Outlet) -> Worker:
    """The intake, the diagnosis and the outlet over one shared view of Slurm; ``fresh`` makes a ledger for each
    incident, whose approver leaves every question for later."""
    from assistant.doors.oncall.diagnosis import Bench
    from assistant.doors.oncall.intake import Intake
    from assistant.doors.oncall.metrics import Metrics
    from assistant.doors.oncall.runbooks import load
    from assistant.doors.oncall.shared import Shared
    from assistant.doors.oncall.work import Worker
    from assistant.ledger.retry import Retry

    shared = Shared(rules.cache_seconds, rules.slurm_calls_per_minute)
    once = Retry(attempts=1)  # the cache keeps for some seconds that Slurm is away; asking again gives the same

    def executor() -> LedgerExecutor:
        base = fresh()
        ctx = base.ledger.context()
        minute = replace(ctx, backend=shared.backend(ctx.backend), now=ctx.now.replace(second=0, microsecond=0))
        return replace(base, ledger=replace(base.ledger, context=lambda: minute, retry=once))

    intake, metrics = Intake(rules, load(rules.runbooks)), Metrics()
    metrics.watch(intake, shared)
    made = Worker(intake, Bench(executor, shared, rules.diagnosed), to, metrics)
    shared.wait = made.stopped.wait
    return made


def outlet(rules: Rules) -> Outlet:
    from assistant.doors.oncall.access import read_secret
    from assistant.doors.oncall.outlets import Stdout, Webhook

    if rules.outlet == "stdout":
        return Stdout()
    return Webhook(rules.outlet, read_secret(rules.outlet_key_file) if rules.outlet_key_file else "")


def _log() -> None:
    """One line an event on standard error."""
    log, handler = logging.getLogger("sask.oncall"), logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s sask oncall: %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


def _listening(place: Place) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
        return socket.create_server((place.host, place.port), family=family)
    except OSError as error:
        raise ConfigError(
            f"nothing can listen at {place.host}:{place.port}: {error.strerror}", "choose another --listen"
        ) from None


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
