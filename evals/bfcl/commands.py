"""``sask eval bfcl``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from assistant.loop.model import ChatModel
    from evals.bfcl.bridge import Agreement, Verdict
    from evals.bfcl.cases import Asked
    from evals.bfcl.checker import Checker

GOAL = 0.995
SHOWN = 20
"""Disagreements that are printed before they are only counted; the JSON has them all."""


def bfcl(
    model: Annotated[
        str,
        typer.Option("--model", "-m", help="URL of a model to ask; answers right and wrong by a script if left out"),
    ] = "",
    model_name: Annotated[str, typer.Option(help="name of the model at that URL; the first it lists if left out")] = "",
    category: Annotated[list[str] | None, typer.Option(help="of BFCL; again for more; all of one turn")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="so many cases of each category, drawn by chance")] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="questions in flight")] = 64,
    json: Annotated[Path | None, typer.Option(help="figures and disagreements; - for standard output")] = None,
) -> None:
    """Run BFCL's cases through the loop and compare our verdicts with its own checker's; 1 below 99.5 % agreement."""
    from evals.bfcl.checker import checker
    from evals.reporting.commands import told, write

    with told():
        check = checker()
        cases = _cases(check, category or (), limit)
        found = _asked(cases, _model(model, model_name), concurrency, check) if model else _scripted(cases, check)
        if json:
            from json import dumps

            write(json, dumps(_document(found, check), indent=1) + "\n")
    if str(json) != "-":
        print("\n".join(_lines(found, check)))
    if found.share("all") < GOAL:
        raise typer.Exit(1)


def _cases(check: Checker, categories: Any, limit: int | None) -> list[Asked]:
    from assistant.errors import ConfigError
    from evals.bfcl.cases import CATEGORIES, read

    if unknown := [name for name in categories if name not in CATEGORIES]:
        raise ConfigError(f"category {unknown[0]!r} is unknown", f"valid: {', '.join(CATEGORIES)}")
    found = []
    for name in categories or CATEGORIES:
        cases = read(check.data, name)
        found += Random(name).sample(cases, min(limit or len(cases), len(cases)))
    return found


def _scripted(cases: list[Asked], check: Checker) -> Agreement:
    from evals.bfcl.bridge import agreement, scripted

    return agreement(one for case in cases for one in scripted(case, check))


def _model(url: str, name: str) -> ChatModel:
    from evals.options import Options
    from evals.subject import subject

    return subject(Options(model=url, model_name=name)).model


def _asked(cases: list[Asked], model: ChatModel, workers: int, check: Checker) -> Agreement:
    """Raises ModelError for the first question that the model could not be asked."""
    from assistant.errors import ModelError
    from evals.bfcl.bridge import agreement, asked, judged
    from evals.pool import each

    def ask(case: Asked) -> Verdict | ModelError:
        try:
            return judged(case, "model", asked(case, model, repairs=2), check)
        except ModelError as error:
            return error

    def verdicts() -> Iterator[Verdict]:
        with closing(each(cases, ask, workers)) as found:
            for one in found:
                if isinstance(one, ModelError):
                    raise one
                yield one

    return agreement(verdicts())


def _lines(found: Agreement, check: Checker) -> Iterator[str]:
    yield f"bfcl-eval {check.version}"
    yield f"{'':24}{'answers':>8}{'ours':>8}{'BFCL':>8}  agreement"
    groups = dict.fromkeys(group for group, _ in found.counts)
    for group in sorted(groups, key=lambda name: (name == "all", name)):
        answers, ours, theirs = (found.counts[group, name] for name in ("answers", "ours", "bfcl"))
        yield f"{group:24}{answers:>8}{ours:>8}{theirs:>8}  {100 * found.share(group):.2f} %"
    for one in found.apart[:SHOWN]:
        why = f" ({one.refused[:160]})" if one.refused else ""
        said = "right, BFCL: " + one.theirs if one.ours else f"wrong{why}, BFCL: right"
        yield f"{one.case} ({one.kind}): ours {said}: {one.text[:200]!r}"
    if len(found.apart) > SHOWN:
        yield f"and {len(found.apart) - SHOWN} more"


def _document(found: Agreement, check: Checker) -> dict[str, Any]:
    groups: dict[str, dict[str, Any]] = {}
    for (group, name), count in found.counts.items():
        groups.setdefault(group, {"agreement": found.share(group)})[name] = count
    return {"bfcl_eval": check.version, "groups": groups, "apart": [asdict(one) for one in found.apart]}
