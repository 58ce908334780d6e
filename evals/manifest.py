"""The manifest of a run: every hash and version that its figures depend on."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from assistant.loop.model import OpenAIModel
from evals.cases import Case, dataset
from evals.options import Options
from evals.records import DatasetRecord, Manifest, ModelRecord
from tools import TOOLS

PACKAGES = ("slurm-assistant", "httpx", "jinja2", "jsonschema", "pydantic", "xllamacpp")


def manifest(options: Options, cases: Iterable[Case], model: OpenAIModel, slurm: str = "") -> Manifest:
    """Of a run that begins now. Asks the server for its revision and its engine; neither has to answer.

    ``slurm``: the version of the cluster that is to judge, if one is.
    """
    from assistant.serving.embedded.prompt import SYSTEM

    asked = {case.id for case in cases}
    prompts = {path.name: path.read_text(encoding="utf-8") for path in _templates()}
    schemas = [(tool.name, tool.effect, tool.description, tool.schema()) for tool in TOOLS]
    return Manifest(
        datasets=tuple(_dataset(name, asked) for name in options.datasets),
        tools=_hash(schemas),
        prompts=_hash([prompts, SYSTEM]),
        model=_embedded(model) if options.model == "embedded" else _served(model),
        sampling={"temperature": model.temperature, "max_tokens": model.max_tokens, **model.extra},
        flags=options.model_dump(mode="json"),
        repeats=options.repeats,
        packages=dict(_versions()),
        machine=machine(),
        slurm=slurm,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _templates() -> list[Path]:
    return sorted(Path(str(files("prompts"))).rglob("*.j2"))


def _hash(data: Any) -> str:
    return hashlib.sha256(json.dumps(data).encode()).hexdigest()


def _dataset(name: str, asked: set[str]) -> DatasetRecord:
    raw = dataset(name).read_bytes()
    ids = {json.loads(line)["id"] for line in raw.decode().split("\n") if line.strip()}
    return DatasetRecord(name=Path(name).stem, sha256=hashlib.sha256(raw).hexdigest(), count=len(ids & asked))


def _embedded(model: OpenAIModel) -> ModelRecord:
    """The adapter is the revision: its weights are what was trained."""
    from assistant.serving.embedded import adapter, engine

    told = json.loads((adapter.bundled() / adapter.MANIFEST).read_text(encoding="utf-8"))
    made = f"xllamacpp {dict(_versions()).get('xllamacpp', '')}".strip()
    return ModelRecord(name=engine.MODEL, url=model.url, revision=told["adapter_sha256"][:16], engine=made)


def _served(model: OpenAIModel) -> ModelRecord:
    """What ``GET /v1/models`` and ``GET /version`` (vLLM) tell; never the password that a URL may carry."""
    parts = urlsplit(model.url)
    url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    headers, listed = _get(model, "/v1/models")
    data = listed.get("data")
    entries = [one for one in data if isinstance(one, dict)] if isinstance(data, list) else []
    roots = [one.get("root") for one in entries if one.get("id") == model.model]
    revision = next((str(root) for root in roots if root not in (None, model.model)), "")
    server, told = _get(model, "/version")
    engine = f"vllm {told['version']}" if "version" in told else (server or headers).get("server", "")
    return ModelRecord(name=model.model, url=url, revision=revision, engine=engine)


def longest_context(options: Options, model: OpenAIModel) -> int | None:
    """Tokens that the model reads at once, as vLLM (``/v1/models``) or llama.cpp (``/props``) tells; None if not."""
    if options.model == "embedded":
        from assistant.serving.embedded.engine import SLOT_CONTEXT

        return SLOT_CONTEXT
    _, listed = _get(model, "/v1/models")
    entries = [one for one in listed.get("data") or [] if isinstance(one, dict) and one.get("id") == model.model]
    _, props = _get(model, "/props")
    settings = props.get("default_generation_settings")
    told = [one.get("max_model_len") for one in entries]
    told.append(settings.get("n_ctx") if isinstance(settings, dict) else None)
    return next((count for count in told if isinstance(count, int) and count > 0), None)


def _get(model: OpenAIModel, path: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Headers and JSON object; empty where the server has none."""
    import httpx

    try:
        response = model._client.get(path, timeout=5.0)
        told = response.json() if response.status_code == 200 else {}
    except (httpx.HTTPError, ValueError):
        return {}, {}
    return dict(response.headers), told if isinstance(told, dict) else {}


def _versions() -> Iterable[tuple[str, str]]:
    for name in PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


def machine() -> dict[str, Any]:
    """Where it ran: memory in bytes; never a host name or a user."""
    processors = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    names = [line.split(":", 1)[1].strip() for line in processors.splitlines() if line.startswith("model name")]
    return {
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "processor": names[0] if names else platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }


def memory(options: Options) -> int | None:
    """Resident bytes of the bundled model's engine; None for a server, whose memory is its own business."""
    if options.model != "embedded":
        return None
    from assistant.serving.embedded.engine import EmbeddedEngine

    running = EmbeddedEngine().status()
    return running.memory if running else None
