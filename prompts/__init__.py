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


def runbooks() -> dict[str, str]:
    """The runbooks that are shipped, as they stand: name (``disk-full``) to text, by name."""
    shipped = files("prompts").joinpath("runbooks")
    texts = {one.name: one.read_text(encoding="utf-8") for one in shipped.iterdir() if one.name.endswith(".md")}
    return {name.removesuffix(".md"): texts[name] for name in sorted(texts)}


def parted(runbook: str) -> tuple[str, str]:
    """Its front matter, as TOML, and its Markdown."""
    head, _, rest = runbook.removeprefix("+++\n").partition("\n+++\n")
    return head, rest
