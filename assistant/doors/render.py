"""Answers for a terminal, made of facts: what was called, what ran, what Slurm says, what is left.

One way for every tool: a value is a line, a list of rows is a table. Colours only where a terminal wants them
(rich honours pipes, ``console`` NO_COLOR).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from assistant.ledger.redact import redact
from tools.base import Effect, Item, Outcome

if TYPE_CHECKING:
    from rich.console import Console

    from assistant.ledger.approval import Preview
    from assistant.ledger.done import Done
    from assistant.loop.agent import Answer

MARKS = {"ok": ("done", "green"), "failed": ("failed", "red"), "unknown": ("unknown", "yellow"),
         "skipped": ("skipped", "yellow"), "denied": ("not done", "yellow")}  # fmt: skip


WIDEST = 140
"""Columns of a table that is still one: a job list stays a list in a pipe, long findings become paragraphs."""


def console(*, error: bool = False) -> Console:
    from rich.console import Console

    # rich keeps bold and dim under NO_COLOR; without a colour system it writes no escape code at all
    return Console(
        stderr=error, highlight=False, markup=False, soft_wrap=True, color_system=None if plain() else "auto"
    )


def plain() -> bool:
    """Whether NO_COLOR (no-color.org) asks for text alone."""
    return bool(os.environ.get("NO_COLOR"))


@contextmanager
def spinner(text: str) -> Iterator[Callable[[str], None]]:
    """A spinner on standard error while something takes time; only on a terminal. Yields a way to change its text."""
    if plain() or not sys.stderr.isatty():
        yield lambda text: None
        return
    with console(error=True).status(text) as status:
        yield lambda text: status.update(text)


def as_document(answer: Answer) -> dict[str, Any]:
    """What ``--json`` prints."""
    return {
        "request": redact(answer.request),
        "action": answer.action,
        "done": [done_document(one) for one in answer.done],
        "text": redact(answer.text),
        "run": answer.run,
        "stopped": answer.stopped,
    }


def done_document(done: Done) -> dict[str, Any]:
    result = done.result
    items = [
        {"id": i.id, "outcome": i.outcome, "message": i.message, "code": i.code, "transient": i.transient}
        for i in result.items
    ]
    document: dict[str, Any] = {
        "tool": done.call.tool,
        "arguments": done.call.arguments,
        "status": result.status,
        "items": items,
        "data": result.data,
        "commands": list(done.commands),
    }
    if done.plan:
        document["undo"] = undo_lines(done)
        document["notes"] = list(done.plan.notes)
    return document


def print_json(document: Any) -> None:
    print(json.dumps(document, ensure_ascii=False, default=str))


def show_done(done: Done, out: Console) -> None:
    """One call: its arguments, each item's outcome, the facts, the commands, the undo."""
    out.print(f"{done.call.tool} {json.dumps(done.call.arguments, ensure_ascii=False)}", style="bold")
    for command in done.commands if done.plan is not None else ():
        out.print(f"  $ {command}", style="cyan")
    for item in done.result.items:
        if done.plan is not None or item.outcome is not Outcome.OK:
            _show_item(item, done.call.tool, out)
    said = " ".join(item.message for item in done.result.items)
    show_data({k: v for k, v in done.result.data.items() if k != "error" or v.get("message", "") not in said}, out)
    if done.plan is not None and done.result.status in ("ok", "partial"):
        for text in undo_lines(done):
            out.print(f"  undo: {text}", style="dim")


def undo_lines(done: Done) -> list[str]:
    """How to take it back; of a submission that was made, with the id that it got."""
    from tools.submit import SubmitJob, undo_of

    made = [item.id for item in done.result.items if item.outcome is Outcome.OK]
    if done.call.tool == SubmitJob.name and made:
        return [undo_of(job_id) for job_id in made]
    return list(done.plan.undo) if done.plan else []


def _show_item(item: Item, tool: str, out: Console) -> None:
    word, style = MARKS[item.outcome]
    code = f" [{item.code}]" if item.code else ""
    subject = tool if item.id.startswith("sask:") else item.id  # a job that never got an id has only its key
    out.print(f"  {word} {subject}{': ' + item.message if item.message else ''}{code}", style=style)


