"""What the numbers of a request count: "2 nodes with 8 h100s each" has 2 for nodes and 8 for GPUs, never the reverse.

A number beside the word for a thing counts that thing; one that stands beside none can count any. The words are data
(``[units]``, ``[counted]`` of ``roles.toml``).
"""

from __future__ import annotations

import re
from functools import cache

from assistant.loop.roles import rules
from assistant.loop.said import GPU, MEASURES, Said
from tools.durations import number_words

_AHEAD = (
    r"(?:\s+|-)?(?:[x×*]\s*)?(?:개|个|個|张|張|장|대|台|块|枚)?(?:의|的)?\s*(?:(?:of|the|those|these|more|different|{between})\s+)*"
    r"(?:{words})(?![a-z0-9_])"
)
_OF_AN_OPTION = re.compile(r"(?<!\S)--(?!gpu|node|cpu|ntask|core|gres|lines|tail)[a-z][\w-]*[ =]$")
"""A number after a program's own option ("--bs 256") counts nothing of the job's."""
_BEHIND = (
    r"(\d\s*[x×*]?[\s\-]*)?(?<!per[ \-])(?<![a-z0-9/])(?:{words})(?:[ \-_](?:per|pro|par|por)[ \-_][a-z]+|/[a-z]+)?"
    r"(?:\s*[=:x×*]\s*|\s+(?:is |of |to |de |auf )?)$"
)


def counts(argument: str, said: Said) -> list[int]:
    """The numbers that can be the value of ``argument``, in order; 1 is among them ("a GPU") where none is said."""
    wanted = frozenset(rules()["counted"].get(argument, "").split())
    units = _units(said.request) if wanted else {}
    found = [n for n in said.counts if any(not u or u & wanted for u in units.get(n, [frozenset()]))]
    said_so = any(u & wanted for n in found for u in units.get(n, []))
    return found if said_so or 1 in found else sorted([1, *found])


def counted(unit: str, said: Said) -> list[int]:
    """The numbers that stand beside the words of ``unit`` (a key of ``[units]``) and of no other, each once."""
    return [n for n, places in _units(said.request).items() if any(units == {unit} for units in places)]


@cache
def _units(request: str) -> dict[int, list[frozenset[str]]]:
    """Number → for each place where it stands, the units beside it (none: it can count anything)."""
    found: dict[int, list[frozenset[str]]] = {}
    text = MEASURES.sub(" ¤ ", GPU.sub("gpu", request.casefold()))
    for match in _number().finditer(text):
        value = number_words().get(match[0], match[0])
        found.setdefault(int(value), []).append(_beside(text[: match.start()], text[match.end() :]))
    return found


def _beside(before: str, after: str) -> frozenset[str]:
    ahead = {unit for unit, (_, pattern) in _patterns().items() if pattern.match(after)}
    explicit = bool(re.search(r"[=:]\s*$", before))
    behind = {unit for unit, (pattern, _) in _patterns().items() if _marks(pattern, before[-60:], explicit)}
    if not ahead | behind and _OF_AN_OPTION.search(before):
        return frozenset({"option"})
    return frozenset(behind if behind and explicit else ahead | behind)


def _marks(pattern: re.Pattern[str], before: str, explicit: bool) -> bool:
    """Whether the word before is of this unit, and not counted itself ("2 nodes 8 …", but "2 nodes gpus=8")."""
    found = pattern.search(before)
    return bool(found and (explicit or not found[1]))


@cache
def _patterns() -> dict[str, tuple[re.Pattern[str], re.Pattern[str]]]:
    """Unit → what stands before its number, and what stands after it."""
    between = rules()["between"]["words"]
    return {
        unit: (re.compile(_BEHIND.format(words=words)), re.compile(_AHEAD.format(words=words, between=between)))
        for unit, words in rules()["units"].items()
    }


@cache
def _number() -> re.Pattern[str]:
    spoken = "|".join(sorted((w for w, v in number_words().items() if v.isdigit() and w.isascii()), key=len)[::-1])
    return re.compile(rf"(?<![\w.])(?:{spoken})(?!\w)|(?<![\d.])\d{{1,5}}(?![\d]|\.\d)")
