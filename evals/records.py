"""What a run leaves on disk: ``DIR/manifest.json`` says what was measured, ``DIR/results.jsonl`` has a line an answer.

``results.jsonl`` is only ever appended to, so that a killed run loses no more than the line it was writing. Of
several lines for one (case, repeat) the last counts: an infrastructure error is made good by the answer after it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from assistant.loop.ladder import Rung
from tools.base import Call

MANIFEST, RESULTS = "manifest.json", "results.jsonl"

Rungs = dict[Rung, bool | None]
"""Every rung from ``http`` up: true, then false where the answer fell, then ``None``."""


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ArgumentScore(_Stored):
    """One argument of one call. ``want`` is the value, or ``{"any": […]}``; of an ``extra`` one there is none."""

    tool: str
    name: str
    verdict: Literal["right", "wrong", "missing", "extra"]
    want: Any = None
    got: Any = None


class ScoreRecord(_Stored):
    """``end_state`` is None where no cluster was asked, ``mentions`` where nothing had to be said; ``arguments`` is
    empty unless the right tools were called."""

    tool: bool
    exact: bool
    forbidden: bool
    end_state: bool | None = None
    mentions: bool | None = None
    arguments: tuple[ArgumentScore, ...] = ()


class ErrorRecord(_Stored):
    """An infrastructure error: the model could not be asked. ``kind``: unreachable, timeout or refused; or ``world``:
    the cluster could not be brought into the state that the case begins with."""

    kind: str
    message: str


class Record(_Stored):
    """One case, asked once. With ``error`` set nothing was judged and ``score`` is None.

    ``seconds`` and ``ttft`` (time to the first token of the first answer; None unless streamed) are wall time,
    ``attempts`` counts answers of the model, repairs among them; ``transcript`` leaves out the system prompt.
    """

    id: str
    category: str
    tags: tuple[str, ...] = ()
    repeat: int = 0
    request: str
    turns: tuple[Any, ...] = ()
    expect: dict[str, Any]
    forbid: tuple[str, ...] = ()
    rungs_first: Rungs
    rungs_last: Rungs
    kind: Literal["call", "ask", "reply", "invalid"]
    calls: tuple[Call, ...] = ()
    text: str = ""
    score: ScoreRecord | None = None
    seconds: float = 0.0
    ttft: float | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    attempts: int = 0
    error: ErrorRecord | None = None
    transcript: tuple[dict[str, Any], ...] = ()

    @property
    def key(self) -> tuple[str, int]:
        return self.id, self.repeat


class DatasetRecord(_Stored):
    """``count`` is how many of its cases were asked (``--limit`` may leave some out)."""

    name: str
    sha256: str
    count: int


class ModelRecord(_Stored):
    """``revision`` and ``engine`` as the server tells them, empty where it does not; memory in bytes, if known."""

    name: str
    url: str
    revision: str = ""
    engine: str = ""
    memory: int | None = None


class Manifest(_Stored):
    """All that matters to repeat a run. ``tools`` and ``prompts`` are hashes; times are ISO with their zone;
    ``slurm`` is the version of the cluster that judged, empty where none was asked."""

    datasets: tuple[DatasetRecord, ...]
    tools: str
    prompts: str
    model: ModelRecord
    sampling: dict[str, Any] = Field(default_factory=dict)
    flags: dict[str, Any] = Field(default_factory=dict)
    repeats: int = 1
    packages: dict[str, str] = Field(default_factory=dict)
    machine: dict[str, Any] = Field(default_factory=dict)
    slurm: str = ""
    started: str = ""
    finished: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """A finished or half-finished run; ``records`` are sorted by id and repeat, one for each."""

    manifest: Manifest
    records: tuple[Record, ...]
    directory: Path = Path()

    @property
    def scored(self) -> tuple[Record, ...]:
        return tuple(record for record in self.records if record.error is None)

    @property
    def errors(self) -> tuple[Record, ...]:
        return tuple(record for record in self.records if record.error is not None)


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Whole or not at all: a kill never leaves half a manifest. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    half = directory / f"{MANIFEST}.new"
    half.write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    half.replace(directory / MANIFEST)


def read_manifest(directory: Path) -> Manifest:
    """Raises ValueError, naming the file and the field, where there is no run or not one of ours."""
    path = directory / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{directory} holds no run: there is no {MANIFEST} in it") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise ValueError(f"{path}: {_first(error)}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: {error}") from error


def read_records(directory: Path) -> tuple[Record, ...]:
    """The last record of each (case, repeat); a last line that was never finished is left out.

    Raises ValueError naming file, line and field.
    """
    path = directory / RESULTS
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    found: dict[tuple[str, int], Record] = {}
    for number, line in enumerate(text.split("\n")[:-1], 1):
        if line.strip():
            record = _record(line, path, number)
            found[record.key] = record
    return tuple(found[key] for key in sorted(found))


def _record(line: str, path: Path, number: int) -> Record:
    try:
        return Record.model_validate_json(line)
    except ValidationError as error:
        raise ValueError(f"{path}:{number}: {_first(error)}") from error


def read_run(directory: Path) -> Run:
    """Manifest and records. Raises ValueError naming what cannot be read."""
    return Run(read_manifest(directory), read_records(directory), directory)


def line_of(record: Record) -> str:
    """A record as its line, newline included; characters that some readers take for line ends are escaped."""
    return json.dumps(record.model_dump(mode="json"), ensure_ascii=True) + "\n"


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"])) or "line"
    return f"{where}: {first['msg']}"
