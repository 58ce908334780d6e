"""What a run is asked to do: the flags of ``sask eval run``, kept in its manifest so that it can be taken up again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

SERVER_CONCURRENCY, EMBEDDED_CONCURRENCY = 64, 1
HOW = frozenset(("concurrency", "cache", "repeats", "limit"))
"""These say how and how much is asked, not what: a run may be taken up with others of them."""


class Options(BaseModel):
    """``constrain``, ``ground`` and ``retry`` are the ablations; ``tools`` is how many are offered, None for all; so
    many tokens of ``context``, about other things, stand before each request."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    datasets: tuple[str, ...] = ("requests_dev",)
    model: str = "embedded"
    model_name: str = ""
    repeats: int = Field(default=1, ge=1)
    limit: int | None = Field(default=None, ge=1)
    concurrency: int | None = Field(default=None, ge=1)
    constrain: bool = True
    ground: bool = True
    retry: bool = True
    tools: int | None = Field(default=None, ge=1)
    context: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    max_tokens: int | None = Field(default=None, ge=1)
    thinking: bool | None = None
    stream: bool = False
    cache: Path | None = None

    @property
    def workers(self) -> int:
        return self.concurrency or (EMBEDDED_CONCURRENCY if self.model == "embedded" else SERVER_CONCURRENCY)

    def what(self) -> dict[str, Any]:
        """The options that decide the answers."""
        return self.model_dump(mode="json", exclude=set(HOW))
