"""Every identifier and number in a call comes from the request, the conversation or the cluster: narrowed before
decoding, so that a model cannot write anything else, and checked after it, because not every engine obeys."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from assistant.loop.counts import counts
from assistant.loop.roles import addresses, candidates, hostlists, images, names, paths, relative_signs, rules, users
from assistant.loop.said import Said, maximal
from assistant.loop.wording import ASK
from tools.base import Call, Tool
from tools.durations import read_memory, read_seconds

NUMBERS = {
    "nodes", "ntasks", "ntasks_per_node", "cpus_per_task", "gpus", "gpus_per_node", "cpus_per_gpu", "switches",
    "lines", "limit", "nice",
}  # fmt: skip
NAMES = {"partition", "account", "qos", "job_name", "name", "node", "reservation"}
IDS = {"job_id", "job_ids"}
TIMES = {"time_limit"}
MEMORIES = {"mem", "mem_per_cpu", "mem_per_gpu"}
GPUS = {"gpus", "gpus_per_node"}
MOMENTS = {"since", "until", "start", "end", "begin"}
SUBMITTING = {"submit_job", "estimate_start"}
MOST = 9_999
"""Above this a number is an id, not a count."""
CLOSED = {"states", "action", "stream", "group_by", "mail_type"}
"""Slurm's own words, which people say in theirs."""


@dataclass(frozen=True, slots=True)
class Violation:
    """An argument whose value was never said."""

    tool: str
    argument: str
    value: Any

    def __str__(self) -> str:
        return f"{self.tool}.{self.argument}: {self.value!r} is neither in the request nor in the conversation"


Narrower = Callable[[str, str, dict[str, Any], Said], dict[str, Any] | None]
Banned = frozenset[tuple[str, str]]


def narrow(
    tools: Mapping[str, Tool], said: Said, banned: Banned = frozenset(), *, literal: bool = False
) -> dict[str, dict[str, Any]]:
    """Schemas of the arguments, narrowed to what was said; a tool whose required argument was not said is gone.

    ``banned`` are (tool, argument) pairs that an earlier attempt filled with something never said. ``literal`` is
    for a model that copies: times and memory are then the very words of the request (code converts them), and
    rare options are offered only where the request speaks of them.
    """
    narrowed = {}
    for name, tool in tools.items():
        schema = tool.schema()
        if not tool.grounded:
            narrowed[name] = schema
            continue
        properties = {
            argument: spec
            for argument, raw in schema["properties"].items()
            if (name, argument) not in banned and (spec := _narrow_one(name, argument, raw, said, literal)) is not None
        }
        if set(schema["required"]) <= set(properties):
            narrowed[name] = {**schema, "properties": properties}
    return narrowed


@cache
def _evidence(tool: str) -> dict[str, re.Pattern[str]]:
    """Argument → words of which some must occur before it is offered (``evidence.toml``)."""
    text = files("assistant.loop").joinpath("evidence.toml").read_text(encoding="utf-8")
    return {name: re.compile(words, re.IGNORECASE) for name, words in tomllib.loads(text).get(tool, {}).items()}


def _narrow_one(tool: str, argument: str, spec: dict[str, Any], said: Said, literal: bool) -> dict[str, Any] | None:
    """The schema of one argument, ``None`` where nothing was said that it could hold."""
    if literal:
        if not _spoken_of(tool, argument, said):
            return None
        if argument in _COPIED:
            return _COPIED[argument](tool, argument, spec, said)
    if argument in IDS:
        choices = _job_ids(tool, said)
        if not choices:
            return None
        return {"enum": choices} if argument == "job_id" else {**spec, "items": {"enum": choices}, "maxItems": 50}
    if argument in NUMBERS - {"nice"} and spec.get("type") == "integer":
        return {"enum": [n for n in (counts(argument, said) if literal else said.numbers) if n <= MOST]}
    if argument in NAMES:
        return _choice(names(said))
    if argument == "states" and tool == "cancel_jobs":
        return {**spec, "items": {"enum": ["PENDING", "RUNNING", "SUSPENDED"]}}
    if argument == "user":
        return {"enum": ["me", *(word for word in said.words if word != "me")]}
    if argument == "gpu_type":
        return _choice(said.gpu_types)
    return spec


def _spoken_of(tool: str, argument: str, said: Said) -> bool:
    words = _evidence(tool if tool not in SUBMITTING else "submit_job").get(argument)
    return not words or bool(words.search(said.text)) or (argument in GPUS and bool(said.gpu_types))


def _choice(values: Sequence[object]) -> dict[str, Any] | None:
    return {"enum": list(values)} if values else None


def _memory(tool: str, argument: str, spec: dict[str, Any], said: Said) -> dict[str, Any] | None:
    return _choice(said.memory_spans)


def _duration(tool: str, argument: str, spec: dict[str, Any], said: Said) -> dict[str, Any] | None:
    """The runs of words that read as a duration; a change of a limit has its sign in front."""
    signs = relative_signs(said) if tool == "resize_job" else ("",)
    return _choice([sign + span.lstrip("+-") for span in maximal(said.duration_spans) for sign in signs])


def _script(tool: str, argument: str, spec: dict[str, Any], said: Said) -> dict[str, Any] | None:
    return _choice(said.scripts) if "#!" not in said.request else spec


def _name(tool: str, argument: str, spec: dict[str, Any], said: Said) -> dict[str, Any] | None:
    found = candidates(argument, said)
    return _choice(found or (names(said) if argument == "node" else []))


def _hosts(tool: str, argument: str, spec: dict[str, Any], said: Said) -> dict[str, Any] | None:
    if spec.get("type") == "integer" or "integer" in str(spec.get("anyOf")):
        return _choice([n for n in counts(argument, said) if n <= MOST])
    return _choice(hostlists(said)) or (None if tool in SUBMITTING else spec)


