"""Jobs, nodes and logs as MCP resources: each address is a call of a tool that reads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from mcp import MCPError, UriTemplate, types
from mcp.types import INTERNAL_ERROR, INVALID_PARAMS

from assistant.doors.mcp_words import as_json
from assistant.ledger.redact import fence, redact
from tools.base import Call, Outcome, ToolResult

_JSON = "application/json"
_PLAIN = "text/plain"


@dataclass(frozen=True, slots=True)
class Thing:
    """``uri`` is an address or a template (RFC 6570); its variables are arguments of ``tool``."""

    uri: str
    name: str
    tool: str
    description: str
    mime_type: str = _JSON


THINGS = (
    Thing("slurm://jobs", "jobs", "list_jobs", "The queue: everybody's jobs that wait or run."),
    Thing("slurm://nodes", "nodes", "cluster_status", "The cluster: free and unavailable nodes and GPUs, partitions."),
    Thing("slurm://jobs/{job_id}", "job", "show_job", "One job: state, resources, times, where it runs."),
    Thing("slurm://nodes/{node}", "node", "show_node", "One node: state, resources, who is on it."),
    Thing("slurm://jobs/{job_id}/{stream}", "log", "read_job_log", "The end of a job's stdout or stderr.", _PLAIN),
)


def listed() -> list[types.Resource]:
    return [
        types.Resource(uri=thing.uri, name=thing.name, description=thing.description, mime_type=thing.mime_type)
        for thing in THINGS
        if not UriTemplate.is_template(thing.uri)
    ]


def templates() -> list[types.ResourceTemplate]:
    return [
        types.ResourceTemplate(
            uri_template=thing.uri, name=thing.name, description=thing.description, mime_type=thing.mime_type
        )
        for thing in THINGS
        if UriTemplate.is_template(thing.uri)
    ]


def called(uri: str) -> tuple[Thing, Call]:
    """What ``uri`` stands for, and the call that reads it. Raises MCPError with the valid forms."""
    for thing in THINGS:
        found = _template(thing.uri).match(uri)
        if found is not None:
            return thing, Call(thing.tool, dict(found))
    raise unreadable(uri, f"there is no such resource; valid: {', '.join(thing.uri for thing in THINGS)}")


@cache
def _template(uri: str) -> UriTemplate:
    return UriTemplate.parse(uri)


def contents(uri: str, thing: Thing, result: ToolResult) -> types.ReadResourceResult:
    """A log fenced as text, everything else as JSON. Raises MCPError where it could not be read."""
    failed = [item for item in result.items if item.outcome is not Outcome.OK]
    if result.status != "ok":
        text = "; ".join(item.message for item in failed) or result.status
        raise unreadable(uri, text, transient=any(item.transient for item in failed))
    text = as_json(result.data)
    if thing.mime_type == _PLAIN:
        text = fence("\n".join(map(str, result.data.get("lines", ()))), f"{thing.name} {uri}")
    return types.ReadResourceResult(
        contents=[types.TextResourceContents(uri=uri, mime_type=thing.mime_type, text=text)]
    )


def unreadable(uri: str, why: str, *, transient: bool = False) -> MCPError:
    return MCPError(INTERNAL_ERROR if transient else INVALID_PARAMS, redact(why), {"uri": redact(uri)[:500]})
