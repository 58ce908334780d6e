"""The embedded engine: llama.cpp's OpenAI-compatible server with our adapter, in a process of its own.

One engine per adapter and user: whoever needs it starts it or finds it running; it ends itself when nobody has
asked it anything for half an hour. It listens on the loopback interface alone.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from assistant.errors import ServingError
from assistant.serving.embedded import adapter as adapters
from assistant.serving.embedded.weights import SHA256, locked, weights

MODEL = "sask-embedded"
SLOTS, SLOT_CONTEXT = 2, 1024
"""Requests served at once, and tokens for each: a condensed request has 300 at most, an answer 512."""
START_SECONDS, STOP_SECONDS = 60.0, 10.0
IDLE_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class Running:
    """An engine that was started; ``born`` (clock ticks since boot, proc(5)) tells its pid from a later reuse."""

    pid: int
    born: int
    url: str

    @property
    def alive(self) -> bool:
        return _born(self.pid) == self.born

    @property
    def memory(self) -> int:
        """Resident memory in bytes."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


def state_directory() -> Path:
    """``$XDG_STATE_HOME/slurm-assistant``, by default under ``~/.local/state``."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "slurm-assistant"


class EmbeddedEngine:
    """``adapter``: a directory with an adapter and its manifest; ``model``: a local copy of the stock weights."""

    def __init__(self, adapter: Path | None = None, model: Path | None = None, threads: int | None = None) -> None:
        self._adapter = adapter or adapters.bundled()
        self._model = model
        self._threads = threads or min(4, len(os.sched_getaffinity(0)))

    @property
    def url(self) -> str | None:
        """Base URL of the running engine, without ``/v1``; ``None`` when none runs."""
        running = self.status()
        return running.url if running else None

    def start(self, progress: Callable[[str], None] = lambda text: None) -> str:
        """The URL of an engine for this adapter, started if none runs; raises ``ServingError``.

        The first start downloads the weights; an adapter that does not fit the tools or the weights is refused.
        """
        model = weights(self._model, progress)
        adapters.check(self._adapter, SHA256)
        state = self._state()
        with locked(state.with_suffix(".lock")):
            running = self.status()
            if running is None or not _healthy(running.url):
                self._end(running)
                progress("starting the embedded model")
                running = self._spawn(model, state)
        return running.url

    def status(self) -> Running | None:
        """The running engine; a state file that a dead one left behind counts for nothing."""
        try:
            running = Running(**json.loads(self._state().read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        return running if running.alive else None

    def stop(self) -> bool:
        """End the engine; whether one was running."""
        running = self.status()
        self._end(running)
        return running is not None

    def _state(self) -> Path:
        manifest = self._adapter / adapters.MANIFEST
        if not manifest.is_file():
            raise adapters.missing(self._adapter)
        key = json.loads(manifest.read_text(encoding="utf-8")).get("adapter_sha256", "unknown")
        return state_directory() / f"embedded-{key[:16]}.json"

    def _end(self, running: Running | None) -> None:
        if running is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(running.pid, signal.SIGTERM)
            if not _wait(lambda: not running.alive, STOP_SECONDS):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(running.pid, signal.SIGKILL)
        self._state().unlink(missing_ok=True)

    def _spawn(self, model: Path, state: Path) -> Running:
        log = state.with_suffix(".log")
        command = [sys.executable, "-m", "assistant.serving.embedded.engine", "--model", str(model)]
        command += ["--adapter", str(self._adapter / adapters.FILE), "--state", str(state)]
        command += ["--threads", str(self._threads)]
        with log.open("wb") as output:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        _wait(lambda: child.poll() is not None or self._ready(child.pid), START_SECONDS)
        running = self.status()
        if running is None or running.pid != child.pid:
            child.kill()
            child.wait()
            raise _failed(log)
        return running

    def _ready(self, pid: int) -> bool:
        running = self.status()
        return running is not None and running.pid == pid and _healthy(running.url)


def _failed(log: Path) -> ServingError:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    why = lines[-1] if lines else "it said nothing"
    if "libgomp" in why:
        return ServingError(
            f"the embedded engine did not start: {why}", "install libgomp1 (`apt-get install libgomp1`)"
        )
    if "No module named 'xllamacpp'" in why:
        return ServingError("the embedded engine is not installed", "`pip install 'slurm-assistant[embedded]'`")
    return ServingError(f"the embedded engine did not start: {why}", f"read {log}")


def _healthy(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def _born(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot; ``None`` when it is gone or a zombie (proc(5))."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def serve(model: Path, adapter: Path, state: Path, threads: int) -> None:
    """Serve until SIGTERM or half an hour without a request; ``state`` is written once the server listens."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model)
    parameters.model_alias = {MODEL}
    parameters.n_parallel, parameters.n_ctx = SLOTS, SLOTS * SLOT_CONTEXT
    parameters.cache_ram_mib = 0  # by default 8 GiB of past prompts; what ours share is short, and a slot keeps it
    parameters.n_batch = parameters.n_ubatch = 512
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = threads
    parameters.hostnames, parameters.port = ["127.0.0.1"], 0
    parameters.endpoint_metrics, parameters.ui = True, False
    lora = xllamacpp.CommonAdapterLoraInfo()
    lora.path, lora.scale = str(adapter), 1.0
    parameters.lora_adapters = [lora]
    server = xllamacpp.Server(parameters)
    running = Running(os.getpid(), _born(os.getpid()) or 0, server.listening_address)
    partial = state.with_suffix(f".{running.pid}")
    partial.write_text(json.dumps(asdict(running)), encoding="utf-8")
    partial.replace(state)
    _until_idle(server.listening_address)


def _until_idle(url: str) -> None:
    """Return when the count of processed tokens has not changed for ``IDLE_SECONDS``."""
    last, since = "", time.monotonic()
    while time.monotonic() - since < IDLE_SECONDS:
        time.sleep(30)
        now = _work_done(url)
        if now != last:
            last, since = now, time.monotonic()


def _work_done(url: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return ""
    return " ".join(line for line in lines if line.startswith(("llamacpp:prompt_tokens_total", "llamacpp:n_decode")))


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve the embedded model (started by `sask serve embedded`).")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        serve(options.model, options.adapter, options.state, options.threads)
    except ImportError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
