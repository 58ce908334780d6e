"""slurmrestd with JWT: its command, the account it runs under, tokens, and whether it answers."""

from __future__ import annotations

import grp
import os
import pwd
import urllib.error
import urllib.request
from collections.abc import Mapping

from tools.slurm.sandbox.config import owner
from tools.slurm.sandbox.errors import SandboxError
from tools.slurm.sandbox.layout import Ports
from tools.slurm.sandbox.programs import find, run

# slurmrestd(8) refuses root and SlurmUser; root hands it to the first of these that exists.
_SERVANTS = ("slurm", "nobody", "daemon")
_DAY = 86400


def command(ports: Ports) -> list[str]:
    """slurmrestd on 127.0.0.1, and as a user without rights when root starts it."""
    argv = [find("slurmrestd") or "slurmrestd", "-a", "rest_auth/jwt"]
    if os.geteuid() == 0:
        servant = _servant()
        argv += ["-u", servant.pw_name, "-g", grp.getgrgid(servant.pw_gid).gr_name]
    return [*argv, f"127.0.0.1:{ports.slurmrestd}"]


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """SLURM_JWT=daemon makes it take the caller's token; an ordinary user's own is also SlurmUser."""
    extra = {"SLURM_JWT": "daemon"}
    if os.geteuid() != 0:
        # The check keeps a *shared* SlurmUser out of reach; here that user is the only one there is.
        extra["SLURMRESTD_SECURITY"] = "disable_user_check"
    return dict(env) | extra


def url(ports: Ports) -> str:
    """Where slurmrestd listens."""
    return f"http://127.0.0.1:{ports.slurmrestd}"


def token(env: Mapping[str, str], user: str | None = None, lifespan: int = _DAY) -> str:
    """A JWT for `user` (the caller when None), valid for `lifespan` seconds; only SlurmUser may ask for others."""
    said = run(["scontrol", "token", f"username={user or owner()}", f"lifespan={lifespan}"], env)
    _, _, value = said.strip().partition("SLURM_JWT=")
    if not value:
        raise SandboxError("scontrol token gave no SLURM_JWT: is auth/jwt configured?")
    return value


def answers(ports: Ports) -> bool:
    """True once slurmrestd serves its OpenAPI description."""
    try:
        with urllib.request.urlopen(f"{url(ports)}/openapi/v3", timeout=2) as response:
            return bool(response.status == 200)
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def _servant() -> pwd.struct_passwd:
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    for name in _SERVANTS:
        if name in known:
            return known[name]
    raise SandboxError(f"slurmrestd refuses to run as root, and none of {', '.join(_SERVANTS)} exists here")
