"""The command-line backend on the real Slurm: what is asked is what Slurm has, and what fails says so truly."""

from __future__ import annotations

import random
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tools.slurm.backend import Operation
from tools.slurm.cli import CliBackend
from tools.slurm.errors import (
    UnknownName,
)
from tools.slurm.models import JobQuery
from tools.slurm.sandbox import Sandbox

# Option → (values, what `scontrol show job` must then say). Each case takes some of them.
ASKED: dict[str, tuple[Sequence[Any], str]] = {
    "job_name": (("train", "a b=c", "x,y'z"), "JobName={}"),
    "partition": (("gpu", "long"), "Partition={}"),
    "account": (("vision", "physics"), "Account={}"),
    "qos": (("ai-train", "normal"), "QOS={}"),
    "nodes": ((1, 2), "NumNodes={0}-{0}"),
    "ntasks_per_node": ((2, 4), "NtasksPerN:B:S:C={}:0:*:*"),
    "time_limit": (("1-00:00:00", "02:30:00"), "TimeLimit={}"),
    "constraint": (("ib&nvlink", "a100|h100"), "Features={}"),
    "switches": ((2,), "Switches={}@"),
    "exclusive": ((True,), "OverSubscribe=NO"),
    "array": (("0-9%3", "1,3,5", "0-8:4"), "ArrayTaskId="),
    "output": (("out-%x.txt",), "StdOut="),
    "error": (("err.txt",), "StdErr="),
    "licenses": (("matlab:1", "ansys:2,matlab:1"), ""),
    "requeue": ((True, False), "Requeue={:d}"),
    "comment": (("two words", "k=v, and $HOME"), "Comment={}"),
    "mail_type": (("BEGIN,END",), "MailType=BEGIN,END"),
    "exclude": (("gpu-node05",), "ExcNodeList={}"),
}
# One of each of these groups at a time: Slurm takes no two of them together.
GPUS: tuple[tuple[dict[str, Any], str], ...] = (
    ({}, ""),
    ({"gpus": 4}, "TresPerJob=gres:gpu:4"),
    ({"gpus": 8, "gpu_type": "h100"}, "TresPerJob=gres:gpu:h100:8"),
    ({"gpus_per_node": 2}, "TresPerNode=gres:gpu:2"),
    ({"gpus_per_node": 8, "gpu_type": "a100"}, "TresPerNode=gres:gpu:a100:8"),
    ({"gpu_type": "h100"}, "TresPerJob=gres:gpu:h100:1"),
    ({"gpus_per_node": 2, "cpus_per_gpu": 4}, "CpusPerTres=gres:gpu:4"),
    ({"gpus_per_node": 1, "mem_per_gpu": "20G"}, "MemPerTres=gres:gpu:20480"),
)
MEMORY: tuple[tuple[dict[str, Any], str], ...] = (
    ({}, ""),
    ({"mem": "100G"}, "MinMemoryNode=100G"),
    ({"mem_per_cpu": "1500M"}, "MinMemoryCPU=1500M"),
)


