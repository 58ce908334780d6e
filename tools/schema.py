"""JSON schemas of arguments, in the subset that constrained decoding does well on every engine."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from pydantic import BaseModel


def plain_schema(model: type[BaseModel]) -> dict[str, Any]:
    """``{"type": "object", "properties", "required", "additionalProperties": false}`` without ``$ref``, titles,
    defaults or null branches: an argument that was not said is simply absent."""
    return dict(json.loads(_made(model)))


@cache
def _made(model: type[BaseModel]) -> str:
    """As text: reading it is several times faster than a deep copy, and each reader has one of its own."""
    raw = model.model_json_schema()
    definitions = raw.get("$defs", {})
    properties = {name: _plain(spec, definitions) for name, spec in raw.get("properties", {}).items()}
    required = raw.get("required", [])
    return json.dumps({"type": "object", "properties": properties, "required": required, "additionalProperties": False})


def _plain(spec: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in spec:
        spec = {**definitions[spec["$ref"].rsplit("/", 1)[1]], **{k: v for k, v in spec.items() if k != "$ref"}}
    branches = [branch for branch in spec.get("anyOf", []) if branch.get("type") != "null"]
    if len(branches) == 1:
        spec = {**{k: v for k, v in spec.items() if k != "anyOf"}, **_plain(branches[0], definitions)}
    plain = {k: v for k, v in spec.items() if k not in ("title", "default", "anyOf")}
    if "items" in plain:
        plain["items"] = _plain(plain["items"], definitions)
    return plain
