"""``sask slack`` as it is started: a process of its own, tokens from the environment, Slack on this machine."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.shell import Shell
from tests.slack_server import SECRET, Slack

TOKENS = {"SLACK_BOT_TOKEN": "xoxb-test", "SLACK_APP_TOKEN": "xapp-test", "SLACK_SIGNING_SECRET": SECRET}
SOME_MODEL = {"SASK_MODEL": "http://127.0.0.1:9", "SASK_MODEL_NAME": "none"}


@pytest.fixture
def slack() -> Iterator[Slack]:
    slack = Slack()
    yield slack
    slack.close()


@pytest.fixture
def sask(tmp_path: Path, slack: Slack) -> Shell:
    (tmp_path / "slack.toml").write_text(f'api_url = "{slack.url}"\n[users]\nU0ANN = "daemon"\n')
    return Shell(tmp_path, **TOKENS, **SOME_MODEL)


@pytest.mark.parametrize("how", [(), ("--http", "0")])
def test_it_serves_until_it_is_ended(sask: Shell, slack: Slack, how: tuple[str, ...]) -> None:
    process = sask.start("slack", "slack.toml", *how)
    assert process.stderr
    said = process.stderr.readline()
    if how:
        slack.http = said.split("listening at ")[1].split(";")[0]
        assert slack.post(b"{}", secret="another")[0] == 401
    slack.mention("U0EVE", "hello")
    assert "not known here" in slack.whisper()
    process.send_signal(signal.SIGTERM)
    rest = process.communicate(timeout=100)[1]
    assert process.returncode == 130
    assert "what waits for a yes stays open" in rest
    assert "Traceback" not in rest
    assert not any(secret in said + rest for secret in TOKENS.values())


@pytest.mark.parametrize(
    ("words", "env", "why"),
    [
        (("slack.toml",), {"SLACK_APP_TOKEN": ""}, "SLACK_APP_TOKEN not set"),
        (("slack.toml", "--http", "host"), {}, "has no port"),
        (("nowhere.toml",), {}, "cannot be read"),
        (("gone.toml",), {}, "Slack does not take SLACK_BOT_TOKEN"),
    ],
)
def test_what_it_cannot_start_with_is_named(sask: Shell, words: tuple[str, ...], env: dict[str, str], why: str) -> None:
    (sask.folder / "gone.toml").write_text('api_url = "http://127.0.0.1:9/api/"\n[users]\nU0ANN = "daemon"\n')
    done = sask("slack", *words, **env)
    assert done.returncode == 2
    assert why in done.stderr
    assert "xoxb-test" not in done.stderr
