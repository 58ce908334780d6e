"""``sask plan`` and ``sask tools``: what would be called, and what there is to call."""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assistant.doors.words import checked, open_lines, readable
from assistant.errors import AssistantError, RequestRefused

if TYPE_CHECKING:
    from tools.base import Tool


def one(request: str, *, user: str, is_admin: bool, now: str | None, as_json: bool, model: str | None) -> None:
    """One request; exit code 3 when the answer is a question."""
    from assistant import app
    from assistant.doors.render import spinner

    request = checked(request)
    moment = _moment(now)
    user = app.current_user() if user == "me" else user
    settings = app.load(model=model)
    readable(request, settings.model)
    with spinner("thinking") as say:
        outcome = _decide(app.planner(settings, say), request, user=user, is_admin=is_admin, now=moment)
    if as_json:
        print(json.dumps(outcome, ensure_ascii=False))
    else:
        for made in outcome["calls"]:
            print(f"{made['tool']} {json.dumps(made['arguments'], ensure_ascii=False)}")
        if outcome["text"]:
            print(outcome["text"])
    if outcome["action"] in ("ask", "invalid"):
        sys.exit(3)


def batch(path: Path, model: str | None) -> None:
    """One result a line, in input order, flushed line by line; a broken line gives ``"action": "invalid"``."""
    from assistant import app

    with open_lines(path) as lines:
        settings = app.load(model=model)
        plan = app.planner(settings)
        for number, text in enumerate(lines, 1):
            if text.strip():
                outcome = _batch_line(plan, text, f"{path}:{number}", settings.model)
                print(json.dumps(outcome, ensure_ascii=False), flush=True)


def _batch_line(plan: Any, text: str, where: str, model: str) -> dict[str, Any]:
    known: dict[str, Any] = {}
    try:
        line = _field({"line": json.loads(text)}, "line", dict, "an object")
        known = {"id": line["id"]} if "id" in line else {}
        context = _field(line, "context", dict, "an object", {})
        request = _field(line, "request", str, "a text")
        request = checked(request)
        readable(request, model)
        who = {
            "user": _field(context, "user", str, "a text", "me"),
            "is_admin": _field(context, "is_admin", bool, "true or false", False),
            "now": _moment(_field(context, "now", str, "an ISO time", "")),
        }
        return known | _decide(plan, request, **who)
    except json.JSONDecodeError as error:
        return known | _invalid(f"{where}: not JSON: {error}")
    except AssistantError as error:
        return known | _invalid(f"{where}: {error.message}")


def _field(line: dict[str, Any], name: str, kind: type, meaning: str, default: Any = None) -> Any:
    """A field of a batch line; absent or null is the default. Raises RequestRefused naming the field."""
    value = line.get(name)
    value = default if value is None else value
    if not isinstance(value, kind):
        raise RequestRefused(f"{name}: must be {meaning} (got {json.dumps(line.get(name))[:80]})")
    return value


def _invalid(text: str) -> dict[str, Any]:
    return {"action": "invalid", "calls": [], "text": text, "valid_json": False, "seconds": 0.0}


def _decide(plan: Any, request: str, **who: Any) -> dict[str, Any]:
    started = time.perf_counter()
    decision = plan(request, **who)
    action = decision.action
    kind = "call" if action.calls else "ask" if action.ask else "reply"
    return {
        "action": kind,
        "calls": [{"tool": made.tool, "arguments": made.arguments} for made in action.calls],
        "text": action.ask or action.reply,
        "valid_json": decision.valid_json,
        "seconds": round(time.perf_counter() - started, 3),
    }


def _moment(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None) if text else None
    except (ValueError, TypeError) as error:
        raise RequestRefused(f"{text!r} is not an ISO time", "write 2026-11-21T10:00:00") from error


def tools(*, as_json: bool) -> None:
    """Slurm's own and those of the MCP servers in the settings; what is left out of these is said on standard error."""
    from assistant.config import load
    from assistant.foreign.offered import offered

    found = offered(load(), lambda level, text: print(f"sask: {text}", file=sys.stderr))
    if as_json:
        print(json.dumps([_described(tool) for tool in found.values()], ensure_ascii=False))
        return
    for tool in found.values():
        origin = "" if tool.origin == "slurm" else f", {tool.origin}"
        print(f"{tool.name} ({tool.effect}{origin}): {tool.description}")
        print(f"    {', '.join(tool.schema()['properties'])}")
        for words, _ in tool.examples[:1]:
            print(f'    sask "{words}"')


def _described(tool: Tool) -> dict[str, Any]:
    return {
        "name": tool.name,
        "effect": str(tool.effect),
        "origin": tool.origin,
        "description": tool.description,
        "schema": tool.schema(),
        "examples": [{"request": words, "arguments": arguments} for words, arguments in tool.examples],
    }
