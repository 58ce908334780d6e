"""Twelve requests, one for each family of tools, understood by the bundled model and carried out on a real Slurm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tools.slurm.sandbox import Sandbox

Ask = Callable[[str], dict[str, Any]]


@pytest.fixture
def ask(clean_sandbox: Sandbox, tmp_path: Path) -> Ask:
    (tmp_path / "train.sh").write_text("#!/bin/bash\necho step 1 loss 2.31\nsleep 300\n")
    env = {**os.environ, "SASK_JOURNAL": f"sqlite:///{tmp_path}/journal.db"}

    def run(request: str) -> dict[str, Any]:
        argv = [sys.executable, "-m", "assistant.doors.cli", "--yes", "--json", request]
        done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
        return dict(json.loads(done.stdout)["done"][0])

    return run


def squeue(job: str, column: str) -> str:
    argv = ["squeue", "--noheader", "--states=all", f"--jobs={job}", f"--Format={column}:60"]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def job(ask: Ask) -> str:
    """A job that a request submitted."""
    done = ask("submit train.sh on 2 nodes with 8 h100s each for 2 hours")
    assert done["status"] == "ok", done
    return str(done["items"][0]["id"])


def test_submit(ask: Ask) -> None:
    done = ask("submit train.sh with qos ai-train on 2 nodes with 8 h100s each for 2 hours")
    job = done["items"][0]["id"]
    assert squeue(job, "NumNodes") == "2"
    assert squeue(job, "QOS") == "ai-train"
    assert squeue(job, "TimeLimit") == "2:00:00"
    assert "h100:8" in squeue(job, "tres-per-node")


def test_look_steer_change_and_cancel(ask: Ask, job: str) -> None:
    listed = ask("what do I have running?")
    assert listed["tool"] == "list_jobs"
    assert job in [row["job_id"] for row in listed["data"]["jobs"]]
    assert ask(f"show me the details of {job}")["data"]["job"]["job_id"] == job
    assert ask(f"give {job} 3 more hours")["status"] == "ok"
    assert squeue(job, "TimeLimit") == "5:00:00"
    assert ask(f"cancel {job}")["status"] == "ok"
    assert squeue(job, "State") in ("COMPLETING", "CANCELLED")


def test_hold_move_why_and_when(ask: Ask, job: str) -> None:
    waiting = str(ask("submit train.sh on 2 nodes with 8 h100s each for 2 hours")["items"][0]["id"])
    assert ask(f"why is {waiting} still pending?")["tool"] == "diagnose_job"
    assert ask(f"when will {waiting} start?")["tool"] == "estimate_start"
    assert ask(f"hold {waiting}")["status"] == "ok"
    assert "Held" in squeue(waiting, "Reason")
    assert ask(f"move {waiting} to the h100 partition")["status"] == "ok"
    assert squeue(waiting, "Partition") == "h100"


def test_log(ask: Ask, job: str) -> None:
    assert ask(f"last 50 lines of stderr of {job}")["arguments"] == {"job_id": job, "stream": "stderr", "lines": 50}


def test_cluster_nodes_and_accounting(ask: Ask) -> None:
    free = ask("how many h100 are free, and where?")
    assert free["data"]["gpus"][0]["free"] == 16
    assert ask("what's wrong with gpu-node03?")["data"]["node"]
    assert ask("drain gpu-node03, Xid 79")["status"] == "ok"
    state = subprocess.run(["sinfo", "-hn", "gpu-node03", "-o", "%T %E"], capture_output=True, text=True, check=True)
    assert state.stdout.startswith("drained Xid 79")
    assert ask("put gpu-node03 back into service")["status"] == "ok"
    assert ask("how many GPUs may I use at once?")["tool"] == "show_limits"
    assert ask("how many gpu hours did each user use today?")["data"]["group_by"] == "user"
