"""Little sets of cases, and ``sask eval`` as a person would type it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from evals.commands import app
from evals.records import read_run
from tests.chat_server import ChatServer, Reply

CONTEXT = {"user": "ann", "is_admin": False, "now": "2026-11-21T10:00:00"}


def without_settings(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """No person's configuration; what is in the environment goes too."""
    monkeypatch.setenv("SASK_CONFIG", str(folder / "none.toml"))
    for name in [name for name in os.environ if name.startswith("SASK_") and name != "SASK_CONFIG"]:
        monkeypatch.delenv(name)


def case(number: int, **changes: Any) -> dict[str, Any]:
    job = str(7000 + number)
    return {
        "id": f"c{number:03}",
        "category": "show_job",
        "request": f"show job {job}",
        "context": CONTEXT,
        "expect": {"tool": "show_job", "arguments": {"job_id": job}},
    } | changes


def write_cases(path: Path, *cases: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in cases), encoding="utf-8")
    return path


def right(request: str, count: int) -> Reply:
    return Reply(json.dumps({"show_job": {"job_id": request.split()[-1]}}))


def sask_eval(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def run(server: ChatServer, cases: Path, out: Path, *flags: object) -> Any:
    return sask_eval("run", cases, "--model", server.url, "--out", out, *flags)


def by_id(directory: Path) -> dict[str, Any]:
    return {record.id: record for record in read_run(directory).records}
