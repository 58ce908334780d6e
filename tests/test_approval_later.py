"""Approvals that are left for later: asked for by one process, answered and carried out by another."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from assistant.errors import AssistantError, JournalError, RequestRefused
from assistant.ledger.approval import AskLater, AutoApprove
from assistant.ledger.carry import Ledger
from assistant.ledger.execute import LedgerExecutor
from assistant.ledger.journal import Journal
from assistant.ledger.later import approve, deny, pending, preview_from
from assistant.ledger.policy import Policy
from assistant.ledger.reading import list_runs, show
from assistant.ledger.resume import resume
from assistant.ledger.retry import Retry
from tests.ledger_double import TOOLS, FileCluster, context
from tools.base import Call

SUBMIT = Call("submit_job", {"command": "train.py"})
CANCEL = Call("cancel_jobs", {"states": ["PENDING"]})
DRAIN = Call("drain_node", {"nodes": "n1", "reason": "Xid 79"})
ADMINS = ("bob", "root")
TWO = Policy(two_people_for_admin=True)
Answer = dict[str, Any]


class Door:
    """Whoever sits there acts in a process of their own, with nothing in common but the journal and the cluster."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder / 'journal.db'}"
        self.file, self.answer = folder / "cluster.json", folder / "answer"
        self.cluster = FileCluster(self.file, accounting=True)
        self.journal = Journal(self.url)

    def executor(self, user: str, approver: Any = None, policy: Policy | None = None) -> LedgerExecutor:
        cluster = FileCluster(self.file, user, accounting=True)
        cluster.admins = ADMINS
        level = cluster.admin_level(user)
        chosen = approver or AskLater()
        quick = Retry(first_wait=0, settle=0)
        ledger = Ledger(context(cluster, user, level=level), Journal(self.url), chosen, policy or Policy(), quick)
        return LedgerExecutor(ledger, TOOLS)

    def elsewhere(self, work: Callable[[], tuple[str, Any]]) -> Answer:
        if not (pid := os.fork()):
            try:
                self.answer.write_text(json.dumps(self._tried(work)))
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        return dict(json.loads(self.answer.read_text()))

    def _tried(self, work: Callable[[], tuple[str, Any]]) -> Answer:
        try:
            run, done = work()
        except AssistantError as error:
            return {"error": f"{error.message}; {error.remedy}"}
        items = [[item.outcome, item.code, item.message] for one in done for item in one.result.items]
        return {"run": run, "statuses": [one.result.status for one in done], "items": items}

    def leave(self, user: str, *calls: Call, policy: Policy | None = None) -> str:
        """Ask with --later; the id of the approval that waits."""
        said = self.elsewhere(lambda: self.executor(user, policy=policy).run("please", calls))
        assert said["items"][0][1] == "awaiting_approval", said
        (waiting,) = pending(self.journal)
        assert waiting["id"] in said["items"][0][2]
        return str(waiting["id"])

    def approve(self, user: str, approval: str, policy: Policy | None = None) -> Answer:
        return self.elsewhere(lambda: approve(self.executor(user, policy=policy), approval, "seen it"))

    def deny(self, user: str, approval: str) -> Answer:
        return self.elsewhere(lambda: deny(self.executor(user), approval, "not now"))

    def states(self) -> list[str]:
        return [job.state for job in self.cluster.jobs()]

    def approvals(self) -> list[Answer]:
        return list(show(self.journal, "last")["approvals"])


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


def test_what_waits_says_who_what_and_until_when(door: Door) -> None:
    door.cluster.add(3, user="ann")
    approval = door.leave("ann", CANCEL)
    (waiting,) = pending(door.journal)
    assert (waiting["asked_by"], waiting["request"], waiting["cluster"]) == ("ann", "please", "double")
    assert waiting["expires"] > waiting["created"]
    assert len(waiting["digest"]) == 64
    preview = preview_from(waiting["preview"])
    assert (preview.blast.jobs, list(preview.blast.users), preview.user) == (3, ["ann"], "ann")
    assert list(preview.commands) == ["cancel 101", "cancel 102", "cancel 103"]
    assert list_runs(door.journal)[0]["left"] == 3
    assert door.states() == ["PENDING"] * 3
    assert approval == waiting["id"]


