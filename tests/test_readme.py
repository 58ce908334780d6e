"""Every sentence of the README's table, understood by the bundled model and carried out on a real Slurm."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.shell import until
from tools.slurm.sandbox import Sandbox

Ask = Callable[[str], dict[str, Any]]
README = Path(__file__).parents[1] / "README.md"
RUNNING, WAITING = "48121", "48122"
"""Ids as the README has them; they become those of real jobs."""

SENTENCES: dict[str, tuple[str, dict[str, Any]]] = {
    "train.py on 2 nodes with 8 h100s each, a day, qos ai-train, mail me when done": (
        "submit_job",
        {"command": "train.py", "nodes": 2, "gpus_per_node": 8, "gpu_type": "h100", "time_limit": "1-00:00:00",
         "qos": "ai-train", "mail_type": "END"},
    ),
    "what do I have running?": ("list_jobs", {"user": "me", "states": ["RUNNING"]}),
    "is 48121 still running?": ("show_job", {"job_id": RUNNING}),
    "last 50 lines of stderr of 48121": ("read_job_log", {"job_id": RUNNING, "lines": 50, "stream": "stderr"}),
    "hold 48122": ("control_jobs", {"action": "hold", "job_ids": [WAITING]}),
    "give 48121 6 more hours": ("resize_job", {"job_id": RUNNING, "time_limit": "+6:00:00"}),
    "move 48122 to the h100 partition": ("update_job", {"job_id": WAITING, "partition": "h100"}),
    "why is 48122 still pending?": ("diagnose_job", {"job_id": WAITING}),
    "when could I get 4 h100s for a day?": (
        "estimate_start", {"gpus": 4, "gpu_type": "h100", "time_limit": "1-00:00:00"},
    ),
    "how many h100 are free, and where?": ("cluster_status", {"gpu_type": "h100"}),
    "what's wrong with gpu-node01?": ("diagnose_node", {"node": "gpu-node01"}),
    "drain gpu-node01, Xid 79": ("drain_node", {"nodes": "gpu-node01", "reason": "Xid 79"}),
    "gpu hours by account this month": ("usage_report", {"group_by": "account"}),
    "how many GPUs may I use at once?": ("show_limits", {"user": "me"}),
    "cancel all my pending jobs": ("cancel_jobs", {"user": "me", "states": ["PENDING"]}),
}  # fmt: skip


@pytest.fixture
def ask(clean_sandbox: Sandbox, tmp_path: Path) -> Ask:
    (tmp_path / "train.sh").write_text("#!/bin/bash\necho step 1 loss 2.31 >&2\nsleep 300\n")
    env = {**os.environ, "SASK_JOURNAL": f"sqlite:///{tmp_path}/journal.db"}

    def run(request: str) -> dict[str, Any]:
        argv = [sys.executable, "-m", "assistant.doors.cli", "--yes", "--json", request]
        done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
        answer = json.loads(done.stdout)
        assert answer.get("done"), (request, answer, done.stderr)
        return dict(answer["done"][0])

    return run


def squeue(job: str, column: str) -> str:
    argv = ["squeue", "--noheader", "--states=all", f"--jobs={job}", f"--Format={column}:60"]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def sbatch(folder: Path, *options: str) -> str:
    argv = ["sbatch", "--parsable", f"--chdir={folder}", *options, str(folder / "train.sh")]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def test_the_table_is_what_is_tested_here() -> None:
    table = README.read_text(encoding="utf-8").partition("## What it can do")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert [quote for row in rows for quote in re.findall(r'"([^"]+)"', row)] == list(SENTENCES)


def test_every_sentence_of_the_table(ask: Ask, tmp_path: Path) -> None:
    running = sbatch(tmp_path, "--nodes=2", "--gpus-per-node=h100:8", "--time=2:00:00")
    until(lambda: "step 1" in read(tmp_path / f"slurm-{running}.out"))
    waiting = sbatch(tmp_path, "--nodes=2", "--gpus-per-node=h100:8", "--time=2:00:00")

    def real(text: str) -> str:
        return text.replace(RUNNING, running).replace(WAITING, waiting)

    wrong = {}
    for sentence, (tool, arguments) in SENTENCES.items():
        done = ask(real(sentence))
        wanted = json.loads(real(json.dumps(arguments)))
        got = {name: done["arguments"].get(name) for name in wanted}
        if (done["tool"], got, done["status"]) != (tool, wanted, "ok"):
            wrong[sentence] = (done["tool"], done["arguments"], done["status"], done["items"])
    assert not wrong
    assert squeue(running, "TimeLimit") == "8:00:00"
    assert (squeue(waiting, "Partition"), squeue(waiting, "State")) == ("h100", "CANCELLED")
    state = subprocess.run(["sinfo", "-hn", "gpu-node01", "-o", "%T %E"], capture_output=True, text=True, check=True)
    assert state.stdout.startswith("drained Xid 79")


def test_the_request_of_the_first_page(ask: Ask) -> None:
    done = ask("submit train.sh on 2 nodes with 8 h100s each for 2 hours, qos ai-train")
    job = done["items"][0]["id"]
    assert squeue(job, "NumNodes") == "2"
    assert squeue(job, "QOS") == "ai-train"
    assert squeue(job, "TimeLimit") == "2:00:00"
    assert "h100:8" in squeue(job, "tres-per-node")


def test_that_job_is_the_last_one(ask: Ask, tmp_path: Path) -> None:
    job = sbatch(tmp_path, "--hold")
    argv = [sys.executable, "-m", "assistant.doors.cli", "chat"]
    env = {**os.environ, "SASK_JOURNAL": f"sqlite:///{tmp_path}/journal.db", "NO_COLOR": "1"}
    typed = f"show me the details of {job}\nwhy is that job pending?\n"
    done = subprocess.run(argv, cwd=tmp_path, env=env, input=typed, capture_output=True, text=True, timeout=120)
    assert f'diagnose_job {{"job_id": "{job}"}}' in done.stdout
