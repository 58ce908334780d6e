"""One request to slurmrestd: a deadline, a limit on the answer's size, and an error that names the endpoint."""

from __future__ import annotations

import json
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlencode, urlsplit

import httpx

from tools.slurm.cli.runner import shell_text
from tools.slurm.errors import (
    AccountingUnavailable,
    InvalidRequest,
    OutcomeUnknown,
    SlurmError,
    SlurmUnreachable,
)
from tools.slurm.rest import versions
from tools.slurm.rest.credentials import Credentials
from tools.slurm.rest.said import Complaint, complaints, refusal

READ_SECONDS = 30.0
WRITE_SECONDS = 60.0
LARGEST = 128 * 1024 * 1024
_CONNECT_SECONDS = 10.0
_GATEWAY = frozenset({502, 503, 504})
INSTEAD = "use Slurm's own commands where they are installed (`--backend cli`, SASK_BACKEND=cli)"
Part = Literal["slurm", "slurmdb"]
Method = Literal["GET", "POST", "DELETE"]
Params = Mapping[str, str | list[str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What slurmrestd said: the JSON object, the HTTP status, and its warnings."""

    payload: Mapping[str, Any]
    status: int
    warnings: tuple[Complaint, ...] = ()


@dataclass(frozen=True, slots=True)
class _Raw:
    status: int
    kind: str
    data: bytes


class Client:
    """slurmrestd at ``http://host:port``, ``https://host:port`` or ``unix:/path/of/socket``.

    ``ca_file`` is the authority of an https server that the system does not know. Redirects are not followed: a
    token is sent to nobody else. Every request has its own connection, so that none is lost on a stale one.
    """

    def __init__(
        self,
        url: str,
        credentials: Credentials | None = None,
        *,
        ca_file: Path | None = None,
        read_seconds: float = READ_SECONDS,
        write_seconds: float = WRITE_SECONDS,
        largest: int = LARGEST,
    ) -> None:
        self._socket, self._base = _address(url)
        self.credentials = credentials or Credentials()
        self._ca_file = ca_file
        self._seconds = {False: read_seconds, True: write_seconds}
        self._largest = largest
        self.ran: list[str] = []

    @cached_property
    def _http(self) -> httpx.Client:
        verify: ssl.SSLContext | bool = False  # without TLS the system's authorities need not be read
        try:
            if self._base.startswith("https:"):
                verify = ssl.create_default_context(cafile=str(self._ca_file) if self._ca_file else None)
        except (OSError, ssl.SSLError) as error:
            raise InvalidRequest(f"CA file {self._ca_file} cannot be used: {error}", code="bad_ca_file") from None
        transport = httpx.HTTPTransport(uds=self._socket) if self._socket else None
        limits = httpx.Limits(max_keepalive_connections=0)
        return httpx.Client(transport=transport, verify=verify, limits=limits, follow_redirects=False)

    @cached_property
    def offered(self) -> dict[str, list[str]]:
        """The versions that this slurmrestd serves, by part; asked once."""
        for path in ("/openapi/v3", "/openapi"):
            try:
                document = self._checked("GET", path, None, None, "slurm").payload
            except SlurmUnreachable as error:
                if error.code != "no_endpoint":
                    raise
                continue
            if isinstance(document.get("paths"), Mapping):
                return versions.offered(document["paths"])
        return self._tried()

    def api(self, part: Part = "slurm") -> versions.Api:
        """The newest version that both sides know. Raises ``SlurmUnreachable``, ``AccountingUnavailable``."""
        there = self.offered[part]
        found = versions.best(there)
        if found is not None:
            return found
        known = f"{versions.APIS[-1].version} to {versions.APIS[0].version}"
        if there:
            why = f"slurmrestd at {self._base} serves {part} {', '.join(there)}; understood are {known}"
        else:
            plugins = "openapi/slurmdbd or openapi/dbv0.0.NN" if part == "slurmdb" else "openapi/slurmctld"
            why = f"slurmrestd at {self._base} serves no {part}: start it with `-s {plugins}` among its plugins"
        kind = AccountingUnavailable if part == "slurmdb" else SlurmUnreachable
        raise kind(f"{why}, or {INSTEAD}", code="no_version", transient=False)

    def read(self, path: str, params: Params | None = None, *, part: Part = "slurm") -> Mapping[str, Any]:
        """The JSON object at ``/slurm/VERSION/path``. Raises the ``SlurmError`` for what went wrong."""
        return self._checked("GET", self.path(part, path, params), None, None, part).payload

    def send(self, method: Method, path: str, body: Mapping[str, Any] | None, shown: str) -> Answer:
        """A change, at a whole path of :meth:`path`; ``shown`` is how it is remembered.

        Raises ``SlurmUnreachable`` where nothing was sent, ``OutcomeUnknown`` where the answer was lost.
        """
        return self._checked(method, path, body, shown, "slurm")

    def path(self, part: Part, path: str, params: Params | None = None) -> str:
        """The path with its version and query, everything in it escaped; a list is its key once for each value."""
        whole = f"/{part}/{self.api(part).version}/" + "/".join(quote(word, safe="") for word in path.split("/"))
        return f"{whole}?{urlencode(params, doseq=True, quote_via=quote)}" if params else whole

    def command(self, method: Method, path: str, body: Mapping[str, Any] | None = None) -> list[str]:
        """The request as one would make it by hand, without the token."""
        words = ["curl", *(["--unix-socket", self._socket] if self._socket else [])]
        words += ["--request", method] if method != "GET" else []
        words += ["--json", json.dumps(body, ensure_ascii=False)] if body is not None else []
        return [*words, f"{self._base}{path}"]

    def _checked(
        self, method: Method, path: str, body: Mapping[str, Any] | None, shown: str | None, part: Part
    ) -> Answer:
        write, where = method != "GET", f"slurmrestd {method} {self._base}{path}"
        place = len(self.ran)
        self.ran.append(shown or shell_text(self.command(method, path, body)))
        raw = self._send(method, path, body, where)
        if raw.status in (401, 403) and self.credentials.renew():
            raw = self._send(method, path, body, where)
        payload = _json(raw, where, write, part, self.credentials)
        errors, warnings = complaints(payload)
        if remarks := [*warnings, *errors]:
            self.ran[place] += f"  # slurmrestd warns: {'; '.join(map(str, remarks))}"
        if errors and (raw.status >= 400 or not _holds(payload, write)):
            raise refusal(errors, where, write=write, accounting=part == "slurmdb")
        if raw.status >= 400 and not errors and not (part == "slurmdb" and _nothing_found(payload)):
            raise SlurmError(f"{where}: HTTP {raw.status}, without a reason")
        return Answer(payload, raw.status, (*warnings, *errors))

    def _send(self, method: Method, path: str, body: Mapping[str, Any] | None, where: str) -> _Raw:
        write = method != "GET"
        seconds = self._seconds[write]
        headers = {"Accept": "application/json", **self.credentials.headers()}
        deadline = time.monotonic() + seconds
        timeout = httpx.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS))
        try:
            with self._http.stream(
                method, f"{self._base}{path}", json=body, headers=headers, timeout=timeout
            ) as response:
                data = self._collect(response, deadline, where, write)
                return _Raw(response.status_code, response.headers.get("content-type", ""), data)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol) as error:
            raise SlurmUnreachable(
                f"{where}: cannot connect: {error or 'no answer'} ({_connect_remedy(str(error))})",
                code="cannot_connect",
                transient=True,
            ) from None
        except httpx.TimeoutException:
            raise _lost(where, f"no answer in {seconds:g} s", write, "timeout") from None
        except httpx.HTTPError as error:
            raise _lost(where, f"the connection broke: {error}", write, "broken") from None

    def _collect(self, response: httpx.Response, deadline: float, where: str, write: bool) -> bytes:
        parts, size = [], 0
        told = int(response.headers.get("content-length") or 0)
        for part in response.iter_bytes():
            parts.append(part)
            size += len(part)
            if max(size, told) > self._largest:
                raise _too_large(where, max(size, told), self._largest, write)
            if time.monotonic() > deadline:
                raise _lost(where, f"the answer was not there in {self._seconds[write]:g} s", write, "timeout")
        return b"".join(parts)

    def _tried(self) -> dict[str, list[str]]:
        """Versions found by asking for each in turn, where there is no OpenAPI document."""
        found: dict[str, list[str]] = {"slurm": [], "slurmdb": []}
        for part, what in (("slurm", "ping"), ("slurmdb", "qos")):
            for api in versions.APIS:
                raw = self._send("GET", f"/{part}/{api.version}/{what}", None, f"slurmrestd at {self._base}")
                if raw.status != 404:
                    found[part].append(api.version)
                    break
        return found


def _address(url: str) -> tuple[str, str]:
    """(socket, base URL). Raises ``InvalidRequest``."""
    if url.startswith("unix:"):
        path = url.removeprefix("unix:").removeprefix("//")
        if path.startswith("/"):
            return path, "http://localhost"
    else:
        try:
            parts = urlsplit(url)
            if parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1) > 0 and "@" not in url:
                return "", url.rstrip("/")
        except ValueError:
            pass
    raise InvalidRequest(
        f"{url!r} is no address of slurmrestd: write http://host:6820, https://host:6820 or unix:/run/rest.socket",
        code="bad_url",
    )


def _json(raw: _Raw, where: str, write: bool, part: Part, credentials: Credentials) -> Mapping[str, Any]:
    if raw.status in (401, 403):
        raise SlurmUnreachable(
            f"{where}: HTTP {raw.status}, the token from {credentials.source} was refused ({credentials.remedy})",
            code="token_refused",
            transient=False,
        )
    try:
        payload = json.loads(raw.data)
    except ValueError:
        raise _not_slurmrestd(raw, where, write, part) from None
    if not isinstance(payload, Mapping):
        raise _not_slurmrestd(raw, where, write, part)
    return payload


def _not_slurmrestd(raw: _Raw, where: str, write: bool, part: Part) -> SlurmError:
    said = raw.data[:4000].decode(errors="replace")
    title = re.search(r"<title[^>]*>([^<]{1,100})", said, re.IGNORECASE)
    shown = " ".join((title[1] if title else said).split())[:100]
    if raw.status == 404 and "html" not in raw.kind:
        kind = AccountingUnavailable if part == "slurmdb" else SlurmUnreachable
        return kind(
            f"{where}: this slurmrestd has no such endpoint ({shown}); are all its plugins loaded "
            f"(slurmrestd -s list)? Else {INSTEAD}",
            code="no_endpoint",
            transient=False,
        )
    message = f"{where}: HTTP {raw.status} with {raw.kind or 'no content type'} instead of JSON: {shown!r}"
    if write and (raw.status >= 500 or raw.status < 300):
        return OutcomeUnknown(f"{message}: it may have been done or not", code="not_slurmrestd")
    return SlurmUnreachable(
        f"{message} (is it slurmrestd that answers there, or a proxy before it?)",
        code="not_slurmrestd",
        transient=raw.status in _GATEWAY,
    )


def _lost(where: str, why: str, write: bool, code: str) -> SlurmError:
    if write:
        return OutcomeUnknown(f"{where}: {why}: it may have been done or not", code=code)
    kind = AccountingUnavailable if "/slurmdb/" in where else SlurmUnreachable
    return kind(f"{where}: {why}", code=code, transient=True)


def _too_large(where: str, size: int, largest: int, write: bool) -> SlurmError:
    message = f"{where}: the answer has more than {size // 2**20} MiB, {largest // 2**20} at most are read"
    if write:
        return OutcomeUnknown(f"{message}: it may have been done or not", code="answer_too_large")
    return SlurmError(f"{message}; ask for less (a shorter time, one job), or {INSTEAD}", code="answer_too_large")


def _connect_remedy(error: str) -> str:
    if "CERTIFICATE" in error.upper() or "SSL" in error.upper():
        return "is the server's authority known here? name it as the CA file"
    return "does slurmrestd run there? see its service's log"


def _holds(payload: Mapping[str, Any], write: bool) -> bool:
    """There is an answer beside the errors: rows, or the job that was taken with something to say about it."""
    if write:
        return bool(payload.get("job_id"))
    return any(isinstance(value, list) and value for key, value in payload.items() if key not in ("errors", "warnings"))


def _nothing_found(payload: Mapping[str, Any]) -> bool:
    return any(isinstance(one, Mapping) and one.get("error_number") == 9003 for one in payload.get("errors") or [])
