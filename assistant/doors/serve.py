"""``sask serve``: a profile as a server, the bundled model or vLLM; imports when it runs, as every door."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from assistant.serving.process import Server
    from assistant.serving.vllm import Plan


def command(
    profile: Annotated[str, typer.Argument(help="`embedded`, or a profile of vLLM's (`sask models`)")] = "embedded",
    quant: Annotated[str | None, typer.Option(help="quantisation; the profile's first if left out")] = None,
    tp: Annotated[int | None, typer.Option(min=1, help="GPUs to spread over; as few as hold it if left out")] = None,
    model_path: Annotated[Path | None, typer.Option(help="directory with the weights; no hub is asked")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    context: Annotated[int | None, typer.Option(help="tokens of the longest request and its answer")] = None,
    slurm: Annotated[bool, typer.Option("--slurm", help="as a job of the cluster, on a node of its own")] = False,
    partition: Annotated[str | None, typer.Option(help="with --slurm: where to run it")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="check, print the command, start nothing")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="stop it")] = False,
    status: Annotated[bool, typer.Option("--status", help="say whether it runs")] = False,
    json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Start a model's server: the bundled one (it also starts by itself), or a larger one on vLLM."""
    from assistant.doors import serving
    from assistant.serving.profiles import profile as named
    from assistant.serving.vllm import Order

    chosen = named(profile)
    if slurm:
        from assistant.doors import serve_slurm as door

        order = Order(chosen, chosen.quant(quant), tp, model_path, port, context)
        if stop:
            door.stop(profile, json)
        elif status:
            door.status(profile, json)
        else:
            door.start(order, partition, dry_run=dry_run, as_json=json)
    elif chosen.engine == "embedded":
        _only_vllms({"--quant": quant, "--tp": tp, "--model-path": model_path, "--context": context, "-n": dry_run})
        serving.serve(profile, stop=stop, status=status, as_json=json)
    elif stop:
        _stop(profile, json)
    elif status:
        _status(profile, json)
    else:
        order = Order(chosen, chosen.quant(quant), tp, model_path, port, context)
        _start(order, dry_run=dry_run, as_json=json)


def _only_vllms(given: dict[str, Any]) -> None:
    from assistant.errors import RequestRefused

    meaningless = [name for name, value in given.items() if value]
    if meaningless:
        raise RequestRefused(f"the bundled model takes no {', '.join(meaningless)}", "a profile of `sask models` does")


def _start(order: Any, *, dry_run: bool, as_json: bool) -> None:
    from assistant.doors.render import console, print_json, spinner
    from assistant.serving import vllm

    with spinner("looking at this machine"):
        made = vllm.plan(order)
    if not as_json:
        _show(made)
    if dry_run:
        if as_json:
            print_json(_document(made))
        sys.exit(0 if made.ok else 4)
    with spinner(f"starting {order.profile.name}") as say:
        server = vllm.start(made, say)
    facts = {**_document(made), **_facts(server)}
    if as_json:
        print_json(facts)
    else:
        console().print("\n".join(_handed_over(server)))


def _show(made: Plan) -> None:
    from assistant.doors.render import console

    out = console()
    for check in made.checks:
        out.print(f"{'ok ' if check.ok else 'no '} {check.what}: {check.found}", style="" if check.ok else "red")
        if not check.ok:
            out.print(f"    {check.remedy}")
    out.print(f"$ {made.line}", style="cyan")


def _document(made: Plan) -> dict[str, Any]:
    checks = [{"what": c.what, "ok": c.ok, "found": c.found, "remedy": c.remedy} for c in made.checks]
    return {"profile": made.order.profile.name, "quantisation": made.order.quant.name, "checks": checks,
            "command": list(made.command), "env": made.env}  # fmt: skip


def _facts(server: Server) -> dict[str, Any]:
    return {"running": True, "url": server.url, "pid": server.pid, "model": server.model, "api_key_file": server.key}


def _handed_over(server: Server) -> list[str]:
    return [
        f"running at {server.url} (pid {server.pid}); `sask serve {server.model} --stop` ends it. To use it:",
        f"  export SASK_MODEL={server.url} SASK_API_KEY_FILE={server.key}",
    ]


def _status(name: str, as_json: bool) -> None:
    from assistant.doors.render import print_json
    from assistant.serving import vllm

    server = vllm.running(name)
    if as_json:
        print_json(_facts(server) if server else {"running": False})
    else:
        print("\n".join(_handed_over(server)) if server else f"not running; `sask serve {name}` starts it")
    sys.exit(0 if server else 4)


def _stop(name: str, as_json: bool) -> None:
    from assistant.doors.render import print_json, spinner
    from assistant.serving import vllm

    with spinner(f"stopping {name}"):
        stopped = vllm.stop(name)
    if as_json:
        print_json({"stopped": stopped})
    else:
        print("stopped" if stopped else "it was not running")
