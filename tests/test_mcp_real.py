"""``sask mcp`` as it is started: a process on stdio and one on HTTP, the official client, a real Slurm."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client, StdioServerParameters, types
from mcp.client.streamable_http import streamable_http_client

from assistant.doors import mcp as door
from assistant.doors.listening import LOCAL, address, is_local, read_secret
from assistant.errors import AssistantError
from tests.mcp_bed import MODES, YES, Person, document
from tests.shell import SASK, Shell, queue
from tools.slurm.sandbox import Sandbox

TOKEN = "0123456789abcdef" * 2
HELLO = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


def submit(name: str) -> dict[str, Any]:
    return {"command": "sleep 300", "job_name": name, "output": "/dev/null", "time_limit": "00:10:00"}


@pytest.fixture
def sask(clean_sandbox: Sandbox, tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def url(sask: Shell) -> Iterator[str]:
    """Where ``sask mcp --http`` listens; it ends with a sentence at Ctrl-C."""
    file = sask.folder / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o600)
    process = sask.start("mcp", "--http", ":0", "--token-file", "token")
    assert process.stderr
    try:
        yield process.stderr.readline().split()[-1]
    finally:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert "the server has ended" in said
    assert TOKEN not in said
    assert process.returncode == 130


@asynccontextmanager
async def over_http(url: str, **how: Any) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(url, http_client=http), **how) as client,
    ):
        yield client


@pytest.mark.parametrize("mode", MODES)
def test_on_stdio_a_read_a_yes_and_a_no(sask: Shell, mode: str) -> None:
    command = StdioServerParameters(command=SASK[0], args=[*SASK[1:], "mcp"], env=sask.env, cwd=sask.folder)
    person = Person()

    async def work() -> list[dict[str, Any]]:
        async with Client(command, mode=mode, elicitation_callback=person, read_timeout_seconds=120) as client:
            said = [await client.call_tool("cluster_status", {})]
            said.append(await client.call_tool("submit_job", submit("wanted")))
            person.says = types.ElicitResult(action="decline")
            said.append(await client.call_tool("submit_job", submit("unwanted")))
            return [document(one) for one in said]

    status, done, denied = anyio.run(work)
    assert (status["status"], status["data"]["cluster"]) == ("ok", "sandbox")
    assert (done["status"], denied["status"]) == ("ok", "denied")
    assert [done["commands"][0] in person.seen[0], len(person.seen)] == [True, 2]
    assert [line.split()[:2] for line in queue().splitlines()] == [[done["items"][0]["id"], "wanted"]]
    assert sask.json("show", done["run"], "--json")["approvals"][0]["state"] == "used"


@pytest.mark.parametrize("mode", MODES)
def test_over_http_two_steps_and_a_token_that_is_spent(url: str, mode: str) -> None:
    async def work() -> list[dict[str, Any]]:
        async with over_http(url, mode=mode) as client:
            first = document(await client.call_tool("submit_job", submit("twice")))
            assert queue() == ""
        token = {**submit("twice"), "confirm": first["preview"]["confirm"]}
        async with over_http(url, mode=mode) as client:  # the second step may come over another connection
            later = [document(await client.call_tool("submit_job", token)) for _ in range(2)]
            read = document(await client.call_tool("list_jobs", {"user": "me"}))
            [one] = (await client.read_resource(f"slurm://jobs/{later[0]['items'][0]['id']}")).contents
            assert isinstance(one, types.TextResourceContents)
            assert '"twice"' in one.text
        return [first, *later, read]

    first, second, again, read = anyio.run(work)
    assert (first["status"], second["status"], again["status"]) == ("needs_approval", "ok", "failed")
    assert "is used" in again["text"]
    assert second["commands"] == first["preview"]["commands"]
    assert [job["name"] for job in read["data"]["jobs"]] == ["twice"]
    assert queue().count("twice") == 1


@pytest.mark.parametrize("mode", MODES)
def test_over_http_the_person_is_asked(url: str, mode: str) -> None:
    person = Person(YES)

    async def work() -> dict[str, Any]:
        async with over_http(url, mode=mode, elicitation_callback=person) as client:
            return document(await client.call_tool("submit_job", submit("asked")))

    assert (anyio.run(work)["status"], len(person.seen), queue().count("asked")) == ("ok", 1, 1)


def test_whoever_has_not_the_token_gets_nothing(url: str) -> None:
    wrong = (
        "",
        "Bearer",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN}0",
        f"Bearer {TOKEN.upper()}",
        f"Basic {TOKEN}",
        "Bearer é",
    )
    with httpx2.Client(timeout=60) as http:
        for given in wrong:
            headers = {"Authorization": given.encode("latin-1")} if given else {}
            answer = http.post(url, json=HELLO, headers=headers)
            assert (answer.status_code, answer.headers["www-authenticate"].split()[0]) == (401, "Bearer"), given
            assert http.get(url, headers=headers).status_code == 401
        right = {"Authorization": f"Bearer {TOKEN}"}
        assert http.post(url, json=HELLO, headers=right).status_code != 401
        rebound = {**right, "Host": "evil.example", "Accept": "application/json, text/event-stream"}
        assert http.post(url, json=HELLO, headers=rebound).status_code == 421
        assert http.get(url.removesuffix("/mcp") + "/").status_code == 404


def test_stdio_ends_with_its_client_and_at_ctrl_c(tmp_path: Path) -> None:
    sask = Shell(tmp_path)
    done = sask("mcp")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    with sask.terminal("mcp") as terminal:
        terminal.wait_for("Ctrl-D ends it")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == -signal.SIGINT


def test_nonsense_on_stdio_does_not_end_it(tmp_path: Path) -> None:
    process = Shell(tmp_path).start("mcp")
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
    lines = ["{", "[]", '"x"', "\ufffd", "x" * 5_000_000]
    lines.append(json.dumps({"jsonrpc": "2.0", "id": 7, "method": "initialize", "params": hello}))
    said, errors = process.communicate("\n".join(lines) + "\n", timeout=120)
    answers = [json.loads(line) for line in said.splitlines()]
    assert [one["result"]["serverInfo"]["name"] for one in answers if one.get("id") == 7] == ["slurm-assistant"]
    assert "Traceback" not in errors
    assert process.returncode == 0


def test_without_the_sdk_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "find_spec", lambda name: None)
    with pytest.raises(AssistantError) as refused:
        door.serve(None, None)
    assert "slurm-assistant[mcp]" in refused.value.remedy


@pytest.mark.parametrize(
    ("text", "place"),
    [("8765", (LOCAL, 8765)), (":0", (LOCAL, 0)), ("host:80", ("host", 80)), ("[::1]:80", ("::1", 80))],
)
def test_an_address_is_read(text: str, place: tuple[str, int]) -> None:
    assert address(text, "--http", 1) == place
    assert is_local(place[0]) is (place[0] != "host")


@pytest.mark.parametrize("text", ["", "host", "host:", ":65536", ":-1", ":²", "http://host"])
def test_an_address_without_a_port_is_refused(text: str) -> None:
    with pytest.raises(AssistantError, match="no port"):
        address(text, "--http", 1)


@pytest.mark.parametrize(
    ("text", "mode", "why"),
    [
        (TOKEN, 0o644, "can be read by others"),
        (TOKEN, 0o640, "can be read by others"),
        ("", 0o600, "one word of at least 20"),
        ("short", 0o600, "one word of at least 20"),
        (f"{TOKEN} {TOKEN}", 0o600, "one word of at least 20"),
        (f"{TOKEN}é", 0o600, "one word of at least 20"),
    ],
)
def test_a_token_file_that_is_no_secret_is_refused(tmp_path: Path, text: str, mode: int, why: str) -> None:
    file = tmp_path / "token"
    file.write_text(text)
    file.chmod(mode)
    with pytest.raises(AssistantError, match=why) as refused:
        read_secret(file, "token")
    assert TOKEN not in str(refused.value)


def test_what_is_wrong_with_the_command_is_said(tmp_path: Path) -> None:
    sask = Shell(tmp_path)
    (tmp_path / "token").write_text(TOKEN)
    os.chmod(tmp_path / "token", 0o600)
    with socket.create_server((LOCAL, 0)) as taken:
        port = str(taken.getsockname()[1])
        wrong = {
            "--http needs --token-file": ("--http", ":0"),
            "for --http only": ("--token-file", "token"),
            "cannot be read": ("--http", ":0", "--token-file", "none"),
            f"nothing can listen at {LOCAL}:{port}": ("--http", port, "--token-file", "token"),
        }
        for why, words in wrong.items():
            done = sask("mcp", *words)
            assert (done.returncode, done.stdout) == (2, "")
            assert why in done.stderr
