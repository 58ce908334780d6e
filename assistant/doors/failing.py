"""Errors as people and programs read them: one message, the remedy, an exit code."""

from __future__ import annotations

import json
import sys

from assistant.errors import AssistantError
from tools.slurm.errors import AccountingUnavailable, SlurmError, SlurmUnreachable

NO_SLURM = 6


def explain(error: Exception, *, as_json: bool) -> int:
    """Print ``error`` in words on standard error, for a program also as JSON on standard output; its exit code."""
    message, remedy, code = _parts(error)
    if as_json:
        print(json.dumps({"error": {"message": message, "remedy": remedy, "exit_code": code}}, ensure_ascii=False))
    print(f"sask: {message}", file=sys.stderr)
    if remedy:
        print(f"      {remedy}", file=sys.stderr)
    return code


def _parts(error: Exception) -> tuple[str, str, int]:
    if isinstance(error, AssistantError):
        return error.message, error.remedy, error.exit_code
    assert isinstance(error, SlurmError)
    remedy = f"valid: {', '.join(error.valid[:30])}" if error.valid else ""
    if isinstance(error, SlurmUnreachable | AccountingUnavailable):
        return error.message, remedy, NO_SLURM
    return error.message, remedy, 1
