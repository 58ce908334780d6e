"""The arguments of a call as a Block Kit form (docs.slack.dev/reference/views), and what was typed into it.

A field for each argument that was given, and one for all the others. Nothing here knows whether a value is any good:
that is for the tool's own schema to say, as for every other way in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from assistant.doors.slack.blocks import Block, small
from assistant.errors import RequestRefused

CALLBACK = "sask_edited"
MORE = "more"
"""The block for arguments that have no field of their own; no argument is called so."""
_VALUE = "value"
_LONGEST = 3_000
"""Characters that a field can be opened with (Block Kit, plain_text_input)."""
_LINE = re.compile(r"\s*(\w+)\s*[:=]\s*(.*\S)\s*")
Spec = Mapping[str, Any]


def form(tool: str, schema: Spec, arguments: Mapping[str, Any], memo: str) -> Block:
    """``memo`` comes back with what was typed."""
    specs: dict[str, Spec] = schema["properties"]
    fields = [name for name in specs if name in arguments and len(_text(arguments[name])) <= _LONGEST]
    kept = [name for name in arguments if name not in fields]
    blocks = [_field(name, specs[name], arguments[name], required=name in schema["required"]) for name in fields]
    blocks += [_more([name for name in specs if name not in arguments])]
    blocks += [small(f"too long to be edited here, and kept as it is: {', '.join(kept)}")] if kept else []
    return {
        "type": "modal",
        "callback_id": CALLBACK,
        "private_metadata": memo,
        "title": _plain(tool[:24]),
        "submit": _plain("Show it anew"),
        "close": _plain("Back"),
        "blocks": blocks,
    }


def typed(view: Block, schema: Spec, before: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as the form has them now. Raises RequestRefused for a line that names no argument."""
    specs: dict[str, Spec] = schema["properties"]
    found: dict[str, Any] = {name: value for name, value in before.items() if len(_text(value)) > _LONGEST}
    for name, value in view["state"]["values"].items():
        text = _said(value[_VALUE])
        if name == MORE:
            found |= _others(text, specs)
        elif text.strip() or before.get(name) == "":
            found[name] = _read(text, specs[name])
    return {name: found[name] for name in specs if name in found}


def at(message: str, view: Block) -> str:
    """The field that a message of the ladder (``tool.argument: …``) is about."""
    found = re.match(r"\w+\.(\w+)", message)
    return found[1] if found and found[1] in view["state"]["values"] else MORE


def _field(name: str, spec: Spec, value: Any, *, required: bool) -> Block:
    label = {"type": "input", "block_id": name, "label": _plain(name), "optional": not required}
    if choices := _choices(spec):
        options = [{"text": _plain(choice), "value": choice} for choice in choices]
        chosen = next((option for option in options if option["value"] == _text(value)), None)
        element: Block = {"type": "static_select", "action_id": _VALUE, "options": options}
        return {**label, "element": {**element, **({"initial_option": chosen} if chosen else {})}}
    text = _text(value)
    long = "\n" in text or len(text) > 100 or spec.get("type") in ("array", "object")
    element = {"type": "plain_text_input", "action_id": _VALUE, "multiline": long}
    hint = {"array": "one a line", "object": "NAME=VALUE, one a line"}.get(str(spec.get("type")))
    label |= {"hint": _plain(hint)} if hint else {}
    return {**label, "element": {**element, **({"initial_value": text} if text else {})}}


def _more(names: list[str]) -> Block:
    element = {"type": "plain_text_input", "action_id": _VALUE, "multiline": True}
    hint = f"name: value, one a line. Names: {', '.join(names)}"
    label = {"label": _plain("anything else"), "hint": _plain(hint[:2_000])}
    return {"type": "input", "block_id": MORE, "optional": True, **label, "element": element}


def _plain(text: str) -> Block:
    return {"type": "plain_text", "text": text}


def _choices(spec: Spec) -> list[str]:
    return ["true", "false"] if spec.get("type") == "boolean" else [str(choice) for choice in spec.get("enum", ())]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "\n".join(map(str, value))
    if isinstance(value, dict):
        return "\n".join(f"{name}={part}" for name, part in value.items())
    return str(value)


def _said(value: Block) -> str:
    if value["type"] == "static_select":
        return str((value.get("selected_option") or {}).get("value", ""))
    return str(value.get("value") or "")


def _others(text: str, specs: Mapping[str, Spec]) -> dict[str, Any]:
    found = {}
    for line in filter(str.strip, text.splitlines()):
        part = _LINE.fullmatch(line)
        if part is None or part[1] not in specs:
            raise RequestRefused(f"{line[:80]!r} is not `name: value`", f"names: {', '.join(specs)}")
        lined = "\n".join(part[2].split()) if specs[part[1]].get("type") in ("array", "object") else part[2]
        found[part[1]] = _read(lined, specs[part[1]])
    return found


def _read(text: str, spec: Spec) -> Any:
    """In the type of the schema where the text is of it; otherwise as it is, for the schema to say what is wrong."""
    kind, lines = spec.get("type"), [line.strip() for line in text.splitlines() if line.strip()]
    if kind == "array":
        return lines
    if kind == "object":
        return {name.strip(): value for name, _, value in (line.partition("=") for line in lines)}
    if kind in ("boolean", "integer", "number"):
        return json.loads(text) if re.fullmatch(r"\s*(true|false|-?\d+(\.\d+)?)\s*", text) else text
    return text if "\n" in text.strip() else text.strip()
