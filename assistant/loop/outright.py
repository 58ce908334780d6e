"""What a request for one job says outright, so that no model can leave it out: code reads it and fills it in.

"On the gpu partition", "4 nodes", "two days", "64 GB", "must not be requeued": where it is said once and plainly, there
is nothing to judge. Only what is missing is filled in, and only where the request asks for one thing.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from typing import Any

from assistant.loop.counts import counted
from assistant.loop.roles import called, is_common, plainly, rules, spans
from assistant.loop.said import Said, maximal
from tools import BY_NAME
from tools.base import Call
from tools.durations import number_words

NAMED = ("partition", "account", "qos")
RESOURCES = ("submit_job", "estimate_start")
OF_MANY = ("list_jobs", "cancel_jobs")
PERIODS = {"list_jobs": ("since", "until"), "usage_report": ("start", "end")}
MEMORIES = ("mem", "mem_per_cpu", "mem_per_gpu")
COUNTED = {
    "gpu": ("gpus", "gpus_per_node"),
    "cpu": ("cpus_per_task", "ntasks", "ntasks_per_node", "cpus_per_gpu"),
    "task": ("ntasks", "ntasks_per_node", "cpus_per_task", "array"),
}
"""What a number beside the unit means, and the arguments that may hold it already."""
MOST_WORDS = 6
"""Of a reason, before the part that a model copied."""
MOST_LINES = 10_000
"""From here on a number beside "lines" is a job's id."""
OTHER_TIMES = frozenset({"begin", "signal", "array", "dependency", "time_limit"})
"""Beside one of these a duration may be something else than the time limit."""


def complete(calls: tuple[Call, ...], said: Said) -> tuple[Call, ...]:
    """A lone call with what was said outright and the model left out.

    Not for a change of a job, where a name may be the old one or the new one.
    """
    if len(calls) != 1 or calls[0].tool == "update_job":
        return calls
    call, said = _own_words(calls[0], said)
    if _matches("several", said.request) or "job_ids" in call.arguments:
        return (call,)
    call = _delayed(_whole(call, said), said)
    around = replace(said, request=said.request.replace(call.arguments.get("command", "\0"), " ¤ "))
    found: dict[str, Any] = {slot: _only(called(slot, around)) for slot in NAMED}
    found["user"] = _only(_people(call, said))
    if call.tool in RESOURCES:
        found |= _resources(call, around)
    if call.tool == "read_job_log":
        found |= _log(around)
    if call.tool in PERIODS:
        found |= _period(around, *PERIODS[call.tool])
    if call.tool in OF_MANY and not {"node", "job_ids"} & call.arguments.keys():
        found["states"] = _states(call, around)
    fields = BY_NAME[call.tool].Arguments.model_fields
    missing = {
        name: value for name, value in found.items() if value != "" and name in fields and name not in call.arguments
    }
    if "requeue" in fields and _matches("no_requeue", around.request):
        missing["requeue"] = False
    return (Call(call.tool, {**call.arguments, **missing}),)


def _states(call: Call, said: Said) -> list[str] | str:
    """One word for a state; nothing where two are said, or where all may run ("what is running?")."""
    found = [state for state, words in rules()["states"].items() if re.search(words, said.folded)]
    return found if len(found) == 1 and (found != ["RUNNING"] or call.arguments.get("user") == "me") else ""


def _people(call: Call, said: Said) -> list[str]:
    """Who is called a user, or else spoken of like one."""
    called_so = [name for name in re.findall(_pattern("user"), said.folded) if not is_common(name)]
    names = ["".join(groups) for groups in _pattern("person").findall(said.folded)]
    other = {str(value) for value in call.arguments.values()}
    return called_so or [n for n in names if not (is_common(n) or _pattern("no_person").fullmatch(n) or n in other)]


def _log(said: Said) -> dict[str, Any]:
    """Which stream, how many lines, and what stands between quotation marks."""
    lines = [n for n in counted("line", said) if n < MOST_LINES]
    lines = lines or [int(n) for n in re.findall(_pattern("last_lines"), said.folded)]
    streams = [stream for stream, words in rules()["streams"].items() if re.search(words, said.folded)]
    quoted = [one or other for one, other in _pattern("quoted").findall(said.request)]
    return {"stream": _only(streams), "lines": lines[0] if lines else "", "pattern": _only(quoted)}


def _period(said: Said, start: str, end: str) -> dict[str, str]:
    """The one period that is spoken of: "last week" has a start and an end, "since yesterday" and "today" a start."""
    periods = rules()["periods"]
    past = list(re.finditer(periods["closed"], said.folded))
    if len(past) + len(now := re.findall(periods["open"], said.folded)) != 1:
        return {}
    if now:
        return {start: now[0]}
    goes_on = re.search(periods["since"], said.folded[: past[0].start()])
    return {start: past[0][0]} if goes_on else {start: past[0][0], end: past[0][0]}


def _own_words(call: Call, said: Said) -> tuple[Call, Said]:
    """Beside the name of its file, a script's pasted #SBATCH lines ask for nothing: they stand in the file already."""
    own = re.sub(r"(?m)^\s*#SBATCH.*$", "", said.request).strip()
    by_name = call.arguments.get("script", "\n").count("\n") == 0
    if not by_name or "#SBATCH" not in said.request or _matches("directives_wanted", own):
        return call, said
    said = replace(said, request=own)
    kept = {name: value for name, value in call.arguments.items() if isinstance(value, bool) or _in(value, said)}
    return Call(call.tool, kept), said


