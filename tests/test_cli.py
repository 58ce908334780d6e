"""The terminal's door as a user meets it: the real command, a real Slurm, exit codes, and no traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools.slurm.sandbox import Sandbox


class Shell:
    """Runs ``sask`` in a directory of its own, with its own state and configuration."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {
            **os.environ,
            "XDG_CONFIG_HOME": str(folder / "config"),
            "SASK_JOURNAL": f"sqlite:///{folder}/journal.db",
        }

    def __call__(self, *arguments: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "assistant.doors.cli", *arguments],
            cwd=self.folder, env={**self.env, **env}, input=stdin, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert "Traceback" not in done.stderr + done.stdout
        return done

    def json(self, *arguments: str) -> dict[str, object]:
        return dict(json.loads(self(*arguments).stdout))


@pytest.fixture
def sask(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def slurm(clean_sandbox: Sandbox) -> Sandbox:
    return clean_sandbox


def queue() -> str:
    return subprocess.run(
        ["squeue", "--noheader", "--format=%j %T %D"], capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["ask", ""], 2, "the request is empty"),
        (["ask", "  \n "], 2, "the request is empty"),
        (["ask", "x" * 100_000], 2, "at most 60,000"),
        (["plan", ""], 2, "the request is empty"),
        (["plan", "--now", "tomorrow", "my jobs"], 2, "'tomorrow' is not an ISO time"),
        (["plan", "--batch", "nowhere.jsonl"], 2, "nowhere.jsonl: No such file"),
        (["--model", "gpt", "my jobs"], 2, "neither `embedded` nor a URL"),
        (["--model", "http://127.0.0.1:9", "my jobs"], 4, "no model answers at http://127.0.0.1:9"),
        (["call", "no_such_tool"], 2, "valid: submit_job, list_jobs"),
        (["call", "show_job", "--json", "{oops"], 2, "--json is not JSON"),
        (["call", "show_job", "--json", "[1]"], 2, "not an object"),
        (["diagnose-log", "nowhere.log"], 2, "nowhere.log: No such file"),
        (["serve", "gpt-9"], 2, "valid: embedded"),
        (["sandbox", "env", "--name", "never-started"], 4, "is not running"),
        (["show", "nosuchrun"], 5, "no run 'nosuchrun'"),
        (["undo", "nosuchrun"], 5, "`sask runs` lists them"),
    ],
)
def test_bad_input_is_one_clear_message(sask: Shell, arguments: list[str], code: int, says: str) -> None:
    done = sask(*arguments)
    assert says in done.stderr
    assert done.returncode == code


def test_errors_are_json_too(sask: Shell) -> None:
    assert sask.json("--json", "--model", "gpt", "x")["error"]["exit_code"] == 2  # type: ignore[index]


def test_no_slurm_is_said_with_the_remedy(sask: Shell) -> None:
    done = sask("call", "list_jobs", "--text", PATH=str(sask.folder), SLURM_CONF="")
    assert "sask sandbox up" in done.stderr + done.stdout
    assert done.returncode in (1, 6)


def test_help_teaches(sask: Shell) -> None:
    text = sask("--help").stdout
    for word in ("sask", "plan", "call", "sandbox", "Exit codes"):
        assert word in text
    bare = sask()
    assert "Usage" in bare.stdout + bare.stderr


def test_help_imports_nothing_heavy() -> None:
    heavy = ("httpx", "pydantic", "rich", "tools", "sqlalchemy", "torch", "vllm")
    code = f"import sys, assistant.doors.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_tools_lists_the_contract(sask: Shell) -> None:
    rows = json.loads(sask("tools", "--json").stdout)
    assert len(rows) == 17
    assert {row["effect"] for row in rows} == {"read", "write", "admin"}
    assert all(row["schema"]["additionalProperties"] is False and row["examples"] for row in rows)


def test_settings_take_precedence_flag_environment_file_default(sask: Shell) -> None:
    folder = sask.folder / "config" / "slurm-assistant"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text('timeout = 7\nmodel = "http://file:1"\nmax_tokens = 99\n')
    done = sask("config", "--json", "--model", "http://flag:1", SASK_TIMEOUT="9")
    rows = {row["name"]: row for row in json.loads(done.stdout)["settings"]}
    assert (rows["model"]["value"], rows["model"]["origin"]) == ("http://flag:1", "flag")
    assert (rows["timeout"]["value"], rows["timeout"]["origin"]) == ("9.0", "environment SASK_TIMEOUT")
    assert rows["max_tokens"]["value"] == "99"
    assert rows["temperature"]["origin"] == "default"


