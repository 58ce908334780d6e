"""Why did it fail? The deterministic answer from the logs and Slurm's own record, with the lines that prove it."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from tools.findings.knowledge import load_classes, load_done, load_priors, load_xids
from tools.findings.model import UNKNOWN, Diagnosis, Evidence, Finding
from tools.findings.ranking import Cause, add_record, collect, enough, rank
from tools.findings.scan import Scan, scan

Source = Path | BinaryIO | str
_MOST_FINDINGS = 6
_MOST_EVIDENCE = 5
_HANDLED = 0.3  # what is left of a cause when the program then said that its work was done
_COMPLETED = 0.6  # … when Slurm calls the job COMPLETED
_XID = re.compile(r"\bXid\b.{0,40}\): ?(\d+)|\bXid\b[^,(]{0,12}\b(\d+)", re.IGNORECASE)


def diagnose_log(
    source: Source | Sequence[tuple[str, Source]],
    *,
    state: str | None = None,
    exit_code: str | None = None,
) -> Diagnosis:
    """Name the first cause of a failure.

    source: a path, an open binary file, the text itself, or a list of (name, source), one per rank or stream.
    state: Slurm's job state ("OUT_OF_MEMORY", "CANCELLED by 1000"); exit_code: "1", "0:9" or "137".
    A log that cannot be read becomes a finding of its own; the rest is still diagnosed. Raises nothing.
    """
    scans: list[Scan] = []
    remarks: list[Finding] = []
    for name, one in _named(source):
        try:
            scans.append(_scan_one(name, one))
        except OSError as error:
            remarks.append(_remark(f"{name}: cannot be read: {error.strerror or error}", name))
    remarks += [
        _remark(f"{s.file}: this is {s.binary}, not a text log; unpack or convert it first", s.file)
        for s in scans
        if s.binary
    ]
    causes = collect([hit for one in scans for hit in one.hits])
    _discount_handled(causes, scans, state, exit_code)
    _add_records(causes, state, exit_code)
    return _conclude(rank(causes), remarks, empty=not any(s.size for s in scans))


def _named(source: Source | Sequence[tuple[str, Source]]) -> Sequence[tuple[str, Source]]:
    if isinstance(source, Path):
        return [(source.name, source)]
    if isinstance(source, Sequence) and not isinstance(source, str):
        return source
    return [("log", source)]


def _scan_one(name: str, source: Source) -> Scan:
    if isinstance(source, Path):
        with source.open("rb") as stream:
            return scan(name, stream)
    if isinstance(source, str):
        return scan(name, io.BytesIO(source.encode("utf-8", errors="replace")))
    return scan(name, source)


def _discount_handled(causes: dict[str, Cause], scans: list[Scan], state: str | None, exit_code: str | None) -> None:
    """A program that went on to finish its work did not die of what it printed before."""
    if _word(state) not in ("", "COMPLETED") or (exit_code or "0") not in ("0", "0:0"):
        return
    done = {s.file: max((n for n, text in s.last_lines if load_done().search(text)), default=0) for s in scans}
    for cause in causes.values():
        if all(hit.line < done.get(hit.file, 0) for _, hit in cause.hits):
            cause.score *= _HANDLED
        elif _word(state) == "COMPLETED":
            cause.score *= _COMPLETED


def _add_records(causes: dict[str, Cause], state: str | None, exit_code: str | None) -> None:
    by_state, by_exit = load_priors()
    if prior := by_state.get(_word(state)):
        add_record(causes, prior.label, prior.weight, f"job state {state}")
        return
    code, _, signal = (exit_code or "").partition(":")
    number = str(128 + int(signal)) if signal.isdigit() and 0 < int(signal) < 32 else code
    if prior := by_exit.get(f"0:{signal}") or by_exit.get(number):
        add_record(causes, prior.label, prior.weight, f"exit code {exit_code}")


def _conclude(ranked: list[Cause], remarks: list[Finding], *, empty: bool) -> Diagnosis:
    likely = [cause for cause in ranked if enough(cause) or cause.echo_of]
    hints = [cause for cause in ranked if cause not in likely]
    labels = [cause.label for cause in (*likely, *hints)]
    if not likely or likely[0].echo_of:
        labels.insert(0, UNKNOWN)
        if not remarks:
            remarks = [_remark("The log is empty." if empty else "No line of the log tells why.", "log")]
    findings = [_finding(cause) for cause in (*likely, *hints)][:_MOST_FINDINGS]
    return Diagnosis(labels[0], tuple(labels[:_MOST_FINDINGS]), (*remarks, *findings))


def _finding(cause: Cause) -> Finding:
    known = load_classes()[cause.label]
    best = sorted(cause.hits, key=lambda entry: -entry[0])[:_MOST_EVIDENCE]
    lines = sorted((hit for _, hit in best), key=lambda hit: (hit.file, hit.line))
    evidence = [Evidence("slurm", 0, text) for text in cause.record]
    evidence += [Evidence(hit.file, hit.line, hit.text[:400]) for hit in lines]
    summary = " ".join([known.summary, *_xid_notes(cause)])
    own_fix = next((s.fix for _, hit in best for s in hit.signatures if s.label == cause.label and s.fix), "")
    return Finding(
        cause.label, round(min(0.99, cause.score), 2), summary, own_fix or known.fix, tuple(evidence), cause.echo_of
    )


def _xid_notes(cause: Cause) -> list[str]:
    codes = {int(found[1] or found[2]) for _, hit in cause.hits if (found := _XID.search(hit.text))}
    known = load_xids()
    return [f"Xid {code}: {known[code].meaning}. {known[code].advice}" for code in sorted(codes) if code in known][:3]


def _remark(summary: str, file: str) -> Finding:
    advice = "Look at the job's other logs, or run it again with more of them (stderr, NCCL_DEBUG=INFO)."
    return Finding(UNKNOWN, 0.0, f"Not enough evidence. {summary}", advice, (Evidence(file, 0, ""),))


def _word(state: str | None) -> str:
    return (state or "").split(" ")[0].rstrip("+").upper()
