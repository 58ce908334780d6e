"""vLLM on this machine: the exact command for a profile, what speaks against it, starting it and ending it."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from assistant.errors import RequestRefused, ServingError
from assistant.serving import checks
from assistant.serving.checks import Check
from assistant.serving.embedded.engine import state_directory
from assistant.serving.fit import COUNTS, UTILISATION, need
from assistant.serving.process import Server, born, healthy, new_key, read, tail
from assistant.serving.profiles import Profile, Quantisation

START_SECONDS = 3600.0
"""Loading half a terabyte from a slow file system takes long; a server that dies is noticed at once."""
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Order:
    """What was asked for; ``tp`` and ``context`` of None are chosen here."""

    profile: Profile
    quant: Quantisation
    tp: int | None = None
    model_path: Path | None = None
    port: int = 8000
    context: int | None = None
    host: str = HOST


@dataclass(frozen=True)
class Plan:
    """The command with its environment, and everything that was checked before it."""

    order: Order
    command: tuple[str, ...]
    env: dict[str, str]
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)

    def insist(self) -> None:
        """Raises ServingError with all that speaks against it."""
        bad = [check for check in self.checks if not check.ok]
        if bad:
            said = "; ".join(f"{check.what}: {check.found}" for check in bad)
            remedy = "\n      ".join(dict.fromkeys(check.remedy for check in bad))
            raise ServingError(f"{self.order.profile.name} cannot be started: {said}", remedy)

    @property
    def line(self) -> str:
        """As one would type it; the API key is not in it."""
        return shlex.join([*(f"{name}={value}" for name, value in self.env.items()), *self.command])


def plan(order: Order) -> Plan:
    """Look at the machine; nothing is started. Raises RequestRefused for a context that the model cannot read."""
    profile, context = order.profile, _context(order)
    gpus, gpu_check = checks.gpus()
    folder, measured_gb, weights_check = checks.weights(order.quant, order.model_path)
    tp = order.tp or _tp(order, len(gpus), min((gpu.gb for gpu in gpus), default=0.0), context, measured_gb)
    memory = checks.memory(profile, order.quant, gpus, tp=tp, context=context, measured_gb=measured_gb) if gpus else []
    told = (gpu_check, *memory, checks.vllm(profile), weights_check, checks.port(order.host, order.port))
    done = replace(order, tp=tp, context=context, model_path=folder)
    return Plan(done, command(done), _env(done), told)


def _context(order: Order) -> int:
    assert order.profile.context is not None
    most, context = order.profile.context.most, order.context or order.profile.context.tokens
    if not 0 < context <= most:
        raise RequestRefused(f"--context {context}: {order.profile.name} reads at most {most} tokens", f"1 to {most}")
    return context


def _tp(order: Order, count: int, gb: float, context: int, measured_gb: float | None) -> int:
    """The fewest of the GPUs that hold it, all of them if none does."""
    usable = [tp for tp in COUNTS if tp <= count] or [1]
    for tp in usable:
        one = need(order.profile, order.quant, tp=tp, context=context, users=1, measured_gb=measured_gb)
        if one and one.fits(gb):
            return tp
    return usable[-1]


def command(order: Order) -> tuple[str, ...]:
    """What is typed for an order in which ``tp`` and ``context`` are chosen."""
    profile, quant, settings = order.profile, order.quant, order.profile.vllm
    assert settings is not None and profile.context is not None
    plugin = str(order.model_path / settings.plugin) if order.model_path and settings.plugin else settings.plugin
    options = {
        "--revision": "" if order.model_path else quant.revision,
        "--served-model-name": profile.name,
        "--host": order.host,
        "--port": str(order.port),
        "--tensor-parallel-size": str(order.tp),
        "--max-model-len": str(order.context),
        "--gpu-memory-utilization": str(UTILISATION),
        "--tool-parser-plugin": plugin,
        "--tool-call-parser": settings.tool_parser,
        "--reasoning-parser": settings.reasoning_parser,
    }
    longer = profile.context.longest_flags if _is_longer(order) else ()
    pairs = [part for name, value in options.items() if value for part in (name, value)]
    model = str(order.model_path or quant.repository)
    return ("vllm", "serve", model, *pairs, "--enable-auto-tool-choice", *settings.flags, *quant.flags, *longer)


def _env(order: Order) -> dict[str, str]:
    settings, context = order.profile.vllm, order.profile.context
    assert settings is not None and context is not None
    offline = {"HF_HUB_OFFLINE": "1"} if order.model_path else {}
    return {**offline, **settings.env, **order.quant.env, **(context.longest_env if _is_longer(order) else {})}


def _is_longer(order: Order) -> bool:
    assert order.profile.context is not None
    return (order.context or 0) > order.profile.context.tokens


def state(name: str) -> Path:
    """Where the server of that profile is written down; its log and key lie beside it."""
    return state_directory() / f"vllm-{name}.json"


def running(name: str) -> Server | None:
    return read(state(name))


def stop(name: str) -> bool:
    """End the server of that profile; whether one ran."""
    server = running(name)
    if server is not None:
        server.stop()
    state(name).unlink(missing_ok=True)
    return server is not None


def start(made: Plan, say: Callable[[str], None]) -> Server:
    """Start it and wait until it answers. Raises ServingError for a check that failed, or with its last lines.

    Its key goes through the environment (``VLLM_API_KEY``), where other users of this machine cannot read it.
    """
    name = made.order.profile.name
    if (server := running(name)) is not None:
        raise ServingError(f"{name} runs already at {server.url} (pid {server.pid})", f"`sask serve {name} --stop`")
    made.insist()
    place = state(name)
    place.parent.mkdir(parents=True, exist_ok=True)
    key, log = place.with_suffix(".key"), place.with_suffix(".log")
    child = _spawn(made, new_key(key), log)
    server = Server(child.pid, born(child.pid), f"http://{made.order.host}:{made.order.port}", name, str(key))
    with ExitStack() as undo:  # whatever goes wrong, Ctrl-C as well: what this call started, it ends
        undo.callback(place.unlink, missing_ok=True)
        undo.callback(child.wait)
        undo.callback(server.stop)
        server.write(place)
        _until_ready(child, server, log, say)
        undo.pop_all()
    return server


def _spawn(made: Plan, key: str, log: Path) -> subprocess.Popen[bytes]:
    env = {**os.environ, **made.env, "VLLM_API_KEY": key}
    with log.open("wb") as output:
        return subprocess.Popen(
            made.command, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )


def _until_ready(child: subprocess.Popen[bytes], server: Server, log: Path, say: Callable[[str], None]) -> None:
    started = time.monotonic()
    while not healthy(server.url):
        seconds = time.monotonic() - started
        if child.poll() is not None:
            raise ServingError(
                f"vLLM ended with exit code {child.returncode} while loading:\n{tail(log)}", f"read {log}"
            )
        if seconds > START_SECONDS:
            raise ServingError(f"vLLM was not ready after {seconds:.0f} s:\n{tail(log)}", f"read {log}")
        last = tail(log, 1).strip()
        say(f"loading {server.model}, {seconds:.0f} s{': ' + last[:100] if last else ''}")
        time.sleep(0.2)
