"""The sandbox is a real Slurm: it starts fast, runs jobs, fails on purpose, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tools.slurm.sandbox import NODE_NAMES, DaemonFailed, MissingPackages, Sandbox, SandboxError, programs
from tools.slurm.sandbox.layout import layout_for


def slurm(box: Sandbox, *argv: str, cwd: Path | None = None, user: str | None = None) -> str:
    """Run one of Slurm's commands against `box`; stdout without the last newline, stderr if it failed."""
    env = os.environ | {"SLURM_CONF": str(box.conf)}
    done = subprocess.run(argv, env=env, cwd=cwd, user=user, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.strip() if done.returncode == 0 else f"failed: {done.stderr.strip()}"


def wait_until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not true within {seconds} s"
        time.sleep(0.1)


def state(box: Sandbox, job: str) -> str:
    return slurm(box, "squeue", "-h", "-t", "all", "-j", job, "-o", "%T")


def traces(box: Sandbox) -> list[str]:
    """Processes that name the sandbox's directories, found without the sandbox's own code."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            told = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            told += b" ".join(os.readlink(link).encode() for link in (entry / "cwd", *(entry / "fd").iterdir()))
            ended = "\nState:\tZ" in (entry / "status").read_text()
        except OSError:
            continue
        near = str(box.root).encode() in told or str(box.conf.parent).encode() in told
        if near and not ended and entry.name != str(os.getpid()):
            found.append(told.decode(errors="replace")[:200])
    return found


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Sandbox]:
    """A sandbox that only this test has, not started; with the shared SLURM_CONF out of sight."""
    box = Sandbox(tmp_path / "own", name="own")
    yield box
    box.down(remove=True)


def test_five_nodes_are_idle_with_their_gpus(clean_sandbox: Sandbox) -> None:
    status = clean_sandbox.status()
    assert status.running
    assert status.nodes == dict.fromkeys(NODE_NAMES, "idle")
    gres = slurm(clean_sandbox, "sinfo", "-h", "-N", "-p", "gpu,mig", "-o", "%N %G %c %f").splitlines()
    assert gres[0] == "gpu-node01 gpu:a100:8 64 a100,ib,nvlink"
    assert gres[3] == "gpu-node04 gpu:h100:8 64 h100,ib,nvlink"
    assert gres[4] == "gpu-node05 gpu:a100_3g.20gb:4,gpu:a100_1g.5gb:4 64 a100,mig"


def test_a_job_runs_on_two_nodes_with_its_qos(clean_sandbox: Sandbox, tmp_path: Path) -> None:
    script = "srun sh -c 'echo $SLURMD_NODENAME'"
    asked = ["-N2", "--gpus-per-node=h100:8", "--qos=ai-train", "--account=vision", "--switches=1", "-oout"]
    job = slurm(clean_sandbox, "sbatch", "--parsable", *asked, "--wrap", script, cwd=tmp_path)
    wait_until(lambda: state(clean_sandbox, job) == "COMPLETED")
    assert sorted((tmp_path / "out").read_text().split()) == ["gpu-node03", "gpu-node04"]
    recorded = ["sacct", "-nPX", "-j", job, "-o", "qos,account,state"]
    wait_until(lambda: slurm(clean_sandbox, *recorded) == "ai-train|vision|COMPLETED")


def test_slurm_refuses_or_holds_what_the_limits_forbid(clean_sandbox: Sandbox) -> None:
    assert "Invalid qos" in slurm(clean_sandbox, "sbatch", "--qos=gold", "--wrap", "true")
    assert "Invalid account" in slurm(clean_sandbox, "sbatch", "--account=gold", "--wrap", "true")
    job = slurm(clean_sandbox, "sbatch", "--parsable", "--qos=small", "--gpus=4", "-o/dev/null", "--wrap", "true")
    wait_until(lambda: slurm(clean_sandbox, "squeue", "-h", "-j", job, "-o", "%T %r") == "PENDING QOSGrpGRES")


def test_another_user_can_submit_where_slurm_allows_it(clean_sandbox: Sandbox) -> None:
    user = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    said = slurm(clean_sandbox, "srun", "-N2", "id", "-un", cwd=Path("/"), user=user if os.geteuid() == 0 else None)
    assert said.split() == [user, user]


def test_rest_answers_with_a_token_only(clean_sandbox: Sandbox) -> None:
    env = clean_sandbox.env()
    headers = {
        "X-SLURM-USER-NAME": pwd.getpwuid(os.geteuid()).pw_name,
        "X-SLURM-USER-TOKEN": env["SLURMRESTD_TOKEN"],
    }

    def get(path: str, sent: dict[str, str]) -> dict[str, object]:
        request = urllib.request.Request(env["SLURMRESTD_URL"] + path, headers=sent)
        with urllib.request.urlopen(request, timeout=10) as response:
            answer: dict[str, object] = json.load(response)
        return answer

    described = get("/openapi/v3", headers)["paths"]
    assert isinstance(described, dict)
    ping = max(path for path in described if path.startswith("/slurm/v") and path.rstrip("/").endswith("/ping"))
    assert get(ping, headers)["errors"] == []
    nodes = get(ping.replace("/ping", "/nodes"), headers)["nodes"]
    assert isinstance(nodes, list)
    assert sorted(node["name"] for node in nodes) == list(NODE_NAMES)
    with pytest.raises(urllib.error.HTTPError):
        get(ping.replace("/ping", "/nodes"), headers | {"X-SLURM-USER-TOKEN": "nonsense"})


def test_up_twice_keeps_every_daemon(clean_sandbox: Sandbox) -> None:
    before = clean_sandbox.status()
    assert clean_sandbox.up(accounting=True, rest=True).daemons == before.daemons
    assert clean_sandbox.export_line() == f"export SLURM_CONF={clean_sandbox.conf}"


def test_reset_empties_the_world(clean_sandbox: Sandbox, tmp_path: Path) -> None:
    box = clean_sandbox
    for argv in (
        ["-N2", "--wrap", "srun sleep 600"],
        ["--array=1-20", "--wrap", "sleep 600"],
        ["-H", "--wrap", "true"],
    ):
        slurm(box, "sbatch", "-o/dev/null", *argv, cwd=tmp_path)
    start = ["ReservationName=talk", "StartTime=now", "Duration=60", "Users=root", "Nodes=gpu-node04"]
    assert "talk" in slurm(box, "scontrol", "create", "reservation", *start)
    slurm(box, "scontrol", "update", "NodeName=gpu-node03", "State=DRAIN", "Reason=test")
    slurm(box, "scontrol", "update", "PartitionName=h100", "State=DOWN")
    wait_until(lambda: "RUNNING" in slurm(box, "squeue", "-h", "-o", "%T"))

    box.reset()

    assert slurm(box, "squeue", "-h") == ""
    assert slurm(box, "scontrol", "show", "reservation") == "No reservations in the system"
    assert set(slurm(box, "sinfo", "-h", "-o", "%a %T").splitlines()) == {"up idle"}


def test_faults_are_made_and_mended(clean_sandbox: Sandbox) -> None:
    box = clean_sandbox
    box.kill_slurmd("gpu-node02")
    assert box.status().missing == ("gpu-node02",)
    box.start_slurmd("gpu-node02")
    box.stop_controller()
    assert "Unable to contact slurm controller" in slurm(box, "squeue")
    assert box.status().nodes == {}
    box.start_controller()
    assert box.status().running
    assert box.status().nodes == dict.fromkeys(NODE_NAMES, "idle")
    with pytest.raises(SandboxError, match="no node 'gpu-node09': the sandbox has gpu-node01, "):
        box.kill_slurmd("gpu-node09")


def test_a_second_sandbox_lives_beside_and_goes_without_a_trace(sandbox: Sandbox, own: Sandbox, tmp_path: Path) -> None:
    began = time.monotonic()
    status = own.up(accounting=True)
    assert time.monotonic() - began < 20
    assert status.accounting
    assert not set(status.ports.values()) & set(sandbox.status().ports.values())
    assert slurm(own, "sacctmgr", "-nP", "show", "account", "format=account").split()[:3]

    job = slurm(own, "sbatch", "--parsable", "-o/dev/null", "--wrap", "setsid -f sleep 600; sleep 600", cwd=tmp_path)
    wait_until(lambda: state(own, job) == "RUNNING")
    assert slurm(sandbox, "squeue", "-h", "-o", "%Z").count(str(tmp_path)) == 0
    wait_until(lambda: any("sleep\x00600" in line for line in traces(own)))

    stopped = own.down()

    assert set(stopped) == set(status.daemons)
    assert traces(own) == []
    assert own.status().daemons == {}
    assert own.up().ports == status.ports
    assert slurm(own, "sacct", "-nXP", "-j", job, "-o", "state").startswith("CANCELLED")
    own.down(remove=True)
    assert not own.root.exists() and not own.conf.parent.exists()
    assert sandbox.status().running


def test_without_accounting_any_qos_is_taken(own: Sandbox, tmp_path: Path) -> None:
    assert own.up(accounting=False).nodes == dict.fromkeys(NODE_NAMES, "idle")
    job = slurm(own, "sbatch", "--parsable", "--qos=ai-train", "--account=vision", "--wrap", "true", cwd=tmp_path)
    wait_until(lambda: state(own, job) == "COMPLETED")


def test_down_ends_jobs_even_without_a_controller(own: Sandbox, tmp_path: Path) -> None:
    own.up(accounting=False)
    job = slurm(own, "sbatch", "--parsable", "--wrap", "sleep 600", cwd=tmp_path)
    wait_until(lambda: state(own, job) == "RUNNING")
    own.stop_controller()
    assert "slurmctld" not in own.down()
    assert traces(own) == []


def test_a_start_that_fails_says_why_and_leaves_nothing(own: Sandbox) -> None:
    own.up(accounting=False)
    own.down()
    (own.root / "state" / "clustername").write_text("somebody-elses")
    with pytest.raises(DaemonFailed, match="CLUSTER NAME MISMATCH") as failure:
        own.up(accounting=False)
    assert failure.value.daemon == "slurmctld"
    assert traces(own) == []


def test_missing_packages_are_listed_with_the_line_to_type(own: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(programs, "SYSTEM_PATHS", ())
    with pytest.raises(MissingPackages) as failure:
        own.up(accounting=True, rest=True)
    wanted = ["mariadb-server", "munge", "slurm-client", "slurm-wlm", "slurmdbd", "slurmrestd"]
    assert list(failure.value.packages) == wanted
    assert f"apt-get install --yes --no-install-recommends {' '.join(wanted)}" in str(failure.value)
    assert not own.root.exists()


def test_paths_fit_a_unix_socket_and_names_are_plain(tmp_path: Path) -> None:
    deep = layout_for(tmp_path / ("long-" * 30), "deep")
    assert len(str(deep.munge_socket)) < 100
    with pytest.raises(SandboxError, match=r"sandbox name '\.\./x'"):
        layout_for(None, "../x")


def test_a_directory_with_other_things_is_left_alone(own: Sandbox) -> None:
    (own.root / "log").mkdir(parents=True)
    with pytest.raises(SandboxError, match="is not a sandbox but has log in it"):
        own.up(accounting=False)
    (own.root / "log").rmdir()


def test_a_damaged_memory_is_named(own: Sandbox) -> None:
    own.root.mkdir()
    (own.root / "sandbox.json").write_text("{")
    with pytest.raises(SandboxError, match=r"sandbox\.json is damaged"):
        own.status()
    (own.root / "sandbox.json").unlink()
