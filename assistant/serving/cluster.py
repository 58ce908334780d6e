"""A model's server as a job of the cluster itself: submitted, waited for, found again after a requeue, ended.

The job (``assistant.serving.job``) writes its URL into a file of the state directory, which the nodes must share
with this machine, as home directories are; when Slurm requeues it, it writes the new one.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from assistant.errors import ServingError
from assistant.serving.embedded.engine import state_directory
from assistant.serving.fit import COUNTS, fewest
from assistant.serving.process import healthy, new_key, tail
from assistant.serving.profiles import Profile
from assistant.serving.vllm import Order
from tools.slurm.backend import Backend, Operation
from tools.slurm.errors import UnknownJob

ASK_SLURM_EVERY = 5.0
"""Seconds: often enough for a person who waits, seldom enough for the controller."""
LEAST_GB = 80
"""The GPU for which the number of GPUs is chosen when --tp is left out; the job checks what it really got."""
GOING_ON = frozenset(("PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "REQUEUED", "REQUEUE_HOLD", "COMPLETING"))


@dataclass(frozen=True, slots=True)
class Registered:
    """What the job wrote down once its model was loaded; ``key`` is the file with the API key."""

    job: str
    url: str
    model: str
    key: str


def place(name: str) -> Path:
    return state_directory() / f"slurm-{name}.json"


def read(name: str) -> Registered | None:
    try:
        return Registered(**json.loads(place(name).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def operation(order: Order, partition: str | None) -> Operation:
    """The batch job: one node, the GPUs that the profile needs, requeued when its node is lost."""
    profile, log = order.profile, place(order.profile.name).with_suffix(".log")
    given = {
        "--quant": order.quant.name,
        "--tp": order.tp,
        "--model-path": order.model_path,
        "--context": order.context,
    }
    options = [str(part) for name, value in given.items() if value for part in (name, value)]
    command = [sys.executable, "-m", "assistant.serving.job", profile.name, str(place(profile.name)), *options]
    fields = {
        "command": shlex.join(command),
        "job_name": f"sask-serve-{profile.name}",
        "nodes": 1,
        "output": str(log),
        "requeue": True,
        **({"partition": partition} if partition else {}),
        **({"gpus_per_node": order.tp} if profile.engine == "vllm" else {}),
    }
    return Operation("submit", fields=fields)


def gpus(profile: Profile, order: Order) -> int:
    """As many as --tp says, else as hold it on GPUs of 80 GB."""
    context = order.context or (profile.context.tokens if profile.context else 1)
    return order.tp or fewest(profile, order.quant, gpu_gb=LEAST_GB, context=context, users=1) or COUNTS[-1]


def submit(backend: Backend, order: Order, partition: str | None) -> str:
    """The job's id. Raises ServingError if one runs already, SlurmError as the cluster answers."""
    name = order.profile.name
    if (old := read(name)) is not None and _state(backend, old.job) in GOING_ON:
        raise ServingError(f"{name} is job {old.job} already, at {old.url}", f"`sask serve {name} --slurm --stop`")
    place(name).parent.mkdir(parents=True, exist_ok=True)
    place(name).unlink(missing_ok=True)
    new_key(place(name).with_suffix(".key"))
    return backend.perform(operation(order, partition)).id


def wait(backend: Backend, name: str, job: str, say: Callable[[str], None]) -> Registered:
    """Until the job has written its URL and the server answers there. Raises ServingError with its last lines."""
    asked, state = 0.0, "PENDING"
    log = place(name).with_suffix(".log")
    while True:
        found = read(name)
        if found is not None and found.job == job and healthy(found.url):
            return found
        if time.monotonic() - asked > ASK_SLURM_EVERY:
            asked, state = time.monotonic(), _state(backend, job)
        if state not in GOING_ON:
            said = tail(log) if log.is_file() else "it wrote no log"
            raise ServingError(f"job {job} is {state or 'gone'} before its model answered:\n{said}", f"read {log}")
        last = tail(log, 1).strip() if log.is_file() else ""
        say(f"job {job} {state}{': ' + last[:100] if last else ''}")
        time.sleep(0.2)


def status(backend: Backend, name: str) -> tuple[Registered | None, str]:
    """What is registered, and the state of its job: empty where Slurm does not know it any more."""
    found = read(name)
    return found, _state(backend, found.job) if found else ""


def stop(backend: Backend, name: str) -> str:
    """Cancel the job; its id, empty if none ran."""
    found, state = status(backend, name)
    place(name).unlink(missing_ok=True)
    if found is None or state not in GOING_ON:
        return ""
    backend.perform(Operation("cancel", found.job))
    return found.job


def _state(backend: Backend, job: str) -> str:
    """Empty where Slurm does not know the job (any more)."""
    try:
        return next((record.state for record in backend.job(job)), "")
    except UnknownJob:
        return ""


def register(file: Path, url: str, model: str) -> None:
    """Called in the job: the file appears whole or not at all."""
    partial = file.with_suffix(f".{os.getpid()}")
    told = {"job": os.environ["SLURM_JOB_ID"], "url": url, "model": model, "key": str(file.with_suffix(".key"))}
    partial.write_text(json.dumps(told), encoding="utf-8")
    partial.replace(file)
