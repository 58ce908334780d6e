"""A server's diagnosis: what it is, what it can do, which known bugs it shows and which flag mends them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from assistant.errors import ModelRefused
from assistant.loop.model import OpenAIModel
from assistant.serving.probes import Asker, Finding, Speed, run, speed
from assistant.serving.profiles import Bug, bugs


@dataclass(frozen=True)
class Diagnosis:
    """``mode``: how calls should be asked for (schema or tools), empty where nothing constrains an answer."""

    url: str
    engine: str
    version: str
    models: tuple[str, ...]
    model: str
    context: int | None
    findings: tuple[Finding, ...]
    speed: Speed
    mode: str

    def advice(self, finding: Finding) -> tuple[Bug, ...]:
        """What is known of that sign on this engine."""
        known = bugs().values()
        return tuple(bug for bug in known if finding.sign in bug.signs and self.engine in bug.engines)

    def as_document(self) -> dict[str, Any]:
        return {
            "url": self.url,
            "engine": self.engine,
            "version": self.version,
            "models": list(self.models),
            "model": self.model,
            "context": self.context,
            "mode": self.mode,
            "findings": [_document(finding, self.advice(finding)) for finding in self.findings],
            "first_token_seconds": self.speed.first,
            "tokens_per_second": self.speed.tokens_per_second,
        }


def _document(finding: Finding, known: tuple[Bug, ...]) -> dict[str, Any]:
    told = [bug.model_dump(include={"number", "source", "what", "way_round", "flag"}) for bug in known]
    return {**asdict(finding), "bugs": told}


def examine(model: OpenAIModel, say: Callable[[str], None]) -> Diagnosis:
    """Ask everything, one request after another. Raises ModelError where no server answers."""
    import httpx

    listed = model.ask("GET", "/v1/models").get("data")
    rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
    engine, version, props = _engine(model)
    findings = run(Asker(model), say)
    say("measuring")
    try:
        measured = speed(model)
    except httpx.HTTPError:
        measured = Speed(None, None)
    return Diagnosis(
        url=model.url,
        engine=engine,
        version=version,
        models=tuple(str(row.get("id")) for row in rows),
        model=model.model,
        context=_context(next((row for row in rows if row.get("id") == model.model), {}), props),
        findings=tuple(findings),
        speed=measured,
        mode=_mode(findings),
    )


def _engine(model: OpenAIModel) -> tuple[str, str, dict[str, Any]]:
    """vLLM tells its version at ``/version``, llama.cpp its settings at ``/props``."""
    version = _get(model, "/version").get("version")
    if isinstance(version, str):
        return "vllm", version, {}
    props = _get(model, "/props")
    if props:
        return "llama.cpp", str(props.get("build_info") or "unknown"), props
    return "other", "unknown", {}


def _get(model: OpenAIModel, path: str) -> dict[str, Any]:
    try:
        return model.ask("GET", path)
    except ModelRefused:
        return {}


def _context(row: dict[str, Any], props: dict[str, Any]) -> int | None:
    """Tokens: vLLM's ``max_model_len``, llama.cpp's ``n_ctx`` of a slot."""
    settings = props.get("default_generation_settings")
    told = row.get("max_model_len") or (settings.get("n_ctx") if isinstance(settings, dict) else None)
    return told if isinstance(told, int) else None


def _mode(findings: list[Finding]) -> str:
    able = {finding.what for finding in findings if finding.verdict == "yes"}
    if "structured outputs" in able:
        return "schema"
    return "tools" if able & {"required choice", "named choice"} else ""
