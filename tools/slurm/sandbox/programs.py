"""Find Slurm's programs, say which packages are missing, and run the client commands."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.slurm.sandbox.errors import MissingPackages, SandboxError
from tools.slurm.sandbox.processes import MARK

# Debian keeps daemons where an ordinary user's PATH does not look.
SYSTEM_PATHS: tuple[str, ...] = ("/usr/local/sbin", "/usr/sbin", "/sbin")

# Program -> Debian package, and plugin -> Debian package (a plugin is a .so in Slurm's plugin folder).
_CORE = {
    "slurmctld": "slurm-wlm",
    "slurmd": "slurm-wlm",
    "sbatch": "slurm-client",
    "scontrol": "slurm-client",
    "munged": "munge",
}
_ACCOUNTING = {
    "slurmdbd": "slurmdbd",
    "sacctmgr": "slurm-client",
    "mariadbd": "mariadb-server",
    "mariadb-install-db": "mariadb-server",
}
_REST = {"slurmrestd": "slurmrestd"}
_ACCOUNTING_PLUGINS = {"accounting_storage_mysql.so": "slurm-wlm-mysql-plugin"}
_REST_PLUGINS = {"auth_jwt.so": "slurm-wlm-jwt-plugin", "rest_auth_jwt.so": "slurm-wlm-basic-plugins"}
_PLUGIN_FOLDERS = ("usr/lib/*/slurm*", "usr/lib/slurm*", "usr/lib64/slurm*", "usr/local/lib/slurm*")


def find(program: str) -> str | None:
    """The full path of a program on PATH or among the system's daemons, or None."""
    path = os.pathsep.join([os.environ.get("PATH", ""), *SYSTEM_PATHS])
    return shutil.which(program, path=path)


def require(*, accounting: bool, rest: bool) -> None:
    """Raise MissingPackages, naming every program and plugin that is absent, with its package."""
    programs = _CORE | (_ACCOUNTING if accounting else {}) | (_REST if rest else {})
    plugins = (_ACCOUNTING_PLUGINS if accounting else {}) | (_REST_PLUGINS if rest else {})
    absent = _absent(programs, plugins)
    if absent:
        raise MissingPackages(list(absent), sorted(set(absent.values())))


def accounting_installed() -> bool:
    """True when slurmdbd, MariaDB and the plugin between them are here."""
    return not _absent(_ACCOUNTING, _ACCOUNTING_PLUGINS)


def slurm_version() -> tuple[int, int]:
    """(major, minor) of the installed slurmctld, for example (22, 5) for 22.05.8."""
    path = find("slurmctld")
    said = subprocess.run([path or "slurmctld", "-V"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"(\d+)\.(\d+)", said)
    if match is None:
        raise SandboxError(f"slurmctld -V said {said.strip()!r}: no version in it")
    return int(match[1]), int(match[2])


def daemon_environment(mark: str, conf: Path) -> dict[str, str]:
    """This environment without any other cluster's SLURM_* variables, pointing at the sandbox."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH", "SALLOC"))}
    path = os.pathsep.join([clean.get("PATH", "/usr/bin:/bin"), *SYSTEM_PATHS])
    return clean | {"PATH": path, "SLURM_CONF": str(conf), MARK: mark}


def run(argv: Sequence[str], env: Mapping[str, str], timeout: float = 20.0) -> str:
    """Run a client command to its end. Returns stdout; raises SandboxError with what it said."""
    done = start(argv, env, timeout=timeout)
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-1500:]
        raise SandboxError(f"{' '.join(argv)} ended with {done.returncode}: {said}")
    return done.stdout


def start(
    argv: Sequence[str], env: Mapping[str, str], *, stdin: str = "", timeout: float = 20.0
) -> subprocess.CompletedProcess[str]:
    """Run a client command, whatever its exit status. Raises SandboxError if absent or too slow."""
    path = find(argv[0])
    if path is None:
        raise SandboxError(f"{argv[0]}: not found on this machine")
    try:
        return subprocess.run(
            [path, *argv[1:]], env=dict(env), input=stdin, capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        raise SandboxError(f"{' '.join(argv)}: no answer in {timeout:.0f} s") from None


def _plugin_exists(name: str) -> bool:
    root = Path("/")
    return any(any(root.glob(f"{folder}/{name}")) for folder in _PLUGIN_FOLDERS)


def _absent(programs: Mapping[str, str], plugins: Mapping[str, str]) -> dict[str, str]:
    missing = {name: package for name, package in programs.items() if find(name) is None}
    return missing | {name: package for name, package in plugins.items() if not _plugin_exists(name)}
