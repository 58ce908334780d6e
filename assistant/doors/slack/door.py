"""Slack's events, commands, shortcuts and buttons, through Bolt, to the desk and back.

A listener only acknowledges and hands over: Slack wants an answer within three seconds, a model takes longer. Buttons
have workers of their own, so that a yes never stands in line behind a hundred questions.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import BoundedSemaphore
from typing import Any

from slack_bolt import Ack, App, BoltRequest
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from assistant.doors.slack import blocks
from assistant.doors.slack.desk import Desk
from assistant.doors.slack.editing import Editor
from assistant.doors.slack.form import CALLBACK
from assistant.doors.slack.memory import Seen, Talk, Talks
from assistant.doors.slack.people import People
from assistant.doors.slack.post import Live, Place, open_thread, post, whisper
from assistant.errors import AssistantError, ConfigError
from assistant.ledger.shelf import Shelf
from assistant.loop.agent import Answer
from tools.slurm.errors import SlurmError

WORKERS, DECIDERS = 16, 4
MOST_WAITING = 500
"""Requests in hand; what comes above it is dropped with a line in the log, so that nothing piles up."""
HELP = "Say what you want of the cluster in plain words, for example: what is running? · why is 48121 still pending?"
_READABLE = frozenset({None, "file_share", "thread_broadcast"})
_MENTION = re.compile(r"<@[UW][A-Z0-9]+(?:\|[^>]*)?>")
_LINK = re.compile(r"<(?:https?://|mailto:|#|!)[^>|]*\|([^>]*)>|<((?:https?://|mailto:)[^>]*)>|<[#!@]([^>]*)>")
log = logging.getLogger(__name__)
Body = dict[str, Any]
Work = Callable[[Talk, Live], Answer]


@dataclass(frozen=True, slots=True)
class Heard:
    """An event; ``again`` where Slack says that it delivers it once more."""

    id: str
    again: bool


def _event_of(body: Body, request: BoltRequest) -> Heard:
    attempt = request.headers.get("x-slack-retry-num") or ["0"]
    return Heard(str(body.get("event_id")), attempt[0] != "0")


@dataclass
class Door:
    client: WebClient
    desk: Desk
    people: People
    bot: str
    """The app's own user in Slack."""
    seen: Seen = field(default_factory=Seen)
    talks: Talks = field(init=False)
    workers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(WORKERS, "slack"))
    deciders: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(DECIDERS, "slack-button"))
    room: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(MOST_WAITING))

    def __post_init__(self) -> None:
        self.talks = Talks(Shelf(self.desk.journal, "slack"))

    def listen(self, app: App) -> None:
        app.event("app_mention")(self.mentioned)
        app.event("message")(self.messaged)
        app.command("/sask")(self.commanded)
        app.shortcut("sask_diagnose")(self.shortcut)
        app.action(blocks.APPROVE)(self.clicked)
        app.action(blocks.DENY)(self.clicked)
        app.action(blocks.EDIT)(Editor(self).pressed)
        app.view(CALLBACK)(Editor(self).submitted)

    def close(self) -> None:
        """Ends once everything in hand has its answer."""
        self.workers.shutdown()
        self.deciders.shutdown()

    # ---- what Slack tells

    def mentioned(self, event: Body, body: Body, request: BoltRequest) -> None:
        if self._is_new(event, body):
            place = Place(event["channel"], event.get("thread_ts") or event["ts"])
            self._hand(self._request, event, place, _event_of(body, request))

    def messaged(self, event: Body, body: Body, request: BoltRequest) -> None:
        """Direct messages only: of a channel nothing is read but what is addressed to the app."""
        if event.get("channel_type") == "im" and self._is_new(event, body):
            place = Place(event["channel"], event.get("thread_ts", ""))
            self._hand(self._request, event, place, _event_of(body, request))

    def _is_new(self, event: Body, body: Body) -> bool:
        mine = event.get("bot_id") or event.get("user") in (None, self.bot)
        if mine or event.get("subtype") not in _READABLE:
            return False
        return self.seen.first(("event", body.get("event_id")), ("message", event["channel"], event["ts"]))

    def commanded(self, ack: Ack, command: Body) -> None:
        text = unlinked(command.get("text", ""))
        if not text or text.lower() == "help":
            ack(text=HELP)
            return
        ack()
        if self.seen.first(("command", command["trigger_id"])):
            self._hand(self._command, command["user_id"], command["channel_id"], text)

    def shortcut(self, ack: Ack, body: Body) -> None:
        ack()
        if self.seen.first(("shortcut", body["trigger_id"])):
            self._hand(self._diagnose, body)

    def clicked(self, ack: Ack, body: Body, action: Body) -> None:
        ack()
        self.decide(self._decide, body, action)

    def decide(self, work: Callable[..., None], *about: Any) -> None:
        """Where buttons are worked on."""
        self.deciders.submit(work, *about).add_done_callback(_logged)

    # ---- what is done with it

    def _hand(self, work: Callable[..., None], *about: Any) -> None:
        if not self.room.acquire(blocking=False):
            log.warning("%d requests are in hand; one more was dropped", MOST_WAITING)
            return
        future = self.workers.submit(work, *about)
        future.add_done_callback(lambda _: self.room.release())
        future.add_done_callback(_logged)

    def _request(self, event: Body, place: Place, heard: Heard) -> None:
        member, text = event["user"], plain(event.get("text", ""))
        if (user := self.admitted(member, place)) is None:
            return
        if not text:
            return whisper(self.client, place, member, blocks.said(HELP))
        if heard.again and self.desk.noted(heard.id):
            return
        run = self._answer(member, user, place, self._asking(user, text))
        self.desk.note(run, heard.id)

    def _asking(self, user: str, text: str) -> Work:
        return lambda talk, live: self.desk.ask(user, text, talk.conversation, live.say)

    def _command(self, member: str, channel: str, text: str) -> None:
        if (user := self.admitted(member, Place(channel))) is None:
            return
        asked = blocks.line(blocks.member(member), blocks.words(f" asked: {text}"))
        title = blocks.Shown(blocks.escaped(f"{user} asked: {text}"[:300]), [asked])
        place = open_thread(self.client, channel, member, title)
        self._answer(member, user, place, self._asking(user, text))

    def _diagnose(self, body: Body) -> None:
        member, message = body["user"]["id"], body["message"]
        place = Place(body["channel"]["id"], message.get("thread_ts") or message["ts"])
        if (user := self.admitted(member, place)) is None:
            return
        text = said_in(message)
        self._answer(
            member, user, place, lambda talk, live: self.desk.diagnose(user, text, talk.conversation, live.say)
        )

    def admitted(self, member: str, place: Place) -> str | None:
        """The user of Slurm behind a member; whoever has none is told so, alone."""
        user = None
        try:
            user = self.people.user_of(member)
        except ConfigError as error:
            log.error("%s: nobody is let in", error.message)
        except SlackApiError as error:
            log.error("%s could not be looked up: %s", member, error.response["error"])
        if user is None:
            text = f"You are not known here as a user of Slurm. Ask your administrators to enter you ({member})."
            log.info("refused %s, who stands for no user of Slurm", member)
            whisper(self.client, place, member, blocks.said(text))
        return user

    def _answer(self, member: str, user: str, place: Place, work: Work) -> str:
        """One request to its answer in its place, after the ones before it there; the id of its run."""
        talk = self.talks.of(place.channel, place.thread)
        with talk.turn:
            live = Live.begin(self.client, place, "working …")
            shown, run = blocks.said("that failed by a fault of the service; its log says more"), ""
            try:
                answer = work(talk, live)
                shown, run = blocks.answered(answer, user), answer.run
            except (AssistantError, SlurmError) as error:
                shown = blocks.said(blocks.told(error))
            finally:
                live.end(shown)
            self.talks.keep(place.channel, place.thread)
            self._cards(user, member, place, run)
        return run

    def _cards(self, user: str, member: str, place: Place, run: str) -> None:
        for row in self.desk.waiting(run) if run else ():
            post(self.client, place, blocks.card(row, member))

    def _decide(self, body: Body, action: Body) -> None:
        """A button: acted on by the right of whoever pressed it, then the card says what became of it."""
        member, message = body["user"]["id"], body["message"]
        place = Place(body["channel"]["id"], message.get("thread_ts", ""))
        if (user := self.admitted(member, place)) is None:
            return
        yes = action["action_id"] == blocks.APPROVE
        kept = blocks.without_buttons(message["blocks"])
        live = Live(self.client, place, message["ts"], kept)
        try:
            decided = self.desk.decide(user, action["value"], yes=yes, say=live.say)
        except (AssistantError, SlurmError) as error:
            whisper(self.client, place, member, blocks.said(blocks.told(error)))
            return self._closed(live, user, action["value"])
        live.end(blocks.verdict(decided.done, member, user, approved=yes))
        jobs = [item.id for one in decided.done for item in one.result.items if item.id[:1].isdigit()]
        self.talks.of(place.channel, place.thread).conversation.touch(jobs=jobs)
        self.talks.keep(place.channel, place.thread)
        self._cards(user, "", place, decided.run)

    def _closed(self, live: Live, user: str, approval: str) -> None:
        """A card whose question has expired loses its buttons; one that is decided is the decider's to edit."""
        if self.desk.state(approval) == "expired":
            live.end(blocks.said("expired: nothing was done; ask again"))


def plain(text: str) -> str:
    """A message's words without the mention of the app, and without Slack's own markup (Formatting message text)."""
    return unlinked(_MENTION.sub(" ", text))


def unlinked(text: str) -> str:
    text = _LINK.sub(lambda found: found[1] or found[2] or found[3] or "", text)
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").strip()


def said_in(message: Body) -> str:
    """All the words of a message: an alert's are in its attachments."""
    parts = [message.get("text", "")]
    for one in message.get("attachments") or ():
        parts += [one.get("title", ""), one.get("text", "") or one.get("fallback", "")]
    return plain("\n".join(filter(None, parts)))


def _logged(work: Future[None]) -> None:
    """What nobody foresaw is in the log with its traceback; the service goes on."""
    if error := work.exception():
        log.error("a request ended without an answer", exc_info=error)
