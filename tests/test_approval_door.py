"""``--later``, ``sask approvals``, ``approve`` and ``deny`` as they are typed: each its own process, a real Slurm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from assistant.doors.argv import with_ask
from tests.shell import Shell, model_server, queue
from tools.slurm.sandbox import NODE_NAMES, Sandbox

JOB = {"command": "sleep 60", "job_name": "later", "begin": "now+1day", "working_directory": "/", "output": "/dev/null"}


@pytest.fixture
def sask(tmp_path: Path, clean_sandbox: Sandbox) -> Shell:
    return Shell(tmp_path)


def leave(sask: Shell, tool: str, arguments: dict[str, Any], *how: str) -> str:
    """Ask for it with --later; the id that the answer and the list both name."""
    done = sask("call", tool, "--json", json.dumps(arguments), *(how or ("--later",)))
    assert done.returncode == 3, done.stderr
    (item,) = json.loads(done.stdout)["done"][0]["items"]
    (row,) = json.loads(sask("approvals", "--json").stdout)
    assert item["code"] == "awaiting_approval"
    assert f"sask approve {row['id']}" in item["message"]
    return str(row["id"])


def test_left_listed_approved_and_used_up(sask: Shell) -> None:
    approval = leave(sask, "submit_job", JOB)
    assert queue() == ""
    listed = sask("approvals").stdout
    for word in (approval, "root asked: sask call submit_job", "--job-name=later", "touches: 1 job(s)", "until 20"):
        assert word in listed, listed
    digest = json.loads(sask("approvals", "--json").stdout)[0]["digest"]
    assert f"digest: {digest}" in listed
    done = sask("approve", approval, "--reason", "seen it", "--json")
    assert done.returncode == 0, done.stderr
    assert [item["outcome"] for item in json.loads(done.stdout)["done"][0]["items"]] == ["ok"]
    assert queue().count("later") == 1
    (kept,) = sask.json("show", "last", "--json")["approvals"]
    assert (kept["state"], kept["approver"], kept["reason"], kept["digest"]) == ("used", "root", "seen it", digest)
    again = sask("approve", approval)
    assert again.returncode == 2
    assert "is used by root" in again.stderr
    assert "nothing waits" in sask("approvals").stdout
    assert queue().count("later") == 1


def test_a_request_in_words_is_left_and_denied(sask: Shell) -> None:
    with model_server(json.dumps({"submit_job": JOB}), '{"reply": "ok"}') as server:
        asked = 'run "sleep 60" as later, begin now+1day, in /, output /dev/null'
        left = sask("--later", asked, SASK_MODEL=server.url)
    assert left.returncode == 3, left.stdout + left.stderr
    assert "sask approve" in left.stdout
    (row,) = json.loads(sask("approvals", "--json").stdout)
    assert row["request"] == asked
    done = sask("deny", row["id"][:6], "--reason", "not today")
    assert done.returncode == 3
    assert "not approved by root: not today" in done.stdout
    assert sask("resume", "last", "--yes").returncode == 3
    assert queue() == ""


def test_what_changed_meanwhile_is_asked_anew(sask: Shell) -> None:
    made = sask("call", "submit_job", "--yes", "--json", json.dumps(JOB))
    assert made.returncode == 0
    approval = leave(sask, "cancel_jobs", {"name": "later"})
    assert sask("call", "submit_job", "--yes", "--json", json.dumps(JOB)).returncode == 0
    done = sask("approve", approval)
    assert done.returncode == 3
    assert "the cluster has changed since" in done.stdout
    assert queue().count("PENDING") == 2
    (anew,) = json.loads(sask("approvals", "--json").stdout)
    assert anew["preview"]["blast"]["jobs"] == 2
    assert sask("approve", anew["id"]).returncode == 0
    assert "PENDING" not in queue()


def test_with_dual_control_yes_is_not_enough(sask: Shell) -> None:
    (sask.folder / "policy.toml").write_text("two_people_for_admin = true\n")
    sask.env["SASK_POLICY"] = str(sask.folder / "policy.toml")
    node = NODE_NAMES[0]
    approval = leave(sask, "drain_node", {"nodes": node, "reason": "Xid 79"}, "--yes")
    refused = sask("approve", approval)
    assert refused.returncode == 2
    assert "drain_node needs a second person" in refused.stderr
    del sask.env["SASK_POLICY"]
    assert "needs a second person" in sask("approve", approval).stderr
    assert "DRAIN" not in sask("call", "show_node", "--json", json.dumps({"node": node})).stdout


def test_with_nobody_to_ask_it_is_denied_and_says_how_to_go_on(sask: Shell) -> None:
    done = sask("call", "submit_job", "--text", "--json", json.dumps(JOB))
    assert done.returncode == 3
    for word in ("not done", "nobody could be asked", "--yes", "--later", "sask approve"):
        assert word in done.stdout
    assert queue() == ""


@pytest.mark.parametrize("words", [["approve", "4f2a"], ["deny", "4f2a", "--reason", "no GPU left"], ["approvals"]])
def test_they_are_commands(words: list[str]) -> None:
    assert with_ask(words) == words


@pytest.mark.parametrize("words", [["approve", "the", "drain"], ["deny", "all", "of", "it"]])
def test_and_sentences_are_requests(words: list[str]) -> None:
    assert with_ask(words) == ["ask", *words]
