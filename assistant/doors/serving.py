"""``sask serve``, ``sask config`` and ``sask sandbox``: the engine, the settings, a Slurm to try things on."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from assistant.doors.render import console, print_json, show_data, spinner
from assistant.errors import RequestRefused, ServingError

if TYPE_CHECKING:
    from tools.slurm.sandbox import Sandbox


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
        with spinner("starting the bundled model") as say:
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


def sandbox_up(name: str, *, accounting: bool, rest: bool, as_json: bool) -> None:
    from tools.slurm.sandbox import SandboxError

    try:
        with spinner("starting Slurm") as say:
            status = _sandbox(name).up(accounting=accounting or None, rest=rest, progress=say)
    except SandboxError as error:
        raise ServingError(str(error)) from error
    _say(
        status.as_dict(),
        f"Slurm {status.version} runs with {len(status.nodes)} nodes. Point Slurm's commands at it:\n"
        f"  {status.export_line}",
        as_json,
    )


def sandbox_status(name: str, *, as_json: bool) -> None:
    status = _sandbox(name).status()
    if as_json:
        print_json(status.as_dict())
    else:
        facts = status.as_dict()
        show_data(
            {key: facts[key] for key in ("name", "version", "running", "daemons", "missing", "nodes", "rest_url")},
            console(),
            indent="",
        )
    sys.exit(0 if status.running else 1)


def sandbox_env(name: str, *, as_json: bool) -> None:
    box = _sandbox(name)
    if not box.status().running:
        raise ServingError(f"sandbox {name!r} is not running", f"sask sandbox up --name {name}")
    if as_json:
        print_json(box.env())
    else:
        print(box.export_line())


def sandbox_down(name: str, *, remove: bool, as_json: bool) -> None:
    from tools.slurm.sandbox import SandboxError

    try:
        stopped = _sandbox(name).down(remove=remove)
    except SandboxError as error:
        raise ServingError(str(error)) from error
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