def test_ones_own_yes_from_another_process_carries_it_out(door: Door) -> None:
    approval = door.leave("ann", SUBMIT)
    said = door.approve("ann", approval[:6])
    assert said["statuses"] == ["ok"]
    assert len(door.cluster.jobs()) == 1
    (used,) = door.approvals()
    assert (used["state"], used["approver"], used["reason"]) == ("used", "ann", "seen it")
    assert pending(door.journal) == []


def test_an_operators_yes_carries_out_what_somebody_asked(door: Door) -> None:
    door.cluster.add(2, user="ann")
    said = door.approve("bob", door.leave("ann", CANCEL))
    assert said["statuses"] == ["ok"]
    assert door.states() == ["CANCELLED"] * 2


def test_somebody_elses_yes_never_plans_with_more_than_the_asker_may(door: Door) -> None:
    """bob is an operator; that makes ann's request touch none of eve's jobs."""
    door.cluster.add(1, user="ann")
    door.cluster.add(1, user="eve")
    said = door.approve("bob", door.leave("ann", CANCEL))
    assert sorted(item[0] for item in said["items"]) == ["denied", "ok"]
    assert door.states() == ["CANCELLED", "PENDING"]


def test_a_submission_that_another_approved_is_made_by_its_owner(door: Door) -> None:
    approval = door.leave("ann", SUBMIT)
    assert door.approve("bob", approval) == {"run": show(door.journal, "last")["run"], "statuses": [], "items": []}
    assert door.cluster.jobs() == []
    said = door.elsewhere(lambda: resume(door.executor("ann"), "last"))
    assert said["statuses"] == ["ok"]
    assert [job.user for job in door.cluster.jobs()] == ["ann"]
    assert door.approvals()[0]["approver"] == "bob"


def test_the_next_change_of_the_run_waits_for_a_yes_of_its_own(door: Door) -> None:
    then = Call("submit_job", {"command": "eval.py", "dependency": "afterok:$1"})
    said = door.approve("ann", door.leave("ann", SUBMIT, then))
    assert [item[:2] for item in said["items"]] == [["ok", None], ["skipped", "awaiting_approval"]]
    (waiting,) = pending(door.journal)
    assert door.approve("ann", waiting["id"])["statuses"] == ["ok", "ok"]
    assert len(door.cluster.jobs()) == 2


def test_it_fails_closed_when_the_world_has_changed(door: Door) -> None:
    door.cluster.add(2, user="ann")
    approval = door.leave("ann", CANCEL)
    door.cluster.add(1, user="ann")
    said = door.approve("ann", approval)
    assert {item[1] for item in said["items"]} == {"awaiting_approval"}
    assert "the cluster has changed since" in said["items"][0][2]
    assert door.states() == ["PENDING"] * 3
    (anew,) = pending(door.journal)
    assert anew["id"] != approval
    assert anew["preview"]["blast"]["jobs"] == 3
    assert "is expired" in door.approve("ann", approval)["error"]
    assert door.approve("ann", anew["id"])["statuses"] == ["ok"]


def test_an_expired_question_is_closed(door: Door) -> None:
    approval = door.leave("ann", SUBMIT)
    with closing(sqlite3.connect(door.url.removeprefix("sqlite:///"))) as db:
        db.execute("UPDATE approvals SET created = created - 7200, expires = expires - 7200")
        db.commit()
    assert pending(door.journal) == []
    said = door.approve("ann", approval)
    assert "is expired" in said["error"]
    assert "asks anew" in said["error"]
    assert door.cluster.jobs() == []


@pytest.mark.parametrize("first", ["approve", "deny"])
@pytest.mark.parametrize("second", ["approve", "deny"])
def test_a_question_is_answered_once(door: Door, first: str, second: str) -> None:
    approval = door.leave("ann", SUBMIT)
    assert "error" not in getattr(door, first)("ann", approval)
    jobs = len(door.cluster.jobs())
    again = getattr(door, second)("ann", approval)
    assert ("is used by ann" if first == "approve" else "is denied by ann") in again["error"]
    assert len(door.cluster.jobs()) == jobs == (first == "approve")


