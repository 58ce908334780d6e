"""The door over HTTP: alerts are checked, counted and acknowledged at once; everything slow happens in the worker.

POST /alertmanager   Alertmanager's webhook, version 4      202, 400, 401, 413
POST /slurm          the plain form                         202, 400, 401, 413
GET  /healthz        the process answers
GET  /readyz         the worker runs and the journal can be used (else 503, with the reason)
GET  /metrics        for Prometheus
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from assistant.doors.oncall.access import Access
from assistant.doors.oncall.alerts import Alert, from_alertmanager, from_slurm
from assistant.doors.oncall.work import LOG, Worker
from assistant.errors import JournalError, RequestRefused
from assistant.ledger.journal import Journal
from assistant.ledger.redact import redact

MOST_BYTES = 2 * 1024 * 1024
"""Of a request: 5,000 alerts of 400 bytes."""
_MOST_DISCARDED = 8 * MOST_BYTES
"""What is too long is read to its end, and thrown away: hung up on, a sender would not see why. Up to here."""
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _Refused(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


@dataclass(frozen=True)
class Web:
    """The endpoints of one service."""

    worker: Worker
    access: Access
    journal: Journal

    def application(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/alertmanager", self.alertmanager, methods=["POST"]),
                Route("/slurm", self.slurm, methods=["POST"]),
                Route("/healthz", self.health),
                Route("/readyz", self.ready),
                Route("/metrics", self.metrics),
            ]
        )

    async def alertmanager(self, request: Request) -> Response:
        return await self._take(request, from_alertmanager)

    async def slurm(self, request: Request) -> Response:
        return await self._take(request, from_slurm)

    async def health(self, request: Request) -> Response:
        return PlainTextResponse("ok\n")

    def ready(self, request: Request) -> Response:
        """A plain function, so that it runs in a thread: the journal may be slow. Slurm being away is no reason not to
        be ready: it is what the door has to tell."""
        worker, wrong = self.worker, []
        if not worker.alive:
            wrong.append("the worker has ended: see the log, and start the service again")
        try:
            with self.journal.store.transaction():
                pass
        except JournalError as error:
            wrong.append(error.message)
        slurm = worker.bench.shared.away or "reachable, or not asked yet"
        document = {"ready": not wrong, "wrong": wrong, "slurm": redact(slurm), **worker.intake.counts()}
        return JSONResponse(document, 200 if not wrong else 503)

    def metrics(self, request: Request) -> Response:
        return Response(self.worker.metrics.text(), media_type=_METRICS_TYPE)

    async def _take(self, request: Request, read: Callable[[bytes], list[Alert]]) -> Response:
        try:
            alerts = read(await self._body(request))
        except RequestRefused as error:
            return self._refuse(request, _Refused(400, f"{error.message}"))
        except _Refused as refused:
            return self._refuse(request, refused)
        taken = self.worker.intake.take(alerts, self.worker.clock())
        self.worker.note(taken)
        self.worker.metrics.requests.labels(request.url.path, "202").inc()
        return JSONResponse({"alerts": len(alerts), **taken}, 202)

    async def _body(self, request: Request) -> bytes:
        """The body of somebody who may send one. Raises _Refused; nothing large is kept."""
        known = self.access.by_token(request.headers)
        if not known and not self.access.may_sign(request.headers, time.time()):
            raise _Refused(401, "a bearer token, or a fresh signature, is needed")
        body, size = bytearray(), 0
        try:
            async for chunk in request.stream():
                size += len(chunk)
                body += chunk if size <= MOST_BYTES else b""
                if size > _MOST_DISCARDED:
                    break
        except ClientDisconnect:
            raise _Refused(400, "the client hung up before the end of the body") from None
        if size > MOST_BYTES:
            raise _Refused(413, f"more than {MOST_BYTES} bytes; let Alertmanager send fewer (max_alerts)")
        if not known and not self.access.by_signature(request.headers, bytes(body)):
            raise _Refused(401, "the signature is not of this body")
        return bytes(body)

    def _refuse(self, request: Request, refused: _Refused) -> Response:
        client = request.client.host if request.client else "?"
        text = redact(refused.text)
        LOG.warning("%s from %s refused with %d: %s", request.url.path, client, refused.code, text)
        self.worker.metrics.requests.labels(request.url.path, str(refused.code)).inc()
        headers = {"WWW-Authenticate": "Bearer"} if refused.code == 401 else {}
        if refused.code == 413:
            headers["Connection"] = "close"
        return JSONResponse({"error": text}, refused.code, headers)
