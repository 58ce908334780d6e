"""MariaDB under the sandbox's directory, and the accounts, users and QoS that slurmdbd keeps."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping

from tools.slurm.sandbox.config import owner
from tools.slurm.sandbox.errors import DaemonFailed, SandboxError
from tools.slurm.sandbox.layout import Layout
from tools.slurm.sandbox.programs import find, start

ACCOUNTS: tuple[str, ...] = ("ml-research", "vision", "physics")

# Name -> sacctmgr(1) settings (slurmdbd makes `normal` itself). `small` makes QOSGrpGRES and QOSGrpCpuLimit happen,
# `interactive` makes QOSMaxJobsPerUserLimit and QOSMaxWallDurationPerJobLimit.
QOS: dict[str, tuple[str, ...]] = {
    "normal": (),
    "ai-train": ("Priority=100", 'Description="model training"'),
    "interactive": ("Priority=50", "MaxWall=04:00:00", "MaxJobsPerUser=2", 'Description="short sessions"'),
    "small": ("Priority=1", "GrpTRES=cpu=16,gres/gpu=2", 'Description="two GPUs for everybody together"'),
}

# Users that most Linux machines have; they let a test or a demonstration act as somebody else.
_ORDINARY = ("nobody", "daemon", "games", "www-data")


def users() -> tuple[str, ...]:
    """Who gets associations: root, whoever starts the sandbox, and four system users at most."""
    names = dict.fromkeys(["root", owner(), os.environ.get("SUDO_USER", ""), *_ORDINARY])
    known = {entry.pw_name for entry in pwd.getpwall()}
    return tuple(name for name in names if name in known)


def mariadb_command(layout: Layout) -> list[str]:
    """mariadbd with no network, small, and careless about power cuts: it holds a toy's history."""
    return [
        find("mariadbd") or "mariadbd",
        "--no-defaults",
        f"--datadir={layout.database}",
        f"--socket={layout.mysql_socket}",
        f"--pid-file={layout.run}/mariadb.pid",
        f"--user={owner()}",
        "--skip-networking",
        "--skip-log-bin",
        "--performance-schema=off",
        "--innodb-buffer-pool-size=64M",
        "--innodb-log-file-size=16M",
        "--innodb-flush-log-at-trx-commit=0",
        "--innodb-lock-wait-timeout=900",
    ]


def create_database(layout: Layout, env: Mapping[str, str]) -> None:
    """Fill the data directory once (about a second). The owner logs in by unix_socket, without password.

    On a machine out of breath the installer was seen to end early; it begins from nothing, so it is run once more.
    Raises DaemonFailed with the installer's log.
    """
    done = layout.database / "installed"
    if done.exists():
        return
    if _install(layout, env) != 0 and (status := _install(layout, env)) != 0:
        raise DaemonFailed("mariadb-install-db", f"ended with {status}", layout.log("mariadb-install-db"))
    done.touch()


def _install(layout: Layout, env: Mapping[str, str]) -> int:
    """Its exit status."""
    shutil.rmtree(layout.database, ignore_errors=True)
    log = layout.log("mariadb-install-db")
    argv = [
        find("mariadb-install-db") or "mariadb-install-db",
        "--no-defaults",
        "--auth-root-authentication-method=socket",
        f"--auth-root-socket-user={owner()}",
        f"--datadir={layout.database}",
        f"--user={owner()}",
        "--skip-test-db",
        "--skip-name-resolve",
    ]
    with log.open("w") as out:
        ended = subprocess.run(argv, env=dict(env), stdout=out, stderr=out, stdin=subprocess.DEVNULL, check=False)
    return ended.returncode


def fill(env: Mapping[str, str]) -> None:
    """Create QoS, accounts and users in one sacctmgr. What exists already is left alone.

    Everybody belongs to every account, with ml-research as the default and every QoS allowed. Root
    and the starter (SlurmUser) may do anything. Raises SandboxError with sacctmgr's complaints.
    """
    # Its exit status is 1 also for "Nothing new added", so the complaints decide.
    said = start(["sacctmgr", "-i"], env, stdin="\n".join(_commands()) + "\n").stderr
    if "error" in said:
        raise SandboxError(f"sacctmgr could not fill the accounting: {said.strip()}")


def _commands() -> list[str]:
    """Lines for sacctmgr(1)'s interactive mode."""
    # Few commands, each doing much: every message to slurmdbd waits 40 ms for a delayed TCP
    # acknowledgement, and a command exchanges several.
    names = ",".join(ACCOUNTS)
    lines = [f"add qos {name} {' '.join(settings)}" for name, settings in QOS.items() if settings]
    lines.append(f"add account {names} Organization=sandbox QOS={','.join(QOS)} DefaultQOS=normal")
    lines.append(f"add user {','.join(users())} Account={names} DefaultAccount={ACCOUNTS[0]}")
    return lines