def test_two_doors_at_once_do_it_once(door: Door) -> None:
    approval = door.leave("ann", SUBMIT)
    pids = []
    for _ in range(3):
        if not (pid := os.fork()):
            code = 1
            try:
                approve(door.executor("ann"), approval)
                code = 0
            except (RequestRefused, JournalError):
                code = 3
            finally:
                os._exit(code)
        pids.append(pid)
    codes = sorted(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids)
    assert codes == [0, 3, 3]
    assert len(door.cluster.jobs()) == 1


def test_a_no_is_final(door: Door) -> None:
    approval = door.leave("ann", SUBMIT)
    said = door.deny("bob", approval)
    assert said["items"] == [["denied", "denied", "not approved by bob: not now"]]
    assert said["statuses"] == ["denied"]
    assert list_runs(door.journal)[0]["left"] == 0
    assert door.elsewhere(lambda: resume(door.executor("ann", AutoApprove("ann")), "last"))["statuses"] == ["denied"]
    assert door.cluster.jobs() == []


@pytest.mark.parametrize("what", ["approve", "deny"])
def test_nobody_answers_for_others_without_the_right(door: Door, what: str) -> None:
    approval = door.leave("ann", SUBMIT)
    said = getattr(door, what)("eve", approval)
    assert f"eve may not {what} what ann asked for" in said["error"]
    assert [row["id"] for row in pending(door.journal)] == [approval]
    assert door.cluster.jobs() == []


def test_dual_control_needs_another_operator(door: Door) -> None:
    approval = door.leave("root", DRAIN, policy=TWO)
    said = door.approve("root", approval, TWO)
    assert "needs a second person" in said["error"]
    assert "root asked for it" in said["error"]
    assert "eve may not approve" in door.approve("eve", approval, TWO)["error"]
    assert door.cluster.nodes("n1")[0].state == "IDLE"
    assert door.approve("bob", approval, TWO)["statuses"] == ["ok"]
    assert door.cluster.nodes("n1")[0].state == "DRAIN"


@pytest.mark.parametrize("lax", [TWO, Policy()])
def test_dual_control_is_not_got_around_by_yes_or_by_ones_own_policy(door: Door, lax: Policy) -> None:
    said = door.elsewhere(lambda: door.executor("root", AutoApprove("root"), TWO).run("drain", (DRAIN,)))
    assert said["items"][0][1] == "awaiting_approval"
    (waiting,) = pending(door.journal)
    assert "needs a second person" in door.approve("root", waiting["id"], lax)["error"]
    door.journal.decide(waiting["id"], True, "root", "written into the journal by hand")
    door.elsewhere(lambda: resume(door.executor("root", AutoApprove("root"), TWO), "last"))
    assert door.cluster.nodes("n1")[0].state == "IDLE"


def test_dual_control_leaves_ordinary_changes_alone(door: Door) -> None:
    assert door.executor("ann", AutoApprove("ann"), TWO).run("submit", (SUBMIT,))[1][0].result.status == "ok"


def test_what_was_decided_after_reading_still_asks_when_it_is_resumed_with_yes(door: Door) -> None:
    """``--yes`` on resume must not wave through what ``--yes`` on the request would not have."""
    door.cluster.add(1, user="ann")
    run, _ = door.executor("ann").run("look", (Call("show_job", {"job_id": "101"}),))
    _, (done,) = door.executor("ann").run("look", (CANCEL,), run=run)
    assert done.result.items[0].code == "awaiting_approval"
    resume(door.executor("ann", AutoApprove("ann")), run)
    assert door.states() == ["PENDING"]


@pytest.mark.parametrize("what", ["", "ffff", "%"])
def test_an_approval_that_there_is_not_is_named(door: Door, what: str) -> None:
    door.leave("ann", SUBMIT)
    assert f"no approval {what!r}" in door.approve("ann", what)["error"]


def test_an_approval_of_another_cluster_is_refused(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    approval = door.leave("ann", SUBMIT)
    monkeypatch.setattr(FileCluster, "cluster", lambda self: "elsewhere")
    assert "was on cluster double" in door.approve("ann", approval)["error"]
    assert len(pending(door.journal)) == 1
