"""The adapter as a file: a GGUF that llama.cpp lays over the stock weights, and a manifest that says for what."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assistant.errors import ServingError
from assistant.serving.embedded.weights import sha256

if TYPE_CHECKING:
    from assistant.serving.embedded.lora import Adapter

FILE, MANIFEST = "adapter.gguf", "manifest.json"
RETRAIN = "python -m assistant.serving.embedded.tune"


class AdapterError(ServingError):
    """The adapter is missing, damaged, or was trained for other tools or other weights."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an adapter was made from; no dates, so that the same run gives the same file."""

    adapter_sha256: str
    base_sha256: str
    tools_sha256: str
    data_sha256: str
    recipe: dict[str, Any]


def bundled() -> Path:
    """The directory of the adapter that comes with the package."""
    return Path(str(files("assistant.serving.embedded"))) / "adapter"


def tools_hash() -> str:
    """What the model has learnt of the tools: their names, arguments, order, types and words, no descriptions."""
    from tools import TOOLS

    learnt = [[tool.name, _undescribed(tool.schema())] for tool in TOOLS]
    return hashlib.sha256(json.dumps(learnt, sort_keys=True).encode()).hexdigest()


def _undescribed(schema: Any) -> Any:
    """Keeps the order of arguments (as pairs: that of other keys is pydantic's whim); drops texts and bounds."""
    if isinstance(schema, list):
        return [_undescribed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kept = ("type", "properties", "items", "enum", "const", "anyOf", "required")
    return {
        key: [[name, _undescribed(part)] for name, part in value.items()]
        if key == "properties"
        else _undescribed(value)
        for key, value in schema.items()
        if key in kept
    }


def write(directory: Path, adapter: Adapter, manifest: dict[str, Any]) -> Manifest:
    """Write the adapter (float16) and its manifest into ``directory``; each file appears whole or not at all."""
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / FILE
    partial = target.with_suffix(".partial")
    _write_gguf(partial, adapter)
    partial.replace(target)
    whole = Manifest(adapter_sha256=sha256(target), **manifest)
    text = json.dumps(asdict(whole), indent=2) + "\n"
    (directory / MANIFEST).with_suffix(".partial").write_text(text, encoding="utf-8")
    (directory / MANIFEST).with_suffix(".partial").replace(directory / MANIFEST)
    return whole


def _write_gguf(path: Path, adapter: Adapter) -> None:
    """The format of llama.cpp's convert_lora_to_gguf.py; training kept the GGUF's own row order of q and k."""
    from gguf import GGUFWriter

    writer = GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("general.name", "slurm-assistant for SmolLM2-135M-Instruct")
    writer.add_string("general.license", "apache-2.0")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", adapter.alpha)
    for block, part in adapter.parts():
        for suffix, tensor in (("lora_a", part.a), ("lora_b", part.b)):
            writer.add_tensor(f"blk.{block}.{part.name}.weight.{suffix}", tensor.cpu().half().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def load(directory: Path, adapter: Adapter) -> None:
    """Fill ``adapter`` with the values of the file in ``directory``; raises ``ValueError`` for another rank."""
    import torch
    from gguf import GGUFReader

    path = directory / FILE
    if not path.is_file():
        raise missing(directory)
    found = {tensor.name: tensor.data for tensor in GGUFReader(path).tensors}
    for block, part in adapter.parts():
        for suffix, tensor in (("lora_a", part.a), ("lora_b", part.b)):
            values = torch.from_numpy(found[f"blk.{block}.{part.name}.weight.{suffix}"].copy())
            if values.shape != tensor.shape:
                raise ValueError(f"{path} has rank {min(values.shape)}, this run has rank {adapter.rank}")
            tensor.copy_(values)


def check(directory: Path, base_sha256: str) -> Manifest:
    """The manifest of a usable adapter; raises :class:`AdapterError` naming what is wrong and how to retrain."""
    path, target = directory / MANIFEST, directory / FILE
    remedy = _remedy(directory)
    if not path.is_file() or not target.is_file():
        raise missing(directory)
    try:
        manifest = Manifest(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise AdapterError(f"{path}: not a manifest: {error}", remedy) from error
    expected = {"adapter": sha256(target), "base": base_sha256, "tools": tools_hash()}
    for what, now in expected.items():
        then = getattr(manifest, f"{what}_sha256")
        if then != now:
            raise AdapterError(
                f"the adapter in {directory} does not fit: it was made for {what} {then[:12]}, "
                f"here is {what} {now[:12]}",
                remedy,
            )
    return manifest


def missing(directory: Path) -> AdapterError:
    """The error for a directory without an adapter."""
    return AdapterError(f"{directory}: no {FILE} with a {MANIFEST}", _remedy(directory))


def _remedy(directory: Path) -> str:
    return f"retrain it: `{RETRAIN} --out {directory}`"
