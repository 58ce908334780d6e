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
