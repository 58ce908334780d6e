"""Answers and cards in Block Kit (docs.slack.dev/reference/block-kit).

What comes from a cluster or a person stands in rich text and plain text only, which Slack does not parse: no name of
a job can mention a channel, make a link or look like a button. The one parsed field, a message's ``text`` (what a
notification shows), is escaped.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from assistant.doors.render import MARKS, show_done, show_preview
from assistant.errors import AssistantError
from assistant.ledger.done import Done
from assistant.ledger.later import preview_from
from assistant.ledger.redact import redact
from assistant.loop.agent import Answer
from tools import BY_NAME
from tools.base import Effect, Outcome
from tools.slurm.errors import SlurmError

Block = dict[str, Any]
APPROVE, DENY, EDIT = "sask_approve", "sask_deny", "sask_edit"
SHORT_LINES, SHORT_CHARACTERS = 24, 2_400
"""Longer than this, the beginning is shown and the whole becomes a file."""
_WIDTH = 110
_NOTIFIED = 300


@dataclass(frozen=True, slots=True)
class Shown:
    """A message: ``text`` for notifications, already escaped; ``file`` is what was too long for it, or empty."""

    text: str
    blocks: list[Block]
    file: str = ""


def escaped(text: str) -> str:
    """For a field that Slack parses: the three characters that mean something there (Formatting message text)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def words(text: str, *, bold: bool = False) -> Block:
    part: Block = {"type": "text", "text": redact(text) or " "}
    return {**part, "style": {"bold": True}} if bold else part


