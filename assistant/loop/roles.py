"""Which words of a request can stand in which slot: by their shape, by the words beside them, by what is known.

For a model that copies: it is offered the words that can be a partition where a partition is wanted, and no others. The
rules are data (``roles.toml``) and speak of the language people use for Slurm, not of any one cluster; where the
cluster's own names are at hand (``Said.known``), a word that is one of them needs no rule.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from assistant.loop.said import Said, fold, forms

MOST_NODES = 8
_RAW = re.compile(r"(?:[^\s,;!?()\"'`<>|\[]|\[(?!\d))+(?:\[[\d,\-:%]+\][\w.\-]*)*|[,;!?()|\n]")
_QUOTED = re.compile(r"""(?<!\w)['"“‘]([\w+-]*[^\W\d][\w.+-]*)['"”’](?!\w)""")
_SIDES = re.compile(r"(--?[A-Za-z][\w-]*|[A-Za-z]+)[=:](.+)")


@dataclass(frozen=True, slots=True)
class Word:
    """One form of a word, with its neighbours folded and articles passed over; ``""`` at an end."""

    text: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Slot:
    """What can stand in a slot; every field is matched whole.

    ``beside``: a neighbour that gives any word this role. ``lead``: a word before that allows an ordinary word
    (``led``). ``shape``: what a made-up name looks like; ``known``: ordinary words that are such names everywhere;
    neither counts for what ``never`` matches.
    """

    beside: re.Pattern[str]
    lead: re.Pattern[str]
    led: re.Pattern[str]
    known: re.Pattern[str]
    shape: re.Pattern[str]
    never: re.Pattern[str]

    def marks(self, word: Word) -> bool:
        """Whether a neighbour says that the word has this role."""
        return bool(self.beside.fullmatch(word.before) or self.beside.fullmatch(word.after))

    def takes(self, word: Word) -> bool:
        plain = fold(word.text)
        if not re.search(r"[a-z]", plain) or self.beside.fullmatch(plain):
            return False
        if is_common(plain):  # "partition week", but not "all partitions"
            return bool(self.known.fullmatch(plain) and self.beside.fullmatch(word.before))
        if self.marks(word):
            return plain.isascii()
        if self.lead.fullmatch(word.before) and self.led.fullmatch(plain):
            return True
        named = self.shape.fullmatch(plain) or self.known.fullmatch(plain)
        return bool(named and not self.never.fullmatch(plain) and not _is("counting", word.before))


@cache
def rules() -> dict[str, Any]:
    text = files("assistant.loop").joinpath("roles.toml").read_text(encoding="utf-8")
    return dict(tomllib.loads(text))


@cache
def _class(name: str) -> re.Pattern[str]:
    return re.compile("".join(rules()["words"][name].splitlines()), re.IGNORECASE)


def _is(name: str, word: str) -> bool:
    return bool(_class(name).fullmatch(word))


def is_common(word: str) -> bool:
    """Words that nobody gives a partition, an account, a job … as its name."""
    return _is("common", word)


@cache
def slots() -> dict[str, Slot]:
    """Argument → its rules."""
    read = {
        name: Slot(**{part: re.compile(pattern, re.IGNORECASE) for part, pattern in rule.items()})
        for name, rule in rules()["slots"].items()
    }
    return {**read, **{alias: read[name] for alias, name in rules()["same_as"].items()}}


def candidates(slot: str, said: Said) -> list[str]:
    """The words that can stand in ``slot``, in order, each once."""
    wanted = slots()[slot]
    known = said.known.get(rules()["same_as"].get(slot, slot), frozenset())
    real = [word.text for word in words(said) if word.text in known and not _is("counting", word.before)]
    taken = (
        word.text for word in words(said) if wanted.takes(word) and (wanted.marks(word) or not (real or _owned(word)))
    )
    quoted = _QUOTED.findall(said.request) if wanted is slots()["job_name"] else ()
    return _once([*real, *taken, *quoted])


def called(slot: str, said: Said) -> list[str]:
    """The words that the request itself calls a partition, an account or a QoS."""
    return _once(word.text for word in words(said) if slots()[slot].takes(word) and _owned(word, [slot]))


def plainly(slot: str, said: Said) -> list[str]:
    """Names of the cluster, or such as are the same everywhere, after a word that leads to one ("on bigmem")."""
    wanted, known = slots()[slot], said.known.get(slot, frozenset())
    either = re.compile(rules()["outright"]["either"])
    node = slots()["node"].beside
    led = [word for word in words(said) if wanted.lead.fullmatch(word.before) and not node.fullmatch(word.after)]
    return _once(
        word.text
        for word in led
        if word.text in known or (wanted.known.fullmatch(fold(word.text)) and not either.fullmatch(fold(word.text)))
    )


def _owned(word: Word, slots: Iterable[str] = ()) -> bool:
    owners = [rules()["owns"][slot] for slot in slots or rules()["owns"]]
    return any(re.fullmatch(o, beside, re.IGNORECASE) for o in owners for beside in (word.before, word.after))


