"""What a prompt is made longer with: tools that no case wants, and talk that no case is about."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from pydantic import Field, create_model

from assistant.loop.model import Message
from tools.base import Arguments, Effect, Tool

LETTERS_A_TOKEN = 4
"""Of English and tables, near enough; what a prompt really took, the server counts."""
_TALK = 2_000
"""Characters of one turn of talk."""

_DECOYS: dict[str, tuple[str, dict[str, type]]] = {
    "list_reservations": ("Reservations of the cluster.", {"partition": str, "since": str}),
    "create_reservation": ("Reserve nodes for a period.", {"nodes": str, "start": str, "duration": str, "users": str}),
    "delete_reservation": ("Delete a reservation.", {"reservation": str}),
    "list_licenses": ("Licences, used and free.", {"license": str}),
    "list_modules": ("Software modules that can be loaded.", {"pattern": str}),
    "disk_usage": ("Space that a directory takes.", {"path": str}),
    "disk_quota": ("Quota of a file system.", {"user": str, "filesystem": str}),
    "list_files": ("Files of a directory.", {"path": str, "limit": int}),
    "copy_files": ("Copy files between file systems.", {"source": str, "target": str}),
    "archive_job": ("Put a job's outputs into the archive.", {"job_id": str, "target": str}),
    "tag_job": ("Attach a label to a finished job.", {"job_id": str, "label": str}),
    "share_job": ("Let another user read a job's outputs.", {"job_id": str, "user": str}),
    "notify_user": ("Send a user a message.", {"user": str, "message": str}),
    "open_ticket": ("Open a ticket with the help desk.", {"subject": str, "body": str}),
    "start_notebook": ("Start a notebook on a compute node.", {"partition": str, "gpus": int, "time_limit": str}),
    "stop_notebook": ("Stop a notebook.", {"notebook": str}),
    "build_image": ("Build a container image.", {"recipe": str, "tag": str}),
    "pull_image": ("Fetch a container image to the cluster.", {"image": str}),
    "profile_job": ("Attach a profiler to a running job.", {"job_id": str, "seconds": int}),
    "energy_report": ("Energy that jobs took.", {"user": str, "start": str, "end": str}),
    "fabric_status": ("State of the network's links.", {"switch": str}),
    "storage_status": ("State of the file systems.", {"filesystem": str}),
    "list_users": ("Users of an account.", {"account": str}),
    "list_images": ("Container images on the cluster.", {"pattern": str}),
}
"""Things that a site might offer besides: name → what it does, its arguments."""


@cache
def decoys() -> dict[str, Tool]:
    """By name. They can be called, which is always wrong, and cannot be carried out."""
    return {name: _decoy(name, *told) for name, told in _DECOYS.items()}


def _decoy(name: str, description: str, arguments: dict[str, type]) -> Tool:
    fields: dict[str, Any] = {key: (kind | None, Field(None, description=key)) for key, kind in arguments.items()}
    taking = create_model(f"{name}_arguments", __base__=Arguments, **fields)
    told = {"name": name, "effect": Effect.READ, "description": description, "Arguments": taking, "examples": ()}
    decoy: Tool = type(name, (Tool,), told)()
    return decoy


def described(tool: Tool) -> str:
    """A decoy as the system prompt describes tools, to stand after ours."""
    schema = json.dumps(tool.schema()["properties"], sort_keys=False)
    return f"\n\n{tool.name} ({tool.effect}): {tool.description}\n  {schema}"


def talk(tokens: int) -> list[Message]:
    """About so many tokens of an earlier conversation, oldest first; empty for none."""
    left, turns = tokens * LETTERS_A_TOKEN, list[Message]()
    while left > 0:
        text = _queue(len(turns), min(left, _TALK))
        turns += [{"role": "user", "content": text}, {"role": "assistant", "content": '{"reply": "Noted."}'}]
        left -= len(text)
    return turns


def _queue(seed: int, length: int) -> str:
    """A pasted list of somebody's jobs, whose ids no case has."""
    rows = [
        {
            "id": f"9{seed:03}{row:03}",
            "partition": "archive",
            "user": "someone",
            "state": "COMPLETED",
            "hours": row % 24,
        }
        for row in range(length // 80 + 1)
    ]
    return ("For the record, what ran last week:\n" + "\n".join(map(json.dumps, rows)))[:length]
