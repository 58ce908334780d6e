"""The terminal's door as a user meets it: the real command, a real Slurm, exit codes, and no traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from assistant.doors.argv import COMMANDS, with_ask
from assistant.doors.cli import app
from tests.shell import Shell, model_server, queue, until
from tools.slurm.sandbox import Sandbox

ESCAPE = "\x1b"
QUIET = {"command": "sleep 60", "nodes": 2, "job_name": "quiet"}


@pytest.fixture
def sask(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def slurm(clean_sandbox: Sandbox) -> Sandbox:
    return clean_sandbox


@pytest.fixture
def state(slurm: Sandbox, tmp_path: Path) -> str:
    """A state directory in which the tests' sandbox is the one called ``tests``."""
    place = tmp_path / "state" / "slurm-assistant" / "sandbox"
    place.mkdir(parents=True)
    (place / "tests").symlink_to(slurm.root)
    return str(tmp_path / "state")


def test_errors_are_json_too(sask: Shell) -> None:
    assert sask.json("--json", "--model", "gpt", "x")["error"]["exit_code"] == 2
    assert sask.json("export", "nosuchrun")["error"]["exit_code"] == 5


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


def test_every_command_is_known_as_one() -> None:
    """A command that is missing there would be taken for a request."""
    assert set(get_command(app).commands) == COMMANDS  # type: ignore[attr-defined]


