"""The kernel's log of a node: Xid lines, GPUs that are gone, NVLink, InfiniBand links, hardware errors."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from tools.findings import load_xids
from tools.findings.knowledge import KernelLine, load_kernel_lines
from tools.findings.literals import required_literals
from tools.telemetry.model import Mark, Readout, bus

JOURNAL = ("journalctl", "--dmesg", "--boot", "--output=short-iso", "--no-pager", "--quiet", "--lines=20000")
DMESG = ("dmesg", "--time-format=iso", "--color=never")
_MOST_BYTES = 8 << 20
_FLAPS = 3
"""A link or a sensor that was bad and came back so often is worth watching."""
_VERDICT = {"application": "healthy", "watch": "watch", "reset": "drain", "drain": "drain"}
_XID = re.compile(r"\bXid \((?:PCI:)?([0-9a-fA-F:.]+)[^)]*\): (?P<code>\d+)")
_CAUSE = re.compile(r"caused by previous Xid (?P<code>\d+)")
_MILDER = (
    (re.compile(r"\bNon-?fatal\b", re.IGNORECASE), "watch"),
    (re.compile(r"recovery action changed from \S+ .* to 0x0 "), "healthy"),
)
_ISO = re.compile(r"^(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:[.,]\d+)?([+-]\d\d:?\d\d|Z)?")
_CTIME = re.compile(r"^\[?\w{3} (\w{3} [ \d]\d \d\d:\d\d:\d\d \d{4})\]?")
_SYSLOG = re.compile(r"^(\w{3} [ \d]\d \d\d:\d\d:\d\d) ")
_UPTIME = re.compile(r"^\[ *(\d+)\.\d+\]")


def ask(seconds: float) -> tuple[str, str]:
    """(the kernel log of this machine since its start, the command). Raises ``OSError``: not to be had, with why."""
    refused = []
    for command in (JOURNAL, DMESG):
        try:
            done = subprocess.run(command, capture_output=True, timeout=seconds, check=False, stdin=subprocess.DEVNULL)
        except FileNotFoundError:
            refused.append(f"there is no {command[0]}")
            continue
        except subprocess.TimeoutExpired:
            refused.append(f"{command[0]} gave no answer in {seconds:.0f} s")
            continue
        if done.returncode == 0 and done.stdout.strip():
            return done.stdout[-_MOST_BYTES:].decode("utf-8", errors="replace"), " ".join(command)
        refused.append(done.stderr.decode("utf-8", errors="replace").strip()[:120] or f"{command[0]} said nothing")
    raise OSError(f"no kernel log of this machine: {'; '.join(refused)}")


def tail(path: Path) -> str:
    """The end of a log file. Raises ``OSError``."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _MOST_BYTES))
        return file.read().decode("utf-8", errors="replace")


def read(log: str, source: str, now: datetime, since: datetime, boot: datetime | None) -> Readout:
    """What the log says since a moment; lines without a time count. ``boot`` is what ``[ 430.12]`` counts from."""
    marks: list[Mark] = []
    ports: dict[tuple[str, str], list[Mark | None]] = {}
    for line in _telling(log):
        when = moment(line, now, boot)
        if when and when < since:
            continue
        if found := _XID.search(line):
            code = _CAUSE.search(line) or found
            marks.append(_milder(xid_mark(int(code["code"]), f"GPU {bus(found[1])}", line.strip()), line))
            continue
        for known in load_kernel_lines():
            if seen := known.pattern.search(line):
                _note(marks, ports, known, seen.groupdict().get("what") or "", line)
                break
            if known.healed and (well := known.healed.search(line)):
                ports.setdefault((known.id, well["what"]), []).append(None)
                break
    return Readout(source, (*marks, *_standing(ports)))


def _telling(log: str) -> list[str]:
    """The lines that any of the known ones can match, in order: a log has a hundred thousand others."""
    raw = log.encode("utf-8", errors="replace")
    lower = raw.lower()  # of bytes, so that places stay the same
    starts = set[int]()
    for word in _words():
        at = lower.find(word)
        while at >= 0:
            starts.add(lower.rfind(b"\n", 0, at) + 1)
            end = lower.find(b"\n", at)
            at = lower.find(word, end) if end >= 0 else -1
    ends = [lower.find(b"\n", start) for start in sorted(starts)]
    found = [raw[start : end if end >= 0 else None] for start, end in zip(sorted(starts), ends, strict=True)]
    return [line.decode("utf-8", errors="replace").rstrip("\r") for line in found]


@cache
def _words() -> tuple[bytes, ...]:
    patterns = [
        pattern.pattern for known in load_kernel_lines() for pattern in (known.pattern, known.healed) if pattern
    ]
    return (b"xid (", *dict.fromkeys(word.encode() for pattern in patterns for word in required_literals(pattern)))


def _note(
    marks: list[Mark], ports: dict[tuple[str, str], list[Mark | None]], known: KernelLine, what: str, line: str
) -> None:
    mark = Mark(known.id, known.verdict, known.label, known.summary, known.fix, line.strip(), what)
    if known.healed:
        ports.setdefault((known.id, what), []).append(mark)
    else:
        marks.append(_milder(mark, line))


def _standing(ports: dict[tuple[str, str], list[Mark | None]]) -> Iterable[Mark]:
    """What is bad still; what was bad and came back, only where it did so again and again."""
    for (_, what), history in ports.items():
        bad = [mark for mark in history if mark]
        if bad and history[-1] is not None:
            yield bad[-1]
        elif len(bad) >= _FLAPS:
            text = f"{bad[-1].summary}, and came back, {len(bad)} times"
            yield replace(bad[-1], id=f"{bad[-1].id}-flaps", verdict="watch", summary=text, where=what)


def xid_mark(code: int, gpu: str, evidence: str, *, sticky: bool = False) -> Mark:
    """An Xid with its meaning and NVIDIA's advice; ``sticky`` says that it may be settled already."""
    known = load_xids().get(code)
    if known is None:
        advice = "Look it up in NVIDIA's Xid catalogue, and at the lines around it."
        summary = f"Xid {code}, which is not in our list"
        return Mark(f"xid-{code}", "watch", "gpu_xid_ecc", summary, advice, evidence, gpu)
    verdict = "watch" if sticky and known.severity == "reset" else _VERDICT[known.severity]
    summary, settles = f"Xid {code}: {known.meaning}", known.severity == "reset"
    return Mark(f"xid-{code}", verdict, known.label, summary, known.advice, evidence, gpu, settles)


def _milder(mark: Mark, line: str) -> Mark:
    """A line may itself say that it is less than its kind usually is."""
    return next((replace(mark, verdict=verdict) for pattern, verdict in _MILDER if pattern.search(line)), mark)


def moment(line: str, now: datetime, boot: datetime | None) -> datetime | None:
    """When a line was written, naive in this machine's zone; None where it does not say."""
    try:
        if found := _ISO.match(line):
            when = datetime.fromisoformat(found[1] + (found[2] or ""))
            return when.astimezone().replace(tzinfo=None) if when.tzinfo else when
        if found := _CTIME.match(line):
            return datetime.strptime(found[1], "%b %d %H:%M:%S %Y")
        if found := _SYSLOG.match(line):
            this_year = datetime.strptime(f"{now.year} {found[1]}", "%Y %b %d %H:%M:%S")
            return this_year if this_year <= now + timedelta(days=1) else this_year.replace(year=now.year - 1)
    except ValueError:  # the 29th of February of another year, or no time at all
        return None
    uptime = _UPTIME.match(line)
    return boot + timedelta(seconds=int(uptime[1])) if boot and uptime else None
