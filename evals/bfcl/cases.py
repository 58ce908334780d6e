"""BFCL's cases as ours: its functions become tools, its possible answers become what a case expects.

Formats as the ``bfcl-eval`` package's ``data`` folder has them (Apache-2.0): a question file and, under
``possible_answer``, for each argument the list of values that are right; ``""`` in it means that it may be left out.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ConfigDict

from evals.cases import CaseError
from tools.base import Arguments, Effect, Tool

CATEGORIES = (
    "simple_python", "multiple", "parallel", "parallel_multiple", "live_simple", "live_multiple", "live_parallel",
    "live_parallel_multiple", "irrelevance", "live_irrelevance",
)  # fmt: skip
"""Those of single turns in Python's types. Java and JavaScript write values as source text, several turns, web search
and memory need BFCL's simulated programs: they are not asked."""
NOW = datetime(2026, 11, 21, 10, 0)
MOST_VARIANTS = 4_096
"""Ways to write one structured value that are spelt out; no case of BFCL has as many."""
_TYPES = {"dict": "object", "float": "number", "tuple": "array"}
_Spec = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """``truth``: one {function: {argument: [right values]}} for each call; empty where nothing is to be called."""

    id: str
    category: str
    messages: tuple[dict[str, Any], ...]
    functions: tuple[dict[str, Any], ...]
    truth: tuple[dict[str, dict[str, list[Any]]], ...] = ()


def read(data: Path, category: str) -> list[Asked]:
    """A category's cases, in order. Raises CaseError for a file that is not there or not BFCL's."""
    name = f"BFCL_v4_{category}.json"
    try:
        questions = _lines(data / name)
        answers = [] if "irrelevance" in category else _lines(data / "possible_answer" / name)
        truths = {one["id"]: tuple(one["ground_truth"]) for one in answers}
        return [
            Asked(one["id"], category, tuple(one["question"][0]), tuple(one["function"]), truths.get(one["id"], ()))
            for one in questions
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CaseError(f"{data / name} cannot be read: {error}", "give the `data` folder of bfcl-eval") from error


def _lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]


def tools_of(case: Asked, *, compared: bool = False) -> dict[str, Tool]:
    """The case's functions as tools, by name. ``compared``: their arguments are read as BFCL compares them."""
    return {one["name"]: _tool(one, compared) for one in case.functions}


def _tool(function: dict[str, Any], compared: bool) -> Tool:
    schema = schema_of(function["parameters"]) | {"additionalProperties": False}
    specs: _Spec = function["parameters"].get("properties", {})

    class Taken(Arguments):
        """Anything: the schema has judged it."""

        model_config = ConfigDict(extra="allow", frozen=True)

        def given(self) -> dict[str, Any]:
            values = dict(self.model_extra or {})
            return {name: plain(v, specs.get(name, {})) for name, v in values.items()} if compared else values

    told = {"name": function["name"], "effect": Effect.READ, "description": function.get("description", "")}
    told |= {"Arguments": Taken, "examples": (), "schema": classmethod(lambda cls: schema)}
    tool: Tool = type("BfclTool", (Tool,), told)()
    return tool


def schema_of(spec: _Spec) -> dict[str, Any]:
    """JSON Schema of one of BFCL's type descriptions; ``any`` is anything."""
    kind = spec.get("type")
    found: dict[str, Any] = {} if kind in (None, "any") else {"type": _TYPES.get(kind, kind)}
    if spec.get("default", ...) is None and "type" in found:
        found["type"] = [found["type"], "null"]
    found |= {key: spec[key] for key in ("description",) if key in spec}
    if isinstance(spec.get("properties"), dict):
        found["properties"] = {name: schema_of(one) for name, one in spec["properties"].items()}
        found["required"] = [name for name in spec.get("required", []) if name in found["properties"]]
    if isinstance(spec.get("items"), dict):
        found["items"] = schema_of(spec["items"])
    return found


def plain(value: Any, spec: _Spec) -> str:
    """A value in the form in which BFCL compares it, as JSON.

    Texts without blanks, case and ``,./-_*^``; whole numbers and others are equal but where an integer is asked for.
    """
    whole = spec.get("type") == "integer" and isinstance(value, int)
    return json.dumps(value if whole else _folded(value), sort_keys=True)


def _folded(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str):
        return re.sub(r"[ ,./\-_*^]", "", value).lower().replace("'", '"')
    if isinstance(value, list | tuple):
        return [_folded(one) for one in value]
    return {name: _folded(one) for name, one in value.items()}


def expects(case: Asked) -> list[dict[str, Any]]:
    """The acceptable outcomes, as ``evals.scorers`` reads them."""
    if not case.truth:
        return [{"action": "reply"}, {"action": "ask"}]
    required = {one["name"]: one["parameters"].get("required", []) for one in case.functions}
    calls = []
    for ((name, arguments),) in (one.items() for one in case.truth):
        optional = [key for key, values in arguments.items() if "" in values and key not in required.get(name, ())]
        wanted = {key: {"any": list(_choices(values))} for key, values in arguments.items()}
        calls.append({"tool": name, "arguments": wanted, "optional": optional})
    return [{"tools": calls, "any_order": True}]


def _choices(values: list[Any]) -> Iterator[Any]:
    for value in values:
        yield from itertools.islice(variants(value), MOST_VARIANTS)


def variants(value: Any) -> Iterator[Any]:
    """All values that one acceptable value stands for: in an object, and in a list of objects, each key has a list of
    its own, and ``""`` in that means that the key may be missing."""
    if isinstance(value, dict):
        keys = list(value)
        for chosen in itertools.product(*(_of_key(value[key]) for key in keys)):
            yield {key: one[0] for key, one in zip(keys, chosen, strict=True) if one}
    elif isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        yield from map(list, itertools.product(*(list(variants(one)) for one in value)))
    else:
        yield value


def _of_key(values: Any) -> list[tuple[Any, ...]]:
    """Each right value in a tuple of its own; an empty tuple where the key may be left out."""
    listed = values if isinstance(values, list) else [values]
    return [(), *[(one,) for one in listed if one != ""]] if "" in listed else [(one,) for one in listed]
