"""``sask oncall`` as it is started, beside a real Slurm: a drained node, an alert, a diagnosis, a yes."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue

import httpx
import pytest

from assistant import app
from assistant.config import Settings
from assistant.ledger import later
from tests.oncall_bed import BEARER, TOKEN, alert, posted
from tests.shell import Shell
from tools.slurm.sandbox import Sandbox


@dataclass
class Service:
    """The process: where it listens, and what it posts on standard output, line by line."""

    process: subprocess.Popen[str]
    http: httpx.Client
    lines: Queue[str] = field(default_factory=Queue)

    def until(self, text: str) -> str:
        """All that it says up to the line with ``text``."""
        said = []
        while not said or text not in said[-1]:
            said.append(self.lines.get(timeout=120))
        return "".join(said)


@pytest.fixture
def sask(clean_sandbox: Sandbox, tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def service(sask: Shell) -> Iterator[Service]:
    (sask.folder / "token").write_text(TOKEN)
    (sask.folder / "token").chmod(0o600)
    (sask.folder / "rules.toml").write_text("group_seconds = 0\n")
    process = sask.start("oncall", "--listen", ":0", "--token-file", "token", "--rules", "rules.toml")
    assert process.stderr and process.stdout
    url = process.stderr.readline().split()[-1]
    with httpx.Client(base_url=url, headers=BEARER, timeout=60, trust_env=False) as client:
        service = Service(process, client)
        reader = threading.Thread(
            target=lambda: [service.lines.put(line) for line in process.stdout or ()], daemon=True
        )
        log = threading.Thread(target=lambda: [sask_log.append(line) for line in process.stderr or ()], daemon=True)
        sask_log: list[str] = []
        reader.start()
        log.start()
        yield service
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
        reader.join(timeout=60)
        log.join(timeout=60)
    said = "".join(sask_log)
    assert "the on-call service has ended" in said
    assert "Traceback" not in said
    assert TOKEN not in said
    assert process.returncode == 130


def state(node: str) -> str:
    shown = subprocess.run(["scontrol", "show", "node", node], capture_output=True, text=True, check=True).stdout
    return next(word for word in shown.split() if word.startswith("State="))


def test_a_drained_node_is_back_after_an_alert_and_a_yes(sask: Shell, service: Service) -> None:
    drain = ["scontrol", "update", "NodeName=gpu-node01", "State=DRAIN", "Reason=Kill task failed"]
    subprocess.run(drain, check=True)
    assert "DRAIN" in state("gpu-node01")
    assert posted(service.http, alert("SlurmNodeDrained", node="gpu-node01")) == {"alerts": 1, "new": 1}
    said = service.until("Runbook node-down")
    assert "Reason=Kill task failed" in said
    assert "scontrol update NodeName=gpu-node01 State=RESUME" in said
    executor = app.executor(Settings(journal=sask.env["SASK_JOURNAL"]))
    [waiting] = later.pending(executor.ledger.journal)
    assert f"sask approve {waiting['id']}" in said
    assert "DRAIN" in state("gpu-node01")

    run, done = later.approve(executor, waiting["id"])
    assert [one.call.tool for one in done] == ["diagnose_node", "list_jobs", "resume_node"]
    assert done[-1].result.status == "ok", done[-1]
    assert f"sask show {run}" in said
    assert "DRAIN" not in state("gpu-node01")

    posted(service.http, alert("SlurmNodeDrained", "resolved", node="gpu-node01"))
    assert "Handoff:" in service.until("The whole account")
    assert service.http.get("/readyz").json()["ready"] is True
