"""Ten thousand generated arguments and model outputs on their whole way: ladder, grounding, policy, plan, preview,
rendering, redaction. Whatever comes, there is no traceback, and what is refused says why."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from assistant.doors.render import done_document, show_done, show_preview
from assistant.ledger.approval import AutoApprove, ScriptedApprover
from assistant.ledger.carry import Ledger
from assistant.ledger.done import Done
from assistant.ledger.execute import LedgerExecutor
from assistant.ledger.journal import Journal
from assistant.ledger.policy import Policy, must_ask, refuse
from assistant.ledger.redact import fence, redact
from assistant.ledger.retry import Retry
from assistant.loop.ladder import climb
from assistant.loop.said import Said
from tests.fake_slurm import FakeSlurm
from tests.fault_bed import ARGUMENTS as GOOD
from tools import BY_NAME
from tools.base import Call, Caller, ToolContext

OUTPUTS, ARGUMENTS, CARRIED = 6_000, 3_850, 150
NOW = datetime(2026, 11, 21, 12, 0)
SECRET = "hf_" + "a1B2c3D4e5F6g7H8i9J0kk"
STRINGS = (
    "", " ", "0", "1", "2", "7", "-1", "1_2", "1_[0-3]", "1_[3-0]", "1+0", "999999999999999999999", "me", "alice",
    "bob", "root", "gpu", "gpu-node01", "gpu-node[01-04]", "gpu-node[01-", "gpu-node[9-1]", "h100", "a100_3g.20gb",
    "900G", "-5G", "1.5T", "01:00:00", "1-00:00:00", "99-99:99:99", "+6:00:00", "-6:00:00", "now", "now+2hours",
    "2026-11-21T10:00:00", "2026-13-45T99:00:00", "afterok:$1", "afterok:1", "after:1+", "$1", "$99", "$0",
    "RUNNING", "PENDING", "hold", "release", "--user=root", "-x", "; scancel 1", "$(id)", "`id`", "a\nb", "a\0b",
    "\ud800", "\u202e", "é", "🛑", "名前", "\x1b[31m", "%j", "%A_%a", "{{x}}", "[/red]", "[bold]", "../../x",
    "x" * 300, "9" * 400, "[" * 60, "(" * 60, "null", "NaN", f"HF_TOKEN={SECRET}", SECRET,
    "postgres://u:hunter2@db/x", "0-9:2%3", "1-5%0", "user", "account", "INT", "KILL", "stdout",
)  # fmt: skip
NUMBERS = (0, 1, 2, 7, -1, 10**6, 2**63, 10**30, 0.5, -0.0, float("inf"), float("nan"), True)
REQUESTS = (
    "cancel job 1 and hold 2", "train.py on 2 nodes with 8 h100s each for 1-00:00:00", "why is 1_2 pending?",
    "drain gpu-node[01-04]: Xid 79", "my jobs since 2026-11-21T10:00:00", "give 7 +6:00:00 more", "🛑 名前 é \u202e",
    f"submit run.sh with HF_TOKEN={SECRET}", "900G on partition gpu for alice, afterok:1", "x" * 3000,
)  # fmt: skip


def anything(dice: random.Random, depth: int = 0) -> Any:
    kind = dice.random()
    if kind < 0.55 or depth > 2:
        return dice.choice(STRINGS)
    if kind < 0.75:
        return dice.choice(NUMBERS)
    if kind < 0.8:
        return None
    if kind < 0.92:
        return [anything(dice, depth + 1) for _ in range(dice.randrange(4))]
    return {dice.choice(STRINGS): anything(dice, depth + 1) for _ in range(dice.randrange(3))}


def fitting(dice: random.Random, spec: dict[str, Any]) -> Any:
    """A value of about the kind that the schema wants."""
    if "enum" in spec:
        return dice.choice(spec["enum"])
    if options := spec.get("anyOf"):
        return fitting(dice, dice.choice(options))
    match spec.get("type"):
        case "array":
            return [fitting(dice, spec.get("items", {})) for _ in range(dice.randrange(1, 4))]
        case "integer" | "number":
            return dice.choice((0, 1, 2, 7, 100, -1, 10**9))
        case "boolean":
            return dice.random() < 0.5
        case "object":
            return {dice.choice(("OMP_NUM_THREADS", "HF_TOKEN", "A B", "")): dice.choice(STRINGS) for _ in range(2)}
    return dice.choice(STRINGS)


def arguments(dice: random.Random, tool: str) -> dict[str, Any]:
    """Mostly of the right kinds, so that they come far; some wild, some under names that there are not."""
    schema = BY_NAME[tool].schema()
    if dice.random() < 0.5:  # an ordinary call, with something wrong about it or not
        ordinary = dice.choice([GOOD[tool], *(given for _, given in BY_NAME[tool].examples)])
        spoiled = dice.sample(sorted(schema["properties"]), k=dice.choice((0, 1)))
        return {**ordinary, **{name: fitting(dice, schema["properties"][name]) for name in spoiled}}
    names = dice.sample(sorted(schema["properties"]), k=min(dice.randrange(1, 5), len(schema["properties"])))
    made = {}
    for name in {*names, *schema.get("required", ())}:
        wild = dice.random() < 0.12
        made[name] = anything(dice) if wild else fitting(dice, schema["properties"][name])
    return made | ({dice.choice(STRINGS): 1} if dice.random() < 0.05 else {})


def output(dice: random.Random) -> str:
    """A model's answer: an Action, or what is left of one."""
    tools = [dice.choice(sorted(BY_NAME)) for _ in range(dice.choice((1, 1, 1, 2, 9)))]
    steps = [{tool: arguments(dice, tool)} for tool in tools]
    action: Any = steps[0] if len(steps) == 1 else {"steps": steps}
    spoiled: tuple[Callable[[], Any], ...] = (
        lambda: {"ask": anything(dice)}, lambda: {"reply": anything(dice)}, lambda: anything(dice),
        lambda: {**action, "ask": "x"}, lambda: {"steps": anything(dice)}, lambda: {dice.choice(STRINGS): action},
    )  # fmt: skip
    text = json.dumps(dice.choice(spoiled)() if dice.random() < 0.25 else action, ensure_ascii=dice.random() < 0.5)
    cut = dice.randrange(len(text) + 1)
    ways = ("whole", "whole", "whole", "whole", "cut", "drop", "fence", "twice", "deep")
    match dice.choice(ways):
        case "cut":
            return text[:cut]
        case "drop":
            return text[:cut] + text[cut + 1 :]
        case "fence":
            return f"```json\n{text}\n```"
        case "twice":
            return text + text
        case "deep":
            return "[" * 3000 + text if dice.random() < 0.2 else text.replace(":", ": ")
    return text


