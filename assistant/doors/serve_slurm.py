"""``sask serve PROFILE --slurm``: the server as a job, for the terminal."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict, replace

from assistant.doors.render import print_json, spinner
from assistant.doors.serving import interrupted
from assistant.serving import cluster
from assistant.serving.cluster import Registered
from assistant.serving.vllm import Order
from tools.slurm.backend import Backend


def configured() -> Backend:
    """The way to Slurm that the settings name. Raises ConfigError, InvalidRequest."""
    from assistant import app

    return app.backend(app.load())


def start(order: Order, partition: str | None, *, dry_run: bool, as_json: bool) -> None:
    backend, name = configured(), order.profile.name
    if order.profile.engine == "vllm":
        order = replace(order, tp=cluster.gpus(order.profile, order))
    wanted = cluster.operation(order, partition)
    commands = [shlex.join(command) for command in backend.render(wanted)]
    if not as_json:
        print("\n".join(f"$ {command}" for command in commands))
    if dry_run:
        script = backend.script(wanted)
        print_json({"commands": commands, "script": script}) if as_json else print(script)
        return
    with spinner("submitting") as say, interrupted(f"the job stays; `sask serve {name} --slurm --stop` ends it"):
        job = cluster.submit(backend, order, partition)
        found = cluster.wait(backend, name, job, say)
    _say(found, "RUNNING", name, as_json)


def status(name: str, as_json: bool) -> None:
    found, state = cluster.status(configured(), name)
    _say(found, state, name, as_json)
    sys.exit(0 if state == "RUNNING" else 4)


def stop(name: str, as_json: bool) -> None:
    job = cluster.stop(configured(), name)
    if as_json:
        print_json({"stopped": bool(job), "job": job})
    else:
        print(f"job {job} is cancelled" if job else "no such job was running")


def _say(found: Registered | None, state: str, name: str, as_json: bool) -> None:
    running = found is not None and state == "RUNNING"
    if as_json:
        print_json({"running": running, "state": state, **(asdict(found) if found else {})})
    elif found is None:
        print(f"not running; `sask serve {name} --slurm` submits it")
    elif not running:
        print(f"job {found.job} is {state or 'gone'}")
    else:
        print(f"job {found.job} serves {found.model} at {found.url}. To use it:")
        print(f"  export SASK_MODEL={found.url} SASK_API_KEY_FILE={found.key}")
