"""``sask serve``, ``sask config`` and ``sask sandbox``: the engine, the settings, a Slurm to try things on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from assistant.doors.failing import NO_SLURM
from assistant.doors.render import console, print_json, show_data, spinner
from assistant.errors import RequestRefused
from tools.slurm.errors import SlurmUnreachable

if TYPE_CHECKING:
    from tools.slurm.sandbox import Sandbox, SandboxStatus


def serve(profile: str, *, stop: bool, status: bool, as_json: bool) -> None:
    from assistant.serving.embedded.engine import EmbeddedEngine

    if profile != "embedded":
        raise RequestRefused(f"there is no profile {profile!r}", "valid: embedded")
    engine = EmbeddedEngine()
    if stop:
        stopped = engine.stop()
        _say({"stopped": stopped}, "stopped" if stopped else "it was not running", as_json)
        return
    if not status:
        with spinner("starting the bundled model") as say, interrupted("`sask serve --status` says whether it runs"):
            engine.start(say)
    running = engine.status()
    if running is None:
        _say({"running": False}, "not running; `sask serve embedded` starts it", as_json)
        sys.exit(4)
    facts = {"running": True, "url": running.url, "pid": running.pid, "memory_mib": running.memory >> 20}
    _say(facts, f"running at {running.url} (pid {running.pid}, {running.memory >> 20} MiB)", as_json)


def config(*, as_json: bool, model: str | None) -> None:
    from assistant.config import config_file, origins

    rows = origins(model=model)
    if as_json:
        print_json({"file": str(config_file()), "settings": rows})
    else:
        show_data({"file": str(config_file()), "settings": rows}, console(), indent="")


@contextmanager
def interrupted(what: str) -> Iterator[None]:
    """A Ctrl-C passes on with its sentence."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; {what}") from None


@contextmanager
def _sandbox_errors(doing: str) -> Iterator[None]:
    """Whatever goes wrong is said: what the machine refuses (no room, no right) is no SandboxError."""
    from tools.slurm.sandbox import SandboxError

    try:
        yield
    except SandboxError as error:
        raise SlurmUnreachable(str(error)) from error
    except OSError as error:
        raise SlurmUnreachable(f"the sandbox could not be {doing}: {error}") from error


def sandbox_up(name: str, *, accounting: bool, rest: bool, as_json: bool) -> None:
    box = _sandbox(name)
    with (
        _sandbox_errors("started"),
        interrupted("what this command had started is ended again"),
        spinner("starting Slurm") as say,
    ):
        status = box.up(accounting=accounting or None, rest=rest, progress=say)
    _say(
        status.as_dict(),
        f"Slurm {status.version} runs with {len(status.nodes)} nodes. Point Slurm's commands at it:\n"
        f"  {status.export_line}",
        as_json,
    )


def sandbox_status(name: str, *, as_json: bool) -> None:
    box = _sandbox(name)
    with _sandbox_errors("looked at"):
        status = box.status()
    if as_json:
        print_json(status.as_dict())
    else:
        print("\n".join(described(status)))
    sys.exit(0 if status.running else NO_SLURM)


def described(status: SandboxStatus) -> list[str]:
    """A sandbox in words: whether it runs, what is missing and how to mend it, the state of its nodes."""
    from tools.slurm.hostlist import fold

    again = f"`sask sandbox up --name {status.name}` starts it"
    if not status.daemons:
        return [f"sandbox {status.name!r} is not running; {again}"]
    extras = [*(["accounting"] if status.accounting else []), *(["slurmrestd"] if status.rest_url else [])]
    kind = f"Slurm {status.version}" + (f" with {' and '.join(extras)}" if extras else "")
    if status.missing:
        lines = [f"sandbox {status.name!r} runs only in part: {', '.join(status.missing)} ended; {again}"]
    else:
        lines = [f"sandbox {status.name!r} is running: {kind}"]
    states: dict[str, list[str]] = {}
    for node, state in status.nodes.items():
        states.setdefault(state, []).append(node)
    lines += [f"  {state}: {fold(nodes)}" for state, nodes in states.items()]
    lines += [f"  REST: {status.rest_url}"] if status.rest_url else []
    return [*lines, f"  {status.export_line}"]


def sandbox_env(name: str, *, as_json: bool) -> None:
    box = _sandbox(name)
    with _sandbox_errors("looked at"):
        if not box.status().running:
            raise SlurmUnreachable(f"sandbox {name!r} is not running; `sask sandbox up --name {name}` starts it")
        variables = box.env()
    if as_json:
        print_json(variables)
    else:
        print(box.export_line())


def sandbox_down(name: str, *, remove: bool, as_json: bool) -> None:
    box = _sandbox(name)
    with _sandbox_errors("stopped"), interrupted(f"`sask sandbox status --name {name}` says what still runs"):
        stopped = box.down(remove=remove)
    text = f"stopped {', '.join(stopped)}; nothing is left running" if stopped else "nothing was running"
    _say({"stopped": stopped, "removed": remove}, text, as_json)


def _sandbox(name: str) -> Sandbox:
    from tools.slurm.sandbox import Sandbox, SandboxError

    try:
        return Sandbox(name=name)
    except SandboxError as error:
        raise RequestRefused(str(error), "sask sandbox up --name demo") from error


def _say(facts: dict[str, object], text: str, as_json: bool) -> None:
    if as_json:
        print_json(facts)
    else:
        print(text)
