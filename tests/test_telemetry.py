"""What nvidia-smi, DCGM and the kernel say of a node: real recordings, and the verdict that follows from them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tools.findings import load_classes, load_xids
from tools.findings.knowledge import load_kernel_lines
from tools.findings.literals import required_literals
from tools.slurm.models import Gpus, Node
from tools.telemetry import VERDICTS, Telemetry, dcgm, kernel, signs_of, smi
from tools.telemetry.model import Readout, bus
from tools.telemetry.rules import Form, judge, load_rules, number

RECORDINGS = Path(__file__).parent / "recordings" / "telemetry"
NOW = datetime(2026, 11, 21, 12, 0)
LONG_AGO = datetime(2000, 1, 1)


def text(name: str) -> str:
    return (RECORDINGS / name).read_text(encoding="utf-8")


def read(name: str, told: str | None = None) -> Readout:
    """What a recording says; ``told`` is its text where a test changed a value in it."""
    told = text(name) if told is None else told
    if name.startswith("smi-"):
        return smi.read(told, name)
    if name.startswith("dcgm-"):
        return dcgm.read(told, name, "node")
    return kernel.read(told, name, NOW, LONG_AGO, None)


def seen(readout: Readout) -> dict[str, str]:
    """The verdict of each kind of mark."""
    return {mark.id: mark.verdict for mark in readout.marks}


def node(name: str = "gpu-node01", gpus: int = 1, **fields: Any) -> Node:
    return Node(name, "IDLE", ("gpu",), 64, gpus=(Gpus("a100", gpus),) if gpus else (), **fields)


# Knowledge


@pytest.mark.parametrize("rule", load_rules(), ids=lambda rule: rule.id)
def test_a_rule_is_well_formed(rule: Any) -> None:
    assert rule.verdict in VERDICTS[:3]
    assert rule.label in load_classes() or rule.label == "unknown"
    assert rule.summary and rule.fix and rule.source.startswith("https://")
    assert rule.xml or rule.dcgm
    assert bool(rule.xml) == bool(rule.text)


def test_ids_are_unique() -> None:
    ids = [rule.id for rule in load_rules()]
    assert len(ids) == len(set(ids))
    lines = [line.id for line in load_kernel_lines()]
    assert len(lines) == len(set(lines))


def test_no_kernel_line_is_looked_at_in_vain() -> None:
    """A pattern without certain text would have to be tried on every line of the log."""
    for line in load_kernel_lines():
        for pattern in filter(None, (line.pattern, line.healed)):
            assert required_literals(pattern.pattern), pattern.pattern


@pytest.mark.parametrize("line", load_kernel_lines(), ids=lambda line: line.id)
def test_a_kernel_line_is_well_formed_and_finds_its_example(line: Any) -> None:
    assert line.verdict in VERDICTS[:3]
    assert line.label in load_classes() or line.label == "unknown"
    assert line.source.startswith("https://")
    assert next(known.id for known in load_kernel_lines() if known.pattern.search(line.example)) == line.id
    if line.healed:
        assert "what" in line.pattern.groupindex and "what" in line.healed.groupindex


# Recordings


SAID = {
    "smi-blackwell.xml": {},
    "smi-a100-mig.xml": {},
    "smi-a100-remap-pending.txt": {"row-remap-pending": "drain"},
    "smi-idle-clocks.txt": {},
    "smi-unknown-error.txt": {"smi-gpu_fell_off_bus": "drain"},
    "smi-gpu-lost.txt": {"smi-gpu_fell_off_bus": "drain"},
    "dcgm-l40s.prom": {},
    "dcgm-a100.prom": {},
    "dcgm-xid-count.prom": {"xid-42": "watch"},
    "kernel-gsp-timeout.log": {"xid-119": "drain", "gpu-reset-needed": "drain"},
    "kernel-bus-79.log": {"xid-79": "drain"},
    "kernel-pcie-79.log": {"pcie-fatal": "watch", "xid-79": "drain"},
    "kernel-cpu-hot.log": {},
    "kernel-memory.log": {"memory-uncorrected": "drain"},
    "kernel-memory-corrected.log": {},
    "kernel-bus-no-xid.log": {"xid-79": "drain", "gpu-does-not-start": "drain"},
    "kernel-nvlink.log": {"xid-149": "drain", "xid-145": "drain"},
    "kernel-nvlink-xids.log": {"xid-149": "drain", "xid-145": "watch"},
    "kernel-nvswitch.log": {"nvswitch": "watch"},
    "kernel-ecc.log": {"xid-94": "drain", "xid-63": "watch"},
    "kernel-program.log": {"xid-13": "healthy", "xid-109": "watch"},
    "kernel-ib-start.log": {},
    "kernel-ib-down.log": {"ib-link": "drain"},
}


@pytest.mark.parametrize("name", SAID)
def test_a_recording_says(name: str) -> None:
    assert seen(read(name)) == SAID[name]


def test_every_recording_has_its_source_and_its_test() -> None:
    files = {path.name for path in RECORDINGS.iterdir()} - {"README.md"}
    assert files == set(SAID)
    for name in files:
        assert f"| {name} | " in text("README.md")


def test_the_evidence_is_the_line_or_the_figure_itself() -> None:
    pending = read("smi-a100-remap-pending.txt").marks[0]
    assert (pending.where, pending.evidence) == (
        "GPU 00000000:10:1C.0",
        "GPU 00000000:10:1C.0: Remapped Rows/Pending = Yes",
    )
    first = read("kernel-gsp-timeout.log").marks[0]
    assert first.evidence in text("kernel-gsp-timeout.log").splitlines()
    assert (first.where, first.fix) == ("GPU 0000:9b:00", load_xids()[119].advice)
    assert "Unknown Error" in read("smi-unknown-error.txt").marks[0].evidence


# One value of a healthy recording changed, as a sick GPU would show it


CHANGED = [
    ("smi-blackwell.xml", "row_failure>No<", "row_failure>Yes<", {"row-remap-failed": "drain"}),
    ("smi-blackwell.xml", "row_pending>No<", "row_pending>Yes<", {"row-remap-pending": "drain"}),
    ("smi-blackwell.xml", "histogram_none>0 bank(s)<", "histogram_none>1 bank(s)<", {"row-remap-spares": "watch"}),
    ("smi-blackwell.xml", "action>None<", "action>Drain and Reset<", {"reset-needed": "drain"}),
    ("smi-blackwell.xml", "exceeded>N/A<", "exceeded>Yes<", {"sram-threshold": "drain"}),
    ("smi-blackwell.xml", "memory>N/A<", "memory>Yes<", {"memory-unrepairable": "drain"}),
    ("smi-blackwell.xml", "channel_repair_pending>No<", "channel_repair_pending>Yes<", {"repair-pending": "drain"}),
    ("smi-blackwell.xml", "hw_thermal_slowdown>Not Active<", "hw_thermal_slowdown>Active<", {"hot": "watch"}),
    ("smi-blackwell.xml", "brake_slowdown>Not Active<", "brake_slowdown>Active<", {"power-brake": "watch"}),
    ("smi-blackwell.xml", "sw_power_cap>Not Active<", "sw_power_cap>Active<", {}),
    ("smi-blackwell.xml", "<state>N/A<", "<state>In Progress<", {"fabric": "watch"}),
    ("smi-blackwell.xml", "<state>N/A<", "<state>Completed<", {}),
    ("smi-blackwell.xml", "current_ecc>Disabled<", "current_ecc>Unknown Error<", {"gpu-half-readable": "watch"}),
    ("smi-blackwell.xml", "gpu_temp>24 C<", "gpu_temp>ERR!<", {"gpu-unreadable": "drain"}),
    ("smi-a100-mig.xml", "_required>No<", "_required>Yes<", {"reset-required": "drain"}),
    ("smi-a100-mig.xml", "<dram_uncorrectable>0<", "<dram_uncorrectable>2<", {"ecc-uncorrectable-now": "watch"}),
    ("smi-a100-mig.xml", "<pending_retirement>N/A<", "<pending_retirement>Yes<", {"page-retirement-pending": "drain"}),
    (
        "smi-idle-clocks.txt",
        "HW Thermal Slowdown     : Not Active",
        "HW Thermal Slowdown     : Active",
        {"hot": "watch"},
    ),
    ("dcgm-l40s.prom", '"} 0\n# HELP DCGM_FI_PROF', '"} 1\n# HELP DCGM_FI_PROF', {"row-remap-failed": "drain"}),
    ("dcgm-a100.prom", 'pod=""} 0\n# HELP DCGM_FI_DEV_FB', 'pod=""} 79\n# HELP DCGM_FI_DEV_FB', {"xid-79": "drain"}),
    ("dcgm-a100.prom", 'pod=""} 0\n# HELP DCGM_FI_DEV_FB', 'pod=""} 94\n# HELP DCGM_FI_DEV_FB', {"xid-94": "watch"}),
    ("dcgm-a100.prom", 'pod=""} 0\n# HELP DCGM_FI_DEV_FB', 'pod=""} 9223372036854775794\n# HELP DCGM_FI_DEV_FB', {}),
    ("dcgm-a100.prom", 'pod=""} 0\n# HELP DCGM_FI_DEV_FB', 'pod=""} NaN\n# HELP DCGM_FI_DEV_FB', {}),
    ("dcgm-xid-count.prom", 'xid="42"', 'xid="94"', {"xid-94": "drain"}),
    ("kernel-nvswitch.log", "Non-fatal", "Fatal", {"nvswitch": "drain"}),
    ("kernel-memory-corrected.log", "1 CE", "1 UE", {"memory-uncorrected": "drain"}),
    ("kernel-cpu-hot.log", "CPU2: Core temperature/speed normal", "", {"cpu-hot": "watch"}),
]


@pytest.mark.parametrize(("name", "healthy", "sick", "expected"), CHANGED)
def test_one_value_changed(name: str, healthy: str, sick: str, expected: dict[str, str]) -> None:
    told = text(name)
    assert healthy in told
    assert seen(read(name, told.replace(healthy, sick, 1))) == expected


def test_every_rule_is_tried_by_a_recording_or_a_changed_one() -> None:
    tried = {rule for expected in SAID.values() for rule in expected} | {rule for *_, one in CHANGED for rule in one}
    of_dcgm = {"nvlink-errors": "DCGM_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL"}
    for rule, metric in of_dcgm.items():
        assert [mark.id for mark in judge("GPU 0", [(metric, "3")], "dcgm")] == [rule]
    life_long: list[tuple[Form, str]] = [
        ("xml", "remapped_rows/remapped_row_unc"),
        ("dcgm", "DCGM_FI_DEV_ECC_DBE_AGG_TOTAL"),
    ]
    for form, field in life_long:
        assert [mark.verdict for mark in judge("GPU 0", [(field, "5")], form)] == ["healthy"]
    assert {rule.id for rule in load_rules()} == (tried & {rule.id for rule in load_rules()}) | {
        *of_dcgm, "ecc-uncorrectable-ever",
    }  # fmt: skip


@pytest.mark.parametrize(("bits", "expected"), [(0x1, []), (0x4, []), (0x40, ["hot"]), (0xA0, ["hot", "power-brake"])])
def test_the_bits_of_the_clocks_event_reasons(bits: int, expected: list[str]) -> None:
    marks = judge("GPU 0", [("DCGM_FI_DEV_CLOCKS_EVENT_REASONS", str(bits))], "dcgm")
    assert [mark.id for mark in marks] == expected


@pytest.mark.parametrize(
    ("printed", "value"),
    [("12", 12), ("85 C", 85), ("Yes", 1), ("Not Active", 0), ("N/A", None), ("-5 C", -5), ("9.2e18", None),
     ("9223372036854775794", None), ("2147483632", None), ("", None), ("None", None)],
)  # fmt: skip
def test_figures_as_they_are_printed(printed: str, value: float | None) -> None:
    assert number(printed) == value


def test_one_spelling_for_a_gpus_address() -> None:
    assert {bus(one) for one in ("00000000:9B:00.0", "0000:9b:00", "PCI:0000:9b:00", "0000:9b:00.0")} == {"0000:9b:00"}


# Time, links that come back, resets


def test_lines_from_before_a_moment_do_not_count() -> None:
    log = text("kernel-gsp-timeout.log")
    assert not kernel.read(log, "log", NOW, datetime(2025, 2, 24), None).marks
    late = kernel.read(log, "log", NOW, datetime(2025, 2, 23, 16, 27), None).marks
    assert [mark.evidence[:26] for mark in late] == ["[Sun Feb 23 16:27:12 2025]"]


@pytest.mark.parametrize(
    ("line", "when"),
    [
        ("[Sun Feb 23 16:24:18 2025] x", datetime(2025, 2, 23, 16, 24, 18)),
        ("Feb 14 05:03:41 node kernel: x", datetime(2026, 2, 14, 5, 3, 41)),
        ("Dec 24 05:03:41 node kernel: x", datetime(2025, 12, 24, 5, 3, 41)),
        ("Feb 29 05:03:41 node kernel: x", None),
        ("2025-02-23T16:24:18 node kernel: x", datetime(2025, 2, 23, 16, 24, 18)),
        ("[  90.5] x", datetime(2026, 11, 1, 0, 1, 30)),
        ("NVRM: x", None),
    ],
)
def test_when_a_line_was_written(line: str, when: datetime | None) -> None:
    assert kernel.moment(line, NOW, datetime(2026, 11, 1)) == when


def test_a_time_with_a_zone_is_this_machines_time() -> None:
    read_back = kernel.moment("2025-02-23T16:24:18,123456+00:00 x", NOW, None)
    assert read_back == datetime.fromisoformat("2025-02-23T16:24:18+00:00").astimezone().replace(tzinfo=None)


def test_a_link_that_came_back_counts_only_when_it_does_so_again_and_again() -> None:
    down = "mlx5_core 0000:08:00.0 mlx5_0: Port: 1 Link DOWN"
    up = "mlx5_core 0000:08:00.0 mlx5_0: Port: 1 Link ACTIVE"
    other = "mlx5_core 0000:09:00.0 mlx5_1: Port: 1 Link ACTIVE"

    def said(*lines: str) -> list[tuple[str, str]]:
        marks = kernel.read("\n".join(lines), "log", NOW, LONG_AGO, None).marks
        return [(mark.verdict, mark.where) for mark in marks]

    assert said(down, up) == []
    assert said(up, down, other) == [("drain", "mlx5_0")]
    assert said(*[down, up] * 3) == [("watch", "mlx5_0")]
    assert "3 times" in kernel.read("\n".join([down, up] * 3), "log", NOW, LONG_AGO, None).marks[0].summary


def test_what_a_reset_settles_is_only_watched_once_the_driver_asks_for_none() -> None:
    log = read("kernel-gsp-timeout.log").marks[:1]
    at_work = Readout("log", tuple(replace(mark, where="GPU 0000:61:00") for mark in log))
    smi_fine = read("smi-blackwell.xml")
    smi_sick = read("smi-blackwell.xml", text("smi-blackwell.xml").replace("action>None<", "action>Reset<"))

    def verdicts(*readouts: Readout) -> list[str]:
        return [sign.verdict for sign in signs_of(node(), Telemetry(readouts))]

    assert verdicts(at_work) == ["drain"]
    assert verdicts(at_work, smi_fine) == ["watch"]
    assert verdicts(at_work, smi_sick) == ["drain", "drain"]
