"""What was said: the words, numbers, ids and spans of a request, which every argument must come from.

Nothing here knows a model. ``Said`` is cheap to make (a regular expression or two); the readings that cost more
(durations, times) are made only when a value is not found letter for letter.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TypeVar

from tools.durations import number_words, read_memory, read_seconds
from tools.values import read_gpu_type

_CJK_SPAN = re.compile(r"([一二两兩三四五六七八九十半]+|\d+(?:\.\d+)?)\s*(个?半?小时|分钟|天|周|시간|일|분|주)")
MEASURES = re.compile(
    r"\d+(?:[.,]\d+)?(?:\s*|-)(?:[kmgt]i?b?|gigs?|gigabytes?|giga|megs?|megabytes?|teras?|terabytes?|go|mo|"
    r"m|min|mins|minutes?|minuten|minutos?|h|hr|hrs|hours?|std|stunden?|heures?|horas?|d|days?|tage?n?|jours?|d[ií]as?|"
    r"w|weeks?|wochen?|semaines?|semanas?|s|secs?|seconds?|sekunden?|시간|일|분|주|小时|个小时|天|分钟|周|%|am|pm|uhr)(?!\w)|"
    r"(?:one|two|three|four|five|six|seven|eight|nine|ten|twelve|twenty|thirty|forty|sixty|ninety)(?:\s+|-)"
    r"(?:minutes?|mins?|hours?|hrs?|days?|weeks?|gigs?|gigabytes?)(?!\w)|"
    r"\d{1,2}:\d\d(?::\d\d)?|\d+-\d\d?:\d\d(?::\d\d)?|\d{4}-\d\d-\d\d",
    re.IGNORECASE,
)
Reading = TypeVar("Reading", int, str)
MAX_WORDS = 240
_WORD = re.compile(r"(?:[^\s,;:!?()\"'`<>|\[]|\[(?!\d))+(?:\[[\d,\-:%]+\][\w.\-]*)*")
GPU = re.compile(
    r"(?:(?<![A-Za-z0-9])|(?<=\dx))(?:[abhlvtp]\d{1,4}[a-z]{0,2}|[ag]h?\d{2,3}|gb\d{3}|gh\d{3}|"
    r"mi\d{3}[a-z]?|l40s?|"
    r"gtx[ _-]?\d{3,4}(?:[ _-]?ti)?|rtx[_-]?\w*\d[a-z]{0,3}|rtx (?:pro )?a?\d{4}(?: ada)?|k80|titan\w*)"
    r"(?:[ _]\d+g\.\d+gb)?s?(?![A-Za-z0-9])|(?<![A-Za-z0-9.])\d+g\.\d+gb(?![A-Za-z0-9])",
    re.IGNORECASE,
)
_TASKS = r"(?:_(?:\d+|\[[\d,\-:%]+\]))?(?:\+\d+)?"
_GLUED_MEMORY = re.compile(r"\d+(?:[.,]\d+)?\s?[KMGTkmgt]i?[Bb]?(?![A-Za-z0-9])")
_SCRIPT = re.compile(r"[\w./~${}@+\-]*\w\.(?:sh|sbatch|slurm|job|bash|batch|cmd|sub|slrm|pbs|ksh|zsh)(?![A-Za-z0-9])")
_LONG_ID = re.compile(r"(?<!\d)\d{4,}" + _TASKS + r"(?!\d)")
# a short number is an id only where nothing says that it counts something, or is part of a name, a time or a date
_SHORT_ID = re.compile(
    r"(?<![A-Za-z0-9_.:/%\-$])(?:job_?(?:id)?=?|id_?|#)?(\d{1,3}" + _TASKS + r")(?![A-Za-z0-9_%/=]|[.\-:]\d)"
    r"(?!\s*(?:x\b|nodes?\b|gpus?\b|cpus?\b|cores?\b|tasks?\b|min|hours?\b|hrs?\b|h\b|days?\b|d\b|weeks?\b|lines?\b|times?\b|"
    r"gb?\b|tb?\b|mb?\b|gigs?\b|knoten\b|tage?\b|stunden?\b|heures?\b|jours?\b|horas?\b|días?\b|nodos?\b|n(?:œ|oe)uds?\b|"
    r"[avhb]\d{2,3}s?\b|%|시간|개|일|분|小时|天|个|分|行|줄|节点|노드))",
    re.IGNORECASE,
)
_MARKED_ID = re.compile(
    r"(?:(?:\bjobs?[ _]?(?:id)?[ =:]*|#)(?=\d)|(?<![\w.:])(?=\d{1,3}(?:_[\d\[]|\+\d)))(\d{1,3}"
    + _TASKS
    + r")(?![\w%]|[.\-:]\d)",
    re.IGNORECASE,
)
_BARE_ID = re.compile(
    r"(?<!\S)(?:\d{5,}|\d{4,}(?=\s+\d))(?!\s*(?:m|s|h|min\w*|sec\w*|hours?|stunden|heures)\b)", re.IGNORECASE
)
"""Inside a run of words that reads as a duration: a job's id that came before it."""
_SMALLER_UNIT = re.compile(
    r"[\s,]*(?:and |und |et |y )?\d+\s*"
    r"(?:h|hrs?|hours?|m|mins?|minutes?|std|stunden?|minuten|heures?|horas?|minutos?|시간|분|小时|分钟)",
    re.IGNORECASE,
)
_NO_MEMORY = re.compile(r"\d+g\.\d+gb(?![A-Za-z0-9])|\d+ t(?=[âa])|\d+ to(?= \d)|(?<![\d.])0(?![\d.])", re.IGNORECASE)
"""MIG profiles, "16 tâches", "1 to 9"."""
_RANGE = re.compile(
    r"(?<![\w.:\-\[])(\d+)\s*(?:-|–|\.\.+|\bto\b|\bthrough\b|\bbis\b|\bà\b|\bal?\b|~|到|至)\s*#?(\d+)(?!\w|:\d|[.\-]\d)"
)


