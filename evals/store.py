"""A run's directory while it is written: one writer, a line an answer, nothing lost but the line of the kill."""

from __future__ import annotations

import fcntl
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from assistant.errors import ConfigError
from evals.options import HOW
from evals.records import MANIFEST, RESULTS, Manifest, Record, line_of, read_manifest, read_records, write_manifest

_MAY_DIFFER = HOW | {"datasets", "model", "model_name"}


class RunError(ConfigError, ValueError):
    """A run's directory that cannot be used."""


class Store:
    """Opens a new run, or takes up one that asked the same of the same model.

    Raises RunError where DIR holds another run, is being written to, or cannot be written.
    """

    def __init__(self, directory: Path, manifest: Manifest) -> None:
        self.directory = directory
        before = _before(directory)
        if before and (differing := _differing(before, manifest)):
            raise RunError(f"{directory} holds another run: {'; '.join(differing)}", "choose another --out")
        self.manifest = manifest.model_copy(update={"started": before.started} if before else {})
        try:
            write_manifest(directory, self.manifest)
            self._file = _locked(directory / RESULTS)
        except OSError as error:
            raise RunError(f"{directory} cannot be written: {error.strerror}", "choose another --out") from error
        self.done = {record.key: record for record in read_records(directory) if record.error is None}

    def append(self, record: Record) -> None:
        self._file.write(line_of(record).encode())
        self._file.flush()
        if record.error is None:
            self.done[record.key] = record

    def close(self, *, finished: bool, memory: int | None = None) -> None:
        """``memory``: bytes that the model's engine holds, where that can be known."""
        now = datetime.now(UTC).isoformat(timespec="seconds") if finished else None
        model = self.manifest.model.model_copy(update={"memory": memory})
        self.manifest = self.manifest.model_copy(update={"finished": now, "model": model})
        write_manifest(self.directory, self.manifest)
        self._file.close()


def _before(directory: Path) -> Manifest | None:
    try:
        return read_manifest(directory) if (directory / MANIFEST).exists() else None
    except ValueError as error:
        raise RunError(str(error), "choose another --out") from error


def _differing(before: Manifest, now: Manifest) -> list[str]:
    """What was asked then and what would be asked now, where they differ."""
    then, would = _identity(before), _identity(now)
    return [
        f"{name} was {then.get(name)}, would be {would.get(name)}" for name in would if then.get(name) != would[name]
    ]


def _identity(manifest: Manifest) -> dict[str, Any]:
    """Not the URL: a server comes back on another port. Not what says only how and how much is asked."""
    sets = {f"dataset {one.name}": one.sha256[:12] for one in manifest.datasets}
    model = {"model": f"{manifest.model.name} {manifest.model.revision}".strip()}
    flags = {name: value for name, value in manifest.flags.items() if name not in _MAY_DIFFER}
    hashes = {"tools": manifest.tools[:12], "prompts": manifest.prompts[:12], "slurm": manifest.slurm}
    return {"datasets": ", ".join(sorted(sets))} | sets | model | flags | hashes


def _locked(path: Path) -> BinaryIO:
    """The file, ours alone, cut back to its last whole line."""
    file = path.open("a+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise RunError(f"another `sask eval run` is writing to {path.parent}", "wait for it, or stop it") from None
    os.ftruncate(file.fileno(), _whole_lines(path))
    return file


def _whole_lines(path: Path) -> int:
    """Bytes up to the last line end."""
    return path.read_bytes().rfind(b"\n") + 1
