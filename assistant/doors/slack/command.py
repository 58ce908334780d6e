"""``sask slack``: the service, over Socket Mode (no public address) or HTTP (Slack's signatures verified by Bolt)."""

from __future__ import annotations

import logging
import os
import signal
import sys
from importlib.util import find_spec
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assistant.doors.listening import address
from assistant.errors import ConfigError

if TYPE_CHECKING:
    from slack_bolt import App

    from assistant.config import Settings
    from assistant.doors.slack.door import Door

BOT, APP, SIGNING = "SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "SLACK_SIGNING_SECRET"


def command(
    file: Annotated[Path | None, typer.Argument(help="who in Slack is who in Slurm (slack.toml)")] = None,
    http: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="over HTTP there, not Socket Mode")] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help="as for a request")] = None,
) -> None:
    """Answer in Slack: mentions, direct messages, /sask; changes wait for a button. Tokens come from SLACK_… ."""
    from assistant import app
    from assistant.config import config_file

    for package in ("slack_bolt", "waitress"):
        if find_spec(package) is None:
            raise ConfigError(f"the Slack app needs the package `{package}`", "pip install 'slurm-assistant[slack]'")
    place = address(http, "--http", 3000) if http is not None else None
    bot, other = secrets_of(BOT, APP if place is None else SIGNING)
    _log_to_stderr()
    door, bolt = build(app.load(model=model), file or config_file().with_name("slack.toml"), bot, other)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _on_http(bolt, *place) if place else _on_socket(bolt, other)
    except KeyboardInterrupt:
        text = "the service has ended; what waits for a yes stays open, its buttons work again when it is back"
        raise KeyboardInterrupt(text) from None
    finally:
        door.close()


def secrets_of(*names: str) -> list[str]:
    """Tokens from the environment, taken out of it: no command and no job inherits them. Raises ConfigError."""
    found = {name: os.environ.pop(name, "").strip() for name in (BOT, APP, SIGNING)}
    if missing := [name for name in names if not found[name]]:
        raise ConfigError(
            f"{' and '.join(missing)} not set", "the guide beside assistant/doors/slack says where Slack shows them"
        )
    return [found[name] for name in names]


def build(settings: Settings, file: Path, bot_token: str, signing_secret: str) -> tuple[Door, App]:
    """The door and its Bolt app, not listening yet. Raises ConfigError, ModelError, ServingError."""
    from slack_bolt import App
    from slack_sdk.errors import SlackApiError

    from assistant import app
    from assistant.doors.slack import people
    from assistant.doors.slack.acting import backend, executors
    from assistant.doors.slack.desk import Desk
    from assistant.doors.slack.door import Door
    from assistant.doors.slack.memory import KEPT_DAYS, Known
    from assistant.doors.slack.post import web_client
    from assistant.ledger.approval import AskLater

    client = web_client(bot_token, people.read(file).api_url)
    try:
        me = client.auth_test()
    except (SlackApiError, OSError) as error:
        raise ConfigError(f"Slack does not take {BOT}: {_why(error)}", "reinstall the app, copy its token") from None
    known = Known(lambda user: app.known_names(backend(user, settings), user)())
    base = app.executor(settings, AskLater())
    decider = app.decider(settings, _tell, base.tools)
    desk = Desk(decider, executors(base, settings), known.of, base.ledger.journal, settings.model)
    door = Door(client, desk, people.People(file, client, me["team_id"]), me["user_id"])
    bolt = App(client=client, signing_secret=signing_secret, token_verification_enabled=False)
    door.listen(bolt)
    door.talks.shelf.forget(KEPT_DAYS)
    return door, bolt


def _why(error: Exception) -> str:
    """Slack's own word for a refusal (``invalid_auth``), or why it was not reached; never the token."""
    answer = getattr(error, "response", None)
    return str(answer["error"] if answer else error)


def _on_socket(bolt: App, token: str) -> None:
    from slack_bolt.adapter.socket_mode import SocketModeHandler
    from slack_sdk.errors import SlackApiError

    handler: Any = SocketModeHandler(bolt, token)
    try:
        handler.connect()
    except (SlackApiError, OSError) as error:
        handler.close()
        raise ConfigError(f"Slack does not take {APP}: {_why(error)}", "it begins with xapp-") from None
    _tell("connected to Slack")
    try:
        Event().wait()
    finally:
        handler.close()


def _on_http(bolt: App, host: str, port: int) -> None:
    from assistant.doors.slack.web import server

    listening = server(bolt, host, port)
    _tell(f"listening at http://{host}:{listening.effective_port}/slack/events; put TLS in front")
    listening.run()  # ends by itself on Ctrl-C
    raise KeyboardInterrupt


def _tell(text: str) -> None:
    print(f"sask: {text}", file=sys.stderr, flush=True)


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    for chatty in ("slack_bolt", "slack_sdk", "httpx"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
