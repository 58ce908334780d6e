"""``sask serve PROFILE --slurm`` on a real Slurm: submitted, waited for, used with its key, ended."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from assistant.errors import ModelError, ModelRefused
from assistant.loop.model import OpenAIModel
from tests.serve_bed import Node
from tests.shell import queue, until
from tools.slurm.sandbox import Sandbox


@pytest.fixture
def slurm(clean_sandbox: Sandbox) -> Iterator[Sandbox]:
    yield clean_sandbox
    clean_sandbox.reset()


def on(folder: Path) -> Node:
    """A machine with Slurm's commands; a job inherits its PATH, and so its GPUs and its vLLM."""
    node = Node(folder)
    node.sask.env["PATH"] += os.pathsep + os.environ["PATH"]
    return node


def test_the_bundled_model_as_a_job(slurm: Sandbox, tmp_path: Path) -> None:
    sask = on(tmp_path).serve
    assert sask("--slurm", "--status", profile="embedded").returncode == 4
    told = json.loads(sask("--slurm", "--json", profile="embedded").stdout)
    assert told["running"] and "sask-serve-embedded RUNNING" in queue()
    key = Path(told["key"])
    assert key.stat().st_mode & 0o777 == 0o600
    model = OpenAIModel(told["url"], told["model"], key.read_text().strip())
    assert model.first_model() == told["model"]
    assert model.complete([{"role": "user", "content": "show job 7"}], {"enum": ["yes"]}).text == '"yes"'
    with pytest.raises(ModelRefused, match="HTTP 401"):
        OpenAIModel(told["url"], told["model"]).complete([{"role": "user", "content": "x"}], {"enum": ["yes"]})
    again = sask("--slurm", profile="embedded")
    assert again.returncode == 4 and f"is job {told['job']} already" in again.stderr
    status = sask("--slurm", "--status", profile="embedded")
    assert status.returncode == 0 and f"SASK_API_KEY_FILE={key}" in status.stdout
    assert sask("--slurm", "--stop", profile="embedded").stdout == f"job {told['job']} is cancelled\n"
    until(lambda: queue() == "")
    with pytest.raises(ModelError):
        model.first_model()
    assert sask("--slurm", "--stop", profile="embedded").stdout == "no such job was running\n"


def test_vllm_as_a_job_looks_at_its_node_first(slurm: Sandbox, tmp_path: Path) -> None:
    node = on(tmp_path)
    folder = node.weights()
    done = node.serve("--slurm", "--model-path", str(folder), "--partition", "gpu", "--json")
    told = json.loads(done.stdout)
    assert told["running"] and node.started["argv"][1:3] == ["serve", str(folder)]
    assert node.started["env"]["VLLM_API_KEY"] == Path(told["key"]).read_text().strip()
    assert "0.0.0.0" in node.started["argv"]
    assert node.serve("--slurm", "--stop").returncode == 0
    until(lambda: queue() == "")


@pytest.mark.parametrize(
    ("dies", "weights", "says"),
    [(True, True, "ValueError: the checkpoint is broken"), (False, False, "is not in the local Hugging Face cache")],
)
def test_a_job_that_ends_first_shows_why(slurm: Sandbox, tmp_path: Path, dies: bool, weights: bool, says: str) -> None:
    node = on(tmp_path)
    node.vllm(dies=dies)
    options = ["--model-path", str(node.weights())] if weights else []
    done = node.serve("--slurm", "--partition", "gpu", *options)
    assert done.returncode == 4
    assert "before its model answered" in done.stderr and says in done.stderr
    assert "abcdef0123456789" not in done.stderr


def test_a_rehearsal_shows_the_command_and_the_script(slurm: Sandbox, tmp_path: Path) -> None:
    sask = on(tmp_path).serve
    done = sask("--quant", "bf16", "--slurm", "--dry-run", "--partition", "gpu", profile="nemotron-3-super")
    assert done.returncode == 0
    assert "--job-name=sask-serve-nemotron-3-super" in done.stdout
    assert "--gpus-per-node=4" in done.stdout and "--partition=gpu" in done.stdout
    assert "assistant.serving.job nemotron-3-super" in done.stdout
    assert queue() == ""


def test_a_partition_that_is_not_there(slurm: Sandbox, tmp_path: Path) -> None:
    sask = on(tmp_path).serve
    done = sask("--slurm", "--partition", "nowhere", profile="embedded")
    assert done.returncode == 1 and "nowhere" in done.stderr
