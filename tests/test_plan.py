"""``sask plan`` as programs use it: the real command, and a real HTTP server that answers by script."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ANSWERS = {
    "my jobs": '{"list_jobs": {"user": "me"}}',
    "drain gpu-node03": '{"drain_node": {"nodes": "gpu-node03", "reason": "bad fan"}}',
    "cancel ada's jobs": '{"cancel_jobs": {"user": "ada"}}',
    "stop it": '{"ask": "Which job?"}',
    "mumble": "no JSON at all",
    "invent": '{"show_job": {"job_id": "48121"}}',
    "jobs since yesterday": '{"list_jobs": {"since": "yesterday"}}',
}


class Scripted(BaseHTTPRequestHandler):
    """An OpenAI-compatible server whose answer hangs on the words of the request."""

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self._say({"data": [{"id": "scripted"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = [message["content"] for message in body["messages"] if message["role"] == "user"]
        text = next((answer for words, answer in ANSWERS.items() if any(words in said for said in asked)), "")
        self._say({"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": {}})

    def _say(self, answer: dict[str, Any]) -> None:
        payload = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Scripted) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


class Sask:
    """The command in a directory of its own, with no Slurm in reach."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.env = {
            **os.environ,
            "SASK_MODEL": url,
            "SASK_JOURNAL": f"sqlite:///{folder}/journal.db",
            "XDG_CONFIG_HOME": str(folder),
            "SLURM_CONF": str(folder / "no-slurm.conf"),
        }

    def __call__(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            [sys.executable, "-m", "assistant.doors.cli", *arguments],
            cwd=self.folder, env=self.env, input=stdin, capture_output=True, timeout=120,
        )  # fmt: skip
        assert b"Traceback" not in done.stderr + done.stdout
        return done

    def plan(self, *arguments: str) -> dict[str, Any]:
        return dict(json.loads(self("plan", "--json", *arguments).stdout))


@pytest.fixture
def sask(tmp_path: Path, server: str) -> Sask:
    return Sask(tmp_path, server)


def test_a_plan_has_the_contracts_fields_and_needs_no_cluster(sask: Sask) -> None:
    outcome = sask.plan("my jobs")
    assert set(outcome) == {"action", "calls", "text", "valid_json", "seconds"}
    assert outcome["calls"] == [{"tool": "list_jobs", "arguments": {"user": "me"}}]
    assert (outcome["action"], outcome["valid_json"]) == ("call", True)


def test_only_an_administrator_drains(sask: Sask) -> None:
    request = "drain gpu-node03 bad fan"
    refused = sask.plan("--user", "ada", request)
    assert (refused["action"], refused["calls"]) == ("reply", [])
    assert "ada is neither" in refused["text"]
    assert sask.plan("--admin", request)["calls"][0]["tool"] == "drain_node"


def test_other_peoples_jobs_are_not_cancelled(sask: Sask) -> None:
    assert sask.plan("--user", "bob", "cancel ada's jobs")["action"] == "reply"
    assert sask.plan("--user", "ada", "cancel ada's jobs")["action"] == "call"


def test_the_clock_is_the_one_given(sask: Sask) -> None:
    arguments = sask.plan("--now", "2026-03-05T10:00:00", "jobs since yesterday")["calls"][0]["arguments"]
    assert arguments["since"].startswith("2026-03-04")


@pytest.mark.parametrize("request_text", ["stop it", "mumble", "invent"])
def test_what_cannot_be_decided_becomes_a_question(sask: Sask, request_text: str) -> None:
    done = sask("plan", "--json", request_text)
    outcome = json.loads(done.stdout)
    assert (done.returncode, outcome["action"], outcome["calls"]) == (3, "ask", [])
    assert outcome["text"]
    assert outcome["valid_json"] is (request_text != "mumble")


BATCH = [
    (b'{"id": "a", "request": "my jobs", "context": {"user": "ada"}}', "call", ""),
    (b"{broken", "invalid", ":2: not JSON"),
    (b'{"id": "c"}', "invalid", ":3: request: must be a text (got null)"),
    (b"[1]", "invalid", ":4: line: must be an object"),
    (b'{"id": "e", "request": "my jobs", "context": "ada"}', "invalid", ":5: context: must be an object"),
    (b'{"id": "f", "request": "drain gpu-node03 bad fan", "context": {"is_admin": "false"}}', "invalid",
     ":6: is_admin: must be true or false"),
    (b'{"id": "g", "request": "my jobs", "context": {"now": "soon"}}', "invalid", "'soon' is not an ISO time"),
    (b"\xff\xfe", "invalid", ":8: not JSON"),
    (b'{"id": "i", "request": " "}', "invalid", ":9: the request is empty"),
    (b'{"id": "j", "request": "\\ud800 my jobs"}', "call", ""),
    (b'{"id": "k", "request": "drain gpu-node03 bad fan", "context": {"is_admin": true}}', "call", ""),
]  # fmt: skip


@pytest.mark.parametrize("piped", [False, True])
def test_a_batch_answers_every_line_in_order(sask: Sask, piped: bool) -> None:
    lines = b"\n".join(line for line, _, _ in BATCH)
    (sask.folder / "batch.jsonl").write_bytes(lines)
    done = sask("plan", "--batch", "-", stdin=lines) if piped else sask("plan", "--json", "--batch", "batch.jsonl")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["action"] for row in rows] == [action for _, action, _ in BATCH]
    for row, (line, _, says) in zip(rows, BATCH, strict=True):
        assert says in row["text"]
        assert row.get("id") == (json.loads(line).get("id") if line.startswith(b'{"id"') else None)


def test_a_request_that_is_no_unicode_is_still_read(sask: Sask) -> None:
    assert json.loads(sask("plan", "--json", os.fsdecode(b"\xff my jobs")).stdout)["action"] == "call"
    done = sask("-", stdin=b"\xff my jobs")
    assert (done.returncode, done.stdout) == (6, b"")
    assert b"no-slurm.conf" in done.stderr


def test_words_after_a_command_of_one_word_are_a_request(sask: Sask) -> None:
    assert sask("show", "me", "my", "jobs").returncode == 6  # asked the model, then missed Slurm
    assert sask("show", "nothing-like-it").returncode == 5


def test_help_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "assistant.doors.cli", "--help"], capture_output=True, check=True
    )
    imported = {line.rpartition(b"|")[2].strip().split(b".")[0] for line in done.stderr.splitlines()}
    assert not imported & {b"pydantic", b"httpx", b"rich", b"tools", b"sqlalchemy", b"jsonschema"}
