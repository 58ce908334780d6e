"""What has to be there before vLLM is started: GPUs, memory, vLLM itself, weights, a port; each said in words."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from assistant.serving.fit import GB, ROOM_GB, UTILISATION, need
from assistant.serving.profiles import Profile, Quantisation

NVIDIA_SMI = (
    "nvidia-smi",
    "--query-gpu=index,name,memory.total,memory.free,compute_cap",
    "--format=csv,noheader,nounits",
)
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Check:
    """``found`` says what there is; ``remedy`` what to do, empty when all is well."""

    what: str
    found: str
    remedy: str = ""

    @property
    def ok(self) -> bool:
        return not self.remedy


@dataclass(frozen=True, slots=True)
class Gpu:
    """``gb`` and ``free_gb`` are 10^9 bytes."""

    index: int
    name: str
    gb: float
    free_gb: float
    capability: float


def gpus() -> tuple[list[Gpu], Check]:
    """The GPUs that this process may use (``CUDA_VISIBLE_DEVICES``), and what nvidia-smi said of them."""
    done = _run(NVIDIA_SMI, 60)
    if isinstance(done, str):
        return [], Check("GPUs", done, "run this on a node with NVIDIA GPUs, or `sask serve embedded`")
    try:
        found = [_gpu(line) for line in done.stdout.splitlines() if line.strip()]
    except ValueError:
        found = []
    if done.returncode or not found:
        said = (done.stdout + done.stderr).strip()[:300] or f"exit code {done.returncode}"
        return [], Check("GPUs", f"nvidia-smi: {said}", "ask nvidia-smi on this node; a broken or MIG GPU has no size")
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None and re.fullmatch(r"[\d, ]*", allowed):
        numbers = {int(n) for n in re.findall(r"\d+", allowed)}
        found = [gpu for gpu in found if gpu.index in numbers]
    if not found:
        return [], Check("GPUs", f"CUDA_VISIBLE_DEVICES={allowed} leaves none", "unset CUDA_VISIBLE_DEVICES")
    return found, Check("GPUs", f"{len(found)} × {found[0].name}, {found[0].gb:.0f} GB")


def _gpu(line: str) -> Gpu:
    index, name, total, free, capability = (part.strip() for part in line.split(","))
    return Gpu(int(index), name, int(total) * MIB / GB, int(free) * MIB / GB, float(capability))


def memory(
    profile: Profile, quant: Quantisation, found: list[Gpu], *, tp: int, context: int, measured_gb: float | None
) -> list[Check]:
    """Whether ``tp`` of these GPUs hold the weights and one full context, and whether that much is free."""
    one = need(profile, quant, tp=tp, context=context, users=1, measured_gb=measured_gb)
    use = found[:tp]
    if len(use) < tp:
        return [Check("GPUs", f"{len(found)} of the {tp} that --tp asks for", f"--tp {len(found)}, or more GPUs")]
    checks = [_capability(quant, use)] if quant.least_capability else []
    gb = min(gpu.gb for gpu in use)
    if one is None:
        found_text = f"the size of {quant.repository} is unknown, {gb:.0f} GB a GPU"
        return [*checks, Check("memory", found_text, "name the directory of its files: --model-path DIR")]
    said = (
        f"{one.total:.1f} GB a GPU (weights {one.weights:.1f}{'' if one.sure else ' at least'}, one context of "
        f"{context} tokens {one.cache:.1f}, room {ROOM_GB:.1f}); vLLM takes {gb * UTILISATION:.1f} of {gb:.1f} GB"
    )
    remedy = "" if one.fits(gb) else _what_fits(profile, found, context, {quant.name: measured_gb})
    checks.append(Check("memory", said, remedy))
    busy = [gpu for gpu in use if gpu.free_gb < gpu.gb * UTILISATION]
    if busy and one.fits(gb):
        said = ", ".join(f"GPU {gpu.index} has {gpu.free_gb:.1f} of {gpu.gb:.1f} GB free" for gpu in busy)
        checks.append(Check("free memory", said, "end what uses them (see nvidia-smi), or set CUDA_VISIBLE_DEVICES"))
    return checks


def _capability(quant: Quantisation, use: list[Gpu]) -> Check:
    least = min(gpu.capability for gpu in use)
    said = f"compute capability {least}, {quant.name} is for {quant.least_capability} and newer"
    return Check("GPU kind", said, "" if least >= quant.least_capability else "another --quant; see `sask models`")


def _what_fits(profile: Profile, found: list[Gpu], context: int, measured: dict[str, float | None]) -> str:
    """What would fit on these GPUs, in words: other quantisations and counts, then a shorter context."""
    gb, capability = min(gpu.gb for gpu in found), min(gpu.capability for gpu in found)
    for length in (context, 32_768, 8_192):
        ways = []
        for quant in profile.quantisation:
            counts = [tp for tp in (1, 2, 4, 8) if tp <= len(found)]
            size = measured.get(quant.name)
            needs = [need(profile, quant, tp=tp, context=length, users=1, measured_gb=size) for tp in counts]
            fitting = [one.tp for one in needs if one and one.fits(gb) and capability >= quant.least_capability]
            ways += [f"--quant {quant.name} --tp {fitting[0]}"] if fitting else []
        if ways:
            shorter = f" with --context {length}" if length < context else ""
            return f"these fit{shorter}: {', '.join(ways)}"
    return "nothing of this model fits on these GPUs; `sask models` shows what does"


def vllm(profile: Profile) -> Check:
    """vLLM on the PATH, at least as new as the profile's flags ask for."""
    assert profile.vllm is not None
    wanted = profile.vllm.version
    install = f"pip install 'vllm>={wanted}' (or 'slurm-assistant[vllm]') where this runs, or load its module"
    program = shutil.which("vllm")
    if program is None:
        return Check("vLLM", "no vllm on the PATH", install)
    done = _run((program, "--version"), 300)
    if isinstance(done, str):
        return Check("vLLM", done, install)
    said = re.findall(r"\d+\.\d+(?:\.\d+)?", done.stdout)
    if done.returncode or not said:
        last = (done.stdout + done.stderr).strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        return Check("vLLM", f"{program} --version: {last[0][:300]}", install)
    new = _numbers(said[-1]) >= _numbers(wanted)
    return Check("vLLM", f"{said[-1]}, {wanted} or newer is needed", "" if new else install)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))


