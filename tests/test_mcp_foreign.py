"""Tools of other people's MCP servers: a real one on standard input and over HTTP, and what it can do to us."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from assistant.config import McpServer, load
from assistant.errors import ConfigError, ServerFailed
from assistant.foreign.link import Link
from assistant.foreign.offered import Offered
from assistant.foreign.schema import check, simple
from assistant.foreign.tool import LONGEST
from assistant.ledger import later
from assistant.ledger.approval import AskLater
from assistant.ledger.carry import Ledger
from assistant.ledger.execute import LedgerExecutor
from assistant.ledger.journal import Journal
from assistant.loop.agent import Agent
from assistant.loop.decide import Decider
from tests.fake_slurm import FakeSlurm
from tests.mcp_metrics import TOKEN
from tests.scripted import ScriptedModel, calls
from tests.shell import Shell
from tools import BY_NAME
from tools.base import Call, Caller, Outcome, ToolContext, ToolResult

PATIENCE = 200.0
"""Seconds for a Python program to start on a busy machine."""
COMMAND = (sys.executable, "-m", "tests.mcp_metrics")
READS = ["power", "words", "broken", "slow", "die"]


@dataclass
class Metrics:
    """The server as the settings name it, its tools as they are offered, and what it said of those that are not."""

    tickets: Path
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        env = {"TICKETS": str(self.tickets)}
        self.server = McpServer.model_validate(
            {"command": COMMAND, "env": env, "tools": ["open_ticket"], "timeout": PATIENCE}
        )
        self.tools = Offered({"metrics": self.server}, lambda level, text: self.said.append(text))

    def run(self, tool: str, **arguments: Any) -> ToolResult:
        made: Any = self.tools[f"metrics__{tool}"]
        return made.run(made.Arguments.model_validate(arguments), None)


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> Metrics:
    return Metrics(tmp_path_factory.mktemp("metrics") / "tickets")


@pytest.fixture
def executor(metrics: Metrics, tmp_path: Path) -> Iterator[LedgerExecutor]:
    fake = FakeSlurm()
    journal = Journal(f"sqlite:///{tmp_path / 'journal.db'}")
    ledger = Ledger(lambda: ToolContext(fake, Caller(fake.user, fake.level), fake.now), journal, AskLater())
    yield LedgerExecutor(ledger, metrics.tools)
    journal.close()


def test_only_what_reads_or_is_named_is_offered(metrics: Metrics) -> None:
    assert list(metrics.tools) == [*BY_NAME, *(f"metrics__{name}" for name in [*READS, "open_ticket"])]
    assert any("'drop_everything'" in text and "not marked as read-only" in text for text in metrics.said)
    with pytest.raises(KeyError):
        metrics.tools["metrics__drop_everything"]
    power: Any = metrics.tools["metrics__power"]
    assert (power.effect, power.origin, power.description) == (
        "read",
        "mcp metrics",
        "Power draw of a node's GPUs, in watts.",
    )
    window = {"type": "object", "properties": {"minutes": {"type": "integer"}}}
    assert power.schema()["properties"] == {"node": {"type": "string"}, "window": window}


def test_a_model_uses_it_beside_slurms_own_and_its_answer_is_data(executor: LedgerExecutor) -> None:
    made = {"node": "gpu-node01", "window": {"minutes": 3}}
    model = ScriptedModel(
        calls(("metrics__power", {"node": "gpu-node01", "window": {"minutes": "three"}})),
        calls(("metrics__power", made)),
        calls(("list_jobs", {})),
        '{"reply": "615 W"}',
    )
    agent = Agent(Decider(model, executor.tools, lambda said, history: history), executor)
    answer = agent.run("how much power does it draw?")
    assert "metrics__power" in json.dumps(model.schemas[0])
    assert "'three' is not of type 'integer'" in str(model.asked[1])
    assert [(one.call.tool, one.result.status) for one in answer.done] == [
        ("metrics__power", "ok"),
        ("list_jobs", "ok"),
    ]
    assert answer.done[0].result.data["structured"]["watts"] == [310, 305]
    told = model.asked[2][-1]["content"]
    assert told.startswith('<untrusted source="results">')
    assert told.count("</untrusted>") == 1
    assert "hunter22" not in told + str(later.calls_of(executor.ledger.journal, answer.run))
    assert answer.text == "615 W"


def test_what_it_changes_waits_for_a_yes_and_is_done_once(executor: LedgerExecutor, metrics: Metrics) -> None:
    call = Call("metrics__open_ticket", {"title": "node01 is hot"})
    assert replace(executor, dry_run=True).run("", (call,))[1][0].result.items[0].code == "dry_run"
    run, (asked,) = executor.run("open a ticket", (call,))
    assert asked.result.items[0].code == "awaiting_approval"
    assert not metrics.tickets.exists()
    [row] = later.pending(executor.ledger.journal)
    assert row["preview"]["commands"] == ['mcp metrics open_ticket {"title": "node01 is hot"}']
    _, (done,) = later.approve(executor, row["id"])
    assert done.result.status == "ok"
    later.resume(executor, run)
    assert metrics.tickets.read_text() == "node01 is hot\n"
    executor.run("once more", (call,))
    later.deny(executor, later.pending(executor.ledger.journal)[0]["id"])
    assert metrics.tickets.read_text() == "node01 is hot\n"


def test_what_goes_wrong_there_is_an_outcome_here(metrics: Metrics) -> None:
    failed = metrics.run("broken")
    assert (failed.status, failed.items[0].code) == ("failed", "mcp_tool")
    assert "broken" in failed.items[0].message
    assert len(str(metrics.run("words", count=100_000).data)) < LONGEST + 500


def test_a_server_that_dies_is_started_anew(metrics: Metrics, executor: LedgerExecutor) -> None:
    _, (dead, jobs) = executor.run("die", (Call("metrics__die", {}), Call("list_jobs", {})))
    item = dead.result.items[0]
    assert (item.outcome, item.code, item.transient) == (Outcome.FAILED, "mcp_server", True)
    assert "the MCP server metrics failed" in item.message
    assert jobs.result.status == "ok"
    assert metrics.run("words", count=1).data["structured"] == {"result": "word "}


def test_one_that_does_not_answer_is_given_up(metrics: Metrics) -> None:
    link: Link = metrics.tools["metrics__slow"].link  # type: ignore[attr-defined]
    link.server = metrics.server.model_copy(update={"timeout": 0.1})
    assert "did not answer in 0.1 s" in metrics.run("slow").items[0].message
    link.server = metrics.server


def test_over_http_with_a_token(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    with subprocess.Popen([*COMMAND, "--http"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        url = process.stdout.readline().strip()
        try:
            link = Link("far", McpServer(url=url, token_file=token, timeout=PATIENCE))
            assert [tool.name for tool in link.tools()] == [*READS, "open_ticket", "drop_everything"]
            answer = link.call("power", {"node": "n1", "window": {}})
            assert answer.structured_content["minutes"] == 5  # type: ignore[index]
            link.close()
            with pytest.raises(ServerFailed, match="MCP server far failed") as refused:
                Link("far", McpServer(url=url, timeout=PATIENCE)).tools()
            assert TOKEN not in str(refused.value)
        finally:
            process.terminate()
    with pytest.raises(ServerFailed, match="failed"):
        Link("far", McpServer(url=url, token_file=token, timeout=PATIENCE)).tools()


def test_sask_lists_them_with_their_origin_and_goes_on_without(tmp_path: Path) -> None:
    config = tmp_path / "config" / "slurm-assistant" / "config.toml"
    config.parent.mkdir(parents=True)
    root = Path(__file__).parent.parent
    words = json.dumps([sys.executable, "-c", f"import sys; sys.path.insert(0, {str(root)!r}); "
                        "from tests.mcp_metrics import server; server.run('stdio')"])  # fmt: skip
    config.write_text(
        f"[mcp_servers.metrics]\ncommand = {words}\ntimeout = {PATIENCE}\n"
        '[mcp_servers.gone]\ncommand = ["no-such-program"]\n'
    )
    done = Shell(tmp_path)("tools", "--json")
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert (rows["metrics__power"]["origin"], rows["metrics__power"]["effect"]) == ("mcp metrics", "read")
    assert rows["list_jobs"]["origin"] == "slurm"
    assert "drop_everything" in done.stderr
    assert "the MCP server gone failed" in done.stderr
    assert "no-such-program" in done.stderr


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ("none", "not that of an object"),
        ({"type": "array"}, "not that of an object"),
        ({"type": "object", "properties": {"a": {"type": "wrong"}}}, "is none"),
        ({"type": "object", "description": "x" * 30_000}, "more than"),
        ({"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:9/x.json"}}}, "its own"),
        (
            {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"$ref": "#/$defs/a"}}},
            "itself",
        ),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused(schema: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check(schema)
        simple(schema)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[mcp_servers.a]\n", "either `command`"),
        ('[mcp_servers.a]\ncommand = ["x"]\nurl = "http://h/mcp"\n', "either `command`"),
        ('[mcp_servers.a]\nurl = "h/mcp"\n', "begins with http"),
        ('[mcp_servers."A b"]\nurl = "http://h/mcp"\n', "mcp_servers"),
        ('[mcp_servers.a]\nurl = "http://h/mcp"\nshell = true\n', "mcp_servers.a.shell"),
    ],
)
def test_settings_that_cannot_be_used_are_named(
    text: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.toml").write_text(text)
    monkeypatch.setenv("SASK_CONFIG", str(tmp_path / "config.toml"))
    with pytest.raises(ConfigError, match=why):
        load()


def test_a_server_that_was_away_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = [0.0]
    monkeypatch.setattr("assistant.foreign.offered.time.monotonic", lambda: clock[0])
    tools = Offered({"gone": McpServer(command=("no-such-program",))})
    with caplog.at_level(logging.WARNING):
        for now in (0.0, 1.0, 500.0):
            clock[0] = now
            assert list(tools) == list(BY_NAME)
    assert caplog.text.count("its tools are left out") == 2
