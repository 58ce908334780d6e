"""``sask sandbox``: a real Slurm on this machine. Only typer is imported here."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="A real Slurm on this machine, to try things on.")

Json = Annotated[bool, typer.Option("--json", help="print one JSON document")]
Name = Annotated[str, typer.Option("--name", help="which sandbox; several can live side by side")]


@app.command("up")
def up(
    name: Name = "default",
    accounting: Annotated[
        bool, typer.Option("--accounting", help="with MariaDB and slurmdbd: QoS, accounts, sacct")
    ] = False,
    rest: Annotated[bool, typer.Option("--rest", help="with slurmrestd and JWT")] = False,
    json: Json = False,
) -> None:
    """Start slurmctld and five nodes with GPUs (or find them running)."""
    from assistant.doors import serving

    serving.sandbox_up(name, accounting=accounting, rest=rest, as_json=json)


@app.command("status")
def status(name: Name = "default", json: Json = False) -> None:
    """Say what runs."""
    from assistant.doors import serving

    serving.sandbox_status(name, as_json=json)


@app.command("env")
def env(name: Name = "default", json: Json = False) -> None:
    """Print the line that points Slurm's commands at it: eval "$(sask sandbox env)"."""
    from assistant.doors import serving

    serving.sandbox_env(name, as_json=json)


@app.command("down")
def down(
    name: Name = "default",
    remove: Annotated[bool, typer.Option("--remove", help="also delete its directory")] = False,
    json: Json = False,
) -> None:
    """Stop it; leaves no process."""
    from assistant.doors import serving

    serving.sandbox_down(name, remove=remove, as_json=json)
