"""What a request for one job says outright, so that no model can leave it out: code reads it and fills it in.

"On the gpu partition", "4 nodes", "two days", "64 GB", "must not be requeued": where it is said once and plainly, there
is nothing to judge. Only what is missing is filled in, and only where the request asks for one thing.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from assistant.loop.counts import counted
from assistant.loop.roles import called, is_common, plainly, rules
from assistant.loop.said import Said, maximal
from assistant.loop.whole import matches, only, pattern, whole
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
    call, said = _own_words(_alone(calls[0]), said)
    if "job_ids" in call.arguments:
        return (_whole_list(call, said),)
    if matches("several", said.request):
        return (call,)
    call = _delayed(whole(call, said), said)
    around = replace(said, request=said.request.replace(call.arguments.get("command", "\0"), " ¤ "))
    found: dict[str, Any] = {slot: only(called(slot, around)) for slot in NAMED}
    found["user"] = only(_people(call, said))
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
    if "requeue" in fields and matches("no_requeue", around.request):
        missing["requeue"] = False
    return (Call(call.tool, {**call.arguments, **missing}),)


def _alone(call: Call) -> Call:
    """Without what a lone call cannot mean: a dependency on a step before it, a directory that is its script, two
    things to run of which one is the other, resources beside the job that they are asked about."""
    given = dict(call.arguments)
    if "$" in str(given.get("dependency", "")):
        del given["dependency"]
    if given.get("working_directory", "") in (given.get("script"), given.get("output")):
        given.pop("working_directory", None)
    if given.get("script") and given["script"] in str(given.get("command", "")):
        del given["script"]
    if call.tool == "estimate_start" and "job_id" in given:
        given = {"job_id": given["job_id"]}
    return Call(call.tool, given)


def _whole_list(call: Call, said: Said) -> Call:
    """Jobs that stand in one row are meant together: "hold 4120 4121 4125" is about all three."""
    given = call.arguments["job_ids"]
    if re.search(rules()["lists"]["in_part"], said.folded):
        return call
    one = "|".join(re.escape(job) for job in sorted(said.job_ids, key=len, reverse=True))
    rows = re.finditer(rf"(?<![\w.])(?:{one})(?:{rules()['lists']['joined']}(?:{one})(?![\w.]))+", said.request)
    for row in rows if one else ():
        jobs = re.findall(rf"(?<![\w.])(?:{one})(?![\w.])", row[0])
        if set(given) < set(jobs):
            return Call(call.tool, {**call.arguments, "job_ids": list(dict.fromkeys(jobs))})
    return call


def _states(call: Call, said: Said) -> list[str] | str:
    """One word for a state; nothing where two are said, or where all may run ("what is running?")."""
    found = [state for state, words in rules()["states"].items() if re.search(words, said.folded)]
    user = call.arguments.get("user", "")
    sure = user == "me" or (user and re.search(rules()["running"]["jobs"], said.folded))
    return found if len(found) == 1 and (found != ["RUNNING"] or sure) else ""


def _people(call: Call, said: Said) -> list[str]:
    """Who is called a user, or else spoken of like one."""
    called_so = [name for name in re.findall(pattern("user"), said.folded) if not is_common(name)]
    names = ["".join(groups) for groups in pattern("person").findall(said.folded)]
    other = {str(value) for value in call.arguments.values()}
    return called_so or [n for n in names if not (is_common(n) or pattern("no_person").fullmatch(n) or n in other)]


def _log(said: Said) -> dict[str, Any]:
    """Which stream, how many lines, and what stands between quotation marks."""
    lines = [n for n in counted("line", said) if n < MOST_LINES]
    lines = lines or [int(n) for n in re.findall(pattern("last_lines"), said.folded)]
    streams = [stream for stream, words in rules()["streams"].items() if re.search(words, said.folded)]
    quoted = [one or other for one, other in pattern("quoted").findall(said.request)]
    quoted = quoted or pattern("grep").findall(said.request)
    return {"stream": only(streams), "lines": lines[0] if lines else "", "pattern": only(quoted)}


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
    if not by_name or "#SBATCH" not in said.request or matches("directives_wanted", own):
        return call, said
    said = replace(said, request=own)
    kept = {name: value for name, value in call.arguments.items() if isinstance(value, bool) or _in(value, said)}
    return Call(call.tool, kept), said


def _in(value: Any, said: Said) -> bool:
    """Whether the words are there, whole ("8" is not in "h800")."""
    if isinstance(value, int):
        return str(value) in re.findall(r"(?<![\w.])\d+", said.request) or (value > 1 and value in said.numbers)
    return bool(re.search(rf"(?<![\w.]){re.escape(str(value))}(?![\w])", said.request, re.IGNORECASE))


def _delayed(call: Call, said: Said) -> Call:
    """ "Two hours from now" is when a job begins, and no limit of its time."""
    if call.tool != "submit_job" or "begin" in call.arguments:
        return call
    for span in maximal(said.duration_spans):
        if re.search(re.escape(span) + r"\s+" + rules()["outright"]["later"], said.request, re.IGNORECASE):
            rest = {name: value for name, value in call.arguments.items() if (name, value) != ("time_limit", span)}
            return Call(call.tool, {**rest, "begin": f"{span} from now"})
    return call


def _resources(call: Call, said: Said) -> dict[str, Any]:
    found: dict[str, Any] = _explicit(call, said)
    if "job_id" in call.arguments:
        return {}
    if nodes := only(re.findall(pattern("nodes"), said.folded)):
        found["nodes"] = int(number_words().get(nodes, nodes))
    others = OTHER_TIMES & call.arguments.keys() or matches("other_times", said.request)
    if not others and (time_limit := only(_longest(said.duration_spans, "duration"))):
        found["time_limit"] = time_limit
    if not any(name in call.arguments for name in MEMORIES) and (mem := only(_longest(said.memory_spans, "memory"))):
        found["mem"] = mem
    found |= _counts(call, said) | _places(call, said)
    if matches("exclusive", said.request) and not matches("not_exclusive", said.request):
        found["exclusive"] = True
    if matches("mail_end", said.request) and not matches("mail_other", said.request):
        found["mail_type"] = "END"
    return found


def _explicit(call: Call, said: Said) -> dict[str, str]:
    """ "Charge it to hep-24", "reservation ws_nov", "--qos long": names that the request leaves no doubt about."""
    taken = {str(value) for value in call.arguments.values()}
    found = {}
    own = re.sub(r"(?m)^\s*#SBATCH.*$", "", said.request)
    for slot, words in rules()["explicit"].items():
        groups = re.findall(words, own, re.IGNORECASE | re.ASCII)
        values = {"".join(one) if isinstance(one, tuple) else one for one in groups}
        if len(values) == 1 and not is_common(value := values.pop()) and value not in taken:
            found[slot] = value
    return found


def _counts(call: Call, said: Said) -> dict[str, Any]:
    """GPUs, CPUs and tasks where the request counts each once and no call has them; shares of a node are left alone."""
    if matches("shares", said.request):
        return {}
    return {
        names[0]: int(number)
        for unit, names in COUNTED.items()
        if not any(name in call.arguments for name in names) and (number := only([str(n) for n in counted(unit, said)]))
    }


def _places(call: Call, said: Said) -> dict[str, Any]:
    """ "on bigmem"; "go to /scratch/x and run …"."""
    found = {"partition": only(plainly("partition", said))}
    if not matches("contained", said.request):
        found["working_directory"] = only(re.findall(pattern("directory"), said.request))
    return {name: value for name, value in found.items() if value}


def _longest(spans: tuple[str, ...], kind: str) -> list[str]:
    """Spans of that form that are no part of another."""
    whole = [span for span in spans if re.fullmatch(pattern(kind), span.strip())]
    return [span for span in whole if not any(span != other and span in other for other in whole)]
