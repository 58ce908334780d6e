"""Text only: templates of prompts, profiles of models, runbooks."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any


@cache
def _environment() -> Any:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    def load(name: str) -> str:
        return files("prompts").joinpath(name).read_text(encoding="utf-8")

    environment = Environment(
        loader=FunctionLoader(load), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}  # a schema's order is the order of decoding
    return environment


def render(name: str, **values: Any) -> str:
    """A template of this package, filled in. Raises jinja2's ``UndefinedError`` for a value that is missing."""
    return str(_environment().get_template(name).render(**values))
