"""Calls carried out through the ledger: an outcome for every item, nothing lost, nothing doubled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assistant.doors.render import done_document
from assistant.ledger.approval import AutoApprove, Decision, DenyAll, Preview, ScriptedApprover
from assistant.ledger.carry import Ledger
from assistant.ledger.execute import Interrupted, LedgerExecutor
from assistant.ledger.journal import Journal
from assistant.ledger.policy import Policy
from assistant.ledger.reading import show
from assistant.ledger.resume import resume, undo
from assistant.ledger.retry import Retry
from tests.ledger_double import TOOLS, Drain, FileCluster, context, lost, unreachable
from tools.base import Call, Caller, Item, Outcome, status_of
from tools.slurm.backend import Operation
from tools.slurm.errors import LimitRefused, OutcomeUnknown, PermissionRefused, SlurmUnreachable

SUBMIT = Call("submit_job", {"command": "train.py"})
FAST = Retry(first_wait=0, settle=0)


@pytest.fixture
def cluster(tmp_path: Path) -> FileCluster:
    return FileCluster(tmp_path / "cluster.json")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(f"sqlite:///{tmp_path / 'state' / 'journal.db'}")


Make = Callable[..., LedgerExecutor]


@pytest.fixture
def make(cluster: FileCluster, journal: Journal) -> Make:
    def build(approver: Any = None, dry_run: bool = False, level: Any = "none", **more: Any) -> LedgerExecutor:
        chosen = approver or AutoApprove("ann")
        ledger = Ledger(context(cluster, level=level), journal, chosen, retry=FAST, **more)
        return LedgerExecutor(ledger, TOOLS, dry_run)

    return build


def outcomes(done: Any) -> list[str]:
    return [item.outcome.value for item in done.result.items]


def refuse_with(error: Exception) -> Callable[..., None]:
    def fault(*_: Any) -> None:
        raise error

    return fault


def test_forty_cancels_with_three_failures(make: Make, cluster: FileCluster) -> None:
    ids = cluster.add(40)
    for number in (7, 19, 33):
        cluster.before[number] = refuse_with(PermissionRefused("Access/permission denied"))
    _, (done,) = make().run("cancel all", (Call("cancel_jobs", {"job_ids": ids}),))
    assert done.result.status == "partial"
    assert [item.id for item in done.result.items] == ids
    failed = [item for item in done.result.items if item.outcome is Outcome.FAILED]
    assert [(i.id, i.code) for i in failed] == [(ids[n - 1], "permission_refused") for n in (7, 19, 33)]
    assert {job.id for job in cluster.jobs() if job.state != "CANCELLED"} == {item.id for item in failed}
    assert len(done.result.commands) == 40
    assert done.result.data["states"][ids[0]] == "CANCELLED"


def test_a_lost_submit_is_found_by_its_key_and_not_sent_again(make: Make, cluster: FileCluster) -> None:
    cluster.after[1] = lost
    _, (done,) = make().run("submit", (SUBMIT,))
    assert done.result.status == "ok"
    assert [job.id for job in cluster.jobs()] == [done.result.items[0].id] == ["101"]
    assert "found by its key" in done.result.items[0].message


def test_a_lost_submit_that_slurm_refused_is_no_job(make: Make, cluster: FileCluster) -> None:
    """slurmctld keeps a record of what it refused, and the record carries the key."""

    def refused(cluster: FileCluster, operation: Operation) -> None:
        cluster.add(state="FAILED", reason="BadConstraints", comment=operation.fields["comment"])
        raise OutcomeUnknown("the answer was lost")

    cluster.before[1] = refused
    executor = make()
    run, (done,) = executor.run("submit", (SUBMIT,))
    assert (done.result.status, done.result.items[0].code) == ("failed", "refused")
    assert "job 101 never ran" in done.result.items[0].message
    assert show(executor.ledger.journal, run)["submitted"] == []
    resume(executor, run)
    assert cluster.performed == 1


def test_a_lost_submit_that_never_arrived_stays_unknown(make: Make, cluster: FileCluster) -> None:
    cluster.before[1] = lost
    run, (done,) = make().run("submit", (SUBMIT,))
    assert done.result.status == "unknown"
    assert f"sask resume {run}" in done.result.items[0].message
    assert (cluster.performed, cluster.jobs()) == (1, [])


@pytest.mark.parametrize("accounting", [True, False])
def test_resume_sends_a_submit_again_only_when_accounting_proves_it_never_ran(
    make: Make, cluster: FileCluster, accounting: bool
) -> None:
    cluster.before[1] = lost
    cluster.accounting = accounting
    executor = make()
    run, _ = executor.run("submit", (SUBMIT,))
    _, (done,) = resume(executor, run)
    assert done.result.status == ("ok" if accounting else "unknown")
    assert len(cluster.jobs()) == accounting


def test_a_job_that_could_be_ours_is_no_proof(make: Make, cluster: FileCluster) -> None:
    cluster.before[1] = lost
    cluster.accounting = True
    executor = make()
    run, _ = executor.run("submit", (SUBMIT,))
    cluster.add(1, comment="")
    _, (done,) = resume(executor, run)
    assert done.result.status == "unknown"
    assert cluster.performed == 1


def test_a_write_is_retried_only_where_nothing_was_sent(make: Make, cluster: FileCluster) -> None:
    cluster.before[1] = unreachable
    _, (done,) = make().run("submit", (SUBMIT,))
    assert done.result.status == "ok"
    assert (cluster.performed, len(cluster.jobs())) == (2, 1)


def test_out_of_reach_leaves_the_rest_for_resume(make: Make, cluster: FileCluster) -> None:
    ids = cluster.add(5)
    cluster.before = dict.fromkeys(range(3, 7), unreachable)
    executor = make()
    run, (done,) = executor.run("cancel", (Call("cancel_jobs", {"job_ids": ids}),))
    assert outcomes(done) == ["ok", "ok", "failed", "skipped", "skipped"]
    assert done.result.items[2].transient
    _, (again,) = resume(executor, run)
    assert again.result.status == "ok"
    assert {job.state for job in cluster.jobs()} == {"CANCELLED"}
    assert show(executor.ledger.journal, run)["left"] == 0


def test_a_lost_cancel_is_seen_in_slurms_state(make: Make, cluster: FileCluster) -> None:
    ids = cluster.add(2)
    cluster.after[1] = lost
    cluster.before[2] = lost
    executor = make()
    run, (done,) = executor.run("cancel", (Call("cancel_jobs", {"job_ids": ids}),))
    assert outcomes(done) == ["ok", "unknown"]
    assert done.result.status == "unknown"
    _, (again,) = resume(executor, run)
    assert outcomes(again) == ["ok", "ok"]


def test_a_lost_update_is_compared_with_the_job(make: Make, cluster: FileCluster) -> None:
    (job,) = cluster.add(1)
    cluster.after[1] = lost
    _, (done,) = make().run("time", (Call("resize_job", {"job_id": job, "time_limit": "06:00:00"}),))
    assert done.result.status == "ok"


def test_a_read_is_retried_and_its_error_becomes_an_outcome(make: Make, cluster: FileCluster) -> None:
    (job,) = cluster.add(1)
    cluster.reads_fail = [SlurmUnreachable("no answer")] * 2
    _, (good, bad) = make().run("show", (Call("show_job", {"job_id": job}), Call("show_job", {"job_id": "999"})))
    assert good.result.data == {"state": "PENDING"}
    assert bad.result.status == "failed"
    assert (bad.result.items[0].code, bad.result.data["error"]["message"]) == ("unknown_job", "no job 999")


def test_later_steps_get_the_job_of_the_earlier_one(make: Make, cluster: FileCluster) -> None:
    then = Call("submit_job", {"command": "awk '{print $1}' out", "dependency": "afterok:$1"})
    _, done = make().run("both", (SUBMIT, then))
    assert [d.result.status for d in done] == ["ok", "ok"]
    assert done[1].call.arguments == {"command": "awk '{print $1}' out", "dependency": "afterok:101"}


def test_a_failed_step_stops_what_depends_on_it_and_later_writes(make: Make, cluster: FileCluster) -> None:
    (job,) = cluster.add(1)
    cluster.before[1] = refuse_with(LimitRefused("QOSMaxSubmitJobPerUserLimit"))
    calls = (
        SUBMIT,
        Call("submit_job", {"command": "b", "dependency": "afterok:$1"}),
        Call("cancel_jobs", {"job_ids": [job]}),
        Call("show_job", {"job_id": job}),
    )
    executor = make()
    _, done = executor.run("plan", calls)
    assert [outcomes(d) for d in done] == [["failed"], ["skipped"], ["skipped"], []]
    assert "QOSMaxSubmitJobPerUserLimit" in done[1].result.items[0].message
    assert done[3].result.status == "ok"
    assert cluster.performed == 1


def test_resume_goes_on_with_the_steps_after_a_mended_one(make: Make, cluster: FileCluster) -> None:
    cluster.before = dict.fromkeys(range(1, 5), unreachable)
    executor = make()
    second = Call("submit_job", {"command": "b", "dependency": "afterok:$1"})
    run, done = executor.run("plan", (SUBMIT, second))
    assert [outcomes(d) for d in done] == [["failed"], ["skipped"]]
    _, done = resume(executor, run)
    assert [d.result.status for d in done] == ["ok", "ok"]
    assert done[1].call.arguments["dependency"] == "afterok:101"
    assert len(cluster.jobs()) == 2
    assert len(resume(executor, run)[1]) == 2
    assert len(cluster.jobs()) == 2


@pytest.mark.parametrize(
    "call", [Call("frobnicate", {}), Call("show_job", {"job_id": "x y"}), Call("show_job", {"job_id": "$2"})]
)
def test_bad_calls_are_outcomes_and_change_nothing(make: Make, cluster: FileCluster, call: Call) -> None:
    _, (done,) = make().run("bad", (call,))
    assert done.result.status == "failed"
    assert done.result.items[0].message
    assert cluster.performed == 0


@pytest.mark.parametrize(
    ("outcomes", "word"),
    [
        ("", "ok"), ("ok ok", "ok"), ("ok failed", "partial"), ("ok skipped", "partial"), ("ok unknown", "unknown"),
        ("failed unknown", "unknown"), ("failed", "failed"), ("failed skipped", "failed"), ("failed denied", "failed"),
        ("denied", "denied"), ("skipped", "denied"), ("denied skipped", "denied"),
    ],
)  # fmt: skip
def test_one_word_for_many_outcomes(outcomes: str, word: str) -> None:
    """Where nothing was done and nothing went wrong, it has not failed."""
    assert status_of([Item(str(n), Outcome(one)) for n, one in enumerate(outcomes.split())]) == word


def test_denied_is_not_done(make: Make, cluster: FileCluster) -> None:
    _, done = make(DenyAll()).run("submit", (SUBMIT, SUBMIT))
    assert [outcomes(d) for d in done] == [["denied"], ["skipped"]]
    assert "--yes" in done[0].result.items[0].message
    assert cluster.performed == 0


def test_dry_run_previews_and_leaves_no_trace(make: Make, cluster: FileCluster, journal: Journal) -> None:
    (job,) = cluster.add(1)
    calls = (
        SUBMIT,
        Call("submit_job", {"command": "b", "dependency": "afterok:$1"}),
        Call("show_job", {"job_id": job}),
    )
    run, done = make(dry_run=True).run("dry", calls)
    assert run == ""
    assert [d.result.status for d in done] == ["denied", "denied", "ok"]
    assert done[0].commands == ("submit --command=train.py",)
    assert cluster.performed == 0
    assert not Path(journal.where).exists()


def test_the_preview_shows_exactly_what_then_runs(make: Make, cluster: FileCluster) -> None:
    approver = ScriptedApprover()
    run, (done,) = make(approver).run("submit", (SUBMIT,))
    (preview,) = approver.seen
    assert preview.commands == done.commands == done.result.commands
    assert f"sask:{run}.1.1" in preview.commands[0]
    assert (preview.blast.jobs, preview.blast.node_hours) == (1, 1.5)


class ChangesTheWorld:
    """Says yes, but only after something happened."""

    def __init__(self, happen: Callable[[], object]) -> None:
        self.happen = happen

    def decide(self, preview: Preview) -> Decision:
        self.happen()
        return Decision(True, "ann")


def test_an_approval_is_void_when_the_world_has_changed(make: Make, cluster: FileCluster) -> None:
    cluster.add(2)
    pending = Call("cancel_jobs", {"states": ["PENDING"]})
    executor = make(ChangesTheWorld(lambda: cluster.add(1)))
    run, (done,) = executor.run("cancel", (pending,))
    assert done.result.status == "denied"
    assert {item.code for item in done.result.items} == {"world_changed"}
    assert cluster.performed == 0
    _, (again,) = resume(make(), run)
    assert outcomes(again) == ["ok"] * 3


def test_what_changes_by_itself_does_not_void_an_approval(make: Make, cluster: FileCluster) -> None:
    (job,) = cluster.add(1, elapsed=10)

    def tick() -> None:
        state = cluster.load()
        state["jobs"][job]["elapsed"] = 20
        cluster.save(state)

    _, (done,) = make(ChangesTheWorld(tick)).run("cancel", (Call("cancel_jobs", {"job_ids": [job]}),))
    assert done.result.status == "ok"


def test_an_admin_tool_needs_an_admin(make: Make, cluster: FileCluster) -> None:
    drain = (Call("drain_node", {"nodes": "n1", "reason": "Xid 79"}),)
    approver = ScriptedApprover()
    _, (done,) = make(approver).run("drain", drain)
    assert (done.result.status, approver.seen) == ("denied", [])
    assert "operator or administrator" in done.result.items[0].message
    _, (done,) = make(approver, level="operator").run("drain", drain)
    assert done.result.status == "ok"
    assert Drain.name == approver.seen[0].tool


def test_other_peoples_jobs_are_left_out_and_named(make: Make, cluster: FileCluster) -> None:
    (mine,), (hers,) = cluster.add(1), cluster.add(1, user="eve")
    call = (Call("cancel_jobs", {"job_ids": [mine, hers]}),)
    _, (done,) = make().run("cancel", call)
    assert done.result.status == "partial"
    refused = next(i for i in done.result.items if i.outcome is Outcome.DENIED)
    assert (refused.id, "eve" in refused.message) == (hers, True)
    assert {job.id: job.state for job in cluster.jobs()} == {mine: "CANCELLED", hers: "PENDING"}
    _, (done,) = make(level="operator").run("cancel", (Call("cancel_jobs", {"job_ids": [hers]}),))
    assert done.result.status == "ok"


def test_a_coordinator_may_touch_the_jobs_of_the_account(cluster: FileCluster, journal: Journal) -> None:
    (hers,) = cluster.add(1, user="eve", account="bio")
    executor = LedgerExecutor(
        Ledger(context(cluster, coordinates=("bio",)), journal, AutoApprove("ann"), retry=FAST), TOOLS
    )
    _, (done,) = executor.run("cancel", (Call("cancel_jobs", {"job_ids": [hers]}),))
    assert done.result.status == "ok"


def test_yes_is_not_enough_above_the_limit(make: Make, cluster: FileCluster) -> None:
    ids = cluster.add(4)
    call = (Call("cancel_jobs", {"job_ids": ids}),)
    few = Policy(always_ask_above_jobs=3)
    _, (done,) = make(policy=few).run("cancel", call)
    assert done.result.status == "denied"
    assert "4 jobs is more than 3" in done.result.items[0].message
    person = ScriptedApprover()
    _, (done,) = make(AutoApprove("ann", person), policy=few).run("cancel", call)
    assert done.result.status == "ok"
    assert person.seen[0].must_ask == "4 jobs is more than 3"


def test_a_forbidden_tool_is_refused(make: Make) -> None:
    _, (done,) = make(policy=Policy(forbidden_tools=("submit_job",))).run("submit", (SUBMIT,))
    assert done.result.status == "denied"
    assert "policy" in done.result.items[0].message


def test_ctrl_c_between_operations_leaves_a_true_account(make: Make, cluster: FileCluster) -> None:
    ids = cluster.add(4)
    cluster.before[3] = refuse_with(KeyboardInterrupt())
    executor = make()
    with pytest.raises(Interrupted) as stop:
        executor.run("cancel", (Call("cancel_jobs", {"job_ids": ids}), Call("show_job", {"job_id": ids[0]})))
    first, second = stop.value.done
    assert outcomes(first) == ["ok", "ok", "unknown", "skipped"]
    assert outcomes(second) == ["skipped"]
    _, done = resume(executor, stop.value.run)
    assert [d.result.status for d in done] == ["ok", "ok"]
    assert {job.state for job in cluster.jobs()} == {"CANCELLED"}


def test_ctrl_c_at_the_question_sends_nothing(make: Make, cluster: FileCluster) -> None:
    executor = make(ChangesTheWorld(refuse_with(KeyboardInterrupt())))
    with pytest.raises(Interrupted) as stop:
        executor.run("submit", (SUBMIT,))
    assert outcomes(stop.value.done[0]) == ["skipped"]
    assert cluster.performed == 0
    _, (done,) = resume(make(), stop.value.run)
    assert done.result.status == "ok"


def test_undo_cancels_what_a_run_submitted(make: Make, cluster: FileCluster) -> None:
    executor = make()
    run, _ = executor.run("submit", (SUBMIT, SUBMIT))
    other, (done,) = undo(executor, run)
    assert other != run
    assert outcomes(done) == ["ok", "ok"]
    assert {job.state for job in cluster.jobs()} == {"CANCELLED"}


def test_secrets_are_neither_kept_nor_shown_but_do_reach_the_job(make: Make, cluster: FileCluster) -> None:
    token = "hf_" + "a1B2" * 8
    approver = ScriptedApprover()
    seen: list[Any] = []
    cluster.after[1] = lambda _, operation: seen.append(operation.fields["environment"])
    call = Call("submit_job", {"command": "train.py", "environment": {"HF_TOKEN": token}})
    executor = make(approver)
    run, (done,) = executor.run(f"submit with {token}", (call,))
    assert done.result.status == "ok"
    assert seen == [{"HF_TOKEN": token}]
    for text in (str(approver.seen), str(done_document(done)), str(show(executor.ledger.journal, run))):
        assert token not in text


def test_resume_does_not_make_up_a_secret(make: Make, cluster: FileCluster) -> None:
    call = Call("submit_job", {"command": "train.py", "environment": {"HF_TOKEN": "hf_" + "a1B2" * 8}})
    cluster.before = dict.fromkeys(range(1, 5), unreachable)
    executor = make()
    run, _ = executor.run("submit", (call,))
    _, (done,) = resume(executor, run)
    assert done.result.items[0].code == "secret_not_kept"
    assert cluster.jobs() == []


def test_resume_is_for_its_owner_or_an_operator(make: Make, cluster: FileCluster, journal: Journal) -> None:
    run, _ = make(DenyAll()).run("submit", (SUBMIT,))
    eve = LedgerExecutor(Ledger(context(cluster, user="eve"), journal, AutoApprove("eve"), retry=FAST), TOOLS)
    with pytest.raises(Exception, match="is of ann"):
        resume(eve, run)
    assert Caller("eve").is_admin is False
