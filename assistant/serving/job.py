"""What runs in the job of ``sask serve PROFILE --slurm``: checks the node, starts the server, registers its URL."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from assistant.errors import AssistantError
from assistant.serving.cluster import register
from assistant.serving.embedded import adapter as adapters
from assistant.serving.embedded.engine import MODEL, SLOT_CONTEXT, SLOTS
from assistant.serving.embedded.weights import SHA256, weights
from assistant.serving.process import healthy
from assistant.serving.profiles import profile
from assistant.serving.vllm import Order, plan

EVERYWHERE = "0.0.0.0"
ENGINE = "engine"
"""The first argument with which this module is the bundled engine itself: ``python -m … engine PORT``."""


def run(order: Order, file: Path) -> int:
    """Serve until the job ends; the server's exit code."""
    key = file.with_suffix(".key").read_text(encoding="utf-8").strip()
    command, env = _command(order)
    child = subprocess.Popen(command, env={**os.environ, **env, "VLLM_API_KEY": key}, stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    while child.poll() is None and not healthy(f"http://127.0.0.1:{order.port}"):
        time.sleep(0.2)
    if child.poll() is None:
        model = MODEL if order.profile.engine == "embedded" else order.profile.name
        register(file, f"http://{socket.gethostname()}:{order.port}", model)
    return child.wait()


def _command(order: Order) -> tuple[tuple[str, ...], dict[str, str]]:
    """Raises ServingError for what this node lacks."""
    if order.profile.engine == "embedded":
        return (sys.executable, "-m", __spec__.name, ENGINE, str(order.port)), {}
    made = plan(order)
    for check in made.checks:
        print("ok " if check.ok else "no ", f"{check.what}: {check.found}", flush=True)
    print(f"$ {made.line}", flush=True)
    made.insist()
    return made.command, made.env


def engine(port: int) -> None:
    """The bundled model for whoever has the key, until it is ended."""
    import xllamacpp

    adapters.check(adapters.bundled(), SHA256)
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(weights())
    parameters.model_alias = {MODEL}
    parameters.n_parallel, parameters.n_ctx = SLOTS, SLOTS * SLOT_CONTEXT
    parameters.n_batch = parameters.n_ubatch = 512
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = min(4, len(os.sched_getaffinity(0)))
    parameters.hostnames, parameters.port, parameters.ui = [EVERYWHERE], port, False
    parameters.api_keys = [os.environ["VLLM_API_KEY"]]
    lora = xllamacpp.CommonAdapterLoraInfo()
    lora.path, lora.scale = str(adapters.bundled() / adapters.FILE), 1.0
    parameters.lora_adapters = [lora]
    server = xllamacpp.Server(parameters)
    print(f"listening at {server.listening_address}", flush=True)
    signal.pause()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((EVERYWHERE, 0))
        return int(probe.getsockname()[1])


def main() -> None:
    if sys.argv[1:2] == [ENGINE]:
        engine(int(sys.argv[2]))
        return
    parser = argparse.ArgumentParser(description="Serve a profile in a Slurm job (started by `sask serve --slurm`).")
    parser.add_argument("profile")
    parser.add_argument("file", type=Path)
    parser.add_argument("--quant")
    parser.add_argument("--tp", type=int)
    parser.add_argument("--model-path", type=Path)
    parser.add_argument("--context", type=int)
    given = parser.parse_args()
    try:
        chosen = profile(given.profile)
        quant = chosen.quant(given.quant)
        order = Order(chosen, quant, given.tp, given.model_path, _free_port(), given.context, EVERYWHERE)
        sys.exit(run(order, given.file))
    except AssistantError as error:
        sys.exit(f"{error.message}\n      {error.remedy}")


if __name__ == "__main__":
    main()
