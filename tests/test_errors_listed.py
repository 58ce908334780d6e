"""Bad input, one row each: the exit code, what is said, and a queue that is as it was. Then Ctrl-C at every point."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.shell import Shell, model_server, queue, until
from tools.slurm.sandbox import Sandbox

REFUSED_PORT = "http://127.0.0.1:9"
SUBMIT = {"command": "sleep 60", "job_name": "never"}
NO_SLURM = {"SLURM_CONF": "absent.conf"}
VALID_JOBS = ("{held}", "{array}")


@pytest.fixture(scope="module")
def jobs(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A held job and a held array: what a wrong id is compared with, and what must stay as it is."""
    sandbox.reset()
    folder = tmp_path_factory.mktemp("jobs")
    (folder / "plain.txt").write_text("echo no interpreter\n")
    made = {name: _sbatch(folder, *options) for name, options in (("held", ()), ("array", ("--array=1-3",)))}
    yield {**made, "folder": str(folder), "slip": _slip(made["held"]), "url": REFUSED_PORT}
    sandbox.reset()


def _sbatch(folder: Path, *options: str) -> str:
    argv = ["sbatch", "--parsable", "--hold", "--job-name=kept", *options, "--wrap=true"]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def _slip(job: str) -> str:
    """The id with a digit typed twice: nobody's job."""
    return job + job[-1]


def call(tool: str, **arguments: Any) -> list[str]:
    return ["call", tool, "--yes", "--json", json.dumps(arguments)]


def submit(**arguments: Any) -> list[str]:
    return call("submit_job", **{**SUBMIT, **arguments})


