"""What a diagnosis is made of: evidence, findings, and the whole."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One line that proves something; line 0 stands for Slurm's own record (state, exit code)."""

    file: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One possible cause with its proof. echo_of names the class that explains this one away, if any."""

    label: str
    confidence: float
    summary: str
    fix: str
    evidence: tuple[Evidence, ...] = ()
    echo_of: str | None = None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """label is the first cause, or "unknown" when there is not enough evidence; labels are ranked."""

    label: str
    labels: tuple[str, ...]
    findings: tuple[Finding, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """{"label", "labels", "findings": [{"label", "confidence", "summary", "fix", "evidence", "echo_of"}]}."""
        return {
            "label": self.label,
            "labels": list(self.labels),
            "findings": [
                asdict(finding) | {"evidence": [asdict(e) for e in finding.evidence]} for finding in self.findings
            ],
        }
