"""Where a node's telemetry is read (this machine, an exporter, recorded files), and what the whole examination says."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from assistant.app import instruments
from assistant.config import load
from tests.fake_slurm import FakeSlurm
from tests.read_tools import Desk
from tests.test_telemetry import LONG_AGO, NOW, RECORDINGS, node, seen, text
from tools import health
from tools.base import Caller, ToolContext
from tools.nodes import DiagnoseNode, NodeArguments
from tools.slurm.models import Gpus, Node
from tools.telemetry import Sources, dcgm, gather, is_here, kernel, signs_of

HERE = socket.gethostname()


@pytest.fixture
def exporter() -> Iterator[str]:
    """The URL template of an HTTP server that serves the recordings, and trouble under other names."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            known = (RECORDINGS / name).is_file()
            self.send_response(302 if name == "moved" else 200 if known or name == "page" else 404)
            self.send_header("Location", "/dcgm-l40s.prom")
            self.end_headers()
            self.wfile.write(text(name).encode() if known else b"<html>not metrics</html>")

        def log_message(self, *_: Any) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/{{node}}"
    server.shutdown()
    server.server_close()
    thread.join()


def gathered(one: Node, sources: Sources) -> tuple[list[str], list[str]]:
    """(verdicts, notes)."""
    telemetry = gather(one, [one], sources, NOW, LONG_AGO)
    return [sign.verdict for sign in signs_of(one, telemetry)], list(telemetry.notes)


def test_an_exporter_is_read_by_url(exporter: str) -> None:
    assert gathered(node("dcgm-l40s.prom"), Sources(metrics_url=exporter)) == ([], [])
    assert gathered(node("dcgm-xid-count.prom"), Sources(metrics_url=exporter)) == (["watch"], [])
    missing = gathered(node("dcgm-a100.prom", gpus=8), Sources(metrics_url=exporter))
    assert missing == (["drain"], [])


@pytest.mark.parametrize(
    ("name", "why"),
    [("absent", "answered 404"), ("moved", "answered 302"), ("page", "no Prometheus text"),
     ("kernel-ib-down.log", "no Prometheus text")],
)  # fmt: skip
def test_an_exporter_that_gives_no_metrics_is_a_note(exporter: str, name: str, why: str) -> None:
    verdicts, notes = gathered(node(name), Sources(metrics_url=exporter))
    assert not verdicts
    assert len(notes) == 1 and why in notes[0] and exporter.replace("{node}", name) in notes[0]


def test_an_exporter_that_is_not_there_is_a_note() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/metrics"
    assert url in gathered(node(), Sources(metrics_url=url))[1][0]
    assert "gave no metrics" in gathered(node(), Sources(metrics_url="nonsense"))[1][0]


def test_one_url_for_many_nodes_is_told_apart_by_host() -> None:
    two = text("dcgm-xid-count.prom") + text("dcgm-l40s.prom").replace('Hostname="node"', 'Hostname="other.site"')
    assert seen(dcgm.read(two, "url", "node")) == {"xid-42": "watch"}
    assert seen(dcgm.read(two, "url", "other")) == {}


def test_recorded_files_are_read_for_the_node_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "gpu-node01.txt").write_text(text("smi-a100-remap-pending.txt"))
    (tmp_path / "gpu-node01.log").write_text(text("kernel-bus-79.log"))
    sources = Sources(smi_file=f"{tmp_path}/{{node}}.txt", kernel_log=f"{tmp_path}/{{node}}.log")

    assert gathered(node(gpus=8), sources) == (["drain", "drain"], [])
    telemetry = gather(node(), [node()], sources, NOW, LONG_AGO)
    assert [sign.label for sign in signs_of(node(), telemetry)] == ["gpu_fell_off_bus", "gpu_xid_ecc"]
    verdicts, notes = gathered(node("gpu-node02"), sources)
    assert not verdicts
    assert ["gpu-node02.txt" in notes[0], "gpu-node02.log" in notes[1]] == [True, True]


def test_broken_output_is_a_note(tmp_path: Path) -> None:
    path = tmp_path / "smi"
    for broken in ("", "command not found", text("smi-blackwell.xml").replace("</gpu>", "")):
        path.write_text(broken)
        verdicts, notes = gathered(node(), Sources(smi_file=str(path)))
        assert not verdicts and "telemetry: " in notes[0], broken


def test_another_machine_without_a_source_is_said() -> None:
    assert gathered(node(), Sources()) == (
        [],
        ["no GPU telemetry of gpu-node01: this is not that machine, and no source is set for it"],
    )
    assert gathered(node(gpus=0), Sources()) == ([], [])


def test_a_machine_that_plays_several_nodes_is_none_of_them() -> None:
    here, twin = node("n1", raw={"NodeHostName": HERE}), node("n2", raw={"NodeHostName": HERE})
    assert is_here(here, [here, node("n3")])
    assert not is_here(here, [here, twin])
    assert is_here(node(HERE), [])
    assert not is_here(node("n3"), [])


# On this machine


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that alone is searched for programs: what lies there answers, nothing else does."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def prints(recording: str) -> str:
    return f"/bin/cat '{RECORDINGS / recording}'"


