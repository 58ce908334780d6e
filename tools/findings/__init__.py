"""Deterministic analysers: what a log, a state, a reason or a kernel message says, with evidence."""

from __future__ import annotations

from tools.findings.knowledge import Reason, Xid, explain_reason, load_classes, load_reasons, load_xids
from tools.findings.logs import diagnose_log
from tools.findings.model import UNKNOWN, Diagnosis, Evidence, Finding

__all__ = [
    "UNKNOWN",
    "Diagnosis",
    "Evidence",
    "Finding",
    "Reason",
    "Xid",
    "diagnose_log",
    "explain_reason",
    "load_classes",
    "load_reasons",
    "load_xids",
]
