"""The real Bolt app between a Slack on this machine and a cluster in memory, with a model that does as it is told."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock, Thread
from typing import Any

from slack_bolt import App
from slack_bolt.adapter.socket_mode import SocketModeHandler

from assistant.doors.slack.desk import Desk
from assistant.doors.slack.door import Door
from assistant.doors.slack.people import People
from assistant.doors.slack.post import web_client
from assistant.doors.slack.web import server
from assistant.ledger.approval import AskLater
from assistant.ledger.carry import Ledger
from assistant.ledger.execute import LedgerExecutor
from assistant.ledger.journal import Journal
from assistant.ledger.policy import Policy
from assistant.ledger.retry import Retry
from assistant.loop.action import Action, encode
from assistant.loop.decide import Capabilities, Decider
from assistant.loop.model import Completion, Message
from tests.fake_slurm import FakeSlurm
from tests.slack_server import BOT, SECRET, TEAM, Slack
from tools import BY_NAME
from tools.base import Call, Caller, ToolContext

ANN, BOB, EVE, ROOT, NOBODY = "U0ANN", "U0BOB", "U0EVE", "U0ROOT", "U0NOBODY"
USERS = {ANN: "daemon", BOB: "bin", EVE: "sys", ROOT: "root"}
"""Users that every machine has."""
ADMINISTRATORS = ("bin", "root")
Body = dict[str, Any]


class Obedient:
    """A model that reads ``show 3``, ``submit NAME`` and the like, and says anything else back."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.about: list[str] = []
        self.wait: Callable[[str], object] = lambda request: None

    def complete(self, messages: list[Message], schema: Body) -> Completion:
        request = str(messages[-1]["content"])
        self.asked.append(request)
        self.about.append(str(messages[0]["content"]))
        self.wait(request)
        verb, _, rest = request.partition(" ")
        calls: dict[str, Callable[[], tuple[str, Body]]] = {
            "show": lambda: ("show_job", {"job_id": rest}),
            "submit": lambda: ("submit_job", {"command": "sleep 60", "job_name": rest}),
            "cancel": lambda: ("cancel_jobs", {"job_ids": re.findall(r"\d+", rest)}),
            "drain": lambda: ("drain_node", {"nodes": rest, "reason": "Xid 79"}),
            "list": lambda: ("list_jobs", {}),
        }
        action = Action(calls=(Call(*calls[verb]()),)) if verb in calls else Action(reply=request)
        return Completion(encode(action))


class Locked:
    """A cluster in memory that many threads ask, one at a time."""

    def __init__(self, fake: FakeSlurm, lock: Any) -> None:
        self._fake, self._lock = fake, lock

    def admin_level(self, user: str) -> str:
        return "administrator" if user in ADMINISTRATORS else "none"

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._fake, name)
        if not callable(value):
            return value

        def alone(*args: Any, **how: Any) -> Any:
            with self._lock:
                return value(*args, **how)

        return alone


@dataclass
class Bed:
    folder: Path
    http: bool = False
    policy: Policy = field(default_factory=Policy)
    slack: Slack = field(default_factory=Slack)
    fake: FakeSlurm = field(default_factory=lambda: FakeSlurm(user="daemon"))
    model: Obedient = field(default_factory=Obedient)
    users: str = "[users]\n" + "".join(f'{who} = "{user}"\n' for who, user in USERS.items())

    def __post_init__(self) -> None:
        self.url = f"sqlite:///{self.folder / 'journal.db'}"
        self.journal = Journal(self.url)
        self.file = self.folder / "slack.toml"
        self.file.write_text(self.users)
        self.lock = RLock()
        self.start()

    def start(self) -> None:
        client = web_client("xoxb-test", self.slack.url)
        decider = Decider(self.model, BY_NAME, _prompt, Capabilities(several_steps=False, grounded=False))
        desk = Desk(decider, self.executor, lambda user: {}, self.journal)
        self.door = Door(client, desk, People(self.file, client, TEAM), BOT)
        bolt = App(client=client, signing_secret=SECRET)
        self.door.listen(bolt)
        if self.http:
            self.listening = server(bolt, "127.0.0.1", 0)
            self.slack.http = f"http://127.0.0.1:{self.listening.effective_port}/slack/events"
            Thread(target=self.listening.run, daemon=True).start()
        else:
            self.handler: Any = SocketModeHandler(bolt, "xapp-test", ping_interval=5)
            self.handler.connect()

    def stop(self) -> None:
        """What is in hand is finished first."""
        if self.http:
            self.listening.close()
        else:
            self.handler.close()
        self.door.close()

    def close(self) -> None:
        self.stop()
        self.slack.close()

    def executor(self, user: str) -> LedgerExecutor:
        fake = self.fake
        if user != fake.user:
            fake = copy.copy(fake)
            fake.user, fake.level = user, "administrator" if user in ADMINISTRATORS else "none"
        caller = Caller(user, fake.level)

        def context() -> ToolContext:
            return ToolContext(Locked(fake, self.lock), caller, fake.now)

        quick = Retry(first_wait=0, settle=0)
        return LedgerExecutor(Ledger(context, self.journal, AskLater(), self.policy, quick))

    def performed(self) -> list[str]:
        return [operation.verb for operation in self.fake.performed]


def _prompt(said: Any, history: list[Message]) -> list[Message]:
    return [{"role": "system", "content": "; ".join(said.about)}, {"role": "user", "content": said.request}]