def _user(tool: str, argument: str, spec: dict[str, Any], said: Said) -> dict[str, Any] | None:
    return _choice(users(said))


def _path(tool: str, argument: str, spec: dict[str, Any], said: Said) -> dict[str, Any] | None:
    return _choice(paths(said)) or spec


def _image(tool: str, argument: str, spec: dict[str, Any], said: Said) -> dict[str, Any] | None:
    return _choice(images(said)) or spec


def _address(tool: str, argument: str, spec: dict[str, Any], said: Said) -> dict[str, Any] | None:
    return _choice(addresses(said))


_COPIED: dict[str, Narrower] = {
    **dict.fromkeys(MEMORIES, _memory),
    **dict.fromkeys(TIMES, _duration),
    "script": _script,
    "user": _user,
    "working_directory": _path,
    "container_image": _image,
    "mail_user": _address,
    **dict.fromkeys(NAMES, _name),
    **dict.fromkeys(("nodes", "nodelist", "exclude"), _hosts),
}
"""How an argument is narrowed for a model that copies: to the very words of the request."""


def _job_ids(tool: str, said: Said) -> list[str]:
    earlier = [f"${n}" for n in (1, 2, 3)] if re.search(r"\$\d", said.text) else []
    ranges = tool in {"cancel_jobs", "control_jobs"}
    return [i for i in said.job_ids if ranges or "-" not in i or "[" in i] + earlier


def questions(said: Said) -> tuple[str, ...] | None:
    """The keys of ``wording.ASK`` but those that the request answers: no "which job?" where a job is named, no
    "which node?" or "which user?" where none is spoken of; ``None`` where all is said ("cancel all my jobs")."""
    if re.search(rules()["ask"]["nothing"], said.folded):
        return None
    answered = {key for key in ("which_node", "which_user") if not re.search(rules()["ask"][key], said.folded)}
    if any(len(job.partition("_")[0]) > 3 for job in said.job_ids):
        answered.add("which_job")
    if said.scripts:
        answered.add("what_to_run")
    return tuple(key for key in ASK if key not in answered)


def ungrounded(call: Call, said: Said) -> list[Violation]:
    """Arguments of ``call`` (as the model wrote them) that carry something nobody said."""
    return [
        Violation(call.tool, argument, value)
        for argument, value in call.arguments.items()
        if not _is_grounded(argument, value, said)
    ]


def _is_grounded(argument: str, value: Any, said: Said) -> bool:
    if isinstance(value, bool) or value in ("", None) or argument in CLOSED:
        return True
    if argument in NUMBERS and isinstance(value, int):
        return abs(value) in said.numbers
    if argument in TIMES:
        return _literal_or(value, said, lambda text: read_seconds(text.lstrip("+-")) in said.durations)
    if argument in MEMORIES:
        return _literal_or(value, said, lambda text: read_memory(text) in said.memories)
    if argument in MOMENTS:
        return said.has(str(value)) or _shares_number_or_day(str(value), said)
    if argument == "user" and value == "me":
        return True
    if argument == "gpu_type":
        return str(value).lower() in said.gpu_types
    if isinstance(value, list):
        return all(_is_text(str(part), said) for part in value)
    if isinstance(value, dict):
        return all(_is_text(str(part), said) for pair in value.items() for part in pair)
    return _is_text(str(value), said)


def _literal_or(value: Any, said: Said, same: Callable[[str], bool]) -> bool:
    text = str(value)
    if said.has(text.lstrip("+-").strip()):
        return True
    try:
        return same(text)
    except ValueError:
        return True  # unreadable: the next rung says so with the forms that are understood


def _shares_number_or_day(value: str, said: Said) -> bool:
    """A canonical ISO time was computed from words; it needs some word of time in the request."""
    if not re.match(r"\d{4}-\d\d-\d\d|now", value):
        return False
    return bool(said.durations) or bool(re.search(_TIME_WORDS, said.folded))


_TIME_WORDS = (
    r"\d|jan|feb|mar|m[äa]r|apr|avr|abr|ma[iyo]|jun|jul|aug|ao[uû]t|ago|sep|o[kc]t|nov|de[cz]|d[ée]c|ene|mon|tue|wed|thu|fri|sat|sun|today|yesterday|tomorrow|tonight|night|morning|evening|noon|week|month|year|day|hour|minute|weekend|"
    r"heute|gestern|morgen|woche|monat|jahr|tag|hier|demain|semaine|mois|ann|jour|ayer|hoy|mañana|semana|mes|año|"
    r"어제|오늘|내일|주|월|일|昨|今|明|周|月|年|天"
)


def _is_text(value: str, said: Said) -> bool:
    """Said letter for letter, or made only of words and numbers that were."""
    if said.has(value):
        return True
    known = {*_parts(said.text), *map(str, said.numbers), *_GLUE}
    parts = _parts(re.sub(r"\$\d", "1", value))
    return bool(parts) and all(part in known or part.lstrip("0") in known for part in parts)


def _parts(text: str) -> list[str]:
    """Runs of letters and runs of digits, folded: ``gpu-node[01-04]`` → gpu, node, 01, 04."""
    return re.findall(r"[^\W\d_]+|\d+", text.casefold())


# words of Slurm's own syntax that arguments are allowed to add to what was said
_GLUE = {
    "0", "after", "afterok", "afterany", "afternotok", "aftercorr", "singleton", "usr", "term", "int", "kill", "hup",
    "b", "r", "now", "j", "x", "a", "out", "err",
}  # fmt: skip
