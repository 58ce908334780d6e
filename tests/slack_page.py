"""What Slack shows of an app's messages, and what it would refuse."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

Body = dict[str, Any]


@dataclass
class Message:
    channel: str
    ts: str
    thread: str
    text: str
    blocks: list[Body]
    edits: int = 0

    @property
    def words(self) -> str:
        """All that a person reads in it."""
        return "\n".join(words_of(self.blocks))

    @property
    def buttons(self) -> dict[str, Body]:
        actions = [element for block in self.blocks if block["type"] == "actions" for element in block["elements"]]
        return {element["text"]["text"]: element for element in actions}


def words_of(value: Any) -> list[str]:
    if isinstance(value, list):
        return ["".join(words_of(one)) for one in value]
    if not isinstance(value, dict):
        return []
    if value.get("type") == "user":
        return [f"@{value['user_id']}"]
    if isinstance(value.get("text"), str):
        return [value["text"]]
    return [word for part in value.values() if isinstance(part, list | dict) for word in words_of(part)]


def blocks_of(body: Body) -> list[Body]:
    """The blocks, held to the limits of Slack (Block Kit reference)."""
    blocks = body["blocks"] if isinstance(body["blocks"], list) else json.loads(body["blocks"])
    assert 0 < len(blocks) <= 50, "invalid_blocks"
    assert all(0 < len(word) <= 3_000 for block in blocks for word in words_of(block)), "invalid_blocks"
    assert len(body["text"]) <= 4_000
    return list(blocks)


def fields(view: Body) -> list[Body]:
    return [block for block in view["blocks"] if block["type"] == "input"]


def check_view(given: Any) -> Body:
    """A modal, held to the limits of Slack (Block Kit reference: views, input block, plain-text input, select menu)."""
    view: Body = given if isinstance(given, dict) else json.loads(given)
    assert view["type"] == "modal"
    assert all(0 < len(view[name]["text"]) <= 24 for name in ("title", "submit", "close"))
    assert len(view["private_metadata"]) <= 3_000
    assert 0 < len(view["blocks"]) <= 100
    names = [block["block_id"] for block in fields(view)]
    assert len(set(names)) == len(names)
    for block in fields(view):
        assert 0 < len(block["label"]["text"]) <= 2_000
        assert len(block.get("hint", {"text": ""})["text"]) <= 2_000
        element = block["element"]
        assert len(element.get("initial_value", "")) <= 3_000
        assert all(0 < len(option["value"]) <= 75 for option in element.get("options", ()))
        assert "initial_option" not in element or element["initial_option"] in element["options"]
    return view


def state_of(element: Body, typed: str | None) -> Body:
    """What Slack says of a field (reference for view interactions): as it was opened, or as it was typed."""
    if element["type"] == "static_select":
        chosen = [one for one in element["options"] if one["value"] == typed] if typed is not None else []
        option = chosen[0] if chosen else None if typed == "" else element.get("initial_option")
        return {"type": "static_select", "selected_option": option}
    text = element.get("initial_value") if typed is None else typed
    return {"type": "plain_text_input", "value": text or None}
