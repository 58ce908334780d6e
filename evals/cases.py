"""Cases: one JSON line each, as ``evals/datasets/GUIDE.md`` describes them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from assistant.errors import ConfigError
from tools import BY_NAME
from tools.slurm.sandbox import NODE_NAMES

NOW = datetime(2026, 11, 21, 10, 0)
CLUSTER_SETS = ("state", "talks")
Text = Annotated[str, StringConstraints(min_length=1)]


class CaseError(ConfigError, ValueError):
    """A case file that cannot be used: the message names file, line and field."""


JOB_EVENTS, NODE_EVENTS = ("cancel", "hold", "release"), ("drain", "resume", "power_off", "power_on")
EVENTS = (*JOB_EVENTS, *NODE_EVENTS, "controller")
"""What may happen to a job (by its handle), to a node (by its name), to the ``controller``: ``stop`` or ``start``."""


def _one_event(event: dict[str, str]) -> dict[str, str]:
    """Raises ValueError, which pydantic reports with the field."""
    if len(event) != 1 or not event.keys() <= set(EVENTS):
        raise ValueError(f"an event is one of {', '.join(EVENTS)}, with its job or node")
    ((kind, what),) = event.items()
    if kind == "controller" and what not in ("stop", "start"):
        raise ValueError(f"controller: {what!r} is neither stop nor start")
    if kind in NODE_EVENTS and what not in NODE_NAMES:
        raise ValueError(f"{kind}: {what!r} is no node; valid: {', '.join(NODE_NAMES)}")
    return event


def _a_node(name: str) -> str:
    if name not in NODE_NAMES:
        raise ValueError(f"{name!r} is no node; valid: {', '.join(NODE_NAMES)}")
    return name


Event = Annotated[dict[str, str], AfterValidator(_one_event)]
Turn = Text | Event
NodeName = Annotated[str, AfterValidator(_a_node)]


class WorldJob(BaseModel):
    """A job that is there: ``submit_job``'s own arguments (by default ``sleep 3600`` for an hour), and its state.

    ``user``: somebody else's job, which only root can submit.
    """

    model_config = ConfigDict(extra="allow", strict=True)
    state: Literal["RUNNING", "PENDING", "HELD", "SUSPENDED"] = "RUNNING"
    user: str = ""

    @property
    def arguments(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class World(BaseModel):
    """What is there before anything is said. ``jobs`` by handle, in the order of their submission.

    ``files`` are scripts in the working directory. ``approve`` false: the person says no when asked.
    ``meanwhile`` happens while the person still looks at the first preview.
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    jobs: dict[Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]*$")], WorldJob] = {}
    nodes: dict[NodeName, Literal["DRAIN", "DOWN"]] = {}
    files: list[str] = []
    approve: bool = True
    meanwhile: list[Event] = []


FACTS = (
    "state", "held", "partition", "qos", "account", "name", "user", "time_limit", "nodes", "gpus", "gpu_type", "nice",
    "constraint", "dependency", "array_size", "exclusive", "comment", "restarts", "reason",
)  # fmt: skip
Facts = Annotated[dict[Literal[FACTS], Any], Field(min_length=1)]  # type: ignore[valid-type]
NODE_FACTS = ("state", "reason")
NodeFacts = Annotated[dict[Literal[NODE_FACTS], Any], Field(min_length=1)]  # type: ignore[valid-type]
Handle = Annotated[str, StringConstraints(pattern=r"^\$[a-z][a-z0-9]*(_\d+)?$")]


