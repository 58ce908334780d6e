"""A run as a log of inspect_ai (version 2, JSON), so that ``inspect view`` and its analysis read it.

Fields as ``inspect_ai.log.EvalLog`` has them; https://inspect.aisi.org.uk/eval-logs.html describes the format.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from assistant.loop.ladder import Rung
from evals import metrics
from evals.intervals import Figure
from evals.records import Record, Run
from evals.reporting.wording import expected_text, got_text

SCORES: dict[str, Callable[[Record], bool]] = {
    "exact": metrics.judged("exact"),
    "tool": metrics.judged("tool"),
    "valid": metrics.climbed(Rung.SCHEMA, first=True),
    "accepted": metrics.climbed(Rung.SEMANTIC, first=False),
    "unharmed": lambda record: not metrics.judged("forbidden")(record),
}
"""Each is better when it is right: ``unharmed`` is our ``forbidden`` turned round."""
_SAMPLING = ("temperature", "top_p", "top_k", "max_tokens", "seed")
_ROLES = ("system", "user", "assistant")


def inspect_log(run: Run) -> dict[str, Any]:
    """The log as JSON values; ``status`` is ``started`` while a run is not finished."""
    manifest = run.manifest
    task = "+".join(one.name for one in manifest.datasets)
    ids = sorted({record.id for record in run.records})
    return {
        "version": 2,
        "status": "success" if manifest.finished else "started",
        "eval": {
            "created": manifest.started,
            "task": task,
            "dataset": {"name": task, "samples": len(ids), "sample_ids": ids, "shuffled": False},
            "model": manifest.model.name,
            "model_base_url": manifest.model.url or None,
            "config": {"epochs": manifest.repeats},
            "packages": manifest.packages,
            "metadata": manifest.model_dump(mode="json", include={"datasets", "tools", "prompts", "flags", "machine"}),
        },
        "plan": {"config": {name: manifest.sampling[name] for name in _SAMPLING if name in manifest.sampling}},
        "results": _results(run),
        "stats": {"started_at": manifest.started, "completed_at": manifest.finished or ""},
        "samples": [_sample(record, manifest.model.name) for record in run.records],
    }


def _results(run: Run) -> dict[str, Any]:
    ours = metrics.scored(run.records)
    head = metrics.headline(run.records)
    harm = head["forbidden"]
    figures = {name: head[name] for name in SCORES if name in head} | {"unharmed": _turned(harm)}
    scores = [
        {"name": name, "scorer": name, "scored_samples": len(ours), "metrics": _metrics(figures[name])}
        for name in SCORES
        if figures[name].value is not None
    ]
    return {"total_samples": len(run.records), "completed_samples": len(ours), "scores": scores}


def _turned(figure: Figure) -> Figure:
    low, value, high = (None if one is None else 1 - one for one in (figure.high, figure.value, figure.low))
    return Figure(value, low, high, figure.cases)


def _metrics(figure: Figure) -> dict[str, Any]:
    named = {"accuracy": figure.value, "low": figure.low, "high": figure.high}
    return {name: {"name": name, "value": value} for name, value in named.items() if value is not None}


def _sample(record: Record, model: str) -> dict[str, Any]:
    answer = got_text(record)
    said = [message for message in record.transcript if message.get("role") in _ROLES]
    used = {"input_tokens": record.prompt_tokens, "output_tokens": record.completion_tokens}
    sample: dict[str, Any] = {
        "id": record.id,
        "epoch": record.repeat + 1,
        "input": record.request,
        "target": expected_text(record).split("\n"),
        "messages": [{"role": one["role"], "content": one.get("content") or ""} for one in said],
        "output": {"model": model, "choices": [_choice(answer)]},
        "metadata": record.model_dump(mode="json", include={"category", "tags", "kind", "rungs_first", "rungs_last"}),
        "model_usage": {model: used | {"total_tokens": sum(used.values())}},
        "total_time": record.seconds,
    }
    if record.error:
        told = f"{record.error.kind}: {record.error.message}"
        return sample | {"error": {"message": told, "traceback": "", "traceback_ansi": ""}}
    return sample | {"scores": {name: _score(holds(record), answer) for name, holds in SCORES.items()}}


def _choice(answer: str) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": answer}, "stop_reason": "stop"}


def _score(right: bool, answer: str) -> dict[str, Any]:
    """inspect_ai's own words: C is correct, I is incorrect."""
    return {"value": "C" if right else "I", "answer": answer}