@dataclass(frozen=True)
class Said:
    """``request`` and, apart from it, what the conversation is about (ids and names of earlier turns).

    ``known``: names of the cluster it is said on, by the argument that holds them (``partition``, ``node``, ``qos``,
    ``account``); empty where no cluster is at hand.
    """

    request: str
    about: tuple[str, ...] = ()
    now: datetime = field(default_factory=datetime.now)
    known: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @cached_property
    def text(self) -> str:
        return " ".join([self.request, *self.about])

    @cached_property
    def folded(self) -> str:
        """Lower case, single spaces: what a span is looked up in."""
        return fold(self.text)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Candidate names, in order, each as written and without its trimmings; bounded."""
        raw = _WORD.findall(self.request)
        if len(raw) > MAX_WORDS:
            raw = raw[: MAX_WORDS // 2] + raw[-MAX_WORDS // 2 :]
        found: dict[str, None] = {}
        for word in [*raw, *" ".join(self.about).split()]:
            for form in forms(word):
                found.setdefault(form)
        return tuple(found)

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """Whole numbers said as digits or words, always with 1 ("a GPU")."""
        digits = [int(n) for n in re.findall(r"(?<![\d.])\d{1,7}(?![\d]|\.\d)", self.text)]
        glued = [int(n) for n in re.findall(r"(?<=x)\d{1,4}|\d{1,4}(?=x)", self.folded)]
        table = number_words()
        spoken = [int(table[w]) for w in re.findall(r"[^\W\d_]+", self.folded) if table.get(w, ".").isdigit()]
        spoken += [int(v) for w, v in table.items() if not w.isascii() and v.isdigit() and w in self.folded]
        spoken += [2] if re.search(r"\b(both|pair|beide[n]?|deux|double|ambos)\b", self.folded) else []
        return tuple(sorted({1, *digits, *glued, *spoken}))

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Numbers that can count something: not those of times, dates, amounts of memory and GPU types."""
        return Said(MEASURES.sub(" ¤ ", GPU.sub("gpu", self.request)), self.about, self.now).numbers

    @cached_property
    def job_ids(self) -> tuple[str, ...]:
        """Everything that can be a job id: ``123``, ``123_4``, and ranges ``101-105`` as one.

        Beside an id of four digits and more, a shorter number is one only where it is called a job.
        """
        text = GPU.sub("gpu", self.text)
        long = _LONG_ID.findall(text)
        short = (_MARKED_ID if long else _SHORT_ID).findall(text)
        found = list(dict.fromkeys([*long, *short]))
        ranges = [f"{first}-{last}" for first, last in _RANGE.findall(self.text)]
        whole = [r for r in ranges if not long or len(r.partition("-")[0]) > 3]
        return tuple(dict.fromkeys([*found, *whole, *self._array_tasks(found, ranges)]))

    def _array_tasks(self, ids: list[str], ranges: list[str]) -> list[str]:
        """ "tasks 10 to 20 of array 7340" is ``7340_[10-20]``; only where tasks or an array are spoken of."""
        if not re.search(
            r"\b(tasks?|array|ind(?:ex|ices)|elements?|t[âa]ches?|tareas?)\b|任务|数组|태스크|배열", self.folded
        ):
            return []
        arrays = [i for i in ids if re.fullmatch(r"\d{3,}", i)][:4]
        tasks = [str(n) for n in self.numbers if n < 1000][:20]
        return [f"{a}_[{r}]" for a in arrays for r in ranges[:4]] + [f"{a}_{t}" for a in arrays for t in tasks]

    @cached_property
    def gpu_types(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(read_gpu_type(match) for match in GPU.findall(self.text)))

    @cached_property
    def scripts(self) -> tuple[str, ...]:
        """Words that can be the path of a batch script; a pasted one (``#!``) is given by its text instead."""
        return tuple(dict.fromkeys(_SCRIPT.findall(self.request)))

    @cached_property
    def duration_spans(self) -> tuple[str, ...]:
        """Runs of words that read as a duration; a bare number only where the request speaks of a time limit."""
        spans = _spans(self.request, read_seconds)
        bare = re.search(r"time|-t\b|limit|min", self.folded)
        return tuple(
            span
            for span in spans
            if (bare or not span.isdigit()) and not GPU.search(span) and not _BARE_ID.search(span)
        )

    @cached_property
    def memory_spans(self) -> tuple[str, ...]:
        return _spans(_NO_MEMORY.sub(" ¤ ", self.request), read_memory)

    @cached_property
    def durations(self) -> frozenset[int]:
        """Seconds of every duration that can be read off a few words in a row."""
        return frozenset(_readings(self.request, read_seconds))

    @cached_property
    def memories(self) -> frozenset[str]:
        return frozenset(_readings(self.request, read_memory))

    def has(self, value: str) -> bool:
        """Whether the text carries ``value`` letter for letter, but for case and spaces."""
        return fold(value) in self.folded


