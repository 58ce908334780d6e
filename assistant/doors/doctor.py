"""``sask doctor``: asks a model's server what it can do, and says which known bug it shows and what to change."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from assistant.serving.doctor import Diagnosis

MARKS = {"yes": ("ok ", "green"), "no": ("no ", "yellow"), "unknown": ("?  ", "")}


def command(
    url: Annotated[
        str | None, typer.Argument(help="URL of the server, or `embedded`; the one in use if left out")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Probe a model's server: structured outputs, tools, thinking, speed; exit code 1 if nothing constrains it."""
    from assistant.app import decider, load
    from assistant.doors.render import console, print_json, spinner
    from assistant.loop.model import OpenAIModel
    from assistant.serving.doctor import examine

    with spinner("asking the server") as say:
        model = decider(load(model=url), say).model
        assert isinstance(model, OpenAIModel)
        diagnosis = examine(model, say)
    if json:
        print_json(diagnosis.as_document())
    else:
        _show(diagnosis, console())
    sys.exit(0 if diagnosis.mode else 1)


def _show(diagnosis: Diagnosis, out: Console) -> None:
    context = f", {diagnosis.context} tokens of context" if diagnosis.context else ", context unknown"
    out.print(f"{diagnosis.url}: {diagnosis.engine} {diagnosis.version}, {diagnosis.model}{context}", style="bold")
    out.print(f"    models: {', '.join(diagnosis.models)}")
    for finding in diagnosis.findings:
        mark, style = MARKS[finding.verdict]
        out.print(f"{mark} {finding.what}: {finding.found}", style=style)
        for bug in diagnosis.advice(finding):
            out.print(f"    {bug.number}: {bug.what}")
            out.print(f"    instead: {bug.way_round}")
            out.print(f"    flag: {bug.flag}; {bug.source}", style="dim")
    first, rate = diagnosis.speed.first, diagnosis.speed.tokens_per_second
    told = [f"first token after {first:.2f} s" if first is not None else "", f"{rate:.0f} tokens/s" if rate else ""]
    out.print(f"    speed: {', '.join(filter(None, told)) or 'unknown'}")
    out.print(f"mode: {diagnosis.mode or 'none: every answer has to be checked and asked again'}", style="bold")