def _in(value: Any, said: Said) -> bool:
    """Whether the words are there, whole ("8" is not in "h800")."""
    if isinstance(value, int):
        return str(value) in re.findall(r"(?<![\w.])\d+", said.request) or (value > 1 and value in said.numbers)
    return bool(re.search(rf"(?<![\w.]){re.escape(str(value))}(?![\w])", said.request, re.IGNORECASE))


def _whole(call: Call, said: Said) -> Call:
    whole = {name: read(call.arguments[name], said) for name, read in WHOLE.items() if name in call.arguments}
    return Call(call.tool, {**call.arguments, **whole})


def _delayed(call: Call, said: Said) -> Call:
    """ "Two hours from now" is when a job begins, and no limit of its time."""
    if call.tool != "submit_job" or "begin" in call.arguments:
        return call
    for span in maximal(said.duration_spans):
        if re.search(re.escape(span) + r"\s+" + rules()["outright"]["later"], said.request, re.IGNORECASE):
            rest = {name: value for name, value in call.arguments.items() if (name, value) != ("time_limit", span)}
            return Call(call.tool, {**rest, "begin": f"{span} from now"})
    return call


def whole_command(command: str, said: Said) -> str:
    """A command with the options and files that follow it in the request: ``./solver -i`` → ``./solver -i in.dat``;
    the one that stands between backquotes, where one does."""
    quoted = _only(re.findall(r"`([^`\n]+)`", said.request))
    if quoted and command not in quoted:
        return quoted
    _, found, rest = said.request.partition(command)
    if not found or command in rest:
        return command
    more = re.match(_pattern("more_of_a_command"), rest)
    return command + (more[0].rstrip(".") if more else "")


def whole_moment(moment: str, said: Said) -> str:
    """A moment with its hour: ``tonight`` → ``11 pm tonight``."""
    before, found, after = said.request.partition(moment)
    if not found or re.search(r"\d", moment):
        return moment
    first, last = _pattern("hour_before").search(before), _pattern("hour_after").search(after)
    return (first[0] if first else "") + moment + (last[0] if last and not first else "")


def whole_reason(reason: str, said: Said) -> str:
    """A reason from its first word on: ``disk`` → ``broken disk`` of "because of a broken disk"."""
    before, found, _ = said.request.partition(reason)
    lead = list(_pattern("reason_lead").finditer(before))
    more = before[lead[-1].end() :] if found and lead else ""
    return more + reason if len(more.split()) <= MOST_WORDS and not re.search(r"[^\w\s\-/]", more) else reason


def whole_mounts(mounts: str, said: Said) -> str:
    """A mount with both of its ends: ``/data`` → ``/lustre/data:/data`` of "mount /lustre/data at /data"."""
    pairs = [":".join(pair) for pair in _pattern("mounts").findall(said.request)]
    return ",".join(pairs) if mounts in {end for pair in pairs for end in pair.split(":")} else mounts


def whole_span(nodes: object, said: Said) -> object:
    """The nodes between two that were named as the ends: ``n1,n4`` → ``n[1-4]`` of "n1 through n4"."""
    return next((span for span, ends in spans(said).items() if nodes == ends), nodes)


WHOLE = {
    "command": whole_command,
    "begin": whole_moment,
    "container_mounts": whole_mounts,
    "reason": whole_reason,
    "nodes": whole_span,
}


def _resources(call: Call, said: Said) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if nodes := _only(re.findall(_pattern("nodes"), said.folded)):
        found["nodes"] = int(number_words().get(nodes, nodes))
    others = OTHER_TIMES & call.arguments.keys() or _matches("other_times", said.request)
    if not others and (time_limit := _only(_longest(said.duration_spans, "duration"))):
        found["time_limit"] = time_limit
    if not any(name in call.arguments for name in MEMORIES) and (mem := _only(_longest(said.memory_spans, "memory"))):
        found["mem"] = mem
    found |= _counts(call, said) | _places(call, said)
    if _matches("exclusive", said.request) and not _matches("not_exclusive", said.request):
        found["exclusive"] = True
    if _matches("mail_end", said.request) and not _matches("mail_other", said.request):
        found["mail_type"] = "END"
    return found


def _counts(call: Call, said: Said) -> dict[str, Any]:
    """GPUs, CPUs and tasks where the request counts each once and no call has them; shares of a node are left alone."""
    if _matches("shares", said.request):
        return {}
    return {
        names[0]: int(number)
        for unit, names in COUNTED.items()
        if not any(name in call.arguments for name in names)
        and (number := _only([str(n) for n in counted(unit, said)]))
    }


def _places(call: Call, said: Said) -> dict[str, Any]:
    """ "on bigmem"; "go to /scratch/x and run …"."""
    found = {"partition": _only(plainly("partition", said))}
    if not _matches("contained", said.request):
        found["working_directory"] = _only(re.findall(_pattern("directory"), said.request))
    return {name: value for name, value in found.items() if value}


def _longest(spans: tuple[str, ...], kind: str) -> list[str]:
    """Spans of that form that are no part of another."""
    whole = [span for span in spans if re.fullmatch(_pattern(kind), span.strip())]
    return [span for span in whole if not any(span != other and span in other for other in whole)]


def _only(found: list[str]) -> str:
    return found[0] if len(found) == 1 else ""


@cache
def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(rules()["outright"][name], re.IGNORECASE if name != "memory" else 0)


def _matches(name: str, text: str) -> bool:
    return bool(_pattern(name).search(text))
