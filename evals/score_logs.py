"""How often the log analysers name the right cause.

`python -m evals.score_logs [FILE…]` prints top-1 and top-3 with 95 % Wilson intervals, the classes, and the misses.
A line of a file is {"id", "source", "label", "any_of", "text", "state"?, "exit_code"?}; any label of any_of is right.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from tools.findings import diagnose_log

_Z = 1.959964  # two-sided 95 % of the normal distribution


@dataclass(frozen=True, slots=True)
class LogScore:
    """One case with what was said of it; rank counts from 1, 0 where the right label is absent."""

    case: dict[str, Any]
    labels: tuple[str, ...]
    rank: int


def dataset(name: str) -> Path:
    """The path of a shipped set: "dev" or "test"."""
    return Path(str(files("evals") / "datasets" / f"logs_{name}.jsonl"))


def score_file(path: Path) -> list[LogScore]:
    """Diagnose every case of a file. Raises OSError, json.JSONDecodeError (bad line), KeyError (no label or text)."""
    cases = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [_score(case) for case in cases]


def hits_within(scores: list[LogScore], depth: int) -> int:
    """How many cases have a right label among their first `depth`."""
    return sum(1 for score in scores if 0 < score.rank <= depth)


def wilson(hits: int, total: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a proportion, as two fractions; (0, 1) for no cases."""
    if total == 0:
        return 0.0, 1.0
    share, square = hits / total, _Z * _Z
    centre = (share + square / (2 * total)) / (1 + square / total)
    reach = _Z * math.sqrt(share * (1 - share) / total + square / (4 * total * total)) / (1 + square / total)
    return max(0.0, centre - reach), min(1.0, centre + reach)


def report(name: str, scores: list[LogScore]) -> str:
    """The figures of one set as text, worst classes first, then every case whose first label is wrong."""
    lines = [f"{name}: {len(scores)} logs"]
    for depth in (1, 3):
        hits = hits_within(scores, depth)
        low, high = wilson(hits, len(scores))
        share = hits / max(1, len(scores))
        lines.append(f"  top-{depth}  {hits}/{len(scores)}  {share:.1%}  (95 %: {low:.1%} to {high:.1%})")
    by_class: dict[str, list[LogScore]] = defaultdict(list)
    for score in scores:
        by_class[score.case["label"]].append(score)
    for label, own in sorted(by_class.items(), key=lambda entry: hits_within(entry[1], 1) / len(entry[1])):
        lines.append(f"  {label:30} {hits_within(own, 1):3}/{len(own)}")
    lines += [f"  miss {score.case['id']}: said {', '.join(score.labels[:3])}" for score in scores if score.rank != 1]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Score the given files, or the two shipped halves."""
    parser = argparse.ArgumentParser(prog="python -m evals.score_logs", description="Score the log analysers.")
    parser.add_argument("files", nargs="*", type=Path, help="JSONL files; default: the shipped dev and test halves")
    for path in parser.parse_args(arguments).files or [dataset("dev"), dataset("test")]:
        print(report(path.name, score_file(path)))


def _score(case: dict[str, Any]) -> LogScore:
    diagnosis = diagnose_log(case["text"], state=case.get("state"), exit_code=case.get("exit_code"))
    right = case.get("any_of") or [case["label"]]
    rank = next((at for at, label in enumerate(diagnosis.labels, start=1) if label in right), 0)
    return LogScore(case, diagnosis.labels, rank)


if __name__ == "__main__":
    main()
