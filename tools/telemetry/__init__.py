"""What a node's own instruments say: nvidia-smi, NVIDIA's DCGM exporter, the kernel log.

A node is asked here only when it is this machine; of another, what :class:`Sources` name is read.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from tools.slurm.models import Node
from tools.telemetry.model import VERDICTS, Mark, Readout, Sign, Sources, Telemetry

__all__ = ["VERDICTS", "Sign", "Sources", "Telemetry", "gather", "signs_of"]
_MOST_EVIDENCE = 3
_SLACK = timedelta(minutes=2)
"""The kernel writes its first lines a little before the moment that Slurm takes for the start."""


def gather(node: Node, others: Sequence[Node], sources: Sources, now: datetime, since: datetime) -> Telemetry:
    """All telemetry of a node that can be had; what cannot is a note, never an error.

    ``others`` are all nodes of the cluster: a machine that plays several of them (a test cluster) is none of them.
    """
    begin = max(since, node.boot_time - _SLACK) if node.boot_time else since
    readouts, notes = [], []
    for attempt in _attempts(node, is_here(node, others), sources, now, begin):
        try:
            readouts.append(attempt())
        except (OSError, ValueError) as error:
            notes.append(f"telemetry: {error}")
    if not readouts and not notes and node.gpus:
        notes.append(f"no GPU telemetry of {node.name}: this is not that machine, and no source is set for it")
    return Telemetry(tuple(readouts), tuple(notes))


def is_here(node: Node, others: Sequence[Node]) -> bool:
    """Whether this machine is that node, and that node alone."""
    here = socket.gethostname().partition(".")[0].lower()

    def host(one: Node) -> str:
        return (one.raw.get("NodeHostName") or one.name).partition(".")[0].lower()

    return host(node) == here and not any(host(one) == here for one in others if one.name != node.name)


def signs_of(node: Node, telemetry: Telemetry) -> list[Sign]:
    """One sign for each kind of mark, with the devices that it was seen on, worst first; a lost GPU before all."""
    settled = frozenset(gpu for readout in telemetry.readouts for gpu in readout.settled)
    groups: dict[str, list[Mark]] = {}
    for readout in telemetry.readouts:
        for mark in readout.marks:
            groups.setdefault(mark.id, []).append(mark)
    signs = [*_missing(node, telemetry.readouts), *(_sign(marks, settled) for marks in groups.values())]
    return sorted(signs, key=lambda sign: (-VERDICTS.index(sign.verdict), sign.label != "gpu_fell_off_bus"))


def _sign(marks: Sequence[Mark], settled: frozenset[str]) -> Sign:
    worst = max(marks, key=lambda mark: VERDICTS.index(_verdict(mark, settled)))
    where = list(dict.fromkeys(mark.where for mark in marks if mark.where))
    on = f" ({', '.join(where[:8])}{' …' if len(where) > 8 else ''})" if where else ""
    times = f", {len(marks)} times" if len(marks) > max(len(where), 1) else ""
    fine_now = worst.resettable and worst.where.removeprefix("GPU ") in settled
    after = "; the driver asks for no reset any more" if fine_now else ""
    proof = tuple(dict.fromkeys(mark.evidence[:300] for mark in marks))
    return Sign(_verdict(worst, settled), worst.label, f"{worst.summary}{on}{times}{after}", worst.fix, _ends(proof))


def _verdict(mark: Mark, settled: frozenset[str]) -> str:
    """What a reset settles is only to be watched once the driver says of that GPU that it needs none."""
    done = mark.resettable and mark.where.removeprefix("GPU ") in settled
    return "watch" if done and mark.verdict == "drain" else mark.verdict


def _ends(proof: tuple[str, ...]) -> tuple[str, ...]:
    """The first lines, where it began, and the last."""
    return proof if len(proof) <= _MOST_EVIDENCE else (*proof[: _MOST_EVIDENCE - 1], proof[-1])


def _missing(node: Node, readouts: Sequence[Readout]) -> Iterator[Sign]:
    configured = sum(gpu.total for gpu in node.gpus)
    if any("." in gpu.type for gpu in node.gpus):  # MIG profiles: pieces of GPUs
        return
    for readout in readouts:
        if readout.gpus is not None and readout.gpus < configured:
            text = f"{readout.source} shows {readout.gpus} GPUs, Slurm counts on {configured}"
            fix = "Take the node out: a GPU is gone. Look at lspci and the kernel log there, then reboot or repair it."
            yield Sign("drain", "gpu_fell_off_bus", text, fix, (f"{readout.source}: {readout.gpus} GPUs",))


def _attempts(
    node: Node, here: bool, sources: Sources, now: datetime, since: datetime
) -> Iterator[Callable[[], Readout]]:
    from tools.telemetry import dcgm, kernel, smi

    def named(template: str) -> str:
        return template.replace("{node}", node.name)

    def kernel_here() -> Readout:
        log, command = kernel.ask(sources.seconds)
        return kernel.read(log, command, now, since, node.boot_time)

    def kernel_file() -> Readout:
        path = Path(named(sources.kernel_log))
        return kernel.read(kernel.tail(path), str(path), now, since, node.boot_time)

    def metrics() -> Readout:
        url = named(sources.metrics_url)
        return dcgm.read(dcgm.fetch(url, sources.seconds), url, node.name)

    def smi_file() -> Readout:
        path = Path(named(sources.smi_file))
        return smi.read(path.read_text(encoding="utf-8", errors="replace"), str(path))

    if sources.smi_file:
        yield smi_file
    elif here and node.gpus:
        yield lambda: smi.read(smi.ask(sources.seconds), " ".join(smi.COMMAND))
    if sources.metrics_url:
        yield metrics
    if sources.kernel_log:
        yield kernel_file
    elif here:
        yield kernel_here