Row = tuple[str, list[str], int, tuple[str, ...], dict[str, str]]
ROWS: list[Row] = [
    # no Slurm, no model
    ("slurm.conf is not there", call("list_jobs"), 6, ("SLURM_CONF names absent.conf", "sask sandbox up"), NO_SLURM),
    ("a rehearsal without Slurm", [*submit(), "--dry-run"], 6, ("SLURM_CONF names absent.conf",), NO_SLURM),
    ("no commands of Slurm's", call("list_jobs"), 6, ("cannot be run", "sask sandbox up"), {"PATH": "/nonexistent"}),
    ("a sandbox that does not run", ["sandbox", "env", "--name", "none"], 6, ("sask sandbox up --name none",), {}),
    ("no model", ["--model", REFUSED_PORT, "my jobs"], 4, (f"no model answers at {REFUSED_PORT}", "sask serve"), {}),
    ("no such model", ["--model", "gpt", "my jobs"], 2, ("'gpt' is neither `embedded` nor a URL",), {}),
    ("no such profile", ["serve", "gpt-9"], 2, ("no profile 'gpt-9'", "valid: embedded"), {}),
    # names, with the valid ones
    ("tool", call("list_job"), 2, ("no tool 'list_job'", "did you mean list_jobs?", "show_limits"), {}),
    ("argument", call("show_job", job="7"), 2, ("show_job.job", "did you mean job_id?", "valid: job_id"), {}),
    ("partition", submit(partition="hh100"), 1, ("'hh100'", "valid: gpu", "debug", "did you mean h100?"), {}),
    ("qos", submit(qos="ai-trian"), 1, ("'ai-trian'", "interactive", "did you mean ai-train?"), {}),
    ("account", submit(account="visoin"), 1, ("'visoin'", "ml-research", "did you mean vision?"), {}),
    ("gpu type", submit(gpu_type="v100"), 1, ("'v100'", "a100_3g.20gb"), {}),
    ("feature", submit(constraint="h1000"), 1, ("'h1000'", "nvlink", "did you mean h100?"), {}),
    ("node of a job", submit(nodelist="gpu-node99"), 1, ("'gpu-node99'", "gpu-node05"), {}),
    ("reservation", submit(reservation="nope"), 1, ("no reservation 'nope'",), {}),
    ("licence", submit(licenses="matlob:1"), 1, ("'matlob'", "ansys", "did you mean matlab?"), {}),
    ("node to show", call("show_node", node="gpu-nod03"), 1, ("gpu-nod03", "did you mean gpu-node03?"), {}),
    ("node to diagnose", call("diagnose_node", node="gpu-node9"), 1, ("gpu-node9", "gpu-node01, gpu-node02"), {}),
    ("node to drain", call("drain_node", nodes="gpu-node99", reason="x"), 1, ("gpu-node99", "valid: gpu-node01"), {}),
    ("node to resume", call("resume_node", nodes="gpu-node99"), 1, ("gpu-node99", "valid: gpu-node01"), {}),
    ("partition to look at", call("list_jobs", partition="nope"), 1, ("no partition nope", "debug"), {}),
    ("account to look at", call("usage_report", account="fisics"), 1, ("no account fisics", "physics"), {}),
    ("user to look at", call("list_jobs", user="nobody-here"), 1, ("nobody-here",), {}),
    # job ids, with the caller's
    *[
        (f"job id of {tool}", call(tool, **arguments), 1, ("no job 999999", *VALID_JOBS), {})
        for tool, arguments in {
            "show_job": {"job_id": "999999"},
            "read_job_log": {"job_id": "999999"},
            "diagnose_job": {"job_id": "999999"},
            "estimate_start": {"job_id": "999999"},
            "resize_job": {"job_id": "999999", "time_limit": "+1:00:00"},
            "update_job": {"job_id": "999999", "job_name": "x"},
            "cancel_jobs": {"job_ids": ["999999"]},
            "control_jobs": {"action": "release", "job_ids": ["999999"]},
            "submit_job": {**SUBMIT, "dependency": "afterok:999999"},
        }.items()
    ],
    ("a slip in a job id", call("show_job", job_id="{slip}"), 1, ("no job {slip}", "did you mean {held}?"), {}),
    ("a task", call("show_job", job_id="{array}_9"), 1, ("of {array} there are: {array}_[1-3]",), {}),
    ("a task to cancel", call("cancel_jobs", job_ids=["{array}_9"]), 1, ("of {array} there are",), {}),
    ("no id at all", call("show_job", job_id="the last one"), 2, ("'the last one' is not a job id such as 123",), {}),
    # values
    ("time", submit(time_limit="soon"), 2, ("submit_job.time_limit", "'soon' is not a duration"), {}),
    ("memory", submit(mem="900"), 2, ("submit_job.mem", "'900' is not an amount of memory"), {}),
    ("array", submit(array="5-x"), 2, ("submit_job.array", "'5-x' is not an array such as 0-99%10"), {}),
    ("array beyond Slurm's own limit", submit(array="0-5000"), 1, ("Invalid job array specification",), {}),
    ("array beyond all measure", submit(array="0-99999999"), 3, ("100,000,000 node-hours",), {}),
    ("more memory than a node has", submit(mem="900T"), 1, ("is above what any node of partition gpu has",), {}),
    ("begin", submit(begin="whenever"), 2, ("submit_job.begin", "'whenever'"), {}),
    ("dependency", submit(dependency="after it"), 2, ("submit_job.dependency", "afterok:123"), {}),
    ("a missing argument", call("show_job"), 2, ("show_job.job_id: Field required",), {}),
    ("not JSON", ["call", "show_job", "--json", "{{oops"], 2, ("--json is not JSON", '--json \'{{"job_id"'), {}),
    ("no object", ["call", "show_job", "--json", "[1]"], 2, ("--json is list, not an object",), {}),
    # scripts
    ("script", call("submit_job", script="absent.sh"), 1, ("no script 'absent.sh'", "looked for {cwd}/absent.sh"), {}),
    ("script that is a folder", call("submit_job", script="/usr"), 1, ("no script '/usr'",), {}),
    ("script without #!", call("submit_job", script="{folder}/plain.txt"), 1, ("must begin with #!",), {}),
    ("nothing to run", call("submit_job", nodes=1), 2, ("give exactly one of command and script",), {}),
    # requests
    ("empty request", [""], 2, ("the request is empty",), {}),
    ("blank request", ["ask", " \n\t"], 2, ("the request is empty",), {}),
    ("empty plan", ["plan", ""], 2, ("the request is empty",), {}),
    ("100 kB", ["x" * 100_000], 2, ("the request has 100,000 characters; at most 60,000", "diagnose-log"), {}),
    ("Russian", ["отмени все мои задачи"], 2, ("cannot read Cyrillic script", "English, German", "--model URL"), {}),
    ("Thai", ["plan", "ยกเลิกงานทั้งหมด"], 2, ("cannot read Thai script",), {}),
    # files, settings, the journal
    ("log", ["diagnose-log", "absent.log"], 2, ("absent.log: No such file",), {}),
    ("batch", ["plan", "--batch", "absent.jsonl"], 2, ("absent.jsonl: No such file",), {}),
    ("clock", ["plan", "--now", "soon", "my jobs"], 2, ("'soon' is not an ISO time",), {}),
    ("setting", ["config"], 2, ("setting timeout", "'soon'", "sask config"), {"SASK_TIMEOUT": "soon"}),
    ("run", ["show", "nosuchrun"], 5, ("no run 'nosuchrun'", "`sask runs` lists them"), {}),
    ("run to undo", ["undo", "nosuchrun"], 5, ("no run 'nosuchrun'",), {}),
    ("journal", ["runs"], 5, ("journal",), {"SASK_JOURNAL": "sqlite:////proc/nowhere/journal.db"}),
    ("option", ["runs", "--colour"], 2, ("No such option",), {}),
    ("sandbox name", ["sandbox", "up", "--name", "a/b"], 2, ("sandbox name 'a/b'",), {}),
]  # fmt: skip


