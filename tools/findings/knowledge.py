"""The knowledge behind a diagnosis, read once from the data files beside this module.

signatures/*.toml: what each cause prints; classes.toml: the classes, their fixes and what is an echo of what;
harmless.toml: lines that only look like trouble; outcomes.toml: what states and exit codes say;
xid.toml, kernel.toml and reasons.toml: NVIDIA's Xid codes, other lines of kernel logs, and Slurm's pending reasons.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from tools.findings.literals import required_literals

GRAM = 3


@dataclass(frozen=True, slots=True)
class Signature:
    """A line that hints at `label` with `weight` (0..1); `also` are weaker hints at other labels."""

    id: str
    label: str
    weight: float
    patterns: tuple[str, ...]
    unless: re.Pattern[str] | None
    also: tuple[tuple[str, float], ...]
    generic: bool
    source: str
    examples: tuple[str, ...]
    fix: str


@dataclass(frozen=True, slots=True)
class CauseClass:
    """A failure class. echo_of: explained by these always; echo_after: only when they came first."""

    label: str
    summary: str
    fix: str
    echo_of: frozenset[str]
    echo_after: frozenset[str]


@dataclass(frozen=True, slots=True)
class Prior:
    """What Slurm's record alone says: label with weight."""

    label: str
    weight: float


@dataclass(frozen=True, slots=True)
class Xid:
    """One NVIDIA Xid code. severity: "application", "watch", "reset" or "drain"."""

    code: int
    meaning: str
    severity: str
    label: str
    advice: str
    source: str


@dataclass(frozen=True, slots=True)
class KernelLine:
    """A line of a kernel log that speaks against the node. verdict: "drain", "watch" or "healthy".

    healed: what the same part (the group ``what``) prints when it is well again, or None.
    """

    id: str
    pattern: re.Pattern[str]
    healed: re.Pattern[str] | None
    verdict: str
    label: str
    summary: str
    fix: str
    source: str
    example: str


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a job waits.

    who can change it: "nobody" (time alone helps), "user", "coordinator" (of the account or QoS) or "admin".
    never_runs: the job cannot start unless something is changed. scope: "association", "qos" or "";
    limit: the field of sacctmgr that holds the number, or ""; resource: "cpu", "gres", … or "".
    """

    code: str
    meaning: str
    who: str
    action: str
    source: str
    never_runs: bool = False
    scope: str = ""
    limit: str = ""
    resource: str = ""


@cache
def load_signatures() -> tuple[Signature, ...]:
    """All signatures of all files, in the order of file names."""
    folder = files("tools.findings") / "signatures"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".toml"))
    entries = [entry for name in names for entry in _read(f"signatures/{name}")["signature"]]
    return tuple(_signature(entry) for entry in entries)


@cache
def load_classes() -> dict[str, CauseClass]:
    """The failure classes by label."""
    return {
        label: CauseClass(
            label, entry["summary"], entry["fix"], frozenset(entry["echo_of"]), frozenset(entry["echo_after"])
        )
        for label, entry in _read("classes.toml").items()
    }


@cache
def load_harmless() -> re.Pattern[str]:
    """One expression for every line that is evidence for nothing (case counts)."""
    return re.compile("|".join(f"(?:{entry['pattern']})" for entry in _read("harmless.toml")["harmless"]))


@cache
def load_done() -> re.Pattern[str]:
    """One expression for the lines by which a program says that its work is done."""
    return re.compile("|".join(_read("outcomes.toml")["done"]["patterns"]), re.IGNORECASE)


@cache
def load_priors() -> tuple[dict[str, Prior], dict[str, Prior]]:
    """(by state, by exit code): what Slurm's record says before the log is read."""
    data = _read("outcomes.toml")
    return (
        {name: Prior(**entry) for name, entry in data["state"].items()},
        {code: Prior(**entry) for code, entry in data["exit"].items()},
    )


