"""What Slurm bears of a process that many people talk to: shared answers, one question at a time, a limit of calls."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from assistant import app
from assistant.ledger.approval import AutoApprove
from assistant.ledger.carry import Ledger
from assistant.ledger.execute import LedgerExecutor
from assistant.ledger.journal import Journal
from tests.fake_slurm import FakeSlurm
from tests.shell import until
from tools import BY_NAME
from tools.base import Call, Caller, ToolContext
from tools.merge import LOOK_BACK, find_jobs
from tools.slurm.backend import Backend, Operation
from tools.slurm.cli import CliBackend
from tools.slurm.cli.runner import Runner
from tools.slurm.errors import SlurmUnreachable, UnknownJob
from tools.slurm.models import Job, JobQuery, Usage
from tools.slurm.sandbox import Sandbox
from tools.slurm.shared import LIFETIMES, LONGEST_WAIT, Limit, Manners

NOW = datetime(2026, 11, 21, 12, 0, 3)


@dataclass
class Clock:
    """Time that passes only when somebody waits."""

    now: float = 1000.0
    waits: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


class Slow(FakeSlurm):
    """Counts its answers, and gives those about the queue only once ``gate`` is open."""

    def __init__(self) -> None:
        super().__init__(user="root", level="administrator")
        self.gate, self.begun, self.asked = threading.Event(), threading.Event(), 0
        self.gate.set()
        self.away, self.interrupted, self.private = False, False, "none"
        self.windows: list[JobQuery] = []

    def private_data(self) -> str:
        return self.private

    def queue(self, query: JobQuery) -> list[Job]:
        self.asked += 1
        self.begun.set()
        assert self.gate.wait(20)
        if self.interrupted:
            self.interrupted = False
            raise KeyboardInterrupt
        if self.away:
            raise SlurmUnreachable("slurmctld does not answer")
        return super().queue(query)

    def history(self, query: JobQuery) -> list[Job]:
        self.windows.append(query)
        return []

    def usage(self, group_by: str, start: datetime, end: datetime, user: str = "", account: str = "") -> list[Usage]:
        self.windows.append(JobQuery(since=start, until=end))
        return []


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def manners(clock: Clock) -> Manners:
    return Manners(limit=Limit(5.0, 20, clock, clock.wait), clock=clock)


def counted(manners: Manners, name: str, **labels: str) -> float:
    return manners.registry.get_sample_value(f"sask_slurm_{name}_total", labels) or 0.0


def test_a_hundred_who_ask_the_same_cost_one_query(manners: Manners) -> None:
    slurm = Slow()
    slurm.gate.clear()
    with ThreadPoolExecutor(100) as pool:
        views = [manners.reading(slurm, f"user{n}") for n in range(100)]
        asked = [pool.submit(view.queue, JobQuery(user="ann")) for view in views]
        assert slurm.begun.wait(20)
        slurm.gate.set()
        answers = [one.result(20) for one in asked]
    assert slurm.asked == 1 and all(answer == answers[0] for answer in answers)
    assert counted(manners, "calls", what="queue") == 1 and counted(manners, "answers_shared") >= 99
    answers[0].append(Job("1"))
    assert views[0].queue(JobQuery(user="ann")) == answers[1] != answers[0], "one caller's list is not another's"


def test_slurm_itself_is_asked_once(clean_sandbox: Sandbox) -> None:
    slurm, manners = CliBackend(), Manners(seconds=60.0)
    tool = BY_NAME["cluster_status"]

    def ask(number: int) -> object:
        ctx = ToolContext(manners.reading(slurm, f"user{number}"), Caller(f"user{number}"), NOW)
        return tool.run(tool.Arguments(), ctx).data  # type: ignore[attr-defined]

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(ask, range(100)))
    assert all(answer == answers[0] for answer in answers)
    ran = [line.split()[0] for line in slurm.commands()]
    assert ran.count("squeue") == 1 and len(ran) == len(set(slurm.commands())), "no command twice"


def test_an_answer_is_asked_anew_after_its_time(manners: Manners, clock: Clock) -> None:
    slurm = Slow()
    view = manners.reading(slurm, "ann")
    view.queue(JobQuery())
    clock.now += manners.seconds - 0.1
    view.queue(JobQuery())
    assert slurm.asked == 1
    clock.now += 0.2
    view.queue(JobQuery())
    assert slurm.asked == 2


def test_private_data_is_not_shared(manners: Manners) -> None:
    slurm = Slow()
    slurm.private = "jobs,usage"
    for user in ("ann", "bob", "ann"):
        manners.reading(slurm, user).queue(JobQuery())
    assert slurm.asked == 2
    for user in ("ann", "bob"):  # sbatch --test-only judges by the rights of the one who asks
        manners.reading(slurm, user).test_submit({"command": "true"})
    assert counted(manners, "calls", what="test_submit") == 2


def test_a_change_is_judged_on_fresh_answers_and_seen_by_all(manners: Manners) -> None:
    slurm = Slow()
    reading, fresh = manners.reading(slurm, "root"), manners.fresh(slurm)
    assert reading.queue(JobQuery()) == []
    job_id = slurm.perform(Operation("submit", "", {"command": "sleep 9"})).id  # by somebody else
    assert reading.queue(JobQuery()) == [], "shared answers are some seconds old"
    assert [job.id for job in fresh.queue(JobQuery())] == [job_id]
    fresh.perform(Operation("cancel", job_id))
    assert reading.queue(JobQuery()) == fresh.queue(JobQuery()) == []
    for forbidden in ("perform", "find_by_key"):
        with pytest.raises(AttributeError, match="fresh"):
            getattr(reading, forbidden)


def test_an_answer_from_before_a_change_is_not_kept(manners: Manners) -> None:
    slurm = Slow()
    slurm.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        early = pool.submit(manners.reading(slurm, "ann").queue, JobQuery())
        assert slurm.begun.wait(20)
        slurm.begun.clear()
        manners.fresh(slurm).perform(Operation("submit", "", {"command": "sleep 9"}))
        late = pool.submit(manners.reading(slurm, "bob").queue, JobQuery())
        asked_anew = slurm.begun.wait(10)
        slurm.gate.set()
        early.result(20)
        assert asked_anew and len(late.result(20)) == 1, (
            "who asks after a change does not wait for what was asked before"
        )
    assert len(manners.reading(slurm, "ann").queue(JobQuery())) == 1 and slurm.asked == 2


def test_an_answer_that_a_change_overtook_is_not_kept(manners: Manners) -> None:
    slurm = Slow()
    slurm.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        early = pool.submit(manners.reading(slurm, "ann").queue, JobQuery())
        assert slurm.begun.wait(20)
        manners.fresh(slurm).perform(Operation("submit", "", {"command": "sleep 9"}))
        slurm.gate.set()
        early.result(20)
    manners.reading(slurm, "ann").queue(JobQuery())
    assert slurm.asked == 2


def test_who_waits_for_an_interrupted_question_asks_it(manners: Manners) -> None:
    slurm = Slow()
    slurm.interrupted = True
    slurm.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        early = pool.submit(manners.reading(slurm, "ann").queue, JobQuery())
        assert slurm.begun.wait(20)
        late = pool.submit(manners.reading(slurm, "bob").queue, JobQuery())
        until(late.running)
        time.sleep(0.2)  # so that it waits; if it came later it would ask anyway
        slurm.gate.set()
        with pytest.raises(KeyboardInterrupt):
            early.result(20)
        assert late.result(20) == []
    assert slurm.asked == 2


def test_a_controller_in_trouble_is_left_alone_for_a_while(manners: Manners, clock: Clock) -> None:
    slurm = Slow()
    slurm.away = True
    for _ in range(3):
        with pytest.raises(SlurmUnreachable, match="does not answer"):
            manners.reading(slurm, "ann").queue(JobQuery())
    assert slurm.asked == 1
    slurm.away, clock.now = False, clock.now + manners.seconds + 0.1
    assert manners.reading(slurm, "ann").queue(JobQuery()) == []


def test_an_error_is_told_to_all_who_wait_and_not_kept(manners: Manners) -> None:
    view = manners.reading(Slow(), "ann")
    for _ in range(2):
        with pytest.raises(UnknownJob):
            view.job("77")
    assert counted(manners, "calls", what="job") == 2


def test_no_more_calls_a_second_than_agreed(manners: Manners, clock: Clock) -> None:
    fresh = manners.fresh(Slow())
    for _ in range(45):
        fresh.queue(JobQuery())
    assert len(clock.waits) == 25, "20 at once, then 5 a second"
    assert sum(clock.waits) == pytest.approx(5.0) == counted(manners, "wait_seconds")


def test_who_would_wait_too_long_is_told_so() -> None:
    clock = Clock()
    limit = Limit(1.0, 1, clock, lambda seconds: None)
    for _ in range(int(LONGEST_WAIT) + 1):
        limit.take()
    with pytest.raises(SlurmUnreachable, match="too many questions at once: the limit is 1 calls a second"):
        limit.take()
    clock.now += 2
    limit.take()


def test_a_period_up_to_now_is_the_same_question_for_a_while(manners: Manners) -> None:
    moments = {manners.moment(NOW + timedelta(milliseconds=100 * n)) for n in range(10)}
    assert len(moments) == 1 and NOW - moments.pop() < timedelta(seconds=manners.seconds)


@pytest.mark.parametrize(
    ("tool", "arguments", "longest"),
    [
        ("list_jobs", {"states": ["FAILED"]}, LOOK_BACK),
        ("list_jobs", {"until": "2026-11-20T00:00:00"}, LOOK_BACK + timedelta(days=1)),
        ("usage_report", {}, timedelta(days=31)),
        ("diagnose_node", {"node": "gpu-node01"}, timedelta(days=31)),
    ],
)
def test_accounting_is_never_asked_about_all_times(tool: str, arguments: dict[str, object], longest: timedelta) -> None:
    slurm, asked = Slow(), BY_NAME[tool]
    args = asked.Arguments.model_validate(arguments, context={"now": NOW})
    asked.run(args, ToolContext(slurm, Caller("root"), NOW))  # type: ignore[attr-defined]
    assert slurm.windows, "it looked into accounting"
    for window in slurm.windows:
        assert window.since and (window.until or NOW) - window.since <= longest + timedelta(minutes=1)


def test_a_bounded_window_reaches_sacct(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for name, body in (("sacct", f'echo "$@" >> {log}'), ("squeue", "true")):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
    slurm = CliBackend(Runner({"PATH": f"{tmp_path}:/bin:/usr/bin"}))
    find_jobs(slurm, JobQuery(states=("FAILED",)), NOW, 50)
    assert "--starttime=2026-11-14T12:00:03" in log.read_text()


def test_every_read_of_a_backend_may_be_shared_or_is_not_for_sharing() -> None:
    reads = {name for name in vars(Backend) if not name.startswith("_")}
    assert reads - LIFETIMES.keys() == {"perform", "find_by_key", "render", "script", "commands"}


def test_a_served_ledger_looks_at_shared_answers_and_changes_by_fresh_ones(manners: Manners, tmp_path: Path) -> None:
    slurm = Slow()
    job_id = slurm.perform(Operation("submit", "", {"command": "sleep 9"})).id
    journal = Journal(f"sqlite:///{tmp_path}/journal.db")
    base = LedgerExecutor(Ledger(lambda: ToolContext(slurm, Caller("root"), NOW), journal, AutoApprove("root")))
    for _ in range(3):
        _, (looked,) = app.served(base, manners, slurm, "root").run("look", (Call("list_jobs", {}),))
        assert [row["job_id"] for row in looked.result.data["jobs"]] == [job_id]
    assert slurm.asked == 1
    slurm.perform(Operation("cancel", job_id))  # by somebody else, within the lifetime of what was shared
    served = app.served(base, manners, slurm, "root")
    _, (done,) = served.run("stop", (Call("cancel_jobs", {"job_ids": [job_id]}),))
    assert done.plan is not None and done.plan.operations == (), done.result
    assert slurm.asked > 1
