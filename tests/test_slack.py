"""The Slack door: the real Bolt and slack_sdk against a Slack on this machine, a cluster in memory behind them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from assistant.ledger.later import pending
from assistant.ledger.policy import Policy
from assistant.ledger.reading import list_runs, show
from tests.slack_bed import ANN, BOB, EVE, NOBODY, ROOT, Bed
from tests.slack_server import BOT


@pytest.fixture
def bed(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bed]:
    """Over HTTP, or as a test says: what lies behind the two ways is the same."""
    bed = Bed(tmp_path, http=getattr(request, "param", "http") == "http")
    yield bed
    bed.close()


both = pytest.mark.parametrize("bed", ["socket", "http"], indirect=True)


@both
def test_a_mention_is_answered_in_its_thread_by_one_message(bed: Bed) -> None:
    job = bed.fake.submit_as("daemon", command="true", job_name="train")
    thread = bed.slack.mention(ANN, f"show {job}")
    answer = bed.slack.answer("C1", thread)
    assert "show_job" in answer.words
    assert "train" in answer.words
    assert answer.edits >= 1
    assert len(bed.slack.messages) == 1


def test_a_thread_has_a_memory_of_its_own(bed: Bed) -> None:
    job = bed.fake.submit_as("daemon", command="true")
    thread = bed.slack.mention(ANN, f"show {job}")
    bed.slack.answer("C1", thread)
    bed.slack.mention(ANN, "and now?", thread=thread)
    bed.slack.answer("C1", thread, 2)
    assert f"job {job}" in bed.model.about[1]
    other = bed.slack.mention(ANN, "and here?")
    bed.slack.answer("C1", other)
    assert bed.model.about[2] == ""


@both
def test_a_direct_message_is_answered_there_and_remembered(bed: Bed) -> None:
    job = bed.fake.submit_as("daemon", command="true")
    bed.slack.direct(ANN, f"show {job}")
    assert "show_job" in bed.slack.answer("D1", "").words
    bed.slack.direct(ANN, "and now?")
    bed.slack.answer("D1", "", 2)
    assert f"job {job}" in bed.model.about[1]


@both
def test_a_command_opens_a_thread_that_says_who_asked_what(bed: Bed) -> None:
    job = bed.fake.submit_as("daemon", command="true")
    assert bed.slack.command(ANN, "help")["text"].startswith("Say what you want")
    bed.slack.command(ANN, f"show {job}")
    title = bed.slack.answer("C1", "")
    assert title.words == f"@{ANN} asked: show {job}"
    assert "show_job" in bed.slack.answer("C1", title.ts).words


def test_a_command_where_the_app_is_no_member_is_answered_in_private(bed: Bed) -> None:
    bed.slack.outside.add("C9")
    bed.slack.command(ANN, "hello there", "C9")
    title = bed.slack.answer(f"D-{ANN}", "")
    assert "hello there" in bed.slack.answer(f"D-{ANN}", title.ts).words


@both
def test_the_shortcut_diagnoses_the_job_that_a_message_names(bed: Bed) -> None:
    job = bed.fake.submit_as("daemon", command="true", dependency="afterok:99")
    bed.slack.shortcut(ANN, {"ts": "5.1", "text": f"job {job} is stuck since 12:30, <@{ANN}>, node-17"})
    answer = bed.slack.answer("C1", "5.1")
    assert "diagnose_job" in answer.words
    assert bed.model.asked == []


def test_the_shortcut_reads_a_pasted_log(bed: Bed) -> None:
    text = (
        "Traceback (most recent call last):\ntorch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB"
    )
    bed.slack.shortcut(ANN, {"ts": "5.2", "text": "", "attachments": [{"text": text}]})
    assert "cuda_oom" in bed.slack.answer("C1", "5.2").words
    bed.slack.shortcut(ANN, {"ts": "5.3", "text": "good morning"})
    assert "names no job" in bed.slack.answer("C1", "5.3").words


@both
def test_a_write_waits_on_a_card_and_is_done_on_yes(bed: Bed) -> None:
    thread = bed.slack.mention(ANN, "submit train")
    card = bed.slack.card("C1", thread)
    assert bed.performed() == []
    [row] = pending(bed.journal)
    assert row["preview"]["commands"][0].splitlines()[0] in card.words
    assert "touches: 1 job(s)" in card.words
    assert row["digest"][:12] in card.words
    bed.slack.click(ANN, card, "Approve")
    bed.slack.until(lambda: "approved by" in card.words, "the card does not say it")
    assert (card.buttons, bed.performed()) == ({}, ["submit"])
    assert f"@{ANN} as daemon" in card.words
    assert "done 1" in card.words
    [approval] = show(bed.journal, "last")["approvals"]
    assert (approval["state"], approval["approver"]) == ("used", "daemon")
    bed.slack.mention(ANN, "and now?", thread=thread)
    bed.slack.until(lambda: len(bed.model.about) == 2, "not asked")
    assert "job 1" in bed.model.about[1]


def test_a_no_is_final(bed: Bed) -> None:
    card = bed.slack.card("C1", bed.slack.mention(ANN, "submit train"))
    bed.slack.click(ANN, card, "Deny")
    bed.slack.until(lambda: "denied by" in card.words, "the card does not say it")
    assert (card.buttons, bed.performed(), pending(bed.journal)) == ({}, [], [])


def test_somebody_without_the_right_is_told_alone(bed: Bed) -> None:
    card = bed.slack.card("C1", bed.slack.mention(ANN, "submit train"))
    bed.slack.click(EVE, card, "Approve")
    assert "sys may not approve what daemon asked for" in bed.slack.whisper()
    assert bed.slack.whispers[0]["user"] == EVE
    bed.slack.click(EVE, card, "Deny")
    assert "may not deny" in bed.slack.whisper(2)
    bed.slack.click(NOBODY, card, "Approve")
    assert "not known here" in bed.slack.whisper(3)
    assert (bed.performed(), len(pending(bed.journal)), set(card.buttons)) == ([], 1, {"Approve", "Deny", "Edit"})


def test_an_operators_yes_submits_as_the_one_who_asked(bed: Bed) -> None:
    card = bed.slack.card("C1", bed.slack.mention(ANN, "submit train"))
    bed.slack.click(BOB, card, "Approve")
    bed.slack.until(lambda: "approved by" in card.words, "the card does not say it")
    assert [job.user for job in bed.fake.jobs.values()] == ["daemon"]
    assert show(bed.journal, "last")["approvals"][0]["approver"] == "bin"


def test_dual_control_takes_another_operator(bed: Bed) -> None:
    bed.policy = Policy(two_people_for_admin=True)
    card = bed.slack.card("C1", bed.slack.mention(BOB, "drain gpu-node01"))
    assert "second operator" in card.words
    assert "confirm" in card.buttons["Approve"]
    bed.slack.click(BOB, card, "Approve")
    assert "needs a second person" in bed.slack.whisper()
    bed.slack.click(ANN, card, "Approve")
    assert "may not approve" in bed.slack.whisper(2)
    assert bed.performed() == []
    bed.slack.click(ROOT, card, "Approve")
    bed.slack.until(lambda: "approved by" in card.words, "the card does not say it")
    assert "DRAIN" in bed.fake.cluster_nodes["gpu-node01"].state, card.words


def test_what_has_expired_loses_its_buttons(bed: Bed) -> None:
    card = bed.slack.card("C1", bed.slack.mention(ANN, "submit train"))
    started = bed.journal.clock()
    bed.journal.clock = lambda: started + 7_200
    bed.slack.click(ANN, card, "Approve")
    bed.slack.until(lambda: "expired" in card.words, "the card stays open")
    assert "is expired" in bed.slack.whisper()
    assert (card.buttons, bed.performed()) == ({}, [])


def test_a_world_that_changed_is_shown_anew(bed: Bed) -> None:
    jobs = [bed.fake.submit_as("daemon", command="true", begin="now+1day") for _ in range(2)]
    thread = bed.slack.mention(ANN, f"cancel {jobs[0]} {jobs[1]}")
    card = bed.slack.card("C1", thread)
    bed.fake.finish(jobs[0])
    bed.slack.click(ANN, card, "Approve")
    anew = bed.slack.until(
        lambda: [m for m in bed.slack.in_thread("C1", thread) if m.buttons and m.ts != card.ts], "no new card"
    )[0]
    assert bed.performed() == []
    bed.slack.click(ANN, anew, "Approve")
    bed.slack.until(lambda: "approved by" in anew.words, "the card does not say it")
    assert bed.performed() == ["cancel"]


@both
def test_what_is_delivered_twice_is_done_once(bed: Bed) -> None:
    event = {"type": "app_mention", "user": ANN, "text": f"<@{BOT}> submit one", "channel": "C1", "ts": "7.1"}
    for attempt in range(3):
        bed.slack.event(event, event_id="Ev-same", attempt=attempt)
    bed.slack.event(event, event_id="Ev-other")  # the same message, told as another event
    for _ in range(2):
        bed.slack.command(ANN, "hello", trigger="same")
    bed.slack.card("C1", "7.1")
    title = bed.slack.answer("C1", "")
    bed.slack.answer("C1", title.ts)
    bed.stop()
    assert sorted(bed.model.asked) == ["hello", "submit one"]
    assert [len(pending(bed.journal)), len(bed.slack.in_thread("C1", "7.1"))] == [1, 2]
    bed.start()
    bed.slack.event(event, event_id="Ev-same", attempt=1)  # after a restart
    bed.slack.answer("C1", bed.slack.mention(ANN, "hello again"))
    bed.stop()
    assert len(pending(bed.journal)) == 1
    bed.start()


def test_a_button_pressed_many_times_acts_once(bed: Bed) -> None:
    card = bed.slack.card("C1", bed.slack.mention(ANN, "submit train"))
    shown = type(card)(card.channel, card.ts, card.thread, card.text, card.blocks)
    for _ in range(4):
        bed.slack.click(ANN, shown, "Approve")
    bed.slack.until(lambda: len(bed.slack.whispers) == 3, "the others were not told")
    bed.slack.until(lambda: "approved by" in card.words, "the card does not say it")
    assert bed.performed() == ["submit"]
    assert card.words.count("approved by") == 1


@both
def test_a_restart_loses_no_question(bed: Bed) -> None:
    card = bed.slack.card("C1", bed.slack.mention(ANN, "submit train"))
    bed.stop()
    bed.start()
    bed.slack.click(ANN, card, "Approve")
    bed.slack.until(lambda: "approved by" in card.words, "the card does not say it")
    assert bed.performed() == ["submit"]


def test_a_restart_forgets_no_conversation(bed: Bed) -> None:
    job = bed.fake.submit_as("daemon", command="true")
    thread = bed.slack.mention(ANN, f"show {job}")
    bed.slack.answer("C1", thread)
    other = bed.slack.mention(ANN, "hello, my password=hunter22")
    bed.slack.answer("C1", other)
    bed.stop()
    bed.start()
    bed.slack.mention(ANN, "and now?", thread=thread)
    bed.slack.answer("C1", thread, 2)
    bed.slack.mention(ANN, "and here?", thread=other)
    bed.slack.answer("C1", other, 2)
    assert bed.model.about[2:] == [f"job {job}", ""]
    talk = bed.door.talks.of("C1", thread).conversation
    assert [one["content"] for one in talk.messages[::2]] == [f"show {job}", "and now?"]
    assert "hunter22" not in str(bed.door.talks.of("C1", other).conversation)


def test_an_unknown_member_is_refused_alone(bed: Bed) -> None:
    bed.slack.mention(NOBODY, "submit train")
    assert "not known here as a user of Slurm" in bed.slack.whisper()
    bed.stop()
    assert (bed.slack.messages, bed.model.asked, list_runs(bed.journal)) == ([], [], [])
    bed.start()


def test_its_own_and_other_messages_are_left_alone(bed: Bed) -> None:
    bed.slack.direct(BOT, "hello")
    bed.slack.direct(ANN, "hello", bot_id="B7")
    bed.slack.direct(ANN, "hello", subtype="message_changed")
    bed.slack.direct(ANN, "hello", channel="C1", channel_type="channel")
    bed.slack.answer("C1", bed.slack.mention(ANN, "last"))
    bed.stop()
    assert (bed.model.asked, len(bed.slack.messages)) == (["last"], 1)
    bed.start()
