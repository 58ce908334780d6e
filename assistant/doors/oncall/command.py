"""``sask oncall`` on the command line; imports when it runs, as every door."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    token_file: Annotated[Path, typer.Option(help="file with the bearer token that senders show (mode 600)")],
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="where to listen")] = "127.0.0.1:9096",
    hmac_file: Annotated[Path | None, typer.Option(help="file with the key of senders that sign (mode 600)")] = None,
    rules: Annotated[Path | None, typer.Option(help="rules (TOML): outlet, quiet hours, budget, Slurm's rate")] = None,
) -> None:
    """Answer alerts: diagnose what Alertmanager or Slurm's triggers send, post it, leave changes for `sask approve`."""
    from assistant.doors.listening import address
    from assistant.doors.oncall.rules import Rules
    from assistant.doors.oncall.service import Place, serve

    serve(Place(*address(listen, "--listen", 9096), token_file, hmac_file), Rules.read(rules) if rules else Rules())