def maximal(spans: Iterable[str]) -> list[str]:
    """The spans but those that go on ("2 days" of "2 days 12h")."""
    found = list(spans)
    return [span for span in found if not any(_goes_on(span, other) for other in found)]


def _goes_on(span: str, other: str) -> bool:
    return other != span and other.startswith(span) and bool(_SMALLER_UNIT.fullmatch(other[len(span) :]))


def fold(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().casefold()


def forms(word: str) -> list[str]:
    """``@alice's`` → ``alice``; ``h100s`` → ``h100s`` and ``h100``; ``x=y`` → both sides too."""
    plain = word.strip(".@#*_~").rstrip(".,:;=-/")
    plain = re.sub(r"(?:'|’)s?$", "", plain)
    plain = re.sub(r"-(?:partition|queue|qos|account|konto|knoten|nodes?|jobs?)$", "", plain, flags=re.IGNORECASE)
    found = [plain] + ([plain[:-1]] if re.fullmatch(r".*[\w]s", plain) and len(plain) > 2 else [])
    if "=" in plain:
        found += [part.lstrip("-") for part in plain.split("=") if part]
    found += [part for part in plain.split("/") if part] if "/" in plain and not plain.startswith("/") else []
    # names inside text without spaces (Korean, Chinese), "job48121"
    found += re.findall(r"[A-Za-z0-9][\w.\-]*", plain, re.ASCII) if not plain.isascii() else []
    return [form for form in found if form and len(form) <= 100]


def _windows(text: str) -> Iterator[str]:
    """Every run of up to six words, without what surrounds a word in a sentence; CJK durations too."""
    words = re.sub(r"[=/]|(?<=[a-z]):(?=\d)", " ", text).split()[:MAX_WORDS]
    for start in range(len(words)):
        for end in range(start + 1, min(start + 7, len(words) + 1)):
            yield " ".join(words[start:end]).strip("()[],;:!?.+\"'`")
    for number, unit in _CJK_SPAN.findall(text):
        yield from (f"{number}{unit}", f"{number} {unit}")
    yield from _GLUED_MEMORY.findall(text)


def _readings(text: str, read: Callable[[str], Reading]) -> set[Reading]:
    """What ``read`` makes of every run of words."""
    found: set[Reading] = set()
    for window in _windows(text):
        with contextlib.suppress(ValueError):
            found.add(read(window))
    return found


def _spans(text: str, read: Callable[[str], object]) -> tuple[str, ...]:
    """The runs of words that ``read`` understands, as they were written."""
    found: dict[str, None] = {}
    for window in _windows(text):
        with contextlib.suppress(ValueError):
            read(window)
            found.setdefault(window)
    return tuple(found)
