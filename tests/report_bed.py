"""Runs made by hand, whose figures are known beforehand."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from assistant.loop.ladder import Rung
from evals.judge import rungs
from evals.records import (
    ArgumentScore,
    DatasetRecord,
    ErrorRecord,
    Manifest,
    ModelRecord,
    Record,
    Run,
    ScoreRecord,
    line_of,
    write_manifest,
)
from tools.base import Call

SHOW = {"tool": "show_job", "arguments": {"job_id": "7"}}
CANCEL = {"tool": "cancel_jobs", "arguments": {"job_ids": ["7"]}}


def record(name: str, **given: Any) -> Record:
    """An exact call of show_job, unless said otherwise."""
    return Record.model_validate(
        {
            "id": name,
            "category": "show_job",
            "request": f"what about job 7, {name}?",
            "expect": SHOW,
            "rungs_first": rungs(None),
            "rungs_last": rungs(None),
            "kind": "call",
            "calls": [Call("show_job", {"job_id": "7"})],
            "score": ScoreRecord(tool=True, exact=True, forbidden=False, arguments=[argument("right")]),
            "seconds": 0.5,
            "attempts": 1,
            "transcript": [{"role": "user", "content": "what about job 7?"}, {"role": "assistant", "content": "{}"}],
        }
        | given
    )


def argument(verdict: str, got: Any = "7", name: str = "job_id") -> ArgumentScore:
    return ArgumentScore(tool="show_job", name=name, verdict=verdict, want="7", got=got)  # type: ignore[arg-type]


def wrong_arguments(name: str, **given: Any) -> Record:
    score = ScoreRecord(tool=True, exact=False, forbidden=False, arguments=(argument("wrong", got="8"),))
    return record(name, calls=[Call("show_job", {"job_id": "8"})], score=score, **given)


def wrong_tool(name: str, **given: Any) -> Record:
    score = ScoreRecord(tool=False, exact=False, forbidden=False)
    return record(name, calls=[Call("diagnose_job", {"job_id": "7"})], score=score, **given)


def forbidden(name: str, **given: Any) -> Record:
    score = ScoreRecord(tool=False, exact=False, forbidden=True)
    return record(name, calls=[Call("cancel_jobs", {"job_ids": ["7"]})], score=score, **given)


def invalid(name: str, rung: Rung = Rung.JSON, **given: Any) -> Record:
    score = ScoreRecord(tool=False, exact=False, forbidden=False)
    fell = {"rungs_first": rungs(rung), "rungs_last": rungs(rung)}
    return record(
        name, kind="invalid", calls=[], text="Could you say it again?", score=score, attempts=3, **fell, **given
    )


def repaired(name: str, rung: Rung = Rung.SCHEMA) -> Record:
    return record(name, rungs_first=rungs(rung), attempts=2)


def unreachable(name: str, message: str = "connection refused") -> Record:
    error, fell = ErrorRecord(kind="unreachable", message=message), rungs(Rung.HTTP)
    return record(name, kind="invalid", calls=[], score=None, error=error, rungs_first=fell, rungs_last=fell)


def manifest(**given: Any) -> Manifest:
    return Manifest.model_validate(
        {
            "datasets": [DatasetRecord(name="made", sha256="ab" * 32, count=4)],
            "tools": "cd" * 32,
            "prompts": "ef" * 32,
            "model": ModelRecord(
                name="Some-Model-FP8", url="http://127.0.0.1:1", engine="vllm 0.27", memory=4_000_000_000
            ),
            "sampling": {"temperature": 0.0},
            "flags": {"constrain": True, "datasets": ["made"]},
            "started": "2026-11-21T09:00:00+00:00",
            "finished": "2026-11-21T09:01:00+00:00",
        }
        | given
    )


def run_of(records: Iterable[Record], directory: Path = Path("made"), **given: Any) -> Run:
    kept = sorted(records, key=lambda one: one.key)
    return Run(manifest(**given), tuple(kept), directory)


def write(directory: Path, records: Iterable[Record], **given: Any) -> Path:
    """The same as a directory on disk."""
    write_manifest(directory, manifest(**given))
    (directory / "results.jsonl").write_text("".join(map(line_of, records)), encoding="utf-8")
    return directory


SOME = (
    record("ok-1"), repaired("ok-2"), record("ok-3", seconds=2.0),
    wrong_arguments("bad-1", tags=("typo", "terse")), wrong_tool("bad-2", tags=("typo",), category="diagnose_job"),
    forbidden("bad-3", category="reply", forbid=("cancel_jobs",)), invalid("bad-4", Rung.GROUNDED), unreachable("gone"),
)  # fmt: skip
"""Seven answers, of which three are exact, and one that the server failed to give."""
