"""Runbooks: Markdown with a TOML front matter between ``+++`` lines; they say which tools an alert calls for.

    +++
    title = "Node down or drained"
    matches = ["SlurmNode*"]                                        # alert names, * and ? allowed
    labels = { mountpoint = "/home.*" }                             # optional: each must match as a whole (regex)
    tools = [{ tool = "diagnose_node", arguments = { node = "$node" } }]
    propose = ["resume_node"]                                       # changes that may be left for an approval
    sources = ["https://slurm.schedmd.com/scontrol.html"]
    +++
    ## First steps … ## Why … ## Handoff …

``$node`` and ``$job`` stand for each node and job that the alerts name; a call that needs none runs once.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from assistant.doors.oncall.alerts import Alert
from assistant.errors import ConfigError
from prompts import parted, runbooks
from tools import BY_NAME
from tools.base import Call, Effect

SECTIONS = ("First steps", "Why", "Handoff")
_SAMPLE = {"$node": "node01", "$job": "1"}


class Step(BaseModel):
    """One read: a tool's name and its arguments."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tool: str
    arguments: dict[str, Any] = Field(default_factory=dict)

    @property
    def subject(self) -> str:
        """``$node``, ``$job``, or empty where the call needs neither."""
        return next((name for name in _SAMPLE if name in list(self.arguments.values())), "")

    def call(self, value: str = "") -> Call:
        given = {key: value if word in list(_SAMPLE) else word for key, word in self.arguments.items()}
        return Call(self.tool, given)


class Matter(BaseModel):
    """The front matter."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    matches: Annotated[tuple[str, ...], Field(min_length=1)]
    labels: dict[str, str] = Field(default_factory=dict)
    tools: tuple[Step, ...] = ()
    propose: tuple[str, ...] = ()
    sources: Annotated[tuple[str, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Runbook:
    """``sections``: heading to its lines, without blank ones."""

    name: str
    matter: Matter
    sections: Mapping[str, tuple[str, ...]]

    def fits(self, alert: Alert) -> int:
        """How closely it matches: letters of the pattern plus 1000 a label; 0 where it does not."""
        patterns = [p for p in self.matter.matches if fnmatchcase(alert.name.lower(), p.lower())]
        labels = self.matter.labels.items()
        if not patterns or not all(re.fullmatch(rule, alert.labels.get(key, "")) for key, rule in labels):
            return 0
        return max(len(pattern.strip("*")) for pattern in patterns) + 1000 * len(labels) + 1

    def calls(self, nodes: Sequence[str], jobs: Sequence[str]) -> tuple[Call, ...]:
        """Its reads, for these nodes and jobs, each call once."""
        named = {"$node": nodes, "$job": jobs, "": ("",)}
        made = [step.call(value) for step in self.matter.tools for value in named[step.subject]]
        return tuple(call for number, call in enumerate(made) if call not in made[:number])


def load(folder: Path | None = None) -> tuple[Runbook, ...]:
    """The shipped runbooks and the site's own, which win where they have the same name. Raises ConfigError."""
    texts = runbooks()
    if folder:
        try:
            texts |= {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.expanduser().glob("*.md"))}
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"a runbook in {folder} cannot be read: {error}", "mend it or take it away") from None
    return tuple(parse(name, text) for name, text in sorted(texts.items()))


def choose(runbooks: Iterable[Runbook], alert: Alert) -> Runbook:
    """The one that matches most closely; ``general`` matches everything."""
    return max(runbooks, key=lambda runbook: runbook.fits(alert))


def parse(name: str, text: str) -> Runbook:
    """Raises ConfigError with the file, what is wrong, and what is valid."""
    head, rest = parted(text)
    try:
        matter = Matter.model_validate(tomllib.loads(head))
        for rule in matter.labels.values():
            re.compile(rule)
    except (tomllib.TOMLDecodeError, re.error) as error:
        raise ConfigError(f"runbook {name}: the front matter between +++ lines: {error}", "it is TOML") from None
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:3])
        raise ConfigError(f"runbook {name}: {wrong}", f"valid keys: {', '.join(Matter.model_fields)}") from None
    _check(name, matter)
    return Runbook(name, matter, _sections(name, rest))


def _check(name: str, matter: Matter) -> None:
    reads = [tool for tool in BY_NAME if BY_NAME[tool].effect is Effect.READ]
    changes = [tool for tool in BY_NAME if BY_NAME[tool].effect is Effect.ADMIN]
    for step in matter.tools:
        if step.tool not in reads:
            raise ConfigError(f"runbook {name}: {step.tool!r} is no tool that reads", f"valid: {', '.join(reads)}")
        call = step.call(_SAMPLE.get(step.subject, ""))
        try:
            BY_NAME[step.tool].Arguments.model_validate(call.arguments, context={"now": datetime.now()})
        except ValidationError as error:
            raise ConfigError(f"runbook {name}: {step.tool}: {error.errors()[0]['msg']}", "`sask tools`") from None
    if wrong := [tool for tool in matter.propose if tool not in changes]:
        raise ConfigError(f"runbook {name}: it cannot propose {wrong[0]!r}", f"valid: {', '.join(changes)}")


def _sections(name: str, text: str) -> dict[str, tuple[str, ...]]:
    parts = re.split(r"^## +(.+)$", text, flags=re.MULTILINE)
    found = {
        head.strip(): tuple(line.rstrip() for line in body.splitlines() if line.strip())
        for head, body in zip(parts[1::2], parts[2::2], strict=True)
    }
    if missing := [section for section in SECTIONS if not found.get(section)]:
        raise ConfigError(f"runbook {name}: no section `## {missing[0]}`", f"it needs: {', '.join(SECTIONS)}")
    return found
