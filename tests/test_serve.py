"""``sask serve`` with a scripted vLLM and a recorded nvidia-smi: what is checked, what is started, what goes wrong."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from assistant.serving.process import born
from tests.serve_bed import BROKEN, H100, LIGHTNING, T4, Node, free_port
from tests.shell import until


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    made.serve("--stop")


def test_from_command_to_url_and_to_the_end(node: Node) -> None:
    folder, port = node.weights(), free_port()
    done = node.sask("serve", LIGHTNING, "--model-path", str(folder), "--port", str(port))
    assert done.returncode == 0, done.stderr
    assert f"running at http://127.0.0.1:{port}" in done.stdout
    assert "ok  GPUs: 2 × NVIDIA H100 80GB HBM3, 86 GB" in done.stdout
    assert "ok  memory: 25.9 GB a GPU (weights 22.0, one context of 262144 tokens" in done.stdout
    argv, env = node.started["argv"], node.started["env"]
    assert argv[1:3] == ["serve", str(folder)]
    options = dict(pairwise(argv))
    assert options["--served-model-name"] == LIGHTNING
    assert options["--tensor-parallel-size"] == "1"
    assert options["--max-model-len"] == "262144"
    assert options["--tool-call-parser"] == "qwen3_xml"
    assert options["--reasoning-parser"] == "nemotron_v3"
    assert options["--kv-cache-dtype"] == "fp8"
    assert {"--enable-auto-tool-choice", "--enable-prefix-caching"} <= set(argv)
    assert env["HF_HUB_OFFLINE"] == "1"
    status = node.sask.json("serve", LIGHTNING, "--status", "--json")
    key = Path(status["api_key_file"])
    assert key.read_text().strip() == env["VLLM_API_KEY"]
    assert key.stat().st_mode & 0o777 == 0o600
    assert env["VLLM_API_KEY"] not in done.stdout + done.stderr + " ".join(argv)
    again = node.serve("--model-path", str(folder), "--port", str(free_port()))
    assert again.returncode == 4 and "runs already" in again.stderr
    assert node.serve("--stop").stdout == "stopped\n"
    assert not Path(f"/proc/{status['pid']}").exists() or born(status["pid"]) == 0
    assert node.serve("--status").returncode == 4
    assert node.serve("--stop").stdout == "it was not running\n"


def test_a_dry_run_prints_and_starts_nothing(node: Node) -> None:
    done = node.serve("--dry-run", "--model-path", str(node.weights()), "--port", str(free_port()))
    assert done.returncode == 0
    assert "$ HF_HUB_OFFLINE=1 vllm serve " in done.stdout
    assert not node.record.exists()
    document = node.sask.json("serve", LIGHTNING, "--dry-run", "--json", "--quant", "bf16")
    assert document["command"][:3] == ["vllm", "serve", "nvidia/NVIDIA-Nemotron-3.5-Lightning-30B-A3B-BF16"]
    assert "--revision" in document["command"]
    assert {check["what"] for check in document["checks"] if not check["ok"]} == {"weights"}


def test_a_longer_context_brings_what_it_needs(node: Node) -> None:
    done = node.serve("--dry-run", "--context", "1000000", "--model-path", str(node.weights()))
    assert "VLLM_ALLOW_LONG_MAX_MODEL_LEN=1" in done.stdout
    too_long = node.serve("--dry-run", "--context", "2000000")
    assert too_long.returncode == 2 and "at most 1048576 tokens" in too_long.stderr


def test_a_plugin_is_loaded_from_the_weights(node: Node) -> None:
    folder = node.weights(17.8)
    done = node.serve("--dry-run", "--model-path", str(folder), profile="nemotron-nano-9b-v2")
    assert f"--tool-parser-plugin {folder}/nemotron_toolcall_parser_no_streaming.py" in done.stdout


def test_weights_are_found_in_the_local_hub_cache(node: Node) -> None:
    folder = node.weights()
    cache = node.folder / "hf" / "hub" / "models--nvidia--NVIDIA-Nemotron-3.5-Lightning-30B-A3B-NVFP4"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text("abc123")
    (cache / "snapshots").mkdir()
    (cache / "snapshots" / "abc123").symlink_to(folder)
    done = node.serve("--dry-run", "--port", str(free_port()))
    assert done.returncode == 0 and "snapshots/abc123" in done.stdout


def test_more_gpus_are_taken_where_one_does_not_hold_it(node: Node) -> None:
    node.smi(*[H100.format(n) for n in range(8)])
    done = node.serve(
        "--dry-run", "--model-path", str(node.weights(248)), "--quant", "bf16", profile="nemotron-3-super"
    )
    assert "--tensor-parallel-size 4" in done.stdout


# ---- bad input: what was found, and what to do


def test_no_gpu(node: Node) -> None:
    (node.bin / "nvidia-smi").unlink()
    done = node.serve("--model-path", str(node.weights()))
    assert done.returncode == 4
    assert "there is no nvidia-smi on the PATH" in done.stderr and "sask serve embedded" in done.stderr


@pytest.mark.parametrize(
    ("lines", "code", "says"),
    [
        ([BROKEN], 9, "couldn't communicate with the NVIDIA driver"),
        (["No devices were found"], 6, "No devices were found"),
        (["0, NVIDIA A100-SXM4-40GB MIG 1g.5gb, [N/A], [N/A], 8.0"], 0, "[N/A]"),
    ],
)
def test_a_driver_that_tells_nothing(node: Node, lines: list[str], code: int, says: str) -> None:
    node.smi(*lines, code=code)
    done = node.serve("--model-path", str(node.weights()))
    assert done.returncode == 4 and says in done.stderr and not node.record.exists()


def test_gpus_that_are_not_for_us(node: Node) -> None:
    done = node.serve("--model-path", str(node.weights()), CUDA_VISIBLE_DEVICES="7")
    assert done.returncode == 4 and "CUDA_VISIBLE_DEVICES=7 leaves none" in done.stderr
    two = node.serve("--dry-run", "--tp", "2", "--model-path", str(node.weights()), CUDA_VISIBLE_DEVICES="1")
    assert two.returncode == 4 and "1 of the 2 that --tp asks for" in two.stdout


def test_too_little_memory_says_what_would_fit(node: Node) -> None:
    done = node.serve("--quant", "bf16", "--model-path", str(node.weights(72)), "--tp", "1", "--context", "1000000")
    assert done.returncode == 4
    assert "vLLM takes 77.0 of 85.5 GB" in done.stderr
    assert "these fit: --quant nvfp4 --tp 1, --quant bf16 --tp 2" in done.stderr
    node.smi(*[T4.format(n) for n in range(2)])
    small = node.serve("--model-path", str(node.weights()), profile="nemotron-3-super")
    assert small.returncode == 4 and "nothing of this model fits" in small.stderr


def test_memory_that_others_hold(node: Node) -> None:
    node.smi("0, NVIDIA H100 80GB HBM3, 81559, 20000, 9.0")
    done = node.serve("--model-path", str(node.weights()))
    assert done.returncode == 4 and "GPU 0 has 21.0 of 85.5 GB free" in done.stderr


def test_a_quantisation_for_other_gpus(node: Node) -> None:
    done = node.serve("--model-path", str(node.weights(75)), "--tp", "2", profile="nemotron-3-super")
    assert done.returncode == 4 and "compute capability 9.0, nvfp4 is for 10.0 and newer" in done.stderr


def test_no_vllm_and_an_old_one(node: Node) -> None:
    node.vllm("0.12.0")
    old = node.serve("--model-path", str(node.weights()))
    assert old.returncode == 4 and "vLLM: 0.12.0, 0.27.1 or newer is needed" in old.stderr
    assert "pip install 'vllm>=0.27.1'" in old.stderr
    node.vllm("ImportError: libcudart.so.13: cannot open shared object file", version_code=1)
    assert "libcudart.so.13" in node.serve("--model-path", str(node.weights())).stderr
    (node.bin / "vllm").unlink()
    none = node.serve("--model-path", str(node.weights()))
    assert none.returncode == 4 and "no vllm on the PATH" in none.stderr


def test_missing_weights(node: Node) -> None:
    none = node.serve()
    assert none.returncode == 4 and "is not in the local Hugging Face cache" in none.stderr
    assert "hf download nvidia/NVIDIA-Nemotron-3.5-Lightning-30B-A3B-NVFP4 --local-dir DIR" in none.stderr
    part = node.serve("--model-path", str(node.weights(lose="model-00002-of-00002.safetensors")))
    assert part.returncode == 4 and "1 of 2 files are missing, model-00002-of-00002.safetensors" in part.stderr
    other = node.serve("--model-path", str(node.bin))
    assert other.returncode == 4 and "has no config.json" in other.stderr


def test_a_port_that_is_taken(node: Node) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = node.serve("--model-path", str(node.weights()), "--port", str(port))
    assert done.returncode == 4 and f"127.0.0.1:{port}: Address already in use" in done.stderr


def test_a_server_that_dies_shows_its_last_lines(node: Node) -> None:
    node.vllm(dies=True)
    done = node.serve("--model-path", str(node.weights()), "--port", str(free_port()))
    assert done.returncode == 4
    assert "vLLM ended with exit code 3 while loading" in done.stderr
    assert "ValueError: the checkpoint is broken" in done.stderr and "abcdef0123456789" not in done.stderr
    assert node.serve("--status").returncode == 4


def test_unknown_names(node: Node) -> None:
    wrong = node.serve(profile="nemotron-4")
    assert wrong.returncode == 2 and LIGHTNING in wrong.stderr
    quant = node.serve("--quant", "int2")
    assert quant.returncode == 2 and "valid: nvfp4, bf16" in quant.stderr
    url = node.serve(profile="url")
    assert url.returncode == 2 and "not served by vLLM" in url.stderr
    bundled = node.serve("--tp", "2", "--dry-run", profile="embedded")
    assert bundled.returncode == 2 and "takes no --tp, -n" in bundled.stderr


def test_ctrl_c_while_loading_leaves_no_server(node: Node) -> None:
    """The scripted server never answers on that port, so that it loads for ever."""
    text = (node.bin / "vllm").read_text().replace("HTTPServer((", "time.sleep(600) or HTTPServer((")
    (node.bin / "vllm").write_text(text)
    process = node.sask.start("serve", LIGHTNING, "--model-path", str(node.weights()), "--port", str(free_port()))
    until(lambda: node.record.exists() and node.record.read_text().endswith("}"))
    pid = json.loads((node.folder / "state" / "slurm-assistant" / f"vllm-{LIGHTNING}.json").read_text())["pid"]
    process.send_signal(2)
    assert process.wait(timeout=60) == 130
    until(lambda: not os.path.exists(f"/proc/{pid}"))
    assert node.serve("--status").returncode == 4
