"""``python -m evals.lint_cases [FILE …]``: are these cases well formed, canonical and grounded?

A line of a case file is one JSON object; ``evals/datasets/GUIDE.md`` says what stands in it. Every complaint
names file, line and field. Without arguments all sets of this package are checked.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from evals.cases import cluster_files
from evals.lint_worlds import check as check_world
from evals.lint_worlds import placed

FIELDS = {"id", "category", "tags", "source", "request", "turns", "context", "world", "expect"}
REQUIRED = ("id", "category", "tags", "source", "context", "expect")
EXPECT_FIELDS = {
    "tool", "arguments", "tools", "any_order", "action", "any_of", "optional", "forbid", "must_mention", "end_state",
}  # fmt: skip
ACTIONS = ("ask", "reply")
# arguments that have one canonical form; the tools' own readers decide which
CANONICAL = {
    "time_limit",
    "mem",
    "mem_per_cpu",
    "mem_per_gpu",
    "since",
    "until",
    "start",
    "end",
    "signal",
    "dependency",
    "array",
    "mail_type",
    "job_id",
}
# arguments whose value must be written in the request, letter for letter (but for case)
GROUNDED = {
    "script",
    "command",
    "partition",
    "account",
    "qos",
    "job_name",
    "user",
    "name",
    "node",
    "reservation",
    "working_directory",
    "mail_user",
    "container_image",
    "comment",
    "exclude",
    "nodelist",
    "pattern",
    "gpu_type",
}


@dataclass(frozen=True, slots=True)
class Problem:
    file: str
    line: int
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.field}: {self.message}"


Found = Iterator[tuple[str, str]]  # (field, message)


def default_files() -> list[Path]:
    """The bundled sets that need no cluster."""
    with as_file(files("evals") / "datasets") as folder:
        return sorted(folder.glob("requests_*.jsonl"))


def lint(paths: list[Path]) -> list[Problem]:
    """All problems of all files, in reading order; ids and requests must be unique over all of them.

    Raises OSError if a file cannot be read.
    """
    problems: list[Problem] = []
    seen: dict[str, str] = {}
    for path in paths:
        for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            where = f"{path.name}:{number}"
            found = [*_check_line(text), *_check_repeats(text, where, seen)]
            problems += [Problem(path.name, number, field, message) for field, message in found]
    return problems


def _parse(text: str) -> dict[str, Any] | None:
    try:
        case = json.loads(text)
    except json.JSONDecodeError:
        return None
    return case if isinstance(case, dict) else None


def _check_line(text: str) -> Found:
    case = _parse(text)
    if case is None:
        yield "line", "is not one JSON object"
        return
    case = placed(case)
    yield from _check_fields(case)
    context, expect = case.get("context"), case.get("expect")
    if not isinstance(context, dict) or not isinstance(expect, dict):
        return
    yield from _check_expect(expect, case, "expect")
    yield from _check_category(case, expect)
    if "world" in case or "turns" in case or "end_state" in expect:
        yield from check_world(text, case)


def _check_fields(case: Mapping[str, Any]) -> Found:
    for field in REQUIRED:
        if field not in case:
            yield field, "is missing"
    for field in sorted(case.keys() - FIELDS):
        yield field, f"is no field of a case; valid: {', '.join(sorted(FIELDS))}"
    if ("request" in case) == ("turns" in case):
        yield "request", "give either request or turns"
    for field in ("id", "category", "source", "request"):
        if field in case and (not isinstance(case[field], str) or not case[field].strip()):
            yield field, f"{case[field]!r} is not a text"
    if not isinstance(case.get("tags", []), list):
        yield "tags", "is not a list"
    yield from _check_context(case.get("context"))
    if not isinstance(case.get("expect", {}), dict):
        yield "expect", "is not an object"


def _check_context(context: Any) -> Found:
    if not isinstance(context, dict):
        yield "context", "is not an object {user, is_admin, now}"
        return
    for key in sorted({"user", "is_admin", "now"} ^ context.keys()):
        yield f"context.{key}", "is no field; valid: user, is_admin, now" if key in context else "is missing"
    if not isinstance(context.get("is_admin"), bool):
        yield "context.is_admin", "is neither true nor false"
    if _now(context) is None:
        yield "context.now", f"{context.get('now')!r} is not an ISO time such as 2026-11-21T10:00:00"


def _now(context: Mapping[str, Any]) -> datetime | None:
    try:
        return datetime.fromisoformat(str(context.get("now")))
    except ValueError:
        return None


def _check_category(case: Mapping[str, Any], expect: Mapping[str, Any]) -> Found:
    from tools import BY_NAME

    category = case.get("category")
    if category not in {*BY_NAME, "ask", "reply", "multi"}:
        yield "category", f"{category!r} is unknown; valid: {', '.join(BY_NAME)}, ask, reply, multi"
        return
    is_so = expect.get("tool") or expect.get("action") or ("multi" if "tools" in expect else None)
    if is_so != category:
        yield "category", f"is {category!r}, but expect says {is_so!r}"


def _check_expect(expect: Mapping[str, Any], case: Mapping[str, Any], field: str) -> Found:
    for key in sorted(expect.keys() - EXPECT_FIELDS):
        yield f"{field}.{key}", f"is no field; valid: {', '.join(sorted(EXPECT_FIELDS))}"
    if len(expect.keys() & {"tool", "tools", "action"}) != 1:
        yield field, "needs exactly one of tool, tools, action"
    if "action" in expect and expect["action"] not in ACTIONS:
        yield f"{field}.action", f"{expect['action']!r} is unknown; valid: {', '.join(ACTIONS)}"
    calls = [expect] if "tool" in expect else expect.get("tools", [])
    for index, call in enumerate(calls):
        yield from _check_call(call, case, field if "tool" in expect else f"{field}.tools[{index}]")
    yield from _check_names(expect, calls, field)
    for index, other in enumerate(expect.get("any_of", [])):
        yield from _check_expect(other, case, f"{field}.any_of[{index}]")


def _check_names(expect: Mapping[str, Any], calls: list[Any], field: str) -> Found:
    from tools import BY_NAME

    for name in expect.get("forbid", []):
        if name not in BY_NAME:
            yield f"{field}.forbid", f"{name!r} is no tool; valid: {', '.join(BY_NAME)}"
    tools = [BY_NAME[call["tool"]] for call in calls if call.get("tool") in BY_NAME]
    known = {argument for tool in tools for argument in tool.Arguments.model_fields}
    for name in expect.get("optional", []):
        if name not in known:
            yield f"{field}.optional", f"{name!r} is no argument here; valid: {', '.join(sorted(known))}"


def _check_call(call: Mapping[str, Any], case: Mapping[str, Any], field: str) -> Found:
    from tools import BY_NAME

    tool = BY_NAME.get(str(call.get("tool")))
    arguments = call.get("arguments")
    if tool is None:
        yield f"{field}.tool", f"{call.get('tool')!r} is no tool; valid: {', '.join(BY_NAME)}"
        return
    if not isinstance(arguments, dict):
        yield f"{field}.arguments", "is not an object"
        return
    if tool.effect == "admin" and not case["context"].get("is_admin"):
        yield "context.is_admin", f"is false, but {tool.name} is for administrators"
    valid = tool.Arguments.model_fields
    if unknown := sorted(arguments.keys() - valid.keys()):
        for name in unknown:
            yield f"{field}.arguments.{name}", f"is no argument of {tool.name}; valid: {', '.join(valid)}"
        return
    for name, value in arguments.items():
        path = f"{field}.arguments.{name}"
        for option in _options(value):
            yield from _check_value(tool.Arguments, arguments, name, option, case, path)


def _options(value: Any) -> list[Any]:
    if isinstance(value, dict) and value.keys() == {"any"}:
        return list(value["any"])
    return [value]


def _check_value(
    model: Any, arguments: Mapping[str, Any], name: str, value: Any, case: Mapping[str, Any], field: str
) -> Found:
    """One value among the first choices of all others: does the tool take it, as written, and was it said?"""
    from pydantic import ValidationError

    chosen = {**{key: _options(other)[0] for key, other in arguments.items()}, name: value}
    try:
        given = model.model_validate(chosen, context={"now": _now(case["context"])}).given()
    except ValidationError as error:
        ours = [e for e in error.errors() if not e["loc"] or e["loc"][0] == name]
        yield from ((field, f"{value!r}: {e['msg']}") for e in ours)
        return
    if name in CANONICAL and given.get(name) != value:
        yield field, f"{value!r} is not canonical; write {given.get(name)!r}"
    yield from ((field, f"{word!r} is not in the request") for word in _unsaid(name, value, _said(case)))


def _said(case: Mapping[str, Any]) -> str:
    turns = case.get("turns", [case.get("request", "")])
    return json.dumps(turns, ensure_ascii=False).casefold()


def _unsaid(name: str, value: Any, said: str) -> Iterator[str]:
    if name in ("job_id", "job_ids"):
        ids = value if isinstance(value, list) else [value]
        numbers = [number for text in ids for number in re.findall(r"(?<!\$)\b\d+", str(text))]
        yield from (number for number in numbers if number not in said)
    elif name in GROUNDED and value != "me":
        plain = json.dumps(value, ensure_ascii=False)[1:-1].casefold()
        if plain not in said:
            yield str(value)


def _check_repeats(text: str, where: str, seen: dict[str, str]) -> Found:
    case = _parse(text) or {}
    said = f"{case.get('request') or case.get('turns') or where} {case.get('world') or ''}"
    for field, value in {"id": case.get("id", where), "request": said}.items():
        key = f"{field} " + " ".join(str(value).casefold().split())
        if key in seen:
            yield field, f"is the same as in {seen[key]}"
        seen.setdefault(key, where)


def main(argv: list[str] | None = None) -> int:
    names = sys.argv[1:] if argv is None else argv
    paths = [Path(name) for name in names] or [*default_files(), *cluster_files()]
    if missing := [str(path) for path in paths if not path.is_file()]:
        print(f"no such file: {', '.join(missing)}", file=sys.stderr)
        return 2
    problems = lint(paths)
    for problem in problems:
        print(problem)
    print(f"{len(paths)} files, {len(problems)} problems", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