@cache
def load_xids() -> dict[int, Xid]:
    """NVIDIA's Xid codes."""
    return {entry["code"]: Xid(**entry) for entry in _read("xid.toml")["xid"]}


@cache
def load_kernel_lines() -> tuple[KernelLine, ...]:
    """Lines of kernel logs other than Xids, in the file's order."""
    return tuple(
        KernelLine(**(entry | {key: re.compile(entry[key]) if key in entry else None for key in ("pattern", "healed")}))
        for entry in _read("kernel.toml")["line"]
    )


@cache
def load_reasons() -> dict[str, Reason]:
    """Slurm's reasons for a pending job that stand for themselves, by code; explain_reason knows the families too."""
    data = _read("reasons.toml")
    return {entry["code"]: Reason(**entry, source=data["source"]) for entry in data["reason"]}


@cache
def explain_reason(code: str) -> Reason | None:
    """The reason behind a code as squeue prints it ("Resources", "QOSMaxCpuPerUserLimit",
    "ReqNodeNotAvail, UnavailableNodes:n1"); None for one that nobody documents."""
    word = code.strip().strip("()").split(",")[0].strip()
    whole, data = code.strip(" (").replace(" ", "_"), _read("reasons.toml")
    told = next((one["code"] for one in data["sentence"] if re.match(one["pattern"], whole)), whole.rstrip(")"))
    known = load_reasons().get(told) or load_reasons().get(word)
    if known:
        return known
    for family in data["family"]:
        if found := re.match(family["pattern"], word):
            return _of_family(word, family, found.groupdict(), data)
    return None


def _of_family(code: str, family: dict[str, Any], parts: dict[str, str | None], data: dict[str, Any]) -> Reason:
    scope = "association" if parts.get("scope") == "Assoc" else "qos"
    what = (parts.get("what") or "").lower()
    meaning = family["meaning"].format(scope="QoS" if scope == "qos" else scope, what=data["resource"].get(what, what))
    return Reason(
        code,
        meaning,
        family["who"],
        family["action"],
        data["source"],
        family.get("never_runs", False),
        scope,
        family["limit"],
        {"memory": "mem"}.get(what, what),
    )


@cache
def match_index() -> dict[str, tuple[tuple[str, Signature], ...]]:
    """Patterns by GRAM characters that every match of them contains; "" for those without any certain text.

    A literal is filed under the gram that the fewest other literals share, so that few are tried in vain.
    """
    entries = [
        (pattern, signature, literal)
        for signature in load_signatures()
        for pattern in signature.patterns
        for literal in required_literals(pattern) or ("",)
    ]
    shared = Counter(gram for *_, literal in entries for gram in grams(literal))
    index: dict[str, list[tuple[str, Signature]]] = {}
    for pattern, signature, literal in entries:
        gram = min(sorted(grams(literal)), key=lambda one: shared[one], default="")
        index.setdefault(gram, []).append((pattern, signature))
    return {gram: tuple(found) for gram, found in index.items()}


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """The expression, case-insensitive; compiled when a line first needs it."""
    return re.compile(pattern, re.IGNORECASE)


def grams(text: str) -> set[str]:
    """Every run of GRAM characters in the text."""
    return {text[at : at + GRAM] for at in range(len(text) - GRAM + 1)}


def _signature(entry: dict[str, Any]) -> Signature:
    unless = entry.get("unless")
    return Signature(
        id=entry["id"],
        label=entry["label"],
        weight=entry["weight"],
        patterns=tuple(entry["patterns"]),
        unless=re.compile("|".join(unless), re.IGNORECASE) if unless else None,
        also=tuple(entry.get("also", {}).items()),
        generic=entry.get("generic", False),
        source=entry["source"],
        examples=tuple(entry["examples"]),
        fix=entry.get("fix", ""),
    )


def _read(name: str) -> dict[str, Any]:
    path = files("tools.findings")
    for part in name.split("/"):
        path = path / part
    return tomllib.loads(path.read_text(encoding="utf-8"))
