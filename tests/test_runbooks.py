"""The shipped runbooks and alert rules: each is whole, each rule has its runbook, and mistakes of a site are named."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from assistant.doors.oncall.alerts import EVENTS, Alert, from_slurm
from assistant.doors.oncall.runbooks import SECTIONS, Runbook, choose, load, parse
from assistant.errors import ConfigError
from tools import BY_NAME
from tools.base import Call, Effect

BOOKS = {runbook.name: runbook for runbook in load()}
NIGHTS = {
    "SlurmNodeDown": "node-down",
    "SlurmNodeDrained": "node-down",
    "GpuXid": "gpu-xid-ecc",
    "GpuEccDoubleBit": "gpu-xid-ecc",
    "SlurmControllerUnreachable": "slurmctld",
    "SlurmSchedulerSlow": "slurmctld",
    "SlurmdbdBehind": "slurmdbd",
    "SlurmQueueStalled": "queue-stalled",
    "SlurmGpuIdleHeld": "gpu-idle-held",
    "NodeFilesystemStale": "filesystem-stale",
    "SlurmLicensesUsedUp": "license-server",
    "NcclTimeoutStorm": "nccl-storm",
    "NodeDiskFull": "disk-full",
    "KubePodCrashLooping": "general",
}


def rules() -> list[dict[str, Any]]:
    folder = files("prompts") / "alerts"
    read = [
        yaml.safe_load(entry.read_text(encoding="utf-8")) for entry in folder.iterdir() if entry.name[-4:] == ".yml"
    ]
    return [rule for file in read for group in file["groups"] for rule in group["rules"]]


def named(name: str, **labels: str) -> Alert:
    return Alert(name, name, True, "warning", labels, "")


def chosen(name: str) -> str:
    return choose(BOOKS.values(), named(name)).name


@pytest.mark.parametrize(("alert", "runbook"), NIGHTS.items())
def test_every_usual_night_has_its_runbook(alert: str, runbook: str) -> None:
    assert chosen(alert) == runbook


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_of_the_plain_form_has_a_runbook_of_its_own(event: str) -> None:
    [alert] = from_slurm(f'{{"event": "{event}"}}'.encode())
    assert chosen(alert.name) != "general"


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_every_alert_rule_has_its_runbook_and_what_prometheus_needs(rule: dict[str, Any]) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert rule["annotations"]["summary"]
    assert rule["expr"].count("(") == rule["expr"].count(")")
    assert chosen(rule["alert"]) != "general"


def test_there_are_ten_and_more() -> None:
    assert len(BOOKS) > 10
    assert len(rules()) > 20
    assert len({rule["alert"] for rule in rules()}) == len(rules())


@pytest.mark.parametrize("book", BOOKS.values(), ids=lambda book: book.name)
def test_a_runbook_is_whole(book: Runbook) -> None:
    assert set(SECTIONS) <= set(book.sections)
    assert 3 <= len(book.sections["First steps"]) <= 6
    assert all(source.startswith("https://") for source in book.matter.sources)
    assert all(BY_NAME[step.tool].effect is Effect.READ for step in book.matter.tools)


def test_calls_are_made_for_each_node_and_job_that_is_named() -> None:
    book = BOOKS["nccl-storm"]
    assert book.calls([], []) == ()
    calls = book.calls(["gpu-node01", "gpu-node02"], ["7"])
    assert calls[:3] == (
        Call("diagnose_job", {"job_id": "7"}),
        Call("diagnose_node", {"node": "gpu-node01"}),
        Call("diagnose_node", {"node": "gpu-node02"}),
    )
    assert BOOKS["slurmctld"].calls([], []) == (Call("cluster_status", {}),)


def book(front: str, body: str = "## First steps\na\n## Why\nb\n## Handoff\nc\n") -> str:
    return f"+++\n{front}\n+++\n{body}"


WHOLE = 'title = "T"\nmatches = ["X*"]\nsources = ["https://example.org"]\n'


def test_labels_narrow_a_match_and_win() -> None:
    home = parse("home", book(WHOLE.replace("X*", "NodeDiskFull") + 'labels = { mountpoint = "/home.*" }'))
    books = [*BOOKS.values(), home]
    assert choose(books, named("NodeDiskFull", mountpoint="/home/a")).name == "home"
    assert choose(books, named("NodeDiskFull", mountpoint="/var")).name == "disk-full"


def test_a_sites_own_runbook_replaces_and_adds(tmp_path: Path) -> None:
    (tmp_path / "disk-full.md").write_text(book(WHOLE.replace("X*", "NodeDiskFull")))
    (tmp_path / "ours.md").write_text(book(WHOLE))
    books = {one.name: one for one in load(tmp_path)}
    assert books["disk-full"].matter.title == "T"
    assert len(books) == len(BOOKS) + 1
    assert choose(books.values(), named("Xylophone")).name == "ours"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (book("title ="), "it is TOML"),
        (book(WHOLE + "colour = 1"), "valid keys: title"),
        (book('title = "T"\nmatches = []\nsources = ["x"]'), "matches"),
        (book(WHOLE + 'tools = [{ tool = "drain_node" }]'), "no tool that reads"),
        (book(WHOLE + 'tools = [{ tool = "reboot" }]'), "diagnose_node"),
        (book(WHOLE + 'tools = [{ tool = "show_node", arguments = { job_id = "1" } }]'), "show_node"),
        (book(WHOLE + 'propose = ["cancel_jobs"]'), "drain_node, resume_node"),
        (book(WHOLE + 'labels = { a = "(" }'), "front matter"),
        (book(WHOLE, "## First steps\na\n"), "no section `## Why`"),
        ("no front matter", "runbook bad"),
    ],
)
def test_mistakes_are_named(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        parse("bad", text)
    assert said in f"{wrong.value.message} {wrong.value.remedy}"
    assert "runbook bad" in wrong.value.message
