"""cancel_jobs and control_jobs on a real Slurm."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.fake_slurm import FakeSlurm
from tests.write_tools import Bench, bench_here, outcomes, targets
from tools.base import Outcome
from tools.impact import blast_of
from tools.picking import Picked, array_id, covers, task_numbers
from tools.slurm.errors import AccountingUnavailable, InvalidRequest, PermissionRefused, SlurmUnreachable, UnknownName
from tools.slurm.sandbox import Sandbox

LATER = {"begin": "now+1hour"}
FAILED, SKIPPED, DENIED = Outcome.FAILED, Outcome.SKIPPED, Outcome.DENIED


@pytest.fixture
def bench(clean_sandbox: Sandbox) -> Bench:
    return bench_here()


@pytest.mark.parametrize(
    ("asked", "record", "is_covered"),
    [
        ("12", "12", True),
        ("12", "12_4", True),
        ("12", "123", False),
        ("12_4", "12_[1-9%2]", True),
        ("12_4", "12_[5-9]", False),
        ("12_[1-3]", "12_3", True),
        ("12_[0-8:4]", "12_4", True),
        ("12_[0-8:4]", "12_6", False),
        ("12+1", "12+1", True),
        ("12+1", "12+0", False),
    ],
)
def test_which_records_an_id_covers(asked: str, record: str, is_covered: bool) -> None:
    assert covers(asked, record) is is_covered


def test_tasks_are_folded_into_arrays_notation() -> None:
    assert array_id("12_[1-9%2]", {1, 2, 3, 7}) == "12_[1-3,7]"
    assert array_id("12", {4}) == "12_4"
    assert task_numbers("12_[1-3,7%2]") == {1, 2, 3, 7} and task_numbers("12") is None


def test_cancel_gives_every_id_its_outcome(bench: Bench) -> None:
    runs, ended, waits = bench.submit(nodes=2), bench.submit(command="true"), bench.submit(**LATER)
    after, anyhow = bench.submit(dependency=f"afterok:{runs}"), bench.submit(dependency=f"afterany:{runs}")
    chained = bench.submit(dependency=f"afterany:{after}")
    bench.wait(runs, "RUNNING")
    bench.wait(ended, "COMPLETED")
    plan, seen = bench.do("cancel_jobs", job_ids=[runs, waits, ended, "999999"])
    assert targets(plan) == [runs, waits]
    assert outcomes(plan) == {ended: (SKIPPED, "already_ended"), "999999": (FAILED, "unknown_job")}
    assert plan.blast.dependents == (after, chained)
    assert any(anyhow in note for note in plan.notes)
    assert (plan.blast.jobs, plan.blast.tasks, plan.blast.users) == (2, 2, (bench.user,))
    assert plan.blast.nodes == 2
    assert any("cannot be undone" in line for line in plan.undo)
    assert {row["state"] for row in seen["jobs"]} <= {"CANCELLED", "COMPLETING"} and seen["total"] == 2


def test_cancel_counts_the_node_hours_that_are_lost(bench: Bench) -> None:
    job = replace(bench.job(bench.submit(**LATER)), state="RUNNING", nodes=4, node_list="a,b,c,d", elapsed=5400)
    assert blast_of([(Picked(job.id, (job,)), [job])], ends=True).node_hours == 6.0
    assert blast_of([(Picked(job.id, (job,)), [job])]).node_hours == 0.0


def test_cancel_parts_of_an_array(bench: Bench) -> None:
    array = bench.submit(array="1-6%2")
    bench.wait(f"{array}_1", "RUNNING")
    plan, _ = bench.do("cancel_jobs", job_ids=[f"{array}_[5-6]", f"{array}_1"])
    assert targets(plan) == [f"{array}_[5-6]", f"{array}_1"]
    assert (plan.blast.jobs, plan.blast.tasks) == (1, 3)
    left = bench.plan("cancel_jobs", job_ids=[array, f"{array}_1", f"{array}_9"])
    assert targets(left) == [array] and left.blast.tasks == 3
    assert outcomes(left) == {f"{array}_1": (SKIPPED, "already_ended"), f"{array}_9": (FAILED, "unknown_job")}


def test_cancel_by_filter_reaches_what_matches_and_nothing_else(bench: Bench) -> None:
    array = bench.submit(array="1-4%1", job_name="sweep")
    waits = bench.submit(job_name="sweep", **LATER)
    other = bench.submit(job_name="keep", partition="long,h100", **LATER)
    bench.wait(f"{array}_1", "RUNNING")
    plan, _ = bench.do("cancel_jobs", user="me", name="sweep", states=["PENDING"])
    assert sorted(targets(plan)) == sorted([f"{array}_[2-4]", waits])
    assert bench.job(f"{array}_1").state == "RUNNING" and bench.job(other).state == "PENDING"
    assert targets(bench.plan("cancel_jobs", user="me", name="sweep")) == [array]
    assert targets(bench.plan("cancel_jobs", partition="long")) == [other]
    nothing = bench.plan("cancel_jobs", name="nobody-has-this-name")
    assert nothing.operations == () and "no job matches" in nothing.notes[0]


def test_filters_narrow_ids(bench: Bench) -> None:
    runs, waits = bench.submit(), bench.submit(**LATER)
    bench.wait(runs, "RUNNING")
    plan = bench.plan("cancel_jobs", job_ids=[runs, waits], states=["PENDING"])
    assert targets(plan) == [waits] and outcomes(plan) == {runs: (SKIPPED, "no_match")}


def test_a_job_that_starts_meanwhile_is_left_alone(bench: Bench) -> None:
    job = bench.submit(**LATER)
    plan = bench.plan("cancel_jobs", job_ids=[job], states=["PENDING"])
    bench.do("update_job", job_id=job, begin="now")
    bench.wait(job, "RUNNING")
    with pytest.raises(InvalidRequest, match=r"no longer|not PENDING"):
        bench.backend.perform(plan.operations[0])
    assert bench.job(job).state == "RUNNING"


def test_cancel_of_other_peoples_jobs_is_refused_before_slurm_does(bench: Bench) -> None:
    job = bench.submit(**LATER)
    stranger = bench.ctx("games")
    plan = bench.plan("cancel_jobs", ctx=stranger, job_ids=[job, "999999"])
    assert plan.operations == () and outcomes(plan)[job] == (DENIED, "permission_refused")
    assert bench.user in plan.skipped[-1].message or bench.user in plan.skipped[0].message
    with pytest.raises(PermissionRefused, match="games may not cancel"):
        bench.plan("cancel_jobs", ctx=stranger, user=bench.user)
    own = bench.plan("cancel_jobs", ctx=stranger, states=["PENDING"])
    assert own.operations == () and any("only games's own jobs" in note for note in own.notes)
    coordinator = bench.ctx("games", coordinates=["ml-research"])
    assert targets(bench.plan("cancel_jobs", ctx=coordinator, user=bench.user)) == [job]
    assert bench.job(job).state == "PENDING"


def test_cancel_refuses_what_makes_no_sense(bench: Bench) -> None:
    with pytest.raises(InvalidRequest, match="COMPLETED jobs cannot be cancelled; valid: PENDING"):
        bench.plan("cancel_jobs", user="me", states=["COMPLETED"])
    with pytest.raises(UnknownName, match="gpu, h100"):
        bench.plan("cancel_jobs", partition="no-such")
    with pytest.raises(InvalidRequest, match="a name or number alone"):
        bench.plan("cancel_jobs", job_ids=["1"], signal="B:USR1@60")


def test_a_signal_goes_to_running_jobs_only(bench: Bench) -> None:
    array, runs, waits = bench.submit(array="1-2"), bench.submit(), bench.submit(**LATER)
    for job in (f"{array}_1", f"{array}_2", runs):
        bench.wait(job, "RUNNING")
    assert sorted(targets(bench.plan("cancel_jobs", user="me", signal="CONT"))) == sorted([f"{array}_[1-2]", runs])
    plan, _ = bench.do("cancel_jobs", job_ids=[array, runs, waits], signal="CONT")
    assert targets(plan) == [array, runs] and plan.operations[0].fields == {"signal": "CONT"}
    assert outcomes(plan) == {waits: (FAILED, "wrong_state")} and plan.blast.node_hours == 0
    assert any("steps" in note for note in plan.notes)


def test_a_task_of_a_waiting_array_cannot_be_signalled(bench: Bench) -> None:
    array = bench.submit(array="1-3%1")
    bench.wait(f"{array}_1", "RUNNING")
    plan = bench.plan("cancel_jobs", job_ids=[f"{array}_1"], signal="CONT")
    if bench.backend.version() < (23, 2, 0):
        assert plan.operations == () and outcomes(plan) == {f"{array}_1": (FAILED, "array_is_pending")}
    else:
        assert targets(plan) == [f"{array}_1"]


def test_without_accounting_the_queue_alone_counts() -> None:
    fake = FakeSlurm(user="alice")
    mine, bobs = fake.submit_as("alice", command="true"), fake.submit_as("bob", command="true")
    gone = AccountingUnavailable("Slurm accounting storage is disabled", code="accounting_disabled")
    for method in ("history", "qos", "associations"):
        fake.fail(method, gone)
    bench = Bench(fake, "alice")
    plan = bench.plan("cancel_jobs", ctx=bench.ctx("alice"), job_ids=[mine, bobs, "999999"])
    assert targets(plan) == [mine]
    assert outcomes(plan) == {bobs: (DENIED, "permission_refused"), "999999": (FAILED, "unknown_job")}
    assert "accounting storage is disabled" in plan.skipped[0].message
    fake.fail("qos", gone)
    assert bench.plan("submit_job", command="true", qos="any", account="any").operations  # Slurm ignores them then


def test_slurm_out_of_reach_is_said_and_nothing_is_planned() -> None:
    fake = FakeSlurm(user="alice")
    fake.fail("queue", SlurmUnreachable("slurmctld does not answer"))
    with pytest.raises(SlurmUnreachable, match="does not answer"):
        Bench(fake, "alice").plan("cancel_jobs", user="me")


def test_hold_and_release(bench: Bench) -> None:
    array, waits, runs = bench.submit(array="1-3%1"), bench.submit(**LATER), bench.submit()
    bench.wait(f"{array}_1", "RUNNING")
    bench.wait(runs, "RUNNING")
    plan, seen = bench.do("control_jobs", action="hold", job_ids=[waits, array, runs, "999999"])
    assert targets(plan) == [waits, f"{array}_[2-3]"] and seen["total"] == 3
    assert outcomes(plan) == {runs: (FAILED, "wrong_state"), "999999": (FAILED, "unknown_job")}
    assert plan.undo == (f"scontrol release {waits}", f"scontrol release '{array}_[2-3]'")
    assert bench.job(waits).priority == 0
    again = bench.plan("control_jobs", action="hold", job_ids=[waits, array])
    assert again.operations == () and set(outcomes(again).values()) == {(SKIPPED, "already")}
    bench.do("control_jobs", action="release", job_ids=[waits, array])
    assert bench.job(waits).priority
    free = bench.plan("control_jobs", action="release", job_ids=[waits])
    assert free.operations == () and "is not held" in free.skipped[0].message


def test_only_an_operator_releases_what_an_administrator_held(bench: Bench) -> None:
    job = bench.submit(**LATER)
    bench.do("control_jobs", action="hold", job_ids=[job])
    owner = bench.ctx(bench.user, "none")
    assert bench.job(job).reason == "JobHeldAdmin"
    plan = bench.plan("control_jobs", ctx=owner, action="release", job_ids=[job])
    assert outcomes(plan) == {job: (DENIED, "permission_refused")}
    assert targets(bench.plan("control_jobs", action="release", job_ids=[job])) == [job]


def test_requeue(bench: Bench) -> None:
    runs, fixed, waits = bench.submit(), bench.submit(requeue=False), bench.submit(**LATER)
    ended = bench.submit(command="true")
    for job in (runs, fixed):
        bench.wait(job, "RUNNING")
    bench.wait(ended, "COMPLETED")
    plan, _ = bench.do("control_jobs", action="requeue", job_ids=[runs, fixed, waits, ended])
    assert targets(plan) == [runs, ended] and any("from its beginning" in note for note in plan.notes)
    assert outcomes(plan) == {fixed: (FAILED, "not_requeueable"), waits: (SKIPPED, "already")}
    assert bench.job(runs).state in ("PENDING", "COMPLETING") and "cannot be undone" in plan.undo[0]


def test_suspend_and_resume_need_an_operator(bench: Bench) -> None:
    runs, waits = bench.submit(), bench.submit(**LATER)
    bench.wait(runs, "RUNNING")
    with pytest.raises(PermissionRefused, match="only an operator"):
        bench.plan("control_jobs", ctx=bench.ctx(bench.user, "none"), action="suspend", job_ids=[runs])
    plan, _ = bench.do("control_jobs", action="suspend", job_ids=[runs, waits])
    assert targets(plan) == [runs] and outcomes(plan) == {waits: (FAILED, "wrong_state")}
    assert plan.undo == (f"scontrol resume {runs}",) and bench.wait(runs, "SUSPENDED")
    assert outcomes(bench.plan("control_jobs", action="suspend", job_ids=[runs])) == {runs: (SKIPPED, "already")}
    bench.do("control_jobs", action="resume", job_ids=[runs])
    bench.wait(runs, "RUNNING")
    assert outcomes(bench.plan("control_jobs", action="resume", job_ids=[runs])) == {runs: (SKIPPED, "already")}
