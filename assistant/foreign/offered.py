"""All the tools there are: Slurm's own, and those of the MCP servers that the settings name."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from threading import Lock

from assistant.config import McpServer, Settings
from assistant.errors import ConfigError, ServerFailed
from tools import BY_NAME
from tools.base import Tool

AGAIN_SECONDS = 120.0
"""After this time a server that did not answer is asked again for its tools."""
MOST_TOOLS = 40
"""Of one server: each stands in every prompt."""
log = logging.getLogger(__name__)
Say = Callable[[int, str], None]


@dataclass
class _Listed:
    tools: dict[str, Tool]
    until: float = float("inf")


@dataclass
class Offered(Mapping[str, Tool]):
    """Names to tools. Servers are asked at the first look at a foreign name, or at all names; one that is away is
    said once and left out. ``say`` hears what is left out, with a level of logging."""

    servers: Mapping[str, McpServer]
    say: Say = log.log
    _found: dict[str, _Listed] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def __getitem__(self, name: str) -> Tool:
        if name in BY_NAME:
            return BY_NAME[name]
        server = name.partition("__")[0]
        if server not in self.servers:
            raise KeyError(name)
        return self._of(server)[name]

    def __iter__(self) -> Iterator[str]:
        yield from BY_NAME
        for server in self.servers:
            yield from self._of(server)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _of(self, server: str) -> dict[str, Tool]:
        with self._lock:
            listed = self._found.get(server)
            if listed is None or time.monotonic() >= listed.until:
                listed = self._found[server] = self._listed(server)
            return listed.tools

    def _listed(self, server: str) -> _Listed:
        from assistant.foreign.link import Link
        from assistant.foreign.tool import made

        link = Link(server, self.servers[server])
        try:
            there = link.tools()
        except ServerFailed as error:
            self.say(logging.WARNING, f"{error.message}; its tools are left out")
            return _Listed({}, time.monotonic() + AGAIN_SECONDS)
        found: dict[str, Tool] = {}
        for tool in there[:MOST_TOOLS]:
            try:
                one = made(link, tool)
                found[one.name] = one
            except ValueError as error:
                self.say(logging.INFO, f"tool {tool.name[:80]!r} of the MCP server {server} is left out: {error}")
        if len(there) > MOST_TOOLS:
            text = f"the MCP server {server} has {len(there)} tools; those after the first {MOST_TOOLS} are left out"
            self.say(logging.WARNING, text)
        return _Listed(found)


def offered(settings: Settings, say: Say = log.log) -> Mapping[str, Tool]:
    """Raises ConfigError where servers are named and their package is missing."""
    if not settings.mcp_servers:
        return BY_NAME
    if find_spec("mcp") is None:
        raise ConfigError("tools of MCP servers need the package `mcp`", "pip install 'slurm-assistant[mcp]'")
    return Offered(settings.mcp_servers, say)