@pytest.fixture
def slurm(clean_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliBackend:
    monkeypatch.chdir(tmp_path)  # where jobs leave their output
    return CliBackend()


def submit(backend: CliBackend, **fields: Any) -> str:
    fields = fields if "script" in fields else {"command": "sleep 60", **fields}
    return backend.perform(Operation("submit", "", fields)).id


def combinations(count: int) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """Seeded mixtures of options that one job may have together, with what Slurm must say of each."""
    chance = random.Random(2026)
    for _ in range(count):
        fields: dict[str, Any] = {}
        wanted = []
        for name in sorted(chance.sample(sorted(ASKED), chance.randint(1, 9))):
            values, said_of = ASKED[name]
            fields[name] = chance.choice(values)
            wanted.append(said_of.format(fields[name]) if "{" in said_of else said_of)
        gpus, said_of_gpus = chance.choice(GPUS)
        memory, said_of_memory = chance.choice(MEMORY[:1] if "mem_per_gpu" in gpus else MEMORY)
        if not {"cpus_per_gpu"} & gpus.keys() and chance.random() < 0.5:
            fields["cpus_per_task"] = chance.choice((2, 4))
            wanted.append(f"CPUs/Task={fields['cpus_per_task']}")
        yield fields | gpus | memory, [*wanted, said_of_gpus, said_of_memory]


def test_what_was_asked_is_what_slurm_has(slurm: CliBackend, tmp_path: Path) -> None:
    for fields, wanted in combinations(70):
        asked = {**fields, "begin": "now+1day", "working_directory": str(tmp_path)}
        job_id = submit(slurm, **asked)
        shown = subprocess.run(["scontrol", "show", "job", job_id], capture_output=True, text=True, check=True).stdout
        shown = re.sub("(Tres|Job|Node)=gres/gpu", "\\1=gres:gpu", shown)  # as 22.05 writes it
        lines = [line.strip() for line in shown.splitlines()]
        words = set(shown.split()) | set(lines)
        for word in wanted:
            assert any(word in line for line in lines), (word, asked, shown)
        _check_exact(fields, words, shown, tmp_path)
        assert slurm.job(job_id)[0].exclusive == ("exclusive" in fields)
        slurm.perform(Operation("cancel", job_id))


def _check_exact(fields: dict[str, Any], words: set[str], shown: str, directory: Path) -> None:
    """What is not one word of its own in Slurm's answer; and nothing that was not asked for."""
    assert f"WorkDir={directory}" in words
    if "licenses" in fields:
        [licenses] = re.findall(r"Licenses=(\S+)", shown)
        assert set(licenses.split(",")) == set(fields["licenses"].split(","))
    else:
        assert "Licenses=(null)" in words
    if "array" in fields:
        [tasks] = re.findall(r"ArrayTaskId=(\S+)", shown)
        assert tasks in (fields["array"], {"0-8:4": "0,4,8"}.get(fields["array"]))
    else:
        assert "ArrayTaskId" not in shown
    if "output" in fields:
        assert f"StdOut={directory}/out-{fields.get('job_name', 'sleep')}.txt" in shown
    asked_for_gpus = any(name in fields for name in ("gpus", "gpus_per_node", "gpu_type"))
    assert bool(re.search(r"TresPer\w+=\S*gpu", shown)) == asked_for_gpus
    assert ("Features=(null)" in words) == ("constraint" not in fields)
    assert ("Comment=" in shown) == ("comment" in fields)


def test_gpus_for_a_job_that_had_none(slurm: CliBackend) -> None:
    for first, wanted in (({}, ""), ({"gpu_type": "h100", "gpus": 2}, "h100"), ({"gpus_per_node": 1, "nodes": 2}, "")):
        job_id = submit(slurm, begin="now+1day", **first)
        slurm.perform(Operation("update_job", job_id, {"gpus": 6}))
        [job] = slurm.job(job_id)
        assert (job.gpus, job.gpu_type) == (6, wanted), first


def test_a_reservation_and_a_node(slurm: CliBackend) -> None:
    new = ["scontrol", "create", "reservation", "ReservationName=demo", "StartTime=now+1day", "Duration=60"]
    subprocess.run([*new, "Nodes=gpu-node03", "Users=root"], check=True, capture_output=True)
    [job] = slurm.job(submit(slurm, reservation="demo", nodelist="gpu-node03", partition="h100"))
    assert (job.reservation, job.raw["ReqNodeList"]) == ("demo", "gpu-node03")
    with pytest.raises(UnknownName, match="demo") as caught:
        submit(slurm, reservation="other")
    assert caught.value.valid == ("demo",)
    slurm.perform(Operation("cancel", job.id))
    subprocess.run(["scontrol", "delete", "ReservationName=demo"], check=True)


def test_the_jobs_environment_and_modules(slurm: CliBackend, tmp_path: Path) -> None:
    """Every value arrives as it was given, those that --export cannot carry too; a module that fails ends the job."""
    values = {
        "PLAIN": "3e-4",
        "COMMA": "a,b",
        "QUOTE": 'it\'s "x"',
        "LINES": "1\n2",
        "DOLLAR": "$HOME `id`",
        "EMPTY": "",
    }
    show = "; ".join(f'printf "%s|" "${name}"' for name in values)
    job_id = submit(slurm, command=show, environment=values, working_directory=str(tmp_path), output="env.txt")
    _until_ended(slurm, job_id)
    assert (tmp_path / "env.txt").read_text() == "".join(f"{value}|" for value in values.values())
    broken = submit(slurm, command="echo went on", modules=["no/such"], working_directory=str(tmp_path), output="m.txt")
    assert _until_ended(slurm, broken) == "FAILED"
    assert "went on" not in (tmp_path / "m.txt").read_text()


def test_a_script_from_a_file(slurm: CliBackend, tmp_path: Path) -> None:
    script = tmp_path / "train.sbatch"
    script.write_text('#!/bin/bash\n#SBATCH --time=7\n# a comment\n\necho "$A" "$B"\n')
    run = {"working_directory": str(tmp_path), "output": "out.txt", "script": str(script)}
    plain = submit(slurm, **run, environment={"A": "1"})
    [job] = slurm.job(plain)
    assert (job.name, job.time_limit, job.command) == ("train.sbatch", 420, str(script))
    assert _until_ended(slurm, plain) == "COMPLETED"
    hard = submit(slurm, **run, environment={"A": "1,2", "B": "3"})
    assert slurm.job(hard)[0].time_limit == 420
    _until_ended(slurm, hard)
    assert (tmp_path / "out.txt").read_text() == "1,2 3\n"


def test_a_job_that_shrank_is_one_job(slurm: CliBackend, tmp_path: Path) -> None:
    """Slurm then has a row of accounting for each size, and the use of both."""
    job_id = submit(slurm, nodes=3, working_directory=str(tmp_path))
    while slurm.job(job_id)[0].state != "RUNNING":
        time.sleep(0.1)
    slurm.perform(Operation("update_job", job_id, {"nodes": 1}))
    slurm.perform(Operation("cancel", job_id))
    assert _until_ended(slurm, job_id) == "CANCELLED"
    past = JobQuery(ids=(job_id,))
    deadline = time.monotonic() + 10
    while [(job.state, job.nodes) for job in slurm.history(past)] != [("CANCELLED", 1)]:
        assert time.monotonic() < deadline, slurm.history(past)
        time.sleep(0.2)


def test_rights_are_those_of_accounting(slurm: CliBackend) -> None:
    assert (slurm.admin_level("daemon"), slurm.coordinated_accounts("daemon")) == ("none", ())
    assert (slurm.admin_level("nobody-at-all"), slurm.coordinated_accounts("nobody-at-all")) == ("none", ())
    try:
        _sacctmgr("modify", "user", "daemon", "set", "AdminLevel=Operator")
        _sacctmgr("add", "coordinator", "accounts=vision,physics", "names=daemon")
        assert slurm.admin_level("daemon") == "operator"
        assert slurm.coordinated_accounts("daemon") == ("physics", "vision")
    finally:
        _sacctmgr("delete", "coordinator", "accounts=vision,physics", "names=daemon")
        _sacctmgr("modify", "user", "daemon", "set", "AdminLevel=None")


def _sacctmgr(*words: str) -> None:
    subprocess.run(["sacctmgr", "--immediate", *words], check=True, capture_output=True)


def _until_ended(slurm: CliBackend, job_id: str) -> str:
    deadline = time.monotonic() + 20
    while (state := slurm.job(job_id)[0].state) in ("PENDING", "RUNNING", "COMPLETING"):
        assert time.monotonic() < deadline, state
        time.sleep(0.1)
    return state