def names(said: Said) -> list[str]:
    """Every word but the common ones: where nothing better is known."""
    return [word for word in said.words if not is_common(word) and "@" not in word]


def users(said: Said) -> list[str]:
    """Whose jobs it can be about: ``me`` where the person speaks of himself or herself, and any name."""
    first_person = "$USER" in said.request or any(
        _is("first_person", word) for word in re.split(r"[^\w'’]+", said.folded)
    )
    never = re.compile(rules()["words"]["no_user"], re.IGNORECASE)
    return (["me"] if first_person else []) + [name for name in names(said) if not never.fullmatch(name)]


def images(said: Said) -> list[str]:
    """Words that look like a container image by an ending, a tag or a registry; else whatever can be a path."""
    return _matching("image", said) or paths(said)


def paths(said: Said) -> list[str]:
    """Words that can be a directory: with a slash, a colon or an image's ending, or called one."""
    return _matching("path", said)


def _matching(kind: str, said: Said) -> list[str]:
    pattern = re.compile(rules()["words"][kind], re.IGNORECASE)
    found = (word.rstrip(".,:").rpartition("=")[2] for word in _RAW.findall(said.request))
    return _once(word for word in found if pattern.fullmatch(word))


def addresses(said: Said) -> list[str]:
    return _once(re.findall(r"[\w.+\-]+@[\w\-]+(?:\.[\w\-]+)+", said.text))


def hostlists(said: Said) -> list[str]:
    """What a list of nodes can be: spans of them ("cn121 through cn124"), each node, and several in a row."""
    found = [name for name in candidates("node", said) if _is_a_node(name, said)][:MOST_NODES]
    runs = [",".join(found[i:j]) for i in range(len(found)) for j in range(i + 2, len(found) + 1)]
    return _once([*spans(said), *found, *runs])


def _is_a_node(name: str, said: Said) -> bool:
    """A name without a number is a node's where the word for it stands before ("node atlas", not "compute nodes")."""
    marks = slots()["node"].beside
    plain = not re.search(r"\d", name) and name not in said.known.get("node", ())
    return not plain or any(word.text == name and marks.fullmatch(word.before) for word in words(said))


def spans(said: Said) -> dict[str, str]:
    """Host list → its two ends as they were named, with a comma between."""
    pattern = re.compile(rules()["words"]["span"], re.IGNORECASE)
    return {span: f"{first},{last}" for first, last in pattern.findall(said.request) if (span := _span(first, last))}


def _span(first: str, last: str) -> str:
    """``cn121``, ``cn124`` → ``cn[121-124]``; ``""`` where the names differ in more than a number that grows."""
    one, two = (re.fullmatch(r"(.*?)(\d+)", name) for name in (first, last))
    if not one or not two or two[1] not in (one[1], "") or int(one[2]) >= int(two[2]):
        return ""
    return f"{one[1]}[{one[2]}-{two[2]}]"


def relative_signs(said: Said) -> tuple[str, ...]:
    """The signs that a change of a time limit can have, by the words around it; all where they leave it open."""
    more, less, total = (bool(re.search(rules()["change"][key], said.folded)) for key in ("more", "less", "total"))
    if more != less and not total:
        return ("+",) if more else ("-",)
    return ("",) if total and not more and not less else ("+", "-", "")


def words(said: Said) -> tuple[Word, ...]:
    """Every form of every word, in order; what the conversation is about counts as said."""
    return _words(said.request) + tuple(Word(word, "", "") for part in said.about for word in part.split())


@cache
def _words(request: str) -> tuple[Word, ...]:
    raws = _RAW.findall(request)
    return tuple(word for i in range(len(raws)) for word in _at(raws, i))


def _at(raws: list[str], i: int) -> Iterator[Word]:
    raw = raws[i]
    before, after = _beside(reversed(raws[:i])), _beside(raws[i + 1 :])
    if sides := _SIDES.fullmatch(raw.rstrip(".,:")):  # --partition=gpu, acct:physics
        name, value = sides.groups()
        yield from (Word(form, fold(name.lstrip("-")), after) for form in forms(value))
        return
    plain = raw.strip(".:@#*")
    for form in forms(raw) if not is_common(plain) or _named_so(plain, before) else ():
        left, _, right = raw.partition(form) if not raw.isascii() else ("", form, "")
        yield Word(form, fold(left) or before, fold(right) or after)


def _named_so(plain: str, before: str) -> bool:
    """ "partition week": a word that names nothing elsewhere."""
    of = {"partition": "partition", "queue": "partition", "qos": "qos"}.get(before)
    return bool(of and slots()[of].known.fullmatch(plain))


def _beside(others: Iterable[str]) -> str:
    """The nearest word that is no article, without its dashes and stops; ``""`` across the end of a sentence."""
    for other in others:
        plain = fold(other).strip("-.:@#*_=")
        if other.startswith("-") or not _is("passed_over", plain):
            return "" if other in ",;!?()|\n" else plain
    return ""


def _once(found: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(found))
