"""The Edit button: a form with the arguments, and a new question that takes the old one's place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assistant.ledger.later import pending
from assistant.ledger.policy import Policy
from assistant.ledger.reading import show
from tests.slack_bed import ANN, BOB, EVE, NOBODY, ROOT, Bed
from tests.slack_page import Message


@pytest.fixture
def bed(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bed]:
    bed = Bed(tmp_path, http=getattr(request, "param", "http") == "http")
    yield bed
    bed.close()


def asked(bed: Bed, who: str, words: str) -> tuple[str, Message]:
    thread = bed.slack.mention(who, words)
    return thread, bed.slack.card("C1", thread)


def anew(bed: Bed, thread: str, old: Message) -> Message:
    """The card that took the place of ``old``."""
    cards = bed.slack.until(
        lambda: [m for m in bed.slack.in_thread("C1", thread) if m.buttons and m is not old], "none"
    )
    bed.slack.until(lambda: "withdrawn" in old.words, "the old card stays")
    return cards[-1]


@pytest.mark.parametrize("bed", ["socket", "http"], indirect=True)
def test_an_edited_call_is_asked_anew_and_the_old_question_is_gone(bed: Bed) -> None:
    thread, card = asked(bed, ANN, "submit train")
    bed.slack.click(ANN, card, "Edit")
    form = bed.slack.form()
    assert [one["block_id"] for one in form["blocks"]] == ["command", "job_name", "working_directory", "more"]
    taken = bed.slack.fill(ANN, form, job_name="exam", more="nodes: 2\ntime_limit = 2 hours")
    assert "response_action" not in taken
    new = anew(bed, thread, card)
    assert "--nodes=2" in new.words
    assert "--time=02:00:00" in new.words
    assert "--job-name=exam" in new.words
    assert f"withdrawn: @{ANN} asked for it with other arguments, as daemon" in card.words
    assert card.buttons == {}
    [row] = pending(bed.journal)
    assert [one["state"] for one in show(bed.journal, row["run"])["approvals"]] == ["denied", "pending"]
    bed.slack.click(ANN, new, "Approve")
    bed.slack.until(lambda: "approved by" in new.words, "the card does not say it")
    assert [(job.name, job.user) for job in bed.fake.jobs.values()] == [("exam", "daemon")]


def test_the_old_card_is_worth_nothing_any_more(bed: Bed) -> None:
    thread, card = asked(bed, ANN, "submit train")
    stale = Message(card.channel, card.ts, card.thread, card.text, card.blocks)
    bed.slack.click(ANN, card, "Edit")
    bed.slack.fill(ANN, bed.slack.form(), job_name="exam")
    anew(bed, thread, card)
    bed.slack.click(ANN, stale, "Approve")
    assert "is denied by daemon, it is no longer open" in bed.slack.whisper()
    bed.slack.fill(ANN, {**bed.slack.form(), "id": "V-other"}, job_name="third")
    assert "no longer open" in bed.slack.whisper(2)
    assert (bed.performed(), len(pending(bed.journal))) == ([], 1)


MISTAKES: list[tuple[dict[str, str], str]] = [
    ({"more": "nodes: none"}, "'none' is not of type 'integer'"),
    ({"more": "nodes: 0"}, "less than the minimum"),
    ({"more": "nods: 3"}, "is not `name: value`"),
    ({"more": "time_limit: soon"}, "soon"),
    ({"more": "gpus: 4\nmem: a lot"}, "a lot"),
    ({"command": ""}, "command"),
    ({}, "nothing in it was changed"),
]


def test_what_is_wrong_is_said_in_the_form(bed: Bed) -> None:
    _, card = asked(bed, ANN, "submit train")
    bed.slack.click(ANN, card, "Edit")
    form = bed.slack.form()
    for typed, why in MISTAKES:
        answer = bed.slack.fill(ANN, form, **typed)
        assert answer["response_action"] == "errors"
        assert why in answer["errors"]["more"]
    assert set(card.buttons) == {"Approve", "Edit", "Deny"}
    assert len(pending(bed.journal)) == 1
    bed.slack.fill(ANN, form, job_name="mended")
    bed.slack.until(lambda: "withdrawn" in card.words, "the old card stays")


def test_what_slurm_would_not_do_leaves_the_old_question(bed: Bed) -> None:
    job = bed.fake.submit_as("daemon", command="true", begin="now+1day")
    _, card = asked(bed, ANN, f"cancel {job}")
    bed.slack.click(ANN, card, "Edit")
    bed.slack.fill(ANN, bed.slack.form(), job_ids="4711")
    assert "4711" in bed.slack.whisper()
    assert set(card.buttons) == {"Approve", "Edit", "Deny"}
    bed.slack.click(ANN, card, "Approve")
    bed.slack.until(lambda: "approved by" in card.words, "the card does not say it")
    assert bed.performed() == ["cancel"]


def test_only_who_asked_or_may_approve_edits(bed: Bed) -> None:
    _, card = asked(bed, ANN, "submit train")
    for count, (who, why) in enumerate(((EVE, "may not edit"), (NOBODY, "not known"), (BOB, "only daemon may")), 1):
        bed.slack.click(who, card, "Edit")
        assert why in bed.slack.whisper(count)
    assert bed.slack.views == {}
    bed.slack.click(ANN, card, "Edit")
    bed.slack.fill(EVE, bed.slack.form(), job_name="mine")  # a form that is not hers
    assert "may not edit" in bed.slack.whisper(4)
    assert (bed.performed(), len(pending(bed.journal)), "Edit" in card.buttons) == ([], 1, True)


def test_who_edits_another_ones_request_has_asked_for_it(bed: Bed) -> None:
    """Otherwise one operator could make up a change and be the second person who approves it."""
    bed.policy = Policy(two_people_for_admin=True)
    thread, card = asked(bed, BOB, "drain gpu-node01")
    bed.slack.click(ROOT, card, "Edit")
    bed.slack.fill(ROOT, bed.slack.form(), nodes="gpu-node02")
    new = anew(bed, thread, card)
    assert "as root" in new.words
    bed.slack.click(ROOT, new, "Approve")
    assert "needs a second person" in bed.slack.whisper()
    bed.slack.click(BOB, new, "Approve")
    bed.slack.until(lambda: "approved by" in new.words, "the card does not say it")
    states = {name: bed.fake.cluster_nodes[name].state for name in ("gpu-node01", "gpu-node02")}
    assert ("DRAIN" in states["gpu-node01"], "DRAIN" in states["gpu-node02"]) == (False, True)


def test_a_form_that_comes_twice_counts_once(bed: Bed) -> None:
    thread, card = asked(bed, ANN, "submit train")
    bed.slack.click(ANN, card, "Edit")
    for _ in range(3):
        bed.slack.fill(ANN, bed.slack.form(), job_name="exam")
    anew(bed, thread, card)
    bed.stop()
    assert (len(pending(bed.journal)), bed.slack.whispers) == (1, [])
    bed.start()


def test_a_form_outlives_a_restart(bed: Bed) -> None:
    thread, card = asked(bed, ANN, "submit train")
    bed.slack.click(ANN, card, "Edit")
    form: Any = bed.slack.form()
    bed.stop()
    bed.start()
    bed.slack.fill(ANN, form, job_name="exam")
    assert "exam" in anew(bed, thread, card).words
