"""resize_job, update_job, drain_node and resume_node on a real Slurm."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.write_tools import Bench, bench_here, outcomes, targets
from tools.base import Outcome
from tools.picking import Picked
from tools.sizes import time_change
from tools.slurm.errors import InvalidRequest, LimitRefused, PermissionRefused, UnknownJob, UnknownName
from tools.slurm.sandbox import Sandbox

LATER = {"begin": "now+1hour"}
SKIPPED = Outcome.SKIPPED
HOUR = 3600


@pytest.fixture
def bench(clean_sandbox: Sandbox) -> Bench:
    return bench_here()


def test_a_pending_job_takes_any_size_within_its_partition(bench: Bench) -> None:
    job = bench.submit(nodes=1, **LATER)
    owner = bench.ctx(bench.user, "none")
    plan, seen = bench.do("resize_job", ctx=owner, job_id=job, nodes=3, time_limit="+6:00:00")
    now = bench.job(job)
    assert (now.nodes, now.time_limit) == (3, 7 * HOUR) and len(plan.operations) == 1
    assert plan.before["changes"] == [
        {"field": "nodes", "before": 1, "after": 3},
        {"field": "time_limit", "before": "01:00:00", "after": "07:00:00"},
    ]
    assert seen["jobs"][0]["time_limit"] == "07:00:00"
    assert plan.undo == (f"scontrol update JobId={job} NumNodes=1-1 TimeLimit=01:00:00",)
    bench.do("resize_job", ctx=owner, job_id=job, nodes=2, time_limit="-0:30:00")
    assert (bench.job(job).nodes, bench.job(job).time_limit) == (2, 6.5 * HOUR)


def test_beyond_the_partition(bench: Bench) -> None:
    job, owner = bench.submit(**LATER), bench.ctx(bench.user, "none")
    with pytest.raises(InvalidRequest, match=r"more than partition gpu has or allows \(4\)"):
        bench.plan("resize_job", job_id=job, nodes=5)
    with pytest.raises(LimitRefused, match="2-00:00:00 at most"):
        bench.plan("resize_job", ctx=owner, job_id=job, time_limit="3-00:00:00")
    assert any("stay pending" in note for note in bench.plan("resize_job", job_id=job, time_limit="3-00:00:00").notes)
    short = bench.submit(qos="interactive", **LATER)
    assert any("MaxWall" in note for note in bench.plan("resize_job", job_id=short, time_limit="5:00:00").notes)


def test_a_running_job_shrinks_and_never_grows(bench: Bench) -> None:
    job = bench.submit(nodes=3)
    bench.wait(job, "RUNNING")
    with pytest.raises(InvalidRequest, match="cannot add nodes to a running job"):
        bench.plan("resize_job", job_id=job, nodes=4)
    plan, _ = bench.do("resize_job", job_id=job, nodes=1, time_limit="+0:30:00")
    assert (bench.job(job).nodes, bench.job(job).time_limit) == (1, 1.5 * HOUR) and len(plan.operations) == 1
    assert any("_resize.sh" in note for note in plan.notes) and any("cannot be had again" in line for line in plan.undo)
    assert outcomes(bench.plan("resize_job", job_id=job, nodes=1)) == {job: (SKIPPED, "already")}


def test_only_an_operator_gives_a_running_job_more_time(bench: Bench) -> None:
    job, owner = bench.submit(time_limit="02:00:00"), bench.ctx(bench.user, "none")
    bench.wait(job, "RUNNING")
    with pytest.raises(PermissionRefused, match=r"limit of 02:00:00: only an operator"):
        bench.plan("resize_job", ctx=owner, job_id=job, time_limit="+6:00:00")
    plan, _ = bench.do("resize_job", ctx=owner, job_id=job, time_limit="-1:00:00")
    assert bench.job(job).time_limit == HOUR and "only by an operator" in plan.undo[0]
    bench.do("resize_job", job_id=job, time_limit="+6:00:00")
    assert bench.job(job).time_limit == 7 * HOUR


def test_a_limit_below_the_elapsed_time_ends_the_job(bench: Bench) -> None:
    running = replace(bench.job(bench.submit(**LATER)), state="RUNNING", elapsed=1800, node_list="gpu-node01")
    change = time_change(Picked(running.id, (running,)), "00:10:00", bench.ctx())
    assert any("00:30:00 already" in note and "at once" in note for note in change.notes)
    assert not time_change(Picked(running.id, (running,)), "00:40:00", bench.ctx()).notes


def test_changes_of_a_limit_that_make_no_sense(bench: Bench) -> None:
    job = bench.submit(**LATER)
    with pytest.raises(InvalidRequest, match="leaves nothing"):
        bench.plan("resize_job", job_id=job, time_limit="-1:00:00")
    assert outcomes(bench.plan("resize_job", job_id=job, time_limit="01:00:00")) == {job: (SKIPPED, "already")}
    bench.do("resize_job", job_id=job, time_limit="unlimited")
    with pytest.raises(InvalidRequest, match="no time limit"):
        bench.plan("resize_job", job_id=job, time_limit="+1:00:00")
    with pytest.raises(UnknownJob, match="999999"):
        bench.plan("resize_job", job_id="999999", nodes=1)
    bench.do("cancel_jobs", job_ids=[job])
    with pytest.raises(InvalidRequest, match="CANCELLED"):
        bench.plan("resize_job", job_id=job, nodes=1)
    with pytest.raises(PermissionRefused, match="games is none of them"):
        bench.plan("resize_job", ctx=bench.ctx("games"), job_id=bench.submit(**LATER), nodes=2)


def test_an_array_with_tasks_that_run_and_tasks_that_wait(bench: Bench) -> None:
    array, owner = bench.submit(array="1-4%1"), bench.ctx(bench.user, "none")
    bench.wait(f"{array}_1", "RUNNING")
    with pytest.raises(PermissionRefused, match=rf"changed alone: {array}_\[2-4\]"):
        bench.plan("resize_job", ctx=owner, job_id=array, time_limit="+1:00:00")
    bench.do("resize_job", ctx=owner, job_id=f"{array}_[2-4]", time_limit="+1:00:00")
    assert (bench.job(f"{array}_1").time_limit, bench.job(f"{array}_3").time_limit) == (HOUR, 2 * HOUR)
    with pytest.raises(InvalidRequest, match="several limits"):
        bench.plan("resize_job", job_id=array, time_limit="+1:00:00")
    with pytest.raises(InvalidRequest, match="name one task"):
        bench.plan("resize_job", job_id=array, nodes=2)
    both = bench.plan("resize_job", job_id=array, time_limit="03:00:00")
    assert f"JobId={array}_1 TimeLimit=01:00:00" in both.undo[0] and f"{array}_[2-4] TimeLimit=02:" in both.undo[0]
    part, _ = bench.do("update_job", job_id=array, qos="ai-train")
    assert targets(part) == [f"{array}_[2-4]"] and any("only the tasks" in note for note in part.notes)
    assert (bench.job(f"{array}_1").qos, bench.job(f"{array}_3").qos) == ("normal", "ai-train")


def test_update_a_pending_job_and_take_it_back(bench: Bench) -> None:
    first = bench.submit(**LATER)
    job = bench.submit(gpus_per_node=2, mem="8G", constraint="a100", **LATER)
    before = bench.job(job)
    plan, seen = bench.do(
        "update_job", job_id=job, partition="long", qos="ai-train", account="vision", nice=7, gpus=4, mem="16G",
        dependency=f"afterok:{first}", job_name="renamed", begin="now+2hours", constraint="h100",
    )  # fmt: skip
    now = bench.job(job)
    assert (now.partition, now.qos, now.account, now.nice, now.name) == ("long", "ai-train", "vision", 7, "renamed")
    assert (now.gpus, now.mem_mb, now.constraint) == (4, 16384, "h100") and now.dependency.startswith(
        f"afterok:{first}"
    )
    assert now.eligible_time and now.submit_time
    assert now.eligible_time - now.submit_time > timedelta(minutes=119)
    assert seen["values"]["mem"] == "16G" and seen["values"]["dependency"] == f"afterok:{first}"
    subprocess.run(shlex.split(plan.undo[0]), check=True)
    back = bench.job(job)
    for name in ("partition", "qos", "account", "nice", "name", "gpus", "mem_mb", "constraint", "dependency"):
        assert getattr(back, name) == getattr(before, name), name
    bench.do("update_job", job_id=job, dependency=f"afterany:{first}")
    bench.do("update_job", job_id=job, dependency="")
    assert bench.job(job).dependency == ""


def test_memory_per_cpu_is_taken_back_by_hand(bench: Bench) -> None:
    plan = bench.plan("update_job", job_id=bench.submit(mem_per_cpu="2G", **LATER), mem="16G")
    assert plan.before["changes"][0]["before"] == "2G per CPU" and "MinMemoryCPU=2048" in plan.undo[0]


def test_update_checks_names_states_and_rights(bench: Bench) -> None:
    job, runs, owner = bench.submit(**LATER), bench.submit(), bench.ctx(bench.user, "none")
    bench.wait(runs, "RUNNING")
    for wrong, valid in (
        ({"partition": "no-such"}, "gpu, h100"),
        ({"qos": "no-such"}, "ai-train"),
        ({"account": "no-such"}, "vision"),
        ({"constraint": "a100|no-such"}, "nvlink"),
    ):
        with pytest.raises(UnknownName, match=rf"no-such'.*valid: .*{valid}"):
            bench.plan("update_job", job_id=job, **wrong)
    with pytest.raises(UnknownJob, match="dependency afterok:999999"):
        bench.plan("update_job", job_id=job, dependency="afterok:999999")
    with pytest.raises(InvalidRequest, match="partition can only be changed while it is pending"):
        bench.plan("update_job", job_id=runs, partition="long")
    with pytest.raises(PermissionRefused, match="below 0"):
        bench.plan("update_job", ctx=owner, job_id=job, nice=-5)
    bench.do("update_job", job_id=runs, job_name="other")
    assert bench.job(runs).name == "other"
    assert outcomes(bench.plan("update_job", job_id=runs, job_name="other")) == {runs: (SKIPPED, "already")}
    assert any("allows (00:30:00)" in note for note in bench.plan("update_job", job_id=job, partition="debug").notes)


def test_drain_and_resume(bench: Bench) -> None:
    job = bench.submit(nodelist="gpu-node02")
    bench.wait(job, "RUNNING")
    bench.do("drain_node", nodes="gpu-node01", reason="Xid 79")
    plan, seen = bench.do("drain_node", nodes="gpu-node[01-02]")
    assert targets(plan) == ["gpu-node02"] and outcomes(plan) == {"gpu-node01": (SKIPPED, "already")}
    assert "Xid 79" in plan.skipped[0].message and plan.undo == ("scontrol update NodeName=gpu-node02 State=RESUME",)
    assert (plan.blast.jobs, plan.blast.nodes, plan.blast.users) == (1, 1, (bench.user,))
    assert plan.before["jobs"][0]["job_id"] == job and any("via sask" in note for note in plan.notes)
    assert "DRAIN" in seen["nodes"][0]["state"] and f"drained by {bench.user} via sask" in seen["nodes"][0]["reason"]
    assert bench.job(job).state == "RUNNING"
    plan, seen = bench.do("resume_node", nodes="gpu-node[01-03]")
    assert targets(plan) == ["gpu-node01", "gpu-node02"] and outcomes(plan) == {"gpu-node03": (SKIPPED, "already")}
    assert all("DRAIN" not in row["state"] for row in seen["nodes"]) and "'Reason=Xid 79'" in plan.undo[0]


def test_nodes_need_an_administrator_and_real_names(bench: Bench) -> None:
    for tool in ("drain_node", "resume_node"):
        with pytest.raises(UnknownName, match=r"gpu-node99'; valid: gpu-node01"):
            bench.plan(tool, nodes="gpu-node[01,99]")
        with pytest.raises(PermissionRefused, match="AdminLevel=Administrator"):
            bench.plan(tool, ctx=bench.ctx("games", "operator"), nodes="gpu-node01")