@pytest.mark.parametrize(
    ("text", "says"),
    [("colour = 1\n", "setting colour"), ("timeout = -1\n", "greater than 0"), ("][", "cannot be read")],
)
def test_a_broken_settings_file_is_named(sask: Shell, text: str, says: str) -> None:
    file = sask.folder / "broken.toml"
    file.write_text(text)
    done = sask("config", SASK_CONFIG=str(file))
    assert done.returncode == 2
    assert says in done.stderr


def test_a_log_is_diagnosed_from_a_pipe_and_in_a_batch(sask: Shell) -> None:
    log = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"
    assert json.loads(sask("diagnose-log", "--json", stdin=log).stdout)["label"] == "cuda_oom"
    batch = sask.folder / "logs.jsonl"
    batch.write_text(
        json.dumps({"id": 1, "text": log})
        + "\nnot json\n"
        + json.dumps({"id": 3, "text": "", "state": "TIMEOUT"})
        + "\n"
    )
    rows = [json.loads(line) for line in sask("diagnose-log", "--batch", str(batch)).stdout.splitlines()]
    assert [row["label"] for row in rows] == ["cuda_oom", "invalid", "time_limit"]


def test_a_change_waits_for_a_yes(sask: Shell, slurm: Sandbox) -> None:
    arguments = json.dumps({"command": "sleep 60", "nodes": 2, "job_name": "quiet"})
    denied = sask("call", "submit_job", "--json", arguments, "--text")
    assert denied.returncode == 3
    assert "sbatch" in denied.stdout
    assert "--yes" in denied.stdout
    rehearsed = sask("call", "submit_job", "--json", arguments, "--dry-run", "--yes")
    assert "dry run" in rehearsed.stdout
    assert queue() == ""


def test_submit_show_undo(sask: Shell, slurm: Sandbox) -> None:
    made = sask.json(
        "call", "submit_job", "--json", json.dumps({"command": "sleep 60", "nodes": 2, "job_name": "walk"}), "--yes"
    )
    assert "walk" in queue()
    assert "sbatch --parsable --job-name=walk --nodes=2" in made["done"][0]["commands"][0]  # type: ignore[index]
    assert str(made["run"]) in sask("runs").stdout
    assert json.loads(sask("show", "last", "--json").stdout)["run"] == made["run"]
    assert sask("undo", "last", "--yes").returncode == 0
    deadline = time.monotonic() + 20
    while "walk" in queue() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert "walk" not in queue()


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("show_job", {"job_id": "99999999"}, "99999999"),
        ("submit_job", {"command": "true", "partition": "nope"}, "h100"),
        ("submit_job", {"command": "true", "qos": "nope"}, "ai-train"),
        ("submit_job", {"command": "true", "account": "nope"}, "ml-research"),
        ("submit_job", {"script": "missing.sh"}, "missing.sh"),
        ("submit_job", {"command": "true", "time_limit": "soon"}, "'soon' is not a duration"),
        ("submit_job", {"command": "true", "mem": "900"}, "is not an amount of memory"),
        ("submit_job", {"command": "true", "array": "5-x"}, "is not an array"),
        ("drain_node", {"nodes": "gpu-node99"}, "gpu-node01"),
    ],
)
def test_what_slurm_would_not_take_is_refused_with_the_valid_ones(
    sask: Shell, slurm: Sandbox, tool: str, arguments: dict[str, str], says: str
) -> None:
    done = sask("call", tool, "--json", json.dumps(arguments), "--yes")
    assert done.returncode == 1
    assert says in done.stdout
    assert queue() == ""


def test_ctrl_c_is_no_traceback(sask: Shell) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "assistant.doors.cli", "diagnose-log"],
        cwd=sask.folder, env=sask.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert "Traceback" not in errors
    assert process.returncode == 130


def test_no_colours_in_a_pipe(sask: Shell, slurm: Sandbox) -> None:
    assert "\x1b" not in sask("call", "cluster_status", "--text").stdout
