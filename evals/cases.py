"""Cases: one JSON line each, as ``evals/datasets/GUIDE.md`` describes them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

NOW = datetime(2026, 11, 21, 10, 0)


@dataclass(frozen=True, slots=True)
class Case:
    """``expects`` are the acceptable outcomes: the case's ``expect`` first, then its ``any_of``."""

    id: str
    category: str
    request: str
    user: str = "me"
    is_admin: bool = False
    now: datetime = NOW
    tags: tuple[str, ...] = ()
    expects: tuple[dict[str, Any], ...] = ()
    forbid: frozenset[str] = field(default_factory=frozenset)


def dataset(name: str) -> Path:
    """Path of a bundled set (``requests_dev``) or of any file."""
    bundled = Path(str(files("evals"))) / "datasets" / f"{name}.jsonl"
    return bundled if bundled.is_file() else Path(name)


def read_cases(path: Path) -> list[Case]:
    """All cases of a file, in order. Raises ValueError naming file, line and field."""
    cases = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not text.strip():
            continue
        try:
            cases.append(_case(json.loads(text)))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}:{number}: {type(error).__name__} {error}") from error
    return cases


def _case(line: dict[str, Any]) -> Case:
    context, expect = line.get("context", {}), line["expect"]
    return Case(
        id=line["id"],
        category=line["category"],
        request=line["request"],
        user=context.get("user", "me"),
        is_admin=context.get("is_admin", False),
        now=datetime.fromisoformat(context["now"]) if "now" in context else NOW,
        tags=tuple(line.get("tags", ())),
        expects=(expect, *expect.get("any_of", ())),
        forbid=frozenset(expect.get("forbid", ())),
    )
