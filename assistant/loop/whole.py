"""What a model cut short is made whole: a command with its options, a reason from its first word, a mount with both
ends, a moment with its hour."""

from __future__ import annotations

import re
from functools import cache

from assistant.loop.roles import rules, spans
from assistant.loop.said import Said
from tools.base import Call

MOST_WORDS = 6
"""Of a reason, before the part that a model copied."""


def whole(call: Call, said: Said) -> Call:
    whole = {name: read(call.arguments[name], said) for name, read in WHOLE.items() if name in call.arguments}
    return Call(call.tool, {**call.arguments, **whole})


def whole_command(command: str, said: Said) -> str:
    """A command with the options and files that follow it in the request: ``./solver -i`` → ``./solver -i in.dat``;
    the one that stands between backquotes, where one does."""
    quoted = only(re.findall(r"`([^`\n]+)`", said.request))
    if quoted and command not in quoted:
        return quoted
    _, found, rest = said.request.partition(command)
    if not found or command in rest:
        return command
    more = re.match(pattern("more_of_a_command"), rest)
    return command + (more[0].rstrip(".") if more else "")


def whole_moment(moment: str, said: Said) -> str:
    """A moment with its hour: ``tonight`` → ``11 pm tonight``."""
    before, found, after = said.request.partition(moment)
    if not found or re.search(r"\d", moment):
        return moment
    first, last = pattern("hour_before").search(before), pattern("hour_after").search(after)
    return (first[0] if first else "") + moment + (last[0] if last and not first else "")


def whole_reason(reason: str, said: Said) -> str:
    """A reason from its first word on: ``disk`` → ``broken disk`` of "because of a broken disk"."""
    before, found, _ = said.request.partition(reason)
    lead = list(pattern("reason_lead").finditer(before))
    more = before[lead[-1].end() :] if found and lead else ""
    return more + reason if len(more.split()) <= MOST_WORDS and not re.search(r"[^\w\s\-/]", more) else reason


def whole_mounts(mounts: str, said: Said) -> str:
    """A mount with both of its ends: ``/data`` → ``/lustre/data:/data`` of "mount /lustre/data at /data"."""
    pairs = [":".join(pair) for pair in pattern("mounts").findall(said.request)]
    return ",".join(pairs) if mounts in {end for pair in pairs for end in pair.split(":")} else mounts


def whole_pattern(path: str, said: Said) -> str:
    """A file's name as it was said, with no ending of the model's own."""
    stem = path.rpartition(".")[0]
    return path if path in said.request or not stem or stem not in said.request else stem


def whole_span(nodes: object, said: Said) -> object:
    """The nodes between two that were named as the ends: ``n1,n4`` → ``n[1-4]`` of "n1 through n4"."""
    return next((span for span, ends in spans(said).items() if nodes == ends), nodes)


WHOLE = {
    "command": whole_command,
    "begin": whole_moment,
    "container_mounts": whole_mounts,
    "reason": whole_reason,
    "nodes": whole_span,
    "output": whole_pattern,
    "error": whole_pattern,
}


def only(found: list[str]) -> str:
    return found[0] if len(found) == 1 else ""


@cache
def pattern(name: str) -> re.Pattern[str]:
    return re.compile(rules()["outright"][name], re.IGNORECASE if name != "memory" else 0)


def matches(name: str, text: str) -> bool:
    return bool(pattern(name).search(text))