class EndState(BaseModel):
    """``jobs`` (by ``$handle``) and ``nodes``: facts that must hold; whatever is not mentioned must be as it was.

    ``gone``: jobs that have ended. ``submitted``: one entry of facts for each new job, in order, and no other new job.
    A fact may be ``{"any": [...]}``.
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    jobs: dict[Handle, Facts] = {}
    gone: list[Handle] = []
    submitted: list[Facts] = []
    nodes: dict[NodeName, NodeFacts] = {}
    untouched: Literal[True] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> EndState:
        if bool(self.untouched) == bool(self.jobs or self.gone or self.submitted or self.nodes):
            raise ValueError("give either untouched, or what has changed")
        return self


@dataclass(frozen=True, slots=True)
class Case:
    """``expects`` are the acceptable outcomes: the case's ``expect`` first, then its ``any_of``."""

    id: str
    category: str
    request: str
    user: str = "me"
    is_admin: bool = False
    now: datetime = NOW
    tags: tuple[str, ...] = ()
    expects: tuple[dict[str, Any], ...] = ()
    forbid: frozenset[str] = field(default_factory=frozenset)
    mention: tuple[tuple[str, ...], ...] = ()
    """What the person must be told: of each group, one word or phrase (any case)."""
    turns: tuple[Turn, ...] = ()
    """What is said and what happens, in order; empty where ``request`` is all."""
    world: World = field(default_factory=World)
    end_state: EndState | None = None
    """What the cluster must be like afterwards; None for a case that needs no cluster."""


class _Context(BaseModel):
    user: Text = "me"
    is_admin: bool = False
    now: datetime = NOW


class _Line(BaseModel):
    """What must hold for a line to be run at all; ``evals.lint_cases`` also asks whether it is a good case."""

    model_config = ConfigDict(extra="forbid", strict=True)
    id: Text
    category: Text
    request: Text | None = None
    turns: list[Turn] = []
    tags: list[str] = []
    source: str = ""
    context: _Context = _Context()
    world: World = World()
    expect: dict[str, Any]


def dataset(name: str) -> Path:
    """Path of a bundled set (``requests_dev``) or of any file."""
    bundled = _bundled() / f"{name}.jsonl"
    return bundled if bundled.is_file() else Path(name)


def bundled_names() -> list[str]:
    """The sets that need no cluster; the others are ``CLUSTER_SETS``."""
    return sorted(path.stem for path in _bundled().glob("requests_*.jsonl"))


def cluster_files() -> list[Path]:
    """The bundled sets that run on the sandbox."""
    return [_bundled() / f"{name}.jsonl" for name in CLUSTER_SETS]


def _bundled() -> Path:
    return Path(str(files("evals"))) / "datasets"


