"""Which way to Slurm: its commands, or slurmrestd."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tools.slurm.backend import Backend
from tools.slurm.errors import InvalidRequest

Kind = Literal["auto", "cli", "rest"]


def backend_for(
    kind: Kind = "auto",
    url: str = "",
    *,
    user: str = "",
    token_file: Path | None = None,
    token_command: Sequence[str] = (),
    ca_file: Path | None = None,
    slurm_conf: Path | None = None,
) -> Backend:
    """``slurm_conf`` is for Slurm's commands, instead of what SLURM_CONF says.

    ``auto`` is slurmrestd only where a URL is given and Slurm's commands are not on PATH.

    Raises ``InvalidRequest`` for ``rest`` without a URL, and for a URL that is none.
    """
    if kind == "cli" or (kind == "auto" and (not url or shutil.which("scontrol"))):
        from tools.slurm.cli import CliBackend
        from tools.slurm.cli.runner import Runner

        return CliBackend(Runner({**os.environ, "SLURM_CONF": str(slurm_conf)}) if slurm_conf else None)
    if not url:
        raise InvalidRequest(
            "the rest backend needs the address of slurmrestd: http://host:6820, https://host:6820 or "
            "unix:/run/slurmrestd.socket",
            code="bad_url",
        )
    from tools.slurm.rest.backend import RestBackend
    from tools.slurm.rest.client import Client
    from tools.slurm.rest.credentials import Credentials

    return RestBackend(Client(url, Credentials(user, token_file, tuple(token_command)), ca_file=ca_file))


def user_of(backend: Backend, login: str) -> str:
    """Who asks: the token's user where slurmrestd is the way, else the login of this process."""
    from tools.slurm.cli import CliBackend

    if isinstance(backend, CliBackend):
        return login
    from tools.slurm.rest.backend import RestBackend

    return backend.client.credentials.name() if isinstance(backend, RestBackend) else login
