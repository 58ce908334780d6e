"""Where the on-call door posts, how often it asks Slurm, and what its command says."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from assistant.doors.oncall.outlets import NotPosted, Stdout, Webhook
from assistant.doors.oncall.report import Post
from assistant.doors.oncall.rules import Rules
from assistant.doors.oncall.service import outlet
from assistant.doors.oncall.shared import Shared
from tests.fake_slurm import FakeSlurm
from tests.shell import Shell
from tools.slurm.backend import Operation
from tools.slurm.errors import PermissionRefused, SlurmUnreachable
from tools.slurm.models import JobQuery

KEY = "fedcba9876543210" * 2


class Taker(BaseHTTPRequestHandler):
    answers: Sequence[int]
    taken: list[tuple[dict[str, str], bytes]]

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.taken.append((dict(self.headers.items()), body))
        self.send_response(self.answers[min(len(self.taken), len(self.answers)) - 1])
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()


@contextmanager
def taker(*answers: int) -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    taken: list[tuple[dict[str, str], bytes]] = []
    handler = type("Handler", (Taker,), {"answers": answers, "taken": taken})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/hook", taken
        finally:
            server.shutdown()
            thread.join()


POST = Post("opened", "a1b2c3", "critical", "title", "text", {"incident": "a1b2c3", "text": "text"})


def test_a_webhook_is_signed_and_tried_again_under_the_same_key() -> None:
    with taker(503, 429, 200) as (url, taken):
        assert Webhook(url, KEY, first_wait=0).post(POST, "") == "a1b2c3"
    assert len(taken) == 3
    assert {headers["Idempotency-Key"] for headers, _ in taken} == {"a1b2c3-opened"}
    headers, body = taken[-1]
    assert headers["X-Sask-Signature"] == f"sha256={hmac.new(KEY.encode(), body, hashlib.sha256).hexdigest()}"
    assert json.loads(body) == {**POST.document, "thread": ""}


@pytest.mark.parametrize(("code", "tries"), [(404, 1), (302, 1), (500, 4)])
def test_a_webhook_that_refuses_is_said_so(code: int, tries: int) -> None:
    with taker(code) as (url, taken), pytest.raises(NotPosted, match=str(code)):
        Webhook(url, first_wait=0).post(POST, "")
    assert len(taken) == tries


def test_a_webhook_that_is_not_there() -> None:
    with taker(200) as (url, _):
        pass
    with pytest.raises(NotPosted, match="cannot be reached"):
        Webhook(url, first_wait=0, attempts=2).post(POST, "")


def test_stdout_is_the_usual_outlet(capsys: pytest.CaptureFixture[str]) -> None:
    chosen = outlet(Rules())
    assert isinstance(chosen, Stdout)
    assert chosen.post(POST, "") == "a1b2c3"
    assert capsys.readouterr().out == "text\n\n"


class Clock:
    """Time that passes by waiting."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


def test_an_answer_serves_for_some_seconds_with_the_commands_that_gave_it() -> None:
    clock, fake = Clock(), FakeSlurm()
    shared = Shared(15, 60, clock, clock.wait)
    for _ in range(3):
        backend = shared.backend(fake)
        assert len(backend.nodes()) == 5
        assert list(backend.commands()) == ["scontrol show node"]
    assert backend.queue(JobQuery(partition="gpu")) == backend.queue(JobQuery(partition="h100")) == []
    assert (fake.calls.count("nodes"), fake.calls.count("queue"), shared.asked, shared.served) == (1, 2, 3, 2)
    clock.wait(15)
    shared.backend(fake).nodes()
    assert fake.calls.count("nodes") == 2


def test_more_calls_than_a_minute_allows_wait() -> None:
    clock, fake = Clock(), FakeSlurm()
    backend = Shared(0, 5, clock, clock.wait).backend(fake)
    for _ in range(5):
        backend.nodes()
    assert clock.now == 1000
    backend.nodes()
    assert clock.now == 1060


def test_that_slurm_is_away_is_kept_too_and_other_errors_are_not() -> None:
    clock, fake = Clock(), FakeSlurm()
    backend = Shared(15, 60, clock, clock.wait).backend(fake)
    fake.fail("nodes", SlurmUnreachable("away"))
    for _ in range(2):
        with pytest.raises(SlurmUnreachable, match="away"):
            backend.nodes()
    assert fake.calls == ["nodes"]
    clock.wait(16)
    assert backend.nodes()


def test_nothing_can_be_changed_through_it() -> None:
    fake = FakeSlurm(level="administrator")
    backend = Shared(15, 60).backend(fake)
    with pytest.raises(PermissionRefused, match="changes nothing"):
        backend.perform(Operation("update_node", "gpu-node01", {"state": "drain", "reason": "x"}))
    assert fake.performed == []


def test_the_command_says_what_is_missing(tmp_path: Path) -> None:
    sask = Shell(tmp_path)
    assert "--token-file" in sask("oncall").stderr
    gone = sask("oncall", "--token-file", "nosuch")
    assert (gone.returncode, "make one" in gone.stderr) == (2, True)
    (tmp_path / "token").write_text(KEY)
    (tmp_path / "token").chmod(0o600)
    bad = sask("oncall", "--token-file", "token", "--listen", "nowhere")
    assert (bad.returncode, "has no port" in bad.stderr) == (2, True)
