"""Commands that other packages bring: a Typer app each, found by its entry point and loaded when it is called."""

from __future__ import annotations

GROUP = "slurm_assistant.commands"


def run(name: str, arguments: list[str]) -> None:
    """Hands the command line over; ends with SystemExit. Raises ConfigError where the command is not installed."""
    from importlib.metadata import entry_points

    from assistant.errors import ConfigError

    found = next(iter(entry_points(group=GROUP, name=name)), None)
    if found is None:
        raise ConfigError(f"`sask {name}` is not installed", "install slurm-assistant again")
    found.load()(args=arguments, prog_name=f"sask {name}")
