"""``sask diagnose-log``: a log's cause, from rules alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from assistant.errors import RequestRefused


def one(file: Path | None, state: str | None, exit_code: str | None, *, as_json: bool) -> None:
    from assistant.ledger.redact import redacted
    from tools.findings import Diagnosis, diagnose_log

    source = sys.stdin.buffer if file is None or str(file) == "-" else file
    if isinstance(source, Path):
        _readable(source)
    diagnosis: Diagnosis = diagnose_log(source, state=state, exit_code=exit_code)
    shown = redacted(diagnosis.as_json())
    if as_json:
        print(json.dumps(shown, ensure_ascii=False))
        return
    print("\n".join(described(shown)))


def _readable(path: Path) -> None:
    """A name that was mistyped is the caller's mistake, not a log without evidence. Raises RequestRefused."""
    try:
        path.open("rb").close()
    except OSError as error:
        raise RequestRefused(
            f"{path}: {error.strerror}", "give a file that can be read, or - for standard input"
        ) from error


def described(diagnosis: dict[str, Any]) -> list[str]:
    """Lines for people: the cause with its proof and its fix, then what else it could be."""
    if not diagnosis["findings"]:
        return ["not enough evidence to name a cause"]
    lines = []
    for finding in diagnosis["findings"][:3]:
        echo = f", an echo of {finding['echo_of']}" if finding["echo_of"] else ""
        lines.append(f"{finding['label']} ({finding['confidence']:.0%}{echo}): {finding['summary']}")
        lines += [f"    {e['file']}:{e['line']}: {e['text']}" for e in finding["evidence"][:3]]
        lines.append(f"    fix: {finding['fix']}")
    return lines


def batch(path: Path) -> None:
    """One result a line, in input order; a broken line gives the label ``invalid`` and says why."""
    from assistant.doors.words import open_lines

    with open_lines(path) as lines:
        for number, text in enumerate(lines, 1):
            if text.strip():
                print(json.dumps(_batch_line(text, f"{path}:{number}"), ensure_ascii=False), flush=True)


def _batch_line(text: str, where: str) -> dict[str, Any]:
    from assistant.ledger.redact import redacted
    from tools.findings import diagnose_log

    known: dict[str, Any] = {}
    try:
        line = json.loads(text)
        known = {"id": line["id"]} if "id" in line else {}
        log = next((line[key] for key in ("text", "log") if key in line), None)
        source = Path(line["file"]) if log is None and "file" in line else (log or "")
        code = line.get("exit_code")
        diagnosis = diagnose_log(source, state=line.get("state"), exit_code=None if code is None else str(code))
        return known | dict(redacted(diagnosis.as_json()))
    except (ValueError, TypeError, AttributeError, OSError) as error:
        return known | {"label": "invalid", "labels": [], "findings": [], "error": f"{where}: {error}"}
