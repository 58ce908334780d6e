"""From hits to causes: which is first, which is specific, and which is only the echo of another."""

from __future__ import annotations

from dataclasses import dataclass, field

from tools.findings.knowledge import load_classes
from tools.findings.scan import Hit

_ENOUGH = 0.36  # below this a hint is no evidence
_ROOT = 0.5  # a cause must be at least this likely to explain another away
_FIRST = 0.04  # what being the earliest of the likely causes adds
_LIKELY = 0.8
_ECHO = 0.5


@dataclass(slots=True)
class Cause:
    """A label with everything that speaks for it; score in 0..1."""

    label: str
    score: float = 0.0
    hits: list[tuple[float, Hit]] = field(default_factory=list)
    record: list[str] = field(default_factory=list)
    echo_of: str | None = None

    @property
    def first(self) -> Hit | None:
        """The earliest line that is about as telling as the best one."""
        best = max((weight for weight, _ in self.hits), default=0.0)
        return next((hit for weight, hit in self.hits if weight >= best - 0.25), None)


def collect(hits: list[Hit]) -> dict[str, Cause]:
    """Causes by label from hits in reading order. The score is the best line's, with a little for variety."""
    causes: dict[str, Cause] = {}
    for hit in hits:
        weights: dict[str, float] = {}
        for signature in hit.signatures:
            for label, weight in ((signature.label, signature.weight), *signature.also):
                weights[label] = max(weight, weights.get(label, 0.0))
        for label, weight in weights.items():
            causes.setdefault(label, Cause(label)).hits.append((weight, hit))
    for cause in causes.values():
        distinct = len({hit.text for _, hit in cause.hits})
        cause.score = max(weight for weight, _ in cause.hits) + min(0.03, 0.005 * (distinct - 1))
    return causes


def add_record(causes: dict[str, Cause], label: str, weight: float, text: str) -> None:
    """Let Slurm's own record speak beside the log."""
    cause = causes.setdefault(label, Cause(label))
    cause.score = max(cause.score, weight) + (0.02 if cause.score else 0.0)
    cause.record.append(text)


def rank(causes: dict[str, Cause]) -> list[Cause]:
    """Causes, likeliest first; echoes are marked and sink."""
    for cause in causes.values():
        cause.echo_of = _root_of(cause, causes)
    roots = [cause for cause in causes.values() if cause.echo_of is None]
    likely = [cause for cause in roots if cause.score >= _LIKELY and cause.first is not None]
    earliest = [cause for cause in likely if not any(_before(other, cause) for other in likely if other is not cause)]
    for cause in causes.values():
        if cause.echo_of is not None:
            cause.score *= _ECHO
        elif len(likely) > 1 and cause in earliest:
            cause.score += _FIRST
    return sorted(causes.values(), key=lambda cause: -cause.score)


def enough(cause: Cause) -> bool:
    """Whether the cause has more than a hint behind it."""
    return cause.score >= _ENOUGH


def _root_of(cause: Cause, causes: dict[str, Cause]) -> str | None:
    classes = load_classes()
    own = classes[cause.label]
    roots = []
    for other in causes.values():
        if other is cause or other.score < max(_ROOT, cause.score * 0.6) or not _apart(other, cause):
            continue
        mutual = cause.label in classes[other.label].echo_after | classes[other.label].echo_of
        always = other.label in own.echo_of and not mutual
        after = other.label in own.echo_after | own.echo_of and _before(other, cause, unless_known=not mutual)
        if always or after:
            roots.append(other)
    return max(roots, key=lambda root: root.score).label if roots else None


def _apart(one: Cause, two: Cause) -> bool:
    """Whether `one` stands on something that is not also the proof of `two`."""
    return bool(one.record) or one.first is not two.first


def _before(one: Cause, two: Cause, *, unless_known: bool = False) -> bool:
    """Whether `one` was seen before `two`; `unless_known` is the answer where that cannot be told."""
    first, second = one.first, two.first
    if first is None or second is None:
        return first is not None
    if first.file == second.file:
        return first.line < second.line
    if first.time and second.time:
        return first.time < second.time
    return unless_known
