"""What slurmrestd says went wrong, as the errors of :mod:`tools.slurm.errors`; nothing that it said is dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tools.slurm.errors import AccountingUnavailable, InvalidRequest, OutcomeUnknown, SlurmError, SlurmUnreachable
from tools.slurm.failures import known
from tools.slurm.rest.values import number, text

# ESLURM_REST_EMPTY_RESULT: no row matches, which is an answer.
_NOTHING = 9003
# How 22.05 reports a token that slurmctld refuses, and a slurmctld that is away: it tells neither apart.
_UNSPECIFIED = ("Unspecified error", "Unknown error -1")
_CODE_KEYS = ("error_number", "error_code", "errno")
REMEDY = "does slurmctld run, and is the token of slurmrestd's own cluster? `scontrol ping`, `scontrol token`"
ACCOUNTING_REMEDY = "does slurmdbd run, and does slurmrestd's slurm.conf name it?"
_TOKEN_REMEDY = "the token was refused: is it of slurmrestd's own cluster? make one with `scontrol token`"
_BLANK = "without an error number: nothing went wrong with its first task"
_LOST_REMEDY = "it may have been done or not; 22.05 says the same of a token that it refuses"
_REMEDIES = {SlurmUnreachable: REMEDY, AccountingUnavailable: ACCOUNTING_REMEDY, OutcomeUnknown: _LOST_REMEDY}


@dataclass(frozen=True, slots=True)
class Complaint:
    """One entry of ``errors`` (or of ``warnings``: then without a number)."""

    error: str
    number: int
    description: str = ""
    source: str = ""

    def __str__(self) -> str:
        return ": ".join(dict.fromkeys(part for part in (self.source, self.error, self.description) if part))


def complaints(payload: Mapping[str, Any]) -> tuple[list[Complaint], list[Complaint]]:
    """(errors, warnings). An error without number and name is a warning: v0.0.38 writes one, of code 0, for
    every array that it changed."""
    errors = [_complaint(one) for one in _entries(payload, "errors")]
    warnings = [_complaint(one) for one in _entries(payload, "warnings")]
    real = [one for one in errors if (one.number or one.error) and one.number != _NOTHING]
    blank = [one for one in errors if not (one.number or one.error)]
    refused, done = _by_job(payload)
    real, warnings = (real, warnings + refused) if done else (real + refused, warnings)
    return real, warnings + [replace(one, description=f"{one.description} ({_BLANK})") for one in blank]


def refusal(errors: Sequence[Complaint], where: str, *, write: bool = False, accounting: bool = False) -> SlurmError:
    """The error for what Slurm said through slurmrestd. Of a read no outcome can be lost."""
    words = [part for one in errors for part in (one.error, one.description) if part]
    told = "; ".join(dict.fromkeys(words))
    entry = known(" ".join(words))
    if entry is None:
        return _unlisted(errors, f"{where}: {told or 'failed and said nothing'}", words, accounting)
    kind, transient, message = entry.error, entry.transient, f"{where}: {told}"
    if kind is OutcomeUnknown and not write:
        kind, transient = SlurmUnreachable, True
    if kind is SlurmUnreachable and accounting:
        kind = AccountingUnavailable
    if remedy := _remedy(kind, entry.code):
        message += f" ({remedy})"
    return kind(message, code=entry.code, transient=transient)


def _remedy(kind: type[SlurmError], code: str) -> str:
    if code == "SLURM_PROTOCOL_AUTHENTICATION_ERROR":
        return _TOKEN_REMEDY
    return {SlurmUnreachable: REMEDY, AccountingUnavailable: ACCOUNTING_REMEDY, OutcomeUnknown: _LOST_REMEDY}.get(
        kind, ""
    )


def _unlisted(errors: Sequence[Complaint], message: str, words: Sequence[str], accounting: bool) -> SlurmError:
    if any(word in _UNSPECIFIED for word in words) and not any("process" in word or "key" in word for word in words):
        kind, remedy = (AccountingUnavailable, ACCOUNTING_REMEDY) if accounting else (SlurmUnreachable, REMEDY)
        return kind(f"{message} ({remedy})", code="unspecified", transient=True)
    if any(9000 <= one.number < 9100 for one in errors):  # ESLURM_REST_…: slurmrestd itself did not take it
        return InvalidRequest(message, code="ESLURM_REST_FAIL_PARSING")
    return SlurmError(message)


def _by_job(payload: Mapping[str, Any]) -> tuple[list[Complaint], bool]:
    """(what a cancel was refused, whether it reached something): from v0.0.42 on a list beside empty ``errors``."""
    told = [one for one in _entries(payload, "status") if isinstance(one, Mapping)]
    errors = [one["error"] for one in told if isinstance(one.get("error"), Mapping)]
    refused = [
        Complaint(text(one.get("string")), number(one.get("code")), text(one.get("message")))
        for one in errors
        if number(one.get("code"))
    ]
    return refused, len(refused) < len(told)


def _entries(payload: Mapping[str, Any], key: str) -> list[Any]:
    found = payload.get(key)
    return found if isinstance(found, list) else []


def _complaint(entry: Any) -> Complaint:
    if not isinstance(entry, Mapping):
        return Complaint(text(entry), 0)
    code = next((number(entry[key]) for key in _CODE_KEYS if number(entry.get(key))), 0)
    return Complaint(text(entry.get("error")), code, text(entry.get("description")), text(entry.get("source")))