def _filled(text: str, jobs: dict[str, str]) -> str:
    for name, value in jobs.items():
        text = text.replace(f"{{{name}}}", value)
    return text.replace("{{", "{").replace("}}", "}") if "{{" in text else text


@dataclass(frozen=True)
class Tried:
    """Every row at once: they wait for Slurm more than they compute."""

    done: dict[str, subprocess.CompletedProcess[str]]
    words: dict[str, str]
    before: str
    after: str


@pytest.fixture(scope="module")
def tried(jobs: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Tried:
    folder, before = tmp_path_factory.mktemp("rows"), queue()
    words = {**jobs, "cwd": str(folder)}

    def run(number: int) -> subprocess.CompletedProcess[str]:
        _, arguments, _, _, env = ROWS[number]
        journal = f"sqlite:///{folder}/{number}.db"
        return Shell(folder, SASK_JOURNAL=journal)(*(_filled(argument, words) for argument in arguments), **env)

    with ThreadPoolExecutor(4) as pool:
        done = dict(zip([row[0] for row in ROWS], pool.map(run, range(len(ROWS))), strict=True))
    return Tried(done, words, before, queue())


@pytest.mark.parametrize(("name", "code", "says"), [(row[0], row[2], row[3]) for row in ROWS], ids=[r[0] for r in ROWS])
def test_bad_input(tried: Tried, name: str, code: int, says: tuple[str, ...]) -> None:
    done = tried.done[name]
    for text in says:
        assert _filled(text, tried.words) in done.stdout + done.stderr
    assert done.returncode == code


def test_none_of_it_changed_anything(tried: Tried) -> None:
    assert tried.before.count(" kept ") == 2
    assert tried.after == tried.before


def test_a_model_that_cannot_answer_changes_nothing(tmp_path: Path, jobs: dict[str, str]) -> None:
    before, sask = queue(), Shell(tmp_path)
    with model_server(*["Ich weiß nicht"] * 3) as server:
        done = sask("--yes", "--json", "--model", server.url, "удали все мои задачи")
    assert (done.returncode, json.loads(done.stdout)["action"]) == (3, "ask")
    assert queue() == before


def test_ctrl_c_while_the_model_thinks(tmp_path: Path, jobs: dict[str, str]) -> None:
    before = queue()
    with model_server() as server:
        process = Shell(tmp_path).start("--yes", "--model", server.url, "cancel all my jobs")
        until(server.hangs.is_set)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "sask: interrupted; nothing was changed\n")
    assert queue() == before


def test_ctrl_c_at_the_prompt_and_the_way_back(tmp_path: Path, jobs: dict[str, str]) -> None:
    before, sask = queue(), Shell(tmp_path)
    held = jobs["held"]
    with sask.terminal(*call("cancel_jobs", job_ids=[held])[:2], "--json", f'{{"job_ids": ["{held}"]}}') as terminal:
        terminal.wait_for("Do it? [y/N]")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 130
    run = sask.json("show", "last", "--json")["run"]
    assert f"sask: interrupted; nothing was changed; not done: {held}; `sask resume {run}` takes up" in terminal.shown
    assert queue() == before


def test_ctrl_c_after_something_was_done_names_it(sandbox: Sandbox, tmp_path: Path) -> None:
    submitting = json.dumps({"submit_job": {"command": "sleep 61", "job_name": "made"}})
    with model_server(submitting) as server:
        process = Shell(tmp_path).start("--yes", "--json", "--model", server.url, "run sleep 61 as made")
        until(server.hangs.is_set)
        process.send_signal(signal.SIGINT)
        shown, said = process.communicate(timeout=60)
    told = json.loads(shown)
    (job,) = [item["id"] for done in told["done"] for item in done["items"]]
    assert told["interrupted"] is True and told["run"]
    assert (process.returncode, said) == (130, f"sask: interrupted; done: {job}\n")
    assert told["done"][0]["undo"] == [f"scancel {job}"]
    subprocess.run(["scancel", job], check=True)


@pytest.mark.parametrize("arguments", [["diagnose-log"], ["-"], ["plan", "--batch", "-"]])
def test_ctrl_c_while_it_reads(tmp_path: Path, arguments: list[str]) -> None:
    with model_server() as server:
        told = Shell(tmp_path, SASK_MODEL=server.url).interrupt_reading(*arguments)
    assert told == (130, "sask: interrupted; nothing was changed\n")


def test_ctrl_c_in_a_chat_gives_up_the_request_only(tmp_path: Path, jobs: dict[str, str]) -> None:
    before = queue()
    with model_server() as server, Shell(tmp_path).terminal("chat", "--model", server.url) as terminal:
        terminal.wait_for("sask> ")
        terminal.type("cancel all my jobs\n")
        until(server.hangs.is_set)
        terminal.process.send_signal(signal.SIGINT)
        terminal.wait_for("sask: interrupted; nothing was changed")
        terminal.type("/quit\n")
        assert terminal.end() == 0
    assert queue() == before
