"""Profiles of models as data (``prompts/profiles/*.toml``): how to start each, what it needs, what goes wrong with it.

Every figure has its source beside it. What nobody publishes is left out there and printed as ``unknown``.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from assistant.errors import RequestRefused

URL = r"^https://\S+$"
_BUGS = "bugs.toml"


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Fact(Frozen):
    value: str
    source: str = Field(pattern=URL)


class Bug(Frozen):
    """Something known; ``signs`` are the words with which a probe of ``sask doctor`` reports it."""

    number: str
    source: str = Field(pattern=URL)
    engines: tuple[Literal["vllm", "llama.cpp", "other"], ...]
    signs: tuple[str, ...]
    what: str
    way_round: str
    flag: str


class Context(Frozen):
    """Tokens: as the model comes, and the longest it can do with ``longest_env`` and ``longest_flags``."""

    tokens: int = Field(gt=0)
    longest: int = 0
    longest_env: dict[str, str] = {}
    longest_flags: tuple[str, ...] = ()
    source: str = Field(pattern=URL)

    @property
    def most(self) -> int:
        return max(self.tokens, self.longest)


class Architecture(Frozen):
    """What the caches depend on; Mamba layers keep a state of fixed size, sliding ones the last tokens alone."""

    attention_layers: int = Field(ge=0)
    kv_heads: int = Field(gt=0)
    head_dim: int = Field(gt=0)
    sliding_layers: int = 0
    sliding_window: int = 0
    mamba_layers: int = 0
    mamba_heads: int = 0
    mamba_head_dim: int = 0
    mamba_state: int = 0
    mamba_groups: int = 0
    mamba_conv: int = 0
    source: str = Field(pattern=URL)


class Quantisation(Frozen):
    """``weights_gb``: 10^9 bytes of the files; ``least_gb``: the GPU memory that a recipe asks for at least."""

    name: str
    repository: str
    revision: str = ""
    weights_gb: float | None = Field(None, gt=0)
    weights_source: str = Field("", pattern=r"^$|" + URL)
    least_gb: float | None = Field(None, gt=0)
    least_source: str = Field("", pattern=r"^$|" + URL)
    least_capability: float = 0.0
    kv_bytes: Literal[1, 2] = 2
    flags: tuple[str, ...] = ()
    env: dict[str, str] = {}
    note: str = ""

    @model_validator(mode="after")
    def _figures_have_sources(self) -> Quantisation:
        for figure, source in ((self.weights_gb, self.weights_source), (self.least_gb, self.least_source)):
            if (figure is None) is not (source == ""):
                raise ValueError(f"{self.name}: a figure and its source come together")
        return self

    @property
    def loaded_gb(self) -> float | None:
        """The best figure for the weights in memory; the recipe's minimum, which is more, where no size is known."""
        return self.weights_gb or self.least_gb


class Vllm(Frozen):
    """``version``: the first that can do all of this; ``plugin``: a file of the weights' directory to load."""

    version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    flags: tuple[str, ...] = ()
    env: dict[str, str] = {}
    tool_parser: str
    reasoning_parser: str = ""
    plugin: str = ""
    source: str = Field(pattern=URL)
    note: str = ""


class Sampling(Frozen):
    temperature: float = Field(ge=0, le=2)
    top_p: float = Field(gt=0, le=1)
    max_tokens: int = Field(gt=0)
    source: str = Field(pattern=URL)


class Thinking(Frozen):
    """``on`` and ``off`` are ``chat_template_kwargs``; ``field`` is where the thoughts come back in a message."""

    on: dict[str, bool | str] = {}
    off: dict[str, bool | str] = {}
    off_by: str = ""
    field: str = ""
    source: str = Field(pattern=URL)


class Structured(Frozen):
    """How calls are asked for: one JSON document that obeys a schema, or native tools."""

    mode: Literal["schema", "tools"]
    why: str
    source: str = Field(pattern=URL)


class Score(Frozen):
    """As its maker publishes it, measured by others; higher is better."""

    benchmark: str
    value: float
    source: str = Field(pattern=URL)


class Profile(Frozen):
    name: str
    title: str
    purpose: str
    engine: Literal["vllm", "embedded", "url"]
    licence: Fact | None = None
    context: Context | None = None
    architecture: Architecture | None = None
    quantisation: tuple[Quantisation, ...] = ()
    vllm: Vllm | None = None
    sampling: Sampling | None = None
    thinking: Thinking | None = None
    structured: Structured
    bugs: tuple[str, ...] = ()
    score: tuple[Score, ...] = ()

    @model_validator(mode="after")
    def _enough_to_serve(self) -> Profile:
        needed = (self.licence, self.context, self.architecture, self.quantisation, self.vllm)
        if self.engine == "vllm" and not all(needed):
            raise ValueError(f"{self.name}: vLLM needs licence, context, architecture, a quantisation and flags")
        return self

    def quant(self, name: str | None = None) -> Quantisation:
        """That one, or the first. Raises RequestRefused with the valid names."""
        chosen = next((q for q in self.quantisation if name in (None, q.name)), None)
        if chosen is None:
            valid = ", ".join(q.name for q in self.quantisation) or "none; it is not served by vLLM"
            raise RequestRefused(f"{self.name} has no quantisation {name!r}", f"valid: {valid}")
        return chosen


@cache
def profiles() -> dict[str, Profile]:
    """All of them by name, the order of the files."""
    found = [Profile(**values) for file, values in _tables() if file != _BUGS]
    return {profile.name: profile for profile in found}


@cache
def bugs() -> dict[str, Bug]:
    return {name: Bug(**values) for file, table in _tables() if file == _BUGS for name, values in table.items()}


def profile(name: str) -> Profile:
    """Raises RequestRefused with the names there are."""
    if name not in profiles():
        raise RequestRefused(f"there is no profile {name!r}", f"valid: {', '.join(profiles())}; see `sask models`")
    return profiles()[name]


def _tables() -> list[tuple[str, dict[str, Any]]]:
    folder = files("prompts").joinpath("profiles")
    entries = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".toml"))
    return [(name, tomllib.loads(folder.joinpath(name).read_text(encoding="utf-8"))) for name in entries]
