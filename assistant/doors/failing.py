"""Errors as people and programs read them: one message, the remedy, an exit code.

0   done
1   something failed, or its outcome is unknown
2   bad input: the request, an argument, a file, a setting
3   denied, or a question came back
4   no model answers, or the bundled one cannot be started
5   the journal cannot be used, or has no such run
6   Slurm (or its accounting, or the sandbox) is out of reach; nothing was done
130 Ctrl-C
"""

from __future__ import annotations

import json
import sys

from assistant.errors import AssistantError
from assistant.ledger.redact import redact
from tools.slurm.errors import AccountingUnavailable, SlurmError, SlurmUnreachable
from tools.slurm.failures import KNOWN

NO_SLURM = 6


def explain(error: Exception, *, as_json: bool) -> int:
    """Print ``error`` in words on standard error, for a program also as JSON on standard output; its exit code."""
    message, remedy, code = _parts(error)
    message, remedy = redact(message), redact(remedy)  # a server may repeat the key that it refuses
    if as_json:
        print(json.dumps({"error": {"message": message, "remedy": remedy, "exit_code": code}}, ensure_ascii=False))
    print(f"sask: {message}", file=sys.stderr)
    if remedy:
        print(f"      {remedy}", file=sys.stderr)
    return code


def out_of_reach() -> set[str | None]:
    """The codes of outcomes that only say: Slurm, or its accounting, did not answer."""
    away = SlurmUnreachable | AccountingUnavailable
    codes = {entry.code for entry in KNOWN if issubclass(entry.error, away)}
    return {*codes, SlurmUnreachable.code, AccountingUnavailable.code, "no_commands", "no_configuration", "timeout"}


def _parts(error: Exception) -> tuple[str, str, int]:
    if isinstance(error, AssistantError):
        return error.message, error.remedy, error.exit_code
    assert isinstance(error, SlurmError)
    remedy = f"valid: {', '.join(error.valid[:30])}" if error.valid else ""
    if isinstance(error, SlurmUnreachable | AccountingUnavailable):
        return error.message, remedy, NO_SLURM
    return error.message, remedy, 1