@pytest.fixture(scope="module")
def cluster() -> FakeSlurm:
    fake = FakeSlurm(user="alice", level="administrator")
    for user in ("alice", "alice", "bob"):
        fake.submit_as(user, command="sleep 60", time_limit="2:00:00", begin="now+1hour")
    fake.start("1")
    return fake


def executor(
    cluster: FakeSlurm, journal: Journal, level: Any, *, dry_run: bool, approver: Any = None
) -> LedgerExecutor:
    def context() -> ToolContext:
        return ToolContext(cluster, Caller("alice", level), NOW)

    chosen = approver or AutoApprove("alice")
    quick = Retry(first_wait=0, attempts=1, settle=0)
    return LedgerExecutor(Ledger(context, journal, chosen, retry=quick), BY_NAME, dry_run=dry_run)


def judged(done: Done, out: Console) -> None:
    """Every outcome that is not good has a code and a message; all of it can be shown and printed as JSON, and no
    result has a secret in it."""
    for item in done.result.items:
        if item.outcome != "ok":
            assert item.code or item.outcome in ("skipped", "denied"), (done.call, item)
            assert item.message, (done.call, item)
    show_done(done, out)
    text = json.dumps(done_document(done), default=str, ensure_ascii=False)
    text.encode()
    for secret in (SECRET, "hunter2@"):
        assert secret not in text, done


def dice_of(count: int, seed: str) -> Iterator[random.Random]:
    for number in range(count):
        yield random.Random(f"{seed}{number}")


def test_any_output_of_a_model_is_an_action_or_an_error_in_words(cluster: FakeSlurm, tmp_path: Path) -> None:
    journal = Journal(f"sqlite:///{tmp_path / 'journal.db'}")
    said = [Said(request, ("1", "2"), NOW, {"partition": frozenset({"gpu"})}) for request in REQUESTS]
    out = Console(file=io.StringIO(), markup=False, highlight=False, soft_wrap=True)
    rehearse = executor(cluster, journal, "none", dry_run=True)
    reached = 0
    for dice in dice_of(OUTPUTS, "output"):
        text = output(dice)
        rung = climb(text, BY_NAME, dice.choice(said), grounded=dice.random() < 0.8, copies=dice.random() < 0.2)
        assert (rung.action is None) == bool(rung.error), text
        assert (rung.action is None) == (rung.failed is not None), text
        fence(rung.error, "the answer")
        for call in rung.action.calls if rung.action else ():
            reached += 1
            refuse(call, Caller("alice"), Policy(forbidden_tools=("resize_job",)))
            _, (done,) = rehearse.run("words", (call,))
            judged(done, out)
    assert reached > 300, "too few came to the top for the rest of the way to be tried"
    assert not cluster.performed


def test_any_arguments_are_previewed_or_refused_in_words(cluster: FakeSlurm, tmp_path: Path) -> None:
    journal = Journal(f"sqlite:///{tmp_path / 'journal.db'}")
    out = Console(file=io.StringIO(), markup=False, highlight=False, soft_wrap=True)
    rehearse = {level: executor(cluster, journal, level, dry_run=True) for level in ("none", "administrator")}
    planned = 0
    for dice in dice_of(ARGUMENTS, "arguments"):
        tool = dice.choice(sorted(BY_NAME))
        call = Call(tool, arguments(dice, tool))
        _, (done,) = rehearse[dice.choice(("none", "administrator"))].run("words", (call,))
        judged(done, out)
        if done.plan:
            planned += 1
            must_ask(Policy(), done.plan.blast, Caller("alice"), after_reading=False)
    assert planned > 200
    assert not cluster.performed


def test_any_call_is_carried_out_or_refused_with_a_record(tmp_path: Path) -> None:
    fake = FakeSlurm(user="alice", level="administrator")
    for _ in range(3):
        fake.submit_as("alice", command="sleep 60", begin="now+1hour")
    journal = Journal(f"sqlite:///{tmp_path / 'journal.db'}")
    approver = ScriptedApprover((True, False), "alice")
    carry = executor(fake, journal, "administrator", dry_run=False, approver=approver)
    out = Console(file=io.StringIO(), markup=False, highlight=False, soft_wrap=True)
    for dice in dice_of(CARRIED, "carried"):
        tool = dice.choice(sorted(BY_NAME))
        _, (done,) = carry.run(dice.choice(REQUESTS), (Call(tool, arguments(dice, tool)),))
        judged(done, out)
    assert approver.seen
    for preview in approver.seen:
        show_preview(preview, out)
        assert SECRET not in redact(str(preview))
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert SECRET.encode() not in stored
    assert b"hunter2@" not in stored


def test_there_are_ten_thousand_of_them() -> None:
    assert OUTPUTS + ARGUMENTS + CARRIED >= 10_000
