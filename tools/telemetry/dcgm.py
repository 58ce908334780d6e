"""NVIDIA's DCGM exporter: Prometheus text over HTTP. Metrics are DCGM's fields (dcgm_fields.h)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tools.telemetry.kernel import xid_mark
from tools.telemetry.model import Mark, Readout
from tools.telemetry.rules import BLANK, judge

_MOST_BYTES = 16 << 20
_LAST_XID = "DCGM_FI_DEV_XID_ERRORS"
_XID_COUNTS = frozenset({"DCGM_EXP_XID_ERRORS_COUNT", "DCGM_EXP_XID_ERRORS_TOTAL", "DCGM_FI_DEV_XID_ERRORS_ACTIVE"})
Sample = tuple[str, Mapping[str, str], float]


def fetch(url: str, seconds: float) -> str:
    """The exporter's text. Raises ``OSError`` with what was asked and what came back instead."""
    import httpx

    try:
        # Proxies lead out of the cluster, exporters are inside it.
        with httpx.Client(timeout=seconds, trust_env=False) as client, client.stream("GET", url) as answer:
            if answer.status_code != httpx.codes.OK:
                raise OSError(f"{url} answered {answer.status_code}")
            body = bytearray()
            for block in answer.iter_bytes():
                body += block
                if len(body) > _MOST_BYTES:
                    raise OSError(f"{url} sent more than {_MOST_BYTES >> 20} MiB")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise OSError(f"{url} gave no metrics: {error or type(error).__name__}") from None
    return body.decode("utf-8", errors="replace")


def read(text: str, source: str, node: str) -> Readout:
    """What the metrics say of the node's GPUs. Raises ``ValueError`` for text that holds no DCGM metric.

    Where a sample names a host and some name this node, those of other hosts are left out (one URL for many nodes).
    """
    samples = [sample for sample in _samples(text, source) if sample[0].startswith("DCGM_") and sample[2] < BLANK]
    own = [sample for sample in samples if sample[1].get("Hostname", "").partition(".")[0] == node.partition(".")[0]]
    samples = own or samples
    if not samples:
        raise ValueError(f"{source} holds no metric of DCGM (DCGM_…)")
    gpus: dict[str, list[tuple[str, str]]] = {}
    for name, labels, value in samples:
        gpus.setdefault(_gpu(labels), []).append((name, f"{value:g}"))
    marks = [mark for gpu, pairs in gpus.items() for mark in judge(gpu, pairs, "dcgm")]
    whole = {labels.get("UUID") or _gpu(labels) for _, labels, _ in samples}
    cut_up = any("GPU_I_PROFILE" in labels for _, labels, _ in samples)
    return Readout(source, (*marks, *_xids(samples)), None if cut_up else len(whole))


def _samples(text: str, source: str) -> Iterable[Sample]:
    from prometheus_client.parser import text_string_to_metric_families

    try:
        # The parser gives counters the ending that OpenMetrics wants and DCGM does not write.
        return [
            (sample.name.removesuffix("_total"), sample.labels, sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]
    except (ValueError, IndexError, KeyError) as error:
        raise ValueError(f"{source} is no Prometheus text: {error}") from None


def _gpu(labels: Mapping[str, str]) -> str:
    return f"GPU {labels.get('gpu') or labels.get('device') or labels.get('UUID', '?')}"


def _xids(samples: Iterable[Sample]) -> list[Mark]:
    """Counts of the exporter's window are recent; the last Xid stays until the exporter is started again, so that a
    GPU which was reset since still shows it: a code that a reset settles is only to be watched there."""
    marks = []
    for name, labels, value in samples:
        code = labels.get("xid", "") if name in _XID_COUNTS else f"{value:.0f}" if name == _LAST_XID else ""
        if value > 0 and code.isdigit() and code != "0":
            counted = f" of Xid {code}" if name in _XID_COUNTS else ""
            evidence = f"{_gpu(labels)}: {name} = {value:g}{counted}"
            marks.append(xid_mark(int(code), _gpu(labels), evidence, sticky=name == _LAST_XID))
    return marks
