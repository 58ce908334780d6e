"""What telemetry is made of: where it may be read, one observation, and all that was read of a node."""

from __future__ import annotations

from dataclasses import dataclass, field

VERDICTS = ("healthy", "watch", "drain", "out_of_service")
"""From best to worst; telemetry itself says ``drain`` at most."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where telemetry of nodes other than this machine is. Each is a template: ``{node}`` stands for the node's name.

    ``metrics_url``: a DCGM exporter, ``http://{node}:9400/metrics``. ``smi_file``: recorded output of
    ``nvidia-smi -q -x`` (or ``-q``). ``kernel_log``: the node's kernel log, as journalctl, dmesg or syslog write it.
    """

    metrics_url: str = ""
    smi_file: str = ""
    kernel_log: str = ""
    seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class Mark:
    """One thing seen on one device. Marks with the same ``id`` become one finding.

    ``where``: the GPU or port, "" for the node. ``resettable``: a reset of that GPU settles it.
    """

    id: str
    verdict: str
    label: str
    summary: str
    fix: str
    evidence: str
    where: str = ""
    resettable: bool = False


@dataclass(frozen=True, slots=True)
class Readout:
    """What one source said. ``gpus``: how many whole GPUs it sees, None where it cannot tell.

    ``settled``: GPUs (see :func:`bus`) whose driver says that no reset is needed.
    """

    source: str
    marks: tuple[Mark, ...] = ()
    gpus: int | None = None
    settled: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Telemetry:
    """All that could be read of a node, and in ``notes`` what could not."""

    readouts: tuple[Readout, ...] = ()
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Sign:
    """One observation about a node: what it asks for (a verdict), what it says, what proves it."""

    verdict: str
    label: str
    summary: str
    fix: str
    evidence: tuple[str, ...] = ()


def bus(address: str) -> str:
    """One spelling for ``00000000:9B:00.0``, ``0000:9b:00`` and ``PCI:0000:9b:00``: domain, bus and device."""
    domain, _, rest = address.lower().removeprefix("pci:").partition(":")
    return f"{domain[-4:].zfill(4)}:{rest.partition('.')[0]}"
