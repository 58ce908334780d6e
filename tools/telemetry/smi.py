"""``nvidia-smi -q``: run on this machine, or recorded; as XML (``-x``) or as text.

Fields are those of nvidia-smi(1), "GPU ATTRIBUTES".
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from xml.etree import ElementTree

from tools.findings import diagnose_log, load_classes
from tools.telemetry.model import Mark, Readout, bus
from tools.telemetry.rules import Form, Pairs, first, judge

COMMAND = ("nvidia-smi", "-q", "-x")
_LONG_LISTS = frozenset({"processes", "supported_clocks", "accounted_processes"})
_GPU = re.compile(r"^GPU ([0-9A-Fa-f]{4,8}:[0-9A-Fa-f:.]+)\s*$")
_LINE = re.compile(r"^( +)(\S.*?)(?:\s+:(?: (.*))?)?$")
_DOCUMENT = re.compile(r"<nvidia_smi_log\b.*</nvidia_smi_log>", re.DOTALL)
_ATTACHED = re.compile(r"<attached_gpus>(\d+)<|^Attached GPUs\s*: (\d+)", re.MULTILINE)
_OF_GPUS = frozenset({"gpu_fell_off_bus", "gpu_xid_ecc", "nvlink_error", "cuda_driver_mismatch"})
_NO_RESET = (
    ("gpu_recovery_action", "None"),
    ("gpu_reset_status/reset_required", "No"),
    ("GPU Recovery Action", "None"),
    ("GPU Reset Status/Reset Required", "No"),
)


def ask(seconds: float) -> str:
    """What nvidia-smi says here, its errors included.

    Raises ``FileNotFoundError`` where there is none, ``TimeoutError`` where it gives no answer: it may hang in the
    driver, and then it outlives its kill and is not waited for.
    """
    process = subprocess.Popen(
        COMMAND, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        with suppress(subprocess.TimeoutExpired):
            process.wait(1)
        if process.stdout:
            process.stdout.close()
        raise TimeoutError(f"{' '.join(COMMAND)} gave no answer in {seconds:.0f} s") from None
    return output.decode("utf-8", errors="replace")


def read(output: str, source: str) -> Readout:
    """What the output says of each GPU. Raises ``ValueError`` for text that is no output of nvidia-smi."""
    document = _DOCUMENT.search(output)
    form: Form = "xml" if document else "text"
    gpus = list(_of_xml(document[0]) if document else _of_text(output))
    complaint = _DOCUMENT.sub("", output) if document else "" if gpus else output
    marks = [*_complaint(complaint), *(mark for name, pairs in gpus for mark in judge(f"GPU {name}", pairs, form))]
    if not gpus and not marks:
        raise ValueError(f"{source} is no output of nvidia-smi -q: {output.strip()[:80]!r}")
    settled = frozenset(bus(name) for name, pairs in gpus if any(first(pairs, [at]) == ok for at, ok in _NO_RESET))
    attached = _ATTACHED.search(output)
    seen = int(attached[1] or attached[2]) if attached else len(gpus)
    return Readout(source, tuple(marks), None if not gpus or _cut_up(gpus, form) else seen, settled)


def _of_xml(document: str) -> Iterator[tuple[str, Pairs]]:
    try:
        root = ElementTree.fromstring(document)
    except ElementTree.ParseError as error:
        raise ValueError(f"the XML of nvidia-smi is broken: {error}") from None
    for gpu in root.iter("gpu"):
        yield gpu.get("id", "?"), tuple(_leaves(gpu, ""))


def _leaves(element: ElementTree.Element, path: str) -> Iterator[tuple[str, str]]:
    for child in element:
        here = f"{path}{child.tag}"
        if child.tag in _LONG_LISTS:
            continue
        if len(child):
            yield from _leaves(child, f"{here}/")
        else:
            yield here, (child.text or "").strip()


def _of_text(output: str) -> Iterator[tuple[str, Pairs]]:
    name, pairs = "", list[tuple[str, str]]()
    above: list[tuple[int, str]] = []
    for line in output.splitlines():
        if found := _GPU.match(line):
            if name:
                yield name, pairs
            name, pairs, above = found[1], [], []
        elif name and (part := _LINE.match(line)):
            depth = len(part[1])
            above = [*((at, key) for at, key in above if at < depth), (depth, part[2])]
            if part[3] is not None:
                pairs.append(("/".join(key for _, key in above), part[3].strip()))
    if name:
        yield name, pairs


def _complaint(text: str) -> list[Mark]:
    """What nvidia-smi says instead of an answer: a GPU is gone, the driver is not loaded."""
    said = " ".join(text.split())
    label = diagnose_log(said).label if said else ""
    if label not in _OF_GPUS:
        return []
    fix, evidence = load_classes()[label].fix, f"nvidia-smi: {said[:200]}"
    return [Mark(f"smi-{label}", "drain", label, "nvidia-smi cannot reach a GPU", fix, evidence)]


def _cut_up(gpus: list[tuple[str, Pairs]], form: Form) -> bool:
    """Whether a GPU is cut into MIG instances: Slurm then counts the pieces."""
    mig = "mig_mode/current_mig" if form == "xml" else "MIG Mode/Current"
    return any(first(pairs, [mig]) == "Enabled" for _, pairs in gpus)