def read_cases(path: Path) -> list[Case]:
    """All cases of a file, in order. Raises CaseError naming file, line and field."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise CaseError(
            f"{path} cannot be read: {error.strerror}", f"bundled sets: {', '.join((*bundled_names(), *CLUSTER_SETS))}"
        ) from error
    except UnicodeDecodeError as error:
        raise CaseError(f"{path}: {error}", "a case file is JSON lines in UTF-8") from error
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    cases = [read_case(line, f"{path}:{number}") for number, line in lines]
    if not cases:
        raise CaseError(f"{path}: holds no case", "one JSON object a line; see evals/datasets/GUIDE.md")
    return cases


def read_all(names: tuple[str, ...]) -> list[Case]:
    """The cases of several sets. Raises CaseError, also where two cases have one id."""
    cases: dict[str, Case] = {}
    for name in names:
        for case in read_cases(dataset(name)):
            if case.id in cases:
                raise CaseError(f"{name}: id: {case.id!r} is there twice", "every case needs an id of its own")
            cases[case.id] = case
    return list(cases.values())


def read_case(text: str, where: str) -> Case:
    """One line of a file. Raises CaseError: ``where``, the field, what is wrong with it."""
    try:
        line = _Line.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"])) or "line"
        valid = f"; valid: {', '.join(_Line.model_fields)}" if first["type"] == "extra_forbidden" else ""
        raise CaseError(f"{where}: {name}: {first['msg']}{valid}") from error
    expects = (line.expect, *_list(line.expect, "any_of", f"{where}: expect"))
    end_state = _end_state(line, where)
    for number, expect in enumerate(expects):
        _check(expect, f"{where}: expect" + (f".any_of[{number - 1}]" if number else ""))
    return Case(
        id=line.id,
        category=line.category,
        request=line.request or "\n".join(turn for turn in line.turns if isinstance(turn, str)),
        user=line.context.user,
        is_admin=line.context.is_admin,
        now=line.context.now.replace(tzinfo=None),
        tags=tuple(line.tags),
        expects=expects,
        forbid=frozenset(_list(line.expect, "forbid", f"{where}: expect")),
        mention=_mention(line.expect, f"{where}: expect"),
        turns=tuple(line.turns),
        world=line.world,
        end_state=end_state,
    )


def _end_state(line: _Line, where: str) -> EndState | None:
    """None where nothing is said of it. Raises CaseError for one that cannot be, and for a case that lacks one."""
    if (line.request is None) == (not any(isinstance(turn, str) for turn in line.turns)):
        raise CaseError(f"{where}: request: give either request, or turns with something said")
    given = line.expect.get("end_state")
    if given is None:
        if line.turns or line.world != World():
            raise CaseError(f"{where}: expect.end_state: is missing; a case with a world or turns is judged by it")
        return None
    try:
        end_state = EndState.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(("expect.end_state", *map(str, first["loc"])))
        raise CaseError(f"{where}: {name}: {first['msg']}") from error
    _check_handles(line, end_state, where)
    return end_state


def _check_handles(line: _Line, end_state: EndState, where: str) -> None:
    """Raises CaseError for a job that the world does not have."""
    handles = [("expect.end_state", name) for name in (*end_state.jobs, *end_state.gone)]
    for field_, events in (("turns", line.turns), ("world.meanwhile", line.world.meanwhile)):
        happened = [pair for event in events if isinstance(event, dict) for pair in event.items()]
        handles += [(field_, what) for kind, what in happened if kind in JOB_EVENTS]
    for field_, handle in handles:
        if handle.removeprefix("$").partition("_")[0] not in line.world.jobs:
            jobs = ", ".join(line.world.jobs) or "none"
            raise CaseError(f"{where}: {field_}: {handle!r} is no job of this world; it has {jobs}")


def _list(expect: dict[str, Any], name: str, where: str) -> list[Any]:
    value = expect.get(name, [])
    if not isinstance(value, list):
        raise CaseError(f"{where}.{name}: {json.dumps(value)[:80]} is not a list")
    return value


def _mention(expect: dict[str, Any], where: str) -> tuple[tuple[str, ...], ...]:
    """``must_mention``: texts, or ``{"any": [texts]}``. Raises CaseError for anything else."""
    groups = []
    for one in _list(expect, "must_mention", where):
        words = one.get("any") if isinstance(one, dict) and one.keys() == {"any"} else [one]
        if not isinstance(words, list) or not words or not all(isinstance(word, str) and word for word in words):
            raise CaseError(f'{where}.must_mention: {json.dumps(one)[:80]} is neither a text nor {{"any": [texts]}}')
        groups.append(tuple(words))
    return tuple(groups)


def _check(expect: Any, where: str) -> None:
    """Raises CaseError unless this is an outcome that can be scored."""
    if not isinstance(expect, dict) or len(expect.keys() & {"tool", "tools", "action"}) != 1:
        raise CaseError(f"{where}: needs exactly one of tool, tools, action")
    if "action" in expect and expect["action"] not in ("ask", "reply"):
        raise CaseError(f"{where}.action: {expect['action']!r} is unknown; valid: ask, reply")
    calls = [expect] if "tool" in expect else _list(expect, "tools", where)
    for call in calls:
        name = call.get("tool") if isinstance(call, dict) else call
        if not isinstance(name, str) or name not in BY_NAME:
            raise CaseError(f"{where}.tool: {name!r} is no tool; valid: {', '.join(BY_NAME)}")
        if not isinstance(call.get("arguments", {}), dict):
            raise CaseError(f"{where}.arguments: {json.dumps(call['arguments'])[:80]} is not an object")
