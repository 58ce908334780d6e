"""The schema of a foreign tool: what is wrong with it, and the part of it that constrained decoding does well."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

LONGEST = 20_000
"""Characters of a schema, as JSON: it stands in every prompt."""
_DEEPEST = 12
_KEPT = frozenset({"type", "enum", "required", "description", "minimum", "maximum", "minItems", "maxItems"})
_LONGEST_TEXT = 300
Schema = dict[str, Any]


def check(schema: Any) -> None:
    """Raises ValueError for what is no JSON schema of an object, is too long, or refers to anything outside itself."""
    from jsonschema import SchemaError
    from jsonschema.validators import validator_for

    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise ValueError("its schema is not that of an object")
    if len(json.dumps(schema)) > LONGEST:
        raise ValueError(f"its schema has more than {LONGEST} characters")
    try:
        validator_for(schema).check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"its schema is none: {error.message[:200]}") from None


def validator(schema: Schema) -> Any:
    """Of the draft that the schema names (2020-12 if none); nothing is ever fetched for it."""
    from jsonschema.validators import validator_for
    from referencing import Registry

    return validator_for(schema)(schema, registry=Registry())


def simple(schema: Schema) -> Schema:
    """``{"type": "object", "properties", "required", "additionalProperties": false}``, references put in, without
    formats and patterns: the whole schema is checked once more before a call. Raises ValueError as ``check``."""
    plain = _simple(schema, {**schema.get("definitions", {}), **schema.get("$defs", {})}, 0)
    return {**plain, "properties": plain.get("properties", {}), "required": plain.get("required", [])} | {
        "additionalProperties": False
    }


def _simple(spec: Any, definitions: Mapping[str, Any], depth: int) -> Schema:
    if not isinstance(spec, dict):  # true: anything
        return {}
    if depth > _DEEPEST:
        raise ValueError("its schema refers to itself, or is nested too deeply")
    if "$ref" in spec:
        spec = {**_referred(str(spec["$ref"]), definitions), **{k: v for k, v in spec.items() if k != "$ref"}}
        return _simple(spec, definitions, depth + 1)
    plain = {key: _cut(value) for key, value in spec.items() if key in _KEPT}
    if "const" in spec:
        plain["enum"] = [spec["const"]]
    if "properties" in spec:
        plain["properties"] = {name: _simple(s, definitions, depth + 1) for name, s in spec["properties"].items()}
    if "items" in spec:
        plain["items"] = _simple(spec["items"], definitions, depth + 1)
    if branches := spec.get("anyOf") or spec.get("oneOf"):
        plain["anyOf"] = [_simple(branch, definitions, depth + 1) for branch in branches]
    return plain


def _referred(reference: str, definitions: Mapping[str, Any]) -> Schema:
    place, _, name = reference.rpartition("/")
    if place not in ("#/$defs", "#/definitions") or not isinstance(definitions.get(name), dict):
        raise ValueError(f"its schema refers to {reference[:100]!r}, and may only refer to its own $defs")
    return dict(definitions[name])


def _cut(value: Any) -> Any:
    """Descriptions are somebody else's words in our prompt: short, on one line, without secrets."""
    if not isinstance(value, str):
        return value
    from assistant.ledger.redact import redact
    from tools.views import short

    return short(redact(value), _LONGEST_TEXT)