def weights(quant: Quantisation, given: Path | None) -> tuple[Path | None, float | None, Check]:
    """(directory, its size in GB, what was found): the one that was named, or the local Hugging Face cache."""
    folder = given or _cached(quant)
    remedy = (
        f"where there is a network: hf download {quant.repository}{_at(quant)} --local-dir DIR; then --model-path DIR"
    )
    if folder is None:
        return None, None, Check("weights", f"{quant.repository} is not in the local Hugging Face cache", remedy)
    if not (folder / "config.json").is_file():
        return None, None, Check("weights", f"{folder} has no config.json: not a model's directory", remedy)
    try:
        index = json.loads((folder / "model.safetensors.index.json").read_text(encoding="utf-8"))
        names = sorted(set(index["weight_map"].values()))
    except (OSError, ValueError, KeyError, AttributeError):
        names = sorted(file.name for file in folder.glob("*.safetensors"))
    missing = [name for name in names if not (folder / name).is_file()]
    if missing or not names:
        lacking = f"{len(missing)} of {len(names)} files are missing, {missing[0]} first" if missing else "no weights"
        return None, None, Check("weights", f"{folder}: {lacking}", remedy)
    size = sum((folder / name).stat().st_size for name in names) / GB
    return folder, size, Check("weights", f"{folder}, {size:.1f} GB in {len(names)} files")


def _at(quant: Quantisation) -> str:
    return f" --revision {quant.revision}" if quant.revision else ""


def _cached(quant: Quantisation) -> Path | None:
    """The snapshot in ``$HF_HUB_CACHE`` (``$HF_HOME/hub``, ``~/.cache/huggingface/hub``): huggingface_hub's layout."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    repository = cache / f"models--{quant.repository.replace('/', '--')}"
    try:
        revision = quant.revision or (repository / "refs" / "main").read_text(encoding="utf-8").strip()
    except OSError:
        return None
    snapshot = repository / "snapshots" / revision
    return snapshot if snapshot.is_dir() else None


def port(host: str, number: int) -> Check:
    """Whether a server may listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, number))
        except OSError as error:
            return Check("port", f"{host}:{number}: {error.strerror}", "another --port; `ss -ltnp` shows who has it")
    return Check("port", f"{host}:{number} is free")


def _run(command: tuple[str, ...], seconds: float) -> subprocess.CompletedProcess[str] | str:
    """What a program said, or in words why it could not be asked."""
    try:
        return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=seconds, check=False)
    except FileNotFoundError:
        return f"there is no {command[0]} on the PATH"
    except subprocess.TimeoutExpired:
        return f"{command[0]} did not answer in {seconds:.0f} s"
    except OSError as error:
        return f"{command[0]} cannot be run: {error.strerror}"