def test_this_machine_is_asked(programs: Path) -> None:
    program(programs, "nvidia-smi", f'[ "$*" = "-q -x" ] || exit 2\n{prints("smi-blackwell.xml")}')
    program(programs, "journalctl", "echo 'No journal files were opened due to insufficient permissions.' >&2; exit 1")
    program(programs, "dmesg", prints("kernel-bus-79.log"))

    telemetry = gather(node(HERE), [node(HERE)], Sources(), NOW, LONG_AGO)
    assert [readout.source for readout in telemetry.readouts] == ["nvidia-smi -q -x", " ".join(kernel.DMESG)]
    assert {sign.verdict for sign in signs_of(node(HERE), telemetry)} == {"drain"}
    assert not telemetry.notes


def test_a_gpu_that_is_gone_is_missed(programs: Path) -> None:
    program(programs, "nvidia-smi", prints("smi-blackwell.xml"))
    program(programs, "journalctl", "echo '2026-11-21T11:00:00+0000 node kernel: all is well'")

    signs = signs_of(node(HERE, gpus=8), gather(node(HERE, gpus=8), [], Sources(), NOW, LONG_AGO))
    assert [(sign.verdict, sign.summary) for sign in signs] == [
        ("drain", "nvidia-smi -q -x shows 1 GPUs, Slurm counts on 8")
    ]
    mig = replace(node(HERE), gpus=(Gpus("a100_3g.20gb", 8),))
    assert not signs_of(mig, gather(mig, [], Sources(), NOW, LONG_AGO))


def test_what_this_machine_refuses_is_a_note(programs: Path) -> None:
    program(programs, "dmesg", "echo 'dmesg: read kernel buffer failed: Operation not permitted' >&2; exit 1")
    telemetry = gather(node(HERE), [], Sources(), NOW, LONG_AGO)

    assert not telemetry.readouts
    assert ["nvidia-smi" in telemetry.notes[0], "Operation not permitted" in telemetry.notes[1]] == [True, True]


def test_an_nvidia_smi_that_hangs_is_left_alone(programs: Path) -> None:
    program(programs, "nvidia-smi", "exec /bin/sleep 600")
    program(programs, "journalctl", "echo kernel: fine")
    telemetry = gather(node(HERE), [], Sources(seconds=0.3), NOW, LONG_AGO)

    assert "gave no answer" in telemetry.notes[0]


# The whole examination


def examined(fake: FakeSlurm, name: str, sources: Sources) -> dict[str, Any]:
    ctx = ToolContext(fake, Caller("alice", "operator"), fake.now)
    return health.examine(fake.cluster_nodes[name], ctx, sources)


def test_a_drain_is_proposed_with_the_command_and_the_jobs_it_touches(tmp_path: Path) -> None:
    fake = FakeSlurm()
    job = fake.submit_as("bob", command="true", nodes=1, gpus_per_node=8, gpu_type="a100")
    placed = fake.jobs[job].node_list
    log = tmp_path / "kernel.log"
    log.write_text(text("kernel-bus-79.log"))
    data = examined(fake, placed, Sources(kernel_log=str(log)))

    reason = data["call"]["arguments"]["reason"]
    assert data["verdict"] == "drain"
    assert reason.startswith("Xid 79: ") and "GPU 0000:06:00" in reason
    assert data["call"] == {"tool": "drain_node", "arguments": {"nodes": placed, "reason": reason}}
    assert data["drain"]["command"] == f"scontrol update NodeName={placed} State=DRAIN 'Reason={reason}'"
    assert re.match(rf"{job} of bob until ", data["drain"]["running"][0])
    assert data["findings"][0]["evidence"][0] == text("kernel-bus-79.log").splitlines()[2]
    assert data["telemetry"] == [str(log)]


def test_a_program_at_fault_leaves_the_node_healthy(tmp_path: Path) -> None:
    log = tmp_path / "kernel.log"
    log.write_text(
        "\n".join(text("kernel-program.log").splitlines()[:3]).replace("2024", "2026").replace("Aug 30", "Nov 20")
    )
    data = examined(FakeSlurm(), "gpu-node01", Sources(kernel_log=str(log)))

    assert data["verdict"] == "healthy"
    assert data["summary"] == "gpu-node01 is IDLE; nothing speaks against it"
    assert data["findings"][0]["summary"].startswith("Xid 13: ")
    assert "call" not in data and "drain" not in data


def test_the_tool_says_that_it_has_no_telemetry(tmp_path: Path) -> None:
    fake = FakeSlurm()
    data = Desk(tmp_path, fake, "alice", now=fake.now).data("diagnose_node", node="gpu-node01")

    assert data["verdict"] == "healthy"
    assert "no GPU telemetry of gpu-node01" in data["notes"][0]
    assert "telemetry" not in data


def test_the_settings_reach_the_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gpu-node01.log").write_text(text("kernel-ib-down.log"))
    monkeypatch.setenv("SASK_CONFIG", str(tmp_path / "none.toml"))
    monkeypatch.setenv("SASK_NODE_KERNEL_LOG", f"{tmp_path}/{{node}}.log")
    fake, tool = FakeSlurm(), DiagnoseNode()
    ctx = ToolContext(fake, Caller("alice", "operator"), fake.now, instruments(load()))

    data = tool.run(NodeArguments(node="gpu-node01"), ctx).data
    assert (data["verdict"], data["findings"][0]["label"]) == ("drain", "ib_link_down")
