"""Bad input at the on-call door: refused in words or folded, with a clear log line, while the service goes on."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from assistant.doors.oncall.access import sign
from assistant.doors.oncall.rules import Rules
from tests.oncall_bed import KEY, TOKEN, Bed, alert, metric, posted, webhook
from tests.shell import until

DRAINED = alert("SlurmNodeDrained", node="gpu-node01")


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    return Bed(tmp_path)


@pytest.fixture
def http(bed: Bed) -> Iterator[httpx.Client]:
    with bed.served() as client:
        yield client


@pytest.mark.parametrize("given", ["", f"Basic {TOKEN}", "Bearer wrong", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}"])
def test_a_wrong_token_is_refused(bed: Bed, http: httpx.Client, given: str, caplog: pytest.LogCaptureFixture) -> None:
    for path in ("/alertmanager", "/slurm"):
        answer = http.post(path, json=webhook(DRAINED), headers={"Authorization": given})
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    assert "refused with 401" in caplog.text
    assert TOKEN[:-1] not in caplog.text
    assert bed.worker.intake.counts()["firing"] == 0


def test_a_signature_serves_instead_of_the_token(http: httpx.Client) -> None:
    def send(stamp: str, key: str = KEY, signed: bytes | None = None) -> int:
        body = json.dumps({"event": "slurmctld_down"}).encode()
        seal = sign(key, stamp, signed or body)
        headers = {"Authorization": "", "X-Sask-Timestamp": stamp, "X-Sask-Signature": f"sha256={seal}"}
        return http.post("/slurm", content=body, headers=headers).status_code

    now = int(time.time())
    assert send(str(now)) == 202
    assert send(str(now - 3600)) == 401
    assert send(str(now), key=TOKEN) == 401
    assert send(str(now), signed=b"{}") == 401
    assert send("soon") == 401


def test_an_alert_of_5_mb_is_refused(bed: Bed, http: httpx.Client) -> None:
    huge = json.dumps(webhook(alert("SlurmNodeDown", summary="x" * 5_000_000))).encode()
    assert http.post("/alertmanager", content=huge).status_code == 413

    def chunks() -> Iterator[bytes]:
        for start in range(0, len(huge), 65536):
            yield huge[start : start + 65536]

    assert http.post("/alertmanager", content=chunks()).status_code == 413
    assert http.get("/healthz").status_code == 200
    assert bed.worker.intake.counts()["firing"] == 0


def test_a_client_that_hangs_up_leaves_no_traceback(http: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    head = f"POST /slurm HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 1000\r\n\r\n"
    with socket.create_connection((http.base_url.host, http.base_url.port or 0)) as client:
        client.sendall(f"{head}half".encode())
    until(lambda: "hung up" in caplog.text)
    assert "Traceback" not in caplog.text
    assert http.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/alertmanager", b"{", "not JSON"),
        ("/alertmanager", b"\xff\xfe", "not JSON"),
        ("/alertmanager", b"[" * 100_000, "not JSON"),
        ("/alertmanager", b"[]", "valid keys: version, alerts"),
        ("/alertmanager", json.dumps(webhook(DRAINED, version="3")).encode(), "version"),
        ("/alertmanager", json.dumps(webhook(DRAINED | {"labels": {"alertname": 5}})).encode(), "labels"),
        ("/alertmanager", json.dumps(webhook(DRAINED | {"status": "burning"})).encode(), "firing"),
        ("/slurm", b'{"event": "node_drowned"}', "valid: node_down"),
        ("/slurm", b'{"event": "node_down", "colour": "red"}', "valid keys: event"),
        ("/slurm", b'{"event": "node_down", "nodes": "a[1-99999999]"}', "more than 5000"),
        ("/slurm", b'{"event": "node_down", "nodes": "@all"}', "host list"),
        ("/slurm", b'{"event": "job_failed", "job_id": "1; reboot"}', "no job id"),
        ("/slurm", b'{"event": "gpu_error", "xid": 100000}', "xid"),
    ],
)
def test_bad_bodies_are_refused_in_words(http: httpx.Client, path: str, body: bytes, said: str) -> None:
    answer = http.post(path, content=body)
    assert answer.status_code == 400
    assert said in answer.json()["error"]


def test_fields_that_alertmanager_adds_are_no_error(http: httpx.Client) -> None:
    assert posted(http, DRAINED | {"newField": {"a": 1}})["new"] == 1


def test_a_flood_is_one_incident_and_the_service_answers_meanwhile(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bed = Bed(tmp_path, Rules(group_seconds=10))
    bodies = [webhook(alert("SlurmNodeDown", node=f"gpu-node{number:04}")) for number in range(1000)]
    healthy: list[int] = []
    over = threading.Event()
    with bed.served() as http:

        def look() -> None:
            while not over.is_set():
                healthy.append(http.get("/healthz").status_code)

        looking = threading.Thread(target=look)
        looking.start()
        with ThreadPoolExecutor(8) as pool:
            codes = list(pool.map(lambda body: http.post("/alertmanager", json=body).status_code, bodies))
        over.set()
        looking.join()
        assert codes == [202] * 1000
        assert set(healthy) == {200}
        assert bed.worker.intake.counts() == {"firing": 1000, "waiting": 1}
        bed.late = 30
        [post] = bed.wait_for(1)
        until(lambda: "999 alerts folded" in caplog.text or metric(http, "sask_oncall_posts_total") == 1)
        assert post.document["alerts"] == 1000
        assert len(post.text) < 13_000
        assert metric(http, "sask_oncall_alerts_total") == 1000
    assert "alerts folded into incidents that wait" in caplog.text
    assert len([record for record in caplog.records if record.name == "sask.oncall"]) < 10
