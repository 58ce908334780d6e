"""A tool of a foreign MCP server as a tool of ours: its name says where it comes from, its answers are data."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ConfigDict, model_validator

from assistant.errors import ServerFailed
from assistant.foreign.link import Link
from assistant.foreign.schema import Schema, check, simple, validator
from assistant.ledger.redact import redact
from tools.base import Arguments, Effect, Item, Outcome, OutsideTool, ToolContext, ToolResult
from tools.views import short

if TYPE_CHECKING:
    from mcp import types

LONGEST = 8_000
"""Characters of an answer that are kept."""
_LONGEST_TEXT = 500
_NAME = re.compile(r"[A-Za-z][\w.-]{0,63}", re.ASCII)


class Given(Arguments):
    """Whatever the server's own schema takes; a value that it does not take is a mistake of whoever wrote the call."""

    model_config = ConfigDict(extra="allow", frozen=True)
    whole: ClassVar[Schema] = {}

    @model_validator(mode="before")
    @classmethod
    def _fits(cls, value: Any) -> Any:
        if error := next(validator(cls.whole).iter_errors(value), None):
            raise ValueError(": ".join([*map(str, error.absolute_path), short(error.message, _LONGEST_TEXT)]))
        return value


class ForeignTool(OutsideTool):
    """Made by :func:`made` only. Its arguments are no facts of the cluster, so they need not have been said."""

    examples = ()
    link: ClassVar[Link]
    remote: ClassVar[str]
    """Its name at the server."""
    offered: ClassVar[Schema]

    @classmethod
    def schema(cls) -> dict[str, Any]:
        return dict(json.loads(json.dumps(cls.offered)))

    def command(self, arguments: dict[str, Any]) -> str:
        return f"mcp {self.link.name} {self.remote} {json.dumps(arguments, ensure_ascii=False)}"

    def run(self, args: Any, ctx: ToolContext) -> ToolResult:
        arguments = args.given()
        commands = (self.command(arguments),)
        try:
            answer = self.link.call(self.remote, arguments)
        except ServerFailed as error:
            lost = Outcome.FAILED if self.effect is Effect.READ else Outcome.UNKNOWN
            item = Item(self.name, lost, error.message, "mcp_server", lost is Outcome.FAILED)
            return ToolResult("failed" if lost is Outcome.FAILED else "unknown", (item,), {}, commands)
        data = _data(self.link.name, answer)
        if answer.is_error:
            item = Item(self.name, Outcome.FAILED, short(data.get("text", "it failed"), _LONGEST_TEXT), "mcp_tool")
            return ToolResult("failed", (item,), {}, commands)
        return ToolResult("ok", (), data, commands)


def made(link: Link, tool: types.Tool) -> ForeignTool:
    """The tool as it is offered to the model. Raises ValueError with why it is not."""
    if not _NAME.fullmatch(tool.name):
        raise ValueError("its name is not of letters, digits, '_', '-' and '.'")
    reads = tool.annotations is not None and tool.annotations.read_only_hint is True
    if not reads and tool.name not in link.server.tools:
        raise ValueError("it is not marked as read-only, and `tools` does not name it")
    check(tool.input_schema)
    name = f"{link.name}__{tool.name}"
    parts: dict[str, Any] = {
        "name": name,
        "origin": f"mcp {link.name}",
        "effect": Effect.READ if reads else Effect.WRITE,
        "description": short(redact(" ".join((tool.description or tool.name).split())), _LONGEST_TEXT),
        "Arguments": type("Given", (Given,), {"whole": tool.input_schema, "__annotations__": {"whole": ClassVar[Any]}}),
        "link": link,
        "remote": tool.name,
        "offered": simple(tool.input_schema),
    }
    made_of: type[ForeignTool] = type(name, (ForeignTool,), parts)
    return made_of()


def _data(server: str, answer: types.CallToolResult) -> dict[str, Any]:
    """``{"server", "structured"}`` or ``{"server", "text"}``: bounded, and said to come from elsewhere."""
    structured = answer.structured_content
    if structured is not None and len(json.dumps(structured, default=str)) <= LONGEST:
        return {"server": server, "structured": structured}
    parts = [part.text if part.type == "text" else f"[{part.type} left out]" for part in answer.content]
    text = redact("\n".join(parts))
    return {"server": server, "text": text if len(text) <= LONGEST else f"{text[:LONGEST]}\n… (cut)"}
