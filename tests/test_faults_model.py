"""Model servers that are busy, broken or refuse: a budget of their own, and nothing is waited for without an end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from assistant.doors.failing import explain
from assistant.errors import ModelRefused, ModelUnreachable
from assistant.loop.model import OpenAIModel

GOOD = httpx.Response(200, json={"choices": [{"message": {"content": "{}"}, "finish_reason": "stop"}]})


class Server:
    """Answers in turn, the last one again and again."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers: Sequence[httpx.Response | Exception] = answers
        self.asked = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    def model(self) -> OpenAIModel:
        client = httpx.Client(transport=httpx.MockTransport(self), base_url="http://model.example")
        return OpenAIModel("http://model.example", "m", _client=client)


def busy(after: str = "", status: int = 429) -> httpx.Response:
    return httpx.Response(status, headers={"Retry-After": after} if after else {}, text="too many requests")


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits, which take no time here."""
    waits: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", waits.append)
    return waits


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_waited_for(slept: list[float], status: int) -> None:
    server = Server(busy("7", status), busy("9", status), GOOD)
    assert server.model().complete([], {}).text == "{}"
    assert slept == [7.0, 9.0]


@pytest.mark.parametrize("after", ["", "soon", "0", "Thu, 01 Jan 1970 00:00:00 GMT", "-5"])
def test_without_one_it_is_soon(slept: list[float], after: str) -> None:
    assert Server(busy(after), GOOD).model().complete([], {}).text == "{}"
    assert len(slept) == 1
    assert slept[0] <= 5


def test_a_date_is_waited_for_too(slept: list[float]) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=9)
    assert Server(busy(format_datetime(soon, usegmt=True)), GOOD).model().complete([], {}).text == "{}"
    assert len(slept) == 1
    assert 5 < slept[0] <= 9


@pytest.mark.parametrize("after", ["3600", "Fri, 01 Jan 2100 00:00:00 GMT"])
def test_nobody_waits_an_hour(slept: list[float], after: str) -> None:
    server = Server(busy(after))
    with pytest.raises(ModelRefused) as refused:
        server.model().complete([], {})
    assert (server.asked, slept) == (1, [])
    assert refused.value.status == 429


def test_busy_for_good_is_told_after_three(slept: list[float]) -> None:
    server = Server(busy("1", 503))
    with pytest.raises(ModelRefused) as refused:
        server.model().complete([], {})
    assert server.asked == 3
    assert (refused.value.status, slept) == (503, [1.0, 1.0])


def test_the_time_is_limited_too(slept: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes its time to say that it is busy."""
    monkeypatch.setattr("assistant.loop.model.LONGEST_WAIT", 1e-9)
    server = Server(busy(status=503))
    with pytest.raises(ModelRefused) as refused:
        server.model().complete([], {})
    assert (server.asked, refused.value.status) == (1, 503)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(500, text="boom"), ModelRefused),
        (httpx.Response(401, text="no"), ModelRefused),
        (httpx.ConnectError("Connection refused"), ModelUnreachable),
        (httpx.RemoteProtocolError("it hung up"), ModelUnreachable),
    ],
)
def test_what_may_have_been_worked_on_is_not_asked_again(
    slept: list[float], answer: Any, error: type[Exception]
) -> None:
    server = Server(answer, GOOD)
    with pytest.raises(error):
        server.model().complete([], {})
    assert (server.asked, slept) == (1, [])


def test_a_key_that_the_server_repeats_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    key = "sk-" + "proj-a1B2c3D4e5F6g7H8i9J0kk"
    server = Server(httpx.Response(401, text=f"Incorrect API key provided: {key}"))
    with pytest.raises(ModelRefused) as refused:
        server.model().complete([], {})
    assert explain(refused.value, as_json=True) == 4
    shown = capsys.readouterr()
    assert key not in shown.out + shown.err
    assert "Incorrect API key" in json.loads(shown.out)["error"]["message"]