def line(*parts: Block) -> Block:
    return {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": list(parts)}]}


def code(text: str) -> Block:
    part = {"type": "rich_text_preformatted", "elements": [{"type": "text", "text": redact(text) or " "}]}
    return {"type": "rich_text", "elements": [part]}


def small(text: str) -> Block:
    return {"type": "context", "elements": [{"type": "plain_text", "text": redact(text)[:2_000], "emoji": False}]}


def member(slack_id: str) -> Block:
    """Shown with the person's name; in rich text that an app posts it notifies whom it names."""
    return {"type": "user", "user_id": slack_id}


def said(text: str, *, bold: bool = False) -> Shown:
    """One sentence of our own, or of a model."""
    shown, file = shortened(text)
    return Shown(escaped(redact(text)[:_NOTIFIED]), [line(words(shown, bold=bold))], file)


def shortened(text: str) -> tuple[str, str]:
    """What is shown, and the whole where that is less."""
    lines = text.splitlines()
    if len(lines) <= SHORT_LINES and len(text) <= SHORT_CHARACTERS:
        return text, ""
    head = "\n".join(lines[: SHORT_LINES // 2])[: SHORT_CHARACTERS // 2]
    return f"{head}\n… the whole is in the file ({len(lines)} lines)", text


def answered(answer: Answer, user: str) -> Shown:
    """What was done and found, the short of it first; what waits for a yes has its own card."""
    rows = [one for one in answer.done if not _waits(one)]
    heads = [outcome(one) for one in rows]
    body, file = shortened(account(rows))
    text = " · ".join([*heads, answer.text] if answer.text else heads) or "this needs a yes, see below"
    blocks = [line(words(head, bold=True)) for head in heads[:10]]
    blocks += [code(body)] if body else []
    spoken, rest = shortened(answer.text)
    blocks += [line(words(spoken))] if spoken else []
    blocks += [] if blocks else [line(words(text))]
    blocks += [small(f"stopped after {answer.stopped}")] if answer.stopped else []
    blocks += [small(f"as {user} · run {answer.run}")] if answer.run else []
    return Shown(escaped(redact(text)[:_NOTIFIED]), blocks, "\n\n".join(filter(None, [file, rest])))


def _waits(done: Done) -> bool:
    return bool(done.result.items) and all(item.code == "awaiting_approval" for item in done.result.items)


def outcome(done: Done) -> str:
    """``cancel_jobs: done 611, 612; failed 613``; of a read its name and, where there is one, its summary."""
    by_word: dict[str, list[str]] = {}
    for item in done.result.items:
        by_word.setdefault(MARKS[item.outcome][0], []).append(
            done.call.tool if item.id.startswith("sask:") else item.id
        )
    if done.plan is None and done.result.status == "ok":
        return f"{done.call.tool}: {done.result.data.get('summary') or 'done'}"[:500]
    parts = [f"{word} {', '.join(ids[:8])}{' …' if len(ids) > 8 else ''}" for word, ids in by_word.items()]
    return f"{done.call.tool}: {'; '.join(parts) or done.result.status}"[:500]


def account(rows: Sequence[Done]) -> str:
    """All of it, as the terminal would print it."""
    out = _paper()
    for one in rows:
        show_done(one, out)
    return _written(out)


def _paper() -> Console:
    return Console(
        file=io.StringIO(), width=_WIDTH, color_system=None, highlight=False, markup=False, soft_wrap=True, emoji=False
    )


def _written(out: Console) -> str:
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue().rstrip("\n")


def card(row: dict[str, Any], asker: str) -> Shown:
    """A change that waits: the exact commands, what it would touch, and the buttons. ``row`` is one of
    :func:`assistant.ledger.later.pending`; ``asker`` is the Slack id of who asked, or empty."""
    shown = _question(row, asker)
    tool = row["preview"]["tool"]
    buttons = [_button("Approve", APPROVE, row["id"], style="primary"), _button("Edit", EDIT, row["id"])]
    buttons += [_button("Deny", DENY, row["id"], style="danger")]
    if tool in BY_NAME and BY_NAME[tool].effect is Effect.ADMIN:
        buttons[0]["confirm"] = _confirm(tool)
    return Shown(shown.text, [*shown.blocks, {"type": "actions", "elements": buttons}], shown.file)


def _question(row: dict[str, Any], asker: str) -> Shown:
    preview = preview_from(row["preview"])
    out = _paper()
    show_preview(preview, out)
    body, file = shortened(_written(out))
    who = [words(" asked for by ")] + ([member(asker)] if asker else []) + [words(f" as {row['asked_by']}")]
    two = " · needs the yes of a second operator" if preview.two_people else ""
    foot = f"open until {row['expires']}{two} · approval {row['id']} · run {row['run']} · digest {row['digest'][:12]}"
    text = f"{preview.tool} of {row['asked_by']} waits for a yes"
    return Shown(escaped(redact(text)), [line(words(preview.tool, bold=True), *who), code(body), small(foot)], file)


def _button(label: str, action: str, value: str, **style: str) -> Block:
    text = {"type": "plain_text", "text": label}
    return {"type": "button", "action_id": action, "value": value, "text": text, **style}


def _confirm(tool: str) -> Block:
    texts = {"title": tool, "text": "This changes the cluster for everybody.", "confirm": "Approve", "deny": "Back"}
    return {name: {"type": "plain_text", "text": text} for name, text in texts.items()}


def without_buttons(blocks: Sequence[Block]) -> list[Block]:
    """The card as Slack hands it back, to be posted again with what became of it."""
    return [block for block in blocks if block.get("type") != "actions"]


def members_in(blocks: Sequence[Block]) -> list[str]:
    """Slack ids of the people whom rich text names, in order."""
    parts = [part for block in blocks for line in block.get("elements", ()) for part in line.get("elements", ())]
    return [part["user_id"] for part in parts if part.get("type") == "user"]


def withdrawn(editor: str, user: str) -> Shown:
    """What stands under a card whose question was asked anew."""
    parts = words("withdrawn: ", bold=True), member(editor), words(f" asked for it with other arguments, as {user}")
    return Shown(f"withdrawn by {escaped(user)}", [line(*parts)])


def told(error: AssistantError | SlurmError) -> str:
    remedy = getattr(error, "remedy", "")
    return f"{error.message}{'; ' + remedy if remedy else ''}"


def verdict(rows: Sequence[Done], decider: str, user: str, *, approved: bool) -> Shown:
    """What stands under a card once it was decided."""
    word = "approved" if approved else "denied"
    text, file = "; ".join(map(outcome, rows)), ""
    blocks = [line(words(f"{word} by ", bold=True), member(decider), words(f" as {user}"))]
    if approved:
        lines = [f"{one.call.tool}: {item.message}" for one in rows for item in one.result.items if _tell(item)]
        undo_and_facts, file = shortened(account(rows))
        blocks += [line(words(head, bold=True)) for head in map(outcome, rows[:10])]
        blocks += [code(undo_and_facts)] if undo_and_facts else [line(words("\n".join(lines)))] if lines else []
    return Shown(escaped(redact(f"{word}: {text}")[:_NOTIFIED]), blocks, file)


def _tell(item: Any) -> bool:
    return item.outcome is not Outcome.OK and bool(item.message)