def show_data(data: dict[str, Any], out: Console, indent: str = "  ") -> None:
    """Facts: plain values as lines, rows as tables, text as it is."""
    for key, value in data.items():
        if value in (None, "", [], {}) or (key.endswith(("shown", "total")) and isinstance(value, int)):
            continue
        label = key.replace("_", " ")
        if isinstance(value, list) and all(isinstance(row, dict) for row in value):
            out.print(f"{indent}{label}:")
            _show_rows(value, out, indent + "  ")
        elif isinstance(value, dict):
            _show_mapping(label, value, out, indent)
        elif isinstance(value, list):
            _show_list(label, value, out, indent)
        else:
            out.print(f"{indent}{label}: {value}")
    if isinstance(data.get("total"), int) and isinstance(data.get("shown"), int) and data["total"] > data["shown"]:
        out.print(f"{indent}{data['shown']} of {data['total']} shown", style="dim")


def _show_mapping(label: str, value: dict[str, Any], out: Console, indent: str) -> None:
    if all(not isinstance(part, dict | list) for part in value.values()):
        out.print(f"{indent}{label}: " + ", ".join(f"{k} {_cell(v)}" for k, v in value.items() if v not in ("", None)))
        return
    out.print(f"{indent}{label}:")
    show_data(value, out, indent + "  ")


def _show_list(label: str, value: list[Any], out: Console, indent: str) -> None:
    texts = [str(part) for part in value]
    if sum(map(len, texts)) < 90 and not any("\n" in text for text in texts):
        out.print(f"{indent}{label}: {', '.join(texts)}")
        return
    out.print(f"{indent}{label}:")
    for text in texts:
        out.print(f"{indent}  {text}")


def _show_rows(rows: list[dict[str, Any]], out: Console, indent: str) -> None:
    """Short rows side by side in columns; rows with long text one after another."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    columns = [c for c in columns if any(row.get(c) not in (None, "", [], {}) for row in rows)]
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max([len(column), *(len(row[i]) for row in cells)]) for i, column in enumerate(columns)]
    if sum(widths) + 2 * len(widths) > max(out.width, WIDEST) - len(indent):
        for row in rows:
            show_data(row, out, indent)
            if row is not rows[-1]:
                out.print()
        return
    for line in [[column.replace("_", " ") for column in columns], *cells]:
        out.print((indent + "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True))).rstrip())


def _cell(value: Any) -> str:
    if isinstance(value, dict) and value.keys() == {"tool", "arguments"}:
        return f"{value['tool']} {json.dumps(value['arguments'], ensure_ascii=False)}"  # as a call is shown elsewhere
    if isinstance(value, dict):
        return " ".join(f"{k}:{v}" for k, v in value.items())
    return ",".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)


def show_preview(preview: Preview, out: Console) -> None:
    """All that is needed to say yes or no."""
    from tools import BY_NAME

    is_admin = preview.tool in BY_NAME and BY_NAME[preview.tool].effect is Effect.ADMIN
    out.print(f"{preview.tool} {json.dumps(preview.arguments, ensure_ascii=False)}", style="bold")
    for command in preview.commands:
        out.print(f"  $ {command}", style="cyan")
    blast = preview.blast
    touched = [f"{blast.jobs} job(s)" if blast.jobs else "", f"{blast.nodes} node(s)" if blast.nodes else "",
               f"of {', '.join(blast.users)}" if blast.users else "",
               f"{blast.node_hours:.1f} node-hours" if blast.node_hours else ""]  # fmt: skip
    if any(touched):
        out.print("  touches: " + ", ".join(filter(None, touched)))
    if blast.dependents:
        out.print(f"  would never start: {', '.join(blast.dependents)}", style="yellow")
    for note in preview.notes:
        out.print(f"  note: {note}", style="yellow")
    for text in preview.undo:
        out.print(f"  undo: {text}", style="dim")
    if is_admin:
        out.print("  this changes the cluster for everybody", style="yellow")
    if preview.must_ask:
        out.print(f"  {preview.must_ask}", style="yellow")
