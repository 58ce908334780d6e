"""Cases: one JSON line each, as ``evals/datasets/GUIDE.md`` describes them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from assistant.errors import ConfigError
from tools import BY_NAME

NOW = datetime(2026, 11, 21, 10, 0)
Text = Annotated[str, StringConstraints(min_length=1)]


class CaseError(ConfigError, ValueError):
    """A case file that cannot be used: the message names file, line and field."""


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


class _Context(BaseModel):
    user: Text = "me"
    is_admin: bool = False
    now: datetime = NOW


class _Line(BaseModel):
    """What must hold for a line to be run at all; ``evals.lint_cases`` also asks whether it is a good case."""

    model_config = ConfigDict(extra="forbid", strict=True)
    id: Text
    category: Text
    request: Text
    tags: list[str] = []
    source: str = ""
    context: _Context = _Context()
    world: dict[str, Any] = {}
    expect: dict[str, Any]


def dataset(name: str) -> Path:
    """Path of a bundled set (``requests_dev``) or of any file."""
    bundled = _bundled() / f"{name}.jsonl"
    return bundled if bundled.is_file() else Path(name)


def bundled_names() -> list[str]:
    return sorted(path.stem for path in _bundled().glob("requests_*.jsonl"))


def _bundled() -> Path:
    return Path(str(files("evals"))) / "datasets"


def read_cases(path: Path) -> list[Case]:
    """All cases of a file, in order. Raises CaseError naming file, line and field."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise CaseError(
            f"{path} cannot be read: {error.strerror}", f"bundled sets: {', '.join(bundled_names())}"
        ) from error
    except UnicodeDecodeError as error:
        raise CaseError(f"{path}: {error}", "a case file is JSON lines in UTF-8") from error
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    cases = [_read(line, f"{path}:{number}") for number, line in lines]
    if not cases:
        raise CaseError(f"{path}: holds no case", "one JSON object a line; see evals/datasets/GUIDE.md")
    return cases


def read_all(names: tuple[str, ...]) -> list[Case]:
    """The cases of several sets. Raises CaseError, also where two cases have one id."""
    cases: dict[str, Case] = {}
    for name in names:
        for case in read_cases(dataset(name)):
            if case.id in cases:
                raise CaseError(f"{name}: id: {case.id!r} is there twice", "every case needs an id of its own")
            cases[case.id] = case
    return list(cases.values())


def _read(text: str, where: str) -> Case:
    try:
        line = _Line.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"])) or "line"
        valid = f"; valid: {', '.join(_Line.model_fields)}" if first["type"] == "extra_forbidden" else ""
        raise CaseError(f"{where}: {name}: {first['msg']}{valid}") from error
    expects = (line.expect, *_list(line.expect, "any_of", f"{where}: expect"))
    for number, expect in enumerate(expects):
        _check(expect, f"{where}: expect" + (f".any_of[{number - 1}]" if number else ""))
    return Case(
        id=line.id,
        category=line.category,
        request=line.request,
        user=line.context.user,
        is_admin=line.context.is_admin,
        now=line.context.now.replace(tzinfo=None),
        tags=tuple(line.tags),
        expects=expects,
        forbid=frozenset(_list(line.expect, "forbid", f"{where}: expect")),
    )


def _list(expect: dict[str, Any], name: str, where: str) -> list[Any]:
    value = expect.get(name, [])
    if not isinstance(value, list):
        raise CaseError(f"{where}.{name}: {json.dumps(value)[:80]} is not a list")
    return value


def _check(expect: Any, where: str) -> None:
    """Raises CaseError unless this is an outcome that can be scored."""
    if not isinstance(expect, dict) or len(expect.keys() & {"tool", "tools", "action"}) != 1:
        raise CaseError(f"{where}: needs exactly one of tool, tools, action")
    if "action" in expect and expect["action"] not in ("ask", "reply"):
        raise CaseError(f"{where}.action: {expect['action']!r} is unknown; valid: ask, reply")
    calls = [expect] if "tool" in expect else _list(expect, "tools", where)
    for call in calls:
        name = call.get("tool") if isinstance(call, dict) else call
        if not isinstance(name, str) or name not in BY_NAME:
            raise CaseError(f"{where}.tool: {name!r} is no tool; valid: {', '.join(BY_NAME)}")
        if not isinstance(call.get("arguments", {}), dict):
            raise CaseError(f"{where}.arguments: {json.dumps(call['arguments'])[:80]} is not an object")
