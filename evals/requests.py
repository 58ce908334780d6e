"""Requests to decisions, scored: how often the right tool, the exact call, and never a forbidden one.

python -m evals.requests [DATASET…] [--model embedded | URL] [--json] [--misses]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

from assistant.loop.action import Action, encode
from assistant.loop.decide import Decision
from evals.cases import Case, dataset, read_cases
from evals.scorers import Score, score, wilson

Decide = Callable[[Case], Decision]


@dataclass(frozen=True, slots=True)
class Scored:
    case: Case
    decision: Decision
    score: Score


def run(cases: Iterable[Case], decide: Decide) -> list[Scored]:
    """Every case once, in order."""
    scored = []
    for case in cases:
        decision = decide(case)
        scored.append(Scored(case, decision, score(decision.action, case.expects, case.now, case.forbid)))
    return scored


def table(scored: list[Scored]) -> str:
    """Scores by category with 95 % intervals, and the ladder's first rungs before any repair."""
    groups: dict[str, list[Scored]] = defaultdict(list)
    for one in scored:
        groups[one.case.category].append(one)
    lines = [f"{'category':<16}{'n':>5}{'tool':>8}{'exact':>8}{'forbidden':>11}"]
    lines += [_row(name, groups[name]) for name in sorted(groups)]
    lines.append(_row("all", scored))
    for name in ("tool", "exact"):
        low, high = wilson(sum(getattr(one.score, name) for one in scored), len(scored))
        lines.append(f"{name}: 95 % interval {low:.1%} to {high:.1%}")
    valid = sum(one.decision.valid_json for one in scored)
    seconds = sorted(one.decision.seconds for one in scored)
    lines.append(
        f"valid before repair {valid}/{len(scored)}; median {statistics.median(seconds):.2f} s, "
        f"p95 {seconds[int(0.95 * (len(seconds) - 1))]:.2f} s"
    )
    return "\n".join(lines)


def _row(name: str, group: list[Scored]) -> str:
    tool, exact, bad = (sum(getattr(one.score, key) for one in group) for key in ("tool", "exact", "forbidden"))
    return f"{name:<16}{len(group):>5}{tool / len(group):>8.1%}{exact / len(group):>8.1%}{bad:>11}"


def miss(one: Scored) -> str:
    """One line for a case that is not exact: what was wanted and what came."""
    wanted = {k: v for k, v in one.case.expects[0].items() if k in ("tool", "tools", "arguments", "action")}
    mark = "TOOL" if not one.score.tool else "args"
    got = encode(one.decision.action) if one.decision.action != Action() else "nothing"
    request = one.case.request.replace("\n", "⏎")[:160]
    return f"{mark} {one.case.id} {request}\n     want {json.dumps(wanted, ensure_ascii=False)}\n     got  {got[:300]}"


def main() -> int:
    from assistant import app

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="*", default=["requests_dev"])
    parser.add_argument("--model", default="embedded", help="a profile, or the URL of an OpenAI-compatible server")
    parser.add_argument("--misses", action="store_true", help="also print every case that is not exact")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    cases = [case for name in options.datasets for case in read_cases(dataset(name))]
    decide = app.planner(app.load(model=options.model))
    scored = run(cases, lambda case: decide(case.request, user=case.user, is_admin=case.is_admin, now=case.now))
    if options.json:
        rows = [{"id": one.case.id, **asdict(one.score), "seconds": one.decision.seconds} for one in scored]
        print(json.dumps({"cases": rows}))
        return 0
    print(table(scored))
    if options.misses:
        print("\n".join(miss(one) for one in scored if not one.score.exact))
    return 0


if __name__ == "__main__":
    sys.exit(main())
