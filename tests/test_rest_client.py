"""Everything that can be wrong between here and slurmrestd, against a server that does it on purpose."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from tests.rest_server import Reply, Scripted, jwt, openapi, serving
from tools.slurm.backend import Operation
from tools.slurm.cli import CliBackend
from tools.slurm.errors import (
    AccountingUnavailable,
    InvalidRequest,
    OutcomeUnknown,
    SlurmError,
    SlurmUnreachable,
    UnknownJob,
)
from tools.slurm.models import JobQuery
from tools.slurm.rest import RestBackend, backend_for
from tools.slurm.rest.client import Client
from tools.slurm.rest.credentials import Credentials

OLD = ("slurm/v0.0.38", "slurmdb/v0.0.38")
HTML = (502, "text/html", b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>")
HOLD = Operation("hold", "7")


@pytest.fixture
def server() -> Iterator[Scripted]:
    with serving(Scripted({"GET /openapi/v3": openapi(*OLD)})) as scripted:
        yield scripted


def backend(server: Scripted, token: str = "", **options: Any) -> RestBackend:
    given = {"SLURM_JWT": token} if token else {}
    client = Client(server.url, Credentials(environment=given), **options)
    if {"read_seconds", "write_seconds"} & options.keys():  # so short that nothing else may have to be asked
        client.offered = {"slurm": ["v0.0.38"], "slurmdb": ["v0.0.38"]}
    return RestBackend(client)


def failing(server: Scripted, reply: Any, **options: Any) -> SlurmError:
    """What ``queue`` raises where ``/jobs`` answers so."""
    server.routes["GET /slurm/v0.0.38/jobs"] = reply
    with pytest.raises(SlurmError) as caught:
        backend(server, **options).queue(JobQuery())
    return caught.value


def lost(server: Scripted, reply: Any, **options: Any) -> SlurmError:
    """What a change raises whose answer is this."""
    server.routes["POST /slurm/v0.0.38/job/7"] = reply
    with pytest.raises(SlurmError) as caught:
        backend(server, **options).perform(HOLD)
    return caught.value


def errors(*entries: dict[str, Any], status: int = 500, **more: Any) -> tuple[int, str, bytes]:
    return status, "application/json", json.dumps({"errors": entries, **more}).encode()


def test_the_newest_version_that_both_know(server: Scripted) -> None:
    server.routes["GET /openapi/v3"] = openapi("slurm/v0.0.99", "slurm/v0.0.41", "slurm/v0.0.40", "slurmdb/v0.0.40")
    client = backend(server).client
    assert (client.api().version, client.api("slurmdb").version) == ("v0.0.41", "v0.0.40")
    assert [one.path for one in server.asked] == ["/openapi/v3"]


def test_without_a_description_versions_are_tried_downwards(server: Scripted) -> None:
    del server.routes["GET /openapi/v3"]
    server.routes["GET /slurm/v0.0.40/ping"] = {"pings": []}
    server.routes["GET /slurm/v0.0.38/ping"] = {"pings": []}
    client = backend(server).client
    assert client.api().version == "v0.0.40"
    with pytest.raises(AccountingUnavailable, match="serves no slurmdb: start it with `-s openapi/slurmdbd"):
        client.api("slurmdb")


def test_a_version_that_nobody_knows(server: Scripted) -> None:
    server.routes["GET /openapi/v3"] = openapi("slurm/v0.0.36")
    with pytest.raises(SlurmUnreachable) as caught:
        backend(server).queue(JobQuery())
    assert caught.value.code == "no_version" and not caught.value.transient
    for part in (server.url, "v0.0.36", "v0.0.38 to v0.0.46", "--backend cli"):
        assert part in caught.value.message


def test_half_of_the_plugins(server: Scripted) -> None:
    """Without slurmdb the queue is read all the same, and who asks for history is told which plugin is missing."""
    server.routes["GET /openapi/v3"] = openapi("slurm/v0.0.38")
    server.routes["GET /slurm/v0.0.38/jobs"] = {"jobs": []}
    one = backend(server)
    assert one.queue(JobQuery()) == []
    with pytest.raises(AccountingUnavailable, match="openapi/dbv0"):
        one.qos()
    assert (one.admin_level("ann"), one.coordinated_accounts("ann"), one.find_by_key("k")) == ("none", (), [])


def test_an_endpoint_that_is_not_there(server: Scripted) -> None:
    with pytest.raises(SlurmUnreachable) as caught:
        backend(server).licenses()
    assert caught.value.code == "no_endpoint" and "/slurm/v0.0.38/licenses" in caught.value.message


@pytest.mark.parametrize("status", [200, 403, 404, 502])
def test_a_page_instead_of_json(server: Scripted, status: int) -> None:
    error = failing(server, (status, "text/html", HTML[2]))
    assert isinstance(error, SlurmUnreachable) and error.transient == (status == 502)
    assert f"HTTP {status}" in error.message and "/slurm/v0.0.38/jobs" in error.message
    if status != 403:
        assert error.code == "not_slurmrestd" and "502 Bad Gateway" in error.message and "proxy" in error.message


def test_a_change_behind_a_broken_proxy_is_unknown(server: Scripted) -> None:
    assert isinstance(lost(server, HTML), OutcomeUnknown)
    assert isinstance(lost(server, (200, "text/html", HTML[2])), OutcomeUnknown)
    assert isinstance(lost(server, (404, "text/plain", b"no such")), SlurmUnreachable)


def test_all_errors_are_kept(server: Scripted) -> None:
    entries = [
        {"error": "Invalid job id specified", "error_number": 2017, "description": "first", "source": "slurm_load"},
        {"error": "another", "error_code": 9001, "description": "second"},
    ]
    server.routes["GET /slurm/v0.0.38/job/7"] = errors(*entries)
    with pytest.raises(UnknownJob) as caught:
        backend(server).expected_start("7")
    assert caught.value.code == "ESLURM_INVALID_JOB_ID"
    for said in ("Invalid job id specified", "first", "another", "second", "/slurm/v0.0.38/job/7"):
        assert said in caught.value.message


def test_a_reason_that_nobody_has_seen(server: Scripted) -> None:
    error = failing(server, errors({"error": "Flux compensator empty", "error_number": 4711}))
    assert type(error) is SlurmError and "Flux compensator empty" in error.message
    assert "HTTP 500" in failing(server, errors()).message


def test_errors_beside_rows_are_kept_and_the_rows_given(server: Scripted) -> None:
    row = {"job_id": 7, "job_state": "RUNNING", "user_name": "ann", "name": "x"}
    server.routes["GET /slurm/v0.0.38/jobs"] = {
        "jobs": [row],
        "errors": [{"error": "some went wrong", "error_number": 1}],
        "warnings": [{"description": "old plugin", "source": "parser"}],
    }
    one = backend(server)
    assert [job.id for job in one.queue(JobQuery())] == ["7"]
    assert one.commands()[-1].endswith("# slurmrestd warns: parser: old plugin; some went wrong")


def test_an_array_that_was_changed_is_no_failure(server: Scripted) -> None:
    """v0.0.38 adds an entry without number to each such answer."""
    server.routes["POST /slurm/v0.0.38/job/7"] = {"errors": [{"description": "update failed", "source": "s"}]}
    assert "without an error number" in backend(server).perform(HOLD).message


def test_a_job_that_was_taken_with_a_remark(server: Scripted) -> None:
    reply = {
        "job_id": 9,
        "errors": [{"error": "Job is in held state", "error_code": 2033}],
        "job_submit_user_msg": "hi",
    }
    server.routes["POST /slurm/v0.0.38/job/submit"] = reply
    receipt = backend(server).perform(Operation("submit", "", {"command": "true"}))
    assert (receipt.id, receipt.message) == ("9", "hi; Job is in held state")
    server.routes["POST /slurm/v0.0.38/job/submit"] = {"errors": []}
    with pytest.raises(OutcomeUnknown):
        backend(server).perform(Operation("submit", "", {"command": "true"}))


def test_a_response_of_200_megabytes(server: Scripted) -> None:
    sent = []

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(200 * 2**20))
        handler.end_headers()
        try:
            for _ in range(200):
                sent.append(handler.wfile.write(b" " * 2**20))
        except OSError:
            return

    error = failing(server, endless)
    assert error.code == "answer_too_large" and "200 MiB, 128 at most" in error.message
    assert "/slurm/v0.0.38/jobs" in error.message and "--backend cli" in error.message
    assert len(sent) < 100
    assert isinstance(lost(server, endless), OutcomeUnknown)


def test_no_length_is_told_and_it_is_too_large_all_the_same(server: Scripted) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(b" " * 300_000)

    assert failing(server, endless, largest=200_000).code == "answer_too_large"


def test_an_answer_that_never_ends_in_time(server: Scripted) -> None:
    def silent(handler: BaseHTTPRequestHandler) -> None:
        handler.connection.recv(1)  # until the client has gone

    error = failing(server, silent, read_seconds=0.5)
    assert isinstance(error, SlurmUnreachable) and error.code == "timeout" and error.transient
    assert isinstance(lost(server, silent, write_seconds=0.5), OutcomeUnknown)
    server.routes["GET /slurmdb/v0.0.38/qos"] = silent
    with pytest.raises(AccountingUnavailable):
        backend(server, read_seconds=0.5).qos()


def test_drops_now_and_then_do_not_put_the_deadline_off(server: Scripted) -> None:
    def dripping(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b" ")
        except OSError:
            return

    assert failing(server, dripping, read_seconds=0.5).code == "timeout"


def test_a_connection_that_breaks(server: Scripted) -> None:
    def breaking(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b"{")

    assert failing(server, breaking).code == "broken"
    assert isinstance(lost(server, breaking), OutcomeUnknown)


def test_nobody_listens() -> None:
    one = RestBackend(Client("http://127.0.0.1:9", Credentials(environment={})))
    with pytest.raises(SlurmUnreachable, match=r"http://127\.0\.0\.1:9.*does slurmrestd run there") as caught:
        one.perform(HOLD)
    assert caught.value.transient


def test_tls_that_cannot_be_trusted(server: Scripted, tmp_path: Path) -> None:
    url = server.url.replace("http:", "https:")
    with pytest.raises(SlurmUnreachable, match="CA file"):
        RestBackend(Client(url, Credentials(environment={}))).queue(JobQuery())
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(InvalidRequest, match=r"ca\.pem"):
        RestBackend(Client(url, Credentials(environment={}), ca_file=tmp_path / "ca.pem")).queue(JobQuery())


def test_a_unix_socket(tmp_path: Path) -> None:
    routes: dict[str, Reply] = {"GET /openapi/v3": openapi(*OLD), "GET /slurm/v0.0.38/licenses": {"licenses": []}}
    with serving(Scripted(routes), tmp_path / "rest.sock") as scripted:
        one = backend(scripted)
        assert one.licenses() == {}
        assert one.commands()[-1].startswith(f"curl --unix-socket {tmp_path / 'rest.sock'} http://localhost/slurm/")
        assert scripted.asked[-1].token == ""


def test_a_redirect_gets_no_token(server: Scripted) -> None:
    def elsewhere(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", f"{server.url}/stolen")
        handler.end_headers()

    error = failing(server, elsewhere)
    assert error.code == "not_slurmrestd" and "/stolen" not in {one.path for one in server.asked}


@pytest.mark.parametrize("url", ["", "host:6820", "ftp://h", "http://", "unix:rest.sock", "http://u:p@h", "http://h:x"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(InvalidRequest, match="unix:/run"):
        Client(url)


def test_a_token_that_has_ended_is_not_sent(server: Scripted, tmp_path: Path) -> None:
    with pytest.raises(SlurmUnreachable, match=r"SLURM_JWT ended at 20.*scontrol token") as caught:
        backend(server, jwt(-60)).queue(JobQuery())
    assert (caught.value.code, caught.value.transient, server.asked) == ("token_expired", False, [])
    file = tmp_path / "token"
    file.write_text(jwt(-60) + "\n")
    one = RestBackend(Client(server.url, Credentials(file=file)))
    with pytest.raises(SlurmUnreachable, match=str(file)):
        one.queue(JobQuery())
    file.write_text(f"SLURM_JWT={jwt(600, 'bob')}\n")  # as scontrol prints it
    server.routes["GET /slurm/v0.0.38/jobs"] = {"jobs": []}
    assert one.queue(JobQuery()) == [] and {(asked.user, asked.token[:4]) for asked in server.asked} == {
        ("bob", "e30.")
    }


def test_a_token_that_is_refused(server: Scripted) -> None:
    error = failing(server, (401, "text/plain", b"Authentication failure"), token=jwt(600))
    assert (error.code, error.transient) == ("token_refused", False)
    assert "SLURM_JWT" in error.message and "scontrol token" in error.message and jwt(600)[:20] not in error.message


def test_a_command_makes_the_token_and_makes_it_anew(server: Scripted, tmp_path: Path) -> None:
    """It is asked once, again when its token has ended, and once more where that was refused."""
    script = tmp_path / "make.py"
    script.write_text(
        "import pathlib\n"
        f"counter = pathlib.Path({str(tmp_path / 'count')!r})\n"
        "number = int(counter.read_text()) + 1 if counter.exists() else 1\n"
        "counter.write_text(str(number))\n"
        f"print('SLURM_JWT=' + pathlib.Path({str(tmp_path)!r}, f'token{{number}}').read_text())\n"
    )
    for number, seconds in ((1, 600), (2, 600), (3, 600)):
        (tmp_path / f"token{number}").write_text(f"{jwt(seconds)}{number}")
    good = f"{jwt(600)}2"[-6:]

    def strict(handler: BaseHTTPRequestHandler) -> None:
        fine = handler.headers["X-SLURM-USER-TOKEN"].endswith(good)
        data = b'{"jobs": []}' if fine else b"Authentication failure"
        handler.send_response(200 if fine else 401)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    server.routes["GET /slurm/v0.0.38/jobs"] = strict
    one = RestBackend(Client(server.url, Credentials(command=(sys.executable, str(script)))))
    assert one.queue(JobQuery()) == [] and one.queue(JobQuery()) == []
    assert (tmp_path / "count").read_text() == "2"
    assert [asked.token[-1] for asked in server.asked] == ["1", "1", "2", "2"]


@pytest.mark.parametrize(
    ("code", "said"),
    [("import sys; sys.exit('no ticket')", "ended with 1: no ticket"), ("print()", "ended with 0: it printed nothing")],
)
def test_a_command_that_makes_none(server: Scripted, code: str, said: str) -> None:
    with pytest.raises(SlurmUnreachable, match=said) as caught:
        Client(server.url, Credentials(command=(sys.executable, "-c", code))).read("jobs")
    assert caught.value.code == "no_token"
    with pytest.raises(SlurmUnreachable, match="absent-command cannot be run"):
        Client(server.url, Credentials(command=("absent-command",))).read("jobs")


def test_which_backend(server: Scripted, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="needs the address"):
        backend_for("rest")
    assert isinstance(backend_for("cli", server.url), CliBackend) and isinstance(
        backend_for("rest", server.url), RestBackend
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    assert isinstance(backend_for("auto", server.url), RestBackend) and isinstance(backend_for("auto"), CliBackend)
    (tmp_path / "scontrol").write_text("#!/bin/sh\n")
    (tmp_path / "scontrol").chmod(0o755)
    assert isinstance(backend_for("auto", server.url), CliBackend)