def test_shells_can_complete(sask: Shell) -> None:
    assert with_ask(["--show-completion", "bash"]) == ["--show-completion", "bash"]
    program = Path(sys.executable).parent / "sask"
    asked = {"_SASK_COMPLETE": "complete_bash", "COMP_WORDS": "sask sandbox ", "COMP_CWORD": "2"}
    done = subprocess.run([program], env={**sask.env, **asked}, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["up", "status", "env", "down"]


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
    denied = sask("call", "submit_job", "--json", json.dumps(QUIET), "--text")
    assert denied.returncode == 3
    assert "sbatch" in denied.stdout
    assert "--yes" in denied.stdout
    rehearsed = sask("call", "submit_job", "--json", json.dumps(QUIET), "--dry-run", "--yes")
    assert "dry run" in rehearsed.stdout
    assert "scancel JOBID" in json.loads(rehearsed.stdout)["done"][0]["undo"][0]
    assert rehearsed.returncode == 0
    assert queue() == ""


def test_the_answer_at_the_terminal_decides(sask: Shell, slurm: Sandbox) -> None:
    for answer, code, left in (("n", 3, 0), ("yes", 0, 1)):
        with sask.terminal("call", "submit_job", "--json", json.dumps(QUIET), "--text") as terminal:
            terminal.wait_for("Do it? [y/N]")
            terminal.type(f"{answer}\n")
            assert terminal.end() == code
        assert queue().count("quiet") == left


def test_submit_show_undo(sask: Shell, slurm: Sandbox) -> None:
    arguments = json.dumps({"command": "sleep 600", "nodes": 2, "job_name": "walk"})
    made = sask.json("call", "submit_job", "--json", arguments, "--yes")
    job = made["done"][0]["items"][0]["id"]
    assert "walk" in queue()
    assert "sbatch --parsable --job-name=walk --nodes=2" in made["done"][0]["commands"][0]
    assert made["done"][0]["undo"] == [f"scancel {job}"]
    assert str(made["run"]) in sask("runs").stdout
    kept = sask.json("show", "last", "--json")
    assert kept["run"] == made["run"]
    assert kept["calls"][0]["plan"]["undo"] == [f"scancel {job}"]
    assert f"undo: scancel {job}" in sask("show", "last").stdout
    assert sask("undo", "last", "--yes").returncode == 0
    until(lambda: "walk" not in queue())


def test_every_command_prints_one_json_document(sask: Shell, slurm: Sandbox, state: str) -> None:
    submitting = json.dumps({"submit_job": QUIET})
    (sask.folder / "log").write_text("Segmentation fault (core dumped)\n")
    with model_server(
        submitting, '{"reply": "so it is"}', '{"list_jobs": {"user": "me"}}', '{"reply": "yes"}'
    ) as server:
        typed: list[tuple[str, ...]] = [
            ("ask", "--json", "--yes", "run sleep 60 as quiet on 2 nodes"),
            ("plan", "--json", "my jobs"),
            ("chat", "--json"),
            ("call", "list_jobs", "--json", "{}"),
            ("tools", "--json"),
            ("runs", "--json"),
            ("show", "last", "--json"),
            ("export", "last", "--json"),
            ("resume", "last", "--json"),
            ("undo", "last", "--json"),
            ("approvals", "--json"),
            ("approve", "nosuch", "--json"),
            ("deny", "nosuch", "--json"),
            ("serve", "--status", "--json"),
            ("models", "--json"),
            ("config", "--json"),
            ("diagnose-log", "log", "--json"),
            *(("sandbox", word, "--json", "--name", "tests") for word in ("up", "status", "env")),
            ("sandbox", "down", "--json", "--name", "never-started"),
        ]
        for words in typed:
            done = sask(*words, stdin="is it so\n", SASK_MODEL=server.url, XDG_STATE_HOME=state)
            json.loads(done.stdout)
            assert ESCAPE not in done.stdout + done.stderr, words
    apart = {"eval", "mcp", "doctor", "oncall", "slack"}  # with tests of their own
    assert {words[0] for words in typed} == COMMANDS - apart


def test_no_escape_codes_in_a_pipe(sask: Shell, slurm: Sandbox, state: str) -> None:
    (sask.folder / "log").write_text("Segmentation fault (core dumped)\n")
    typed: list[tuple[str, ...]] = [
        ("--help",), ("tools",), ("runs",), ("config",), ("diagnose-log", "log"),
        ("sandbox", "status", "--name", "tests"),
        ("call", "cluster_status", "--text"), ("call", "submit_job", "--text", "--json", json.dumps(QUIET)),
        ("show", "last"), ("ask", ""),
    ]  # fmt: skip
    for words in typed:
        done = sask(*words, XDG_STATE_HOME=state)
        assert done.stdout + done.stderr
        assert ESCAPE not in done.stdout + done.stderr, words
    with model_server('{"reply": "Hello."}') as server:
        done = sask("chat", "--model", server.url, stdin="hi\n/quit\n")
    assert (done.returncode, done.stdout) == (0, "Hello.\n")


@pytest.mark.parametrize("no_color", [True, False])
def test_no_color_is_obeyed_on_a_terminal(sask: Shell, slurm: Sandbox, no_color: bool) -> None:
    env = {"NO_COLOR": "1"} if no_color else {}
    request = "run sleep 60 as quiet on 2 nodes"
    with (
        model_server(json.dumps({"submit_job": QUIET})) as server,
        sask.terminal("--model", server.url, request, **env) as terminal,
    ):
        terminal.wait_for("Do it? [y/N]")
        terminal.type("n\n")
        assert terminal.end() == 3
    assert (ESCAPE in terminal.shown) is not no_color


def test_a_sandbox_is_described_in_words(sask: Shell, slurm: Sandbox, state: str) -> None:
    said = sask("sandbox", "status", "--name", "tests", XDG_STATE_HOME=state)
    assert said.returncode == 0
    assert said.stdout.startswith("sandbox 'tests' is running: Slurm ")
    assert "idle: gpu-node[01-05]" in said.stdout
    assert f"export SLURM_CONF={slurm.conf}" in said.stdout
    slurm.kill_slurmd("gpu-node02")
    part = sask("sandbox", "status", "--name", "tests", XDG_STATE_HOME=state)
    assert part.returncode == 6
    assert "runs only in part: gpu-node02 ended; `sask sandbox up --name tests` starts it" in part.stdout
    none = sask("sandbox", "status", "--name", "never-started")
    assert (none.returncode, none.stdout) == (
        6,
        "sandbox 'never-started' is not running; `sask sandbox up --name never-started` starts it\n",
    )


def test_the_exit_codes_of_the_help(sask: Shell, slurm: Sandbox) -> None:
    """Each of them from a real process; 130 is in test_errors_listed."""
    listed = " ".join(sask("--help").stdout.split()).partition("Exit codes:")[2]
    seen = {
        0: sask("call", "cluster_status"),
        1: sask("call", "show_job", "--json", '{"job_id": "999999"}'),
        2: sask("call", "show_job"),
        3: sask("call", "submit_job", "--json", json.dumps(QUIET)),
        4: sask("--model", "http://127.0.0.1:9", "my jobs"),
        5: sask("show", "nosuchrun"),
        6: sask("call", "cluster_status", SLURM_CONF="absent.conf"),
    }
    assert {code: done.returncode for code, done in seen.items()} == {code: code for code in seen}
    assert all(f" {code} " in listed for code in (*seen, 130))


def test_a_reader_that_goes_away_is_no_error(sask: Shell) -> None:
    process = sask.start("tools", "--json")
    assert process.stdout and process.stderr
    process.stdout.close()
    assert "Traceback" not in process.stderr.read()
    process.wait(timeout=60)


def test_the_folder_is_left_as_it_was(sask: Shell) -> None:
    sask("tools")
    assert os.listdir(sask.folder) == []
