"""HTTP mode: what is forged, old, huge or no request at all is refused, and the service stays up."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from assistant.doors.slack.web import LARGEST
from tests.slack_bed import ANN, Bed
from tests.slack_server import BOT, CUT_OFF, SECRET, TEAM

MENTION = json.dumps(
    {
        "type": "event_callback",
        "event_id": "Ev1",
        "team_id": TEAM,
        "event": {"type": "app_mention", "user": ANN, "text": f"<@{BOT}> submit x", "channel": "C1", "ts": "1.1"},
    }
).encode()


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    bed = Bed(tmp_path, http=True)
    yield bed
    bed.close()


def alive(bed: Bed) -> None:
    """A good request is answered, and nothing came of the bad ones."""
    assert bed.slack.answer("C1", bed.slack.mention(ANN, "hello")).words == "hello"
    assert bed.model.asked == ["hello"]


@pytest.mark.parametrize(
    "how",
    [{"secret": "another"}, {"age": 301}, {"age": -301}, {"X-Slack-Signature": "v0=00"}, {"X-Slack-Signature": ""}],
)
def test_a_forged_or_old_signature_is_refused(
    bed: Bed, how: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "assistant.doors.slack.web"):
        assert bed.slack.post(MENTION, **how)[0] == 401  # type: ignore[arg-type]
    assert "no good signature of Slack" in caplog.text
    alive(bed)


def test_what_was_signed_for_another_body_is_refused(bed: Bed) -> None:
    import time

    from slack_sdk.signature import SignatureVerifier

    moment = str(int(time.time()))
    signature = SignatureVerifier(SECRET).generate_signature(timestamp=moment, body=b"{}") or ""
    headers = {"X-Slack-Request-Timestamp": moment, "X-Slack-Signature": signature, "Content-Type": "application/json"}
    assert bed.slack.send(MENTION, headers)[0] == 401
    alive(bed)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"{not json", {"Content-Type": "application/json"}),
        (b"\xff\xfe\x00", {"Content-Type": "application/json"}),
        (b"payload=%7Bnot", {"Content-Type": "application/x-www-form-urlencoded"}),
        (MENTION, {"X-Slack-Request-Timestamp": "soon", "X-Slack-Signature": "v0=1"}),
        (MENTION, {"X-Slack-Signature": "v0=é"}),
    ],
)
def test_what_is_no_request_is_a_bad_one(bed: Bed, body: bytes, headers: dict[str, str]) -> None:
    assert bed.slack.send(body, headers)[0] in (400, 401)
    alive(bed)


def test_what_is_too_large_is_not_read(bed: Bed) -> None:
    assert bed.slack.send(b"x" * (LARGEST + 1), {"Content-Type": "application/json"})[0] in (413, CUT_OFF)
    alive(bed)


def test_slacks_question_for_the_address_is_answered(bed: Bed) -> None:
    assert "xyz" in bed.slack.post(b'{"type": "url_verification", "challenge": "xyz"}')[1]


def test_more_open_files_than_select_takes_do_not_stop_it(tmp_path: Path) -> None:
    with ExitStack() as opened:
        for _ in range(1_100):
            opened.enter_context(Path("/dev/null").open("rb"))
        bed = Bed(tmp_path, http=True)
        opened.callback(bed.close)
        alive(bed)
