"""The Slack door in trouble: limits, lost connections, other people's words, a hundred threads at once."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slack_bed import ANN, Bed


@pytest.fixture
def bed(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bed]:
    bed = Bed(tmp_path, http=getattr(request, "param", "http") == "http")
    yield bed
    bed.close()


def test_429_is_waited_out(bed: Bed) -> None:
    bed.slack.limits = {"chat.postMessage": 1, "chat.update": 1}
    thread = bed.slack.mention(ANN, "hello there")
    assert bed.slack.answer("C1", thread).words == "hello there"
    assert [bed.slack.calls.count(name) for name in ("chat.postMessage", "chat.update")] == [2, 2]


def test_long_answers_become_a_file_in_the_same_thread(bed: Bed) -> None:
    for number in range(60):
        bed.fake.submit_as("daemon", command="true", job_name=f"job-number-{number}", begin="now+1day")
    thread = bed.slack.mention(ANN, "list")
    answer = bed.slack.answer("C1", thread)
    [file] = bed.slack.until(lambda: [f for f in bed.slack.files.values() if "thread" in f], "no file")
    assert (file["channel"], file["thread"]) == ("C1", thread)
    assert "job-number-15" in file["content"]
    assert "the whole is in the file" in answer.words


def test_other_peoples_words_are_only_words(bed: Bed) -> None:
    name = "<!channel> <@U0BOB> *bold* ``` & <https://x.test|click>"
    job = bed.fake.submit_as("daemon", command="true", job_name=name)
    bed.slack.mention(ANN, f"show {job}")
    bed.slack.command(ANN, "look at &lt;!channel&gt; please")
    title = bed.slack.answer("C1", "")
    bed.slack.answer("C1", title.ts)
    bed.slack.until(lambda: any(name in message.words for message in bed.slack.messages), "the name is not shown")
    for message in bed.slack.messages:
        assert "<" not in message.text.replace("&lt;", "")
        assert "mrkdwn" not in json.dumps(message.blocks)
    assert "asked: look at <!channel> please" in title.words


def test_secrets_are_not_shown(bed: Bed) -> None:
    secret = "ghp_" + "a1B2" * 9
    thread = bed.slack.mention(ANN, f"my token is {secret}")
    assert secret not in bed.slack.answer("C1", thread).words
    assert secret not in json.dumps([message.text for message in bed.slack.messages])


@pytest.mark.parametrize("bed", ["socket"], indirect=True)
def test_a_connection_that_is_lost_or_renewed_comes_back(bed: Bed) -> None:
    for change in (bed.slack.drop, bed.slack.renew):
        change()
        thread = bed.slack.mention(ANN, "are you there?")
        assert bed.slack.answer("C1", thread).words == "are you there?"


def test_a_fault_of_ours_ends_the_request_and_not_the_service(bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
    def fail(request: str) -> None:
        if request == "break":
            raise ZeroDivisionError

    bed.model.wait = fail
    with caplog.at_level(logging.ERROR):
        assert "fault of the service" in bed.slack.answer("C1", bed.slack.mention(ANN, "break")).words
    assert bed.slack.answer("C1", bed.slack.mention(ANN, "hello")).words == "hello"


@pytest.mark.parametrize("bed", ["socket"], indirect=True)
def test_a_hundred_threads_at_once(bed: Bed) -> None:
    threads = {
        f"train{number}": bed.slack.mention(ANN, f"submit train{number}", f"C{number % 7}") for number in range(100)
    }
    cards = {name: bed.slack.card(f"C{int(name[5:]) % 7}", thread) for name, thread in threads.items()}
    for name, card in cards.items():
        assert f"--job-name={name} " in card.words
        bed.slack.click(ANN, card, "Approve")
    for card in cards.values():
        bed.slack.until(lambda card=card: "approved by" in card.words, "a card is left open")
    bed.stop()
    assert sorted(job.name for job in bed.fake.jobs.values()) == sorted(threads)
    assert len(bed.slack.messages) == 200
    for name, thread in threads.items():
        texts = [message.words for message in bed.slack.messages if message.thread == thread]
        others = {other for other in threads if any(f"{other}\n" in text or f"{other} " in text for text in texts)}
        assert (len(texts), others) == (2, {name})
    bed.start()
