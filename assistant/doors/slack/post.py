"""Posting to Slack: one place a request, one message that is edited, files for what is long, and patience with 429."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.error import URLError

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.http_retry.builtin_handlers import (
    ConnectionErrorRetryHandler,
    RateLimitErrorRetryHandler,
    ServerErrorRetryHandler,
)
from slack_sdk.http_retry.handler import RetryHandler

from assistant.doors.slack.blocks import Block, Shown, said

EDIT_SECONDS = 1.5
"""Between two edits of one message: chat.update takes about one a second and channel (Web API rate limits)."""
_NOT_INSIDE = frozenset({"not_in_channel", "channel_not_found", "is_archived", "restricted_action"})
_POSTS = ("chat.postMessage", "chat.postEphemeral", "files.completeUploadExternal")
log = logging.getLogger(__name__)


class _NeverReached(ConnectionErrorRetryHandler):
    """A lost connection is tried again, except where the message may have been posted already: none comes twice."""

    def _can_retry(self, *, state: Any, request: Any, response: Any = None, error: Exception | None = None) -> bool:
        refused = isinstance(error, URLError) and isinstance(error.reason, ConnectionRefusedError)
        if request.url.endswith(_POSTS) and not refused:
            return False
        return super()._can_retry(state=state, request=request, response=response, error=error)


def web_client(token: str, url: str) -> WebClient:
    """A client that waits as long as Slack's Retry-After says."""
    patience: list[RetryHandler] = [
        RateLimitErrorRetryHandler(max_retry_count=10),
        _NeverReached(max_retry_count=3),
        ServerErrorRetryHandler(max_retry_count=2),
    ]
    return WebClient(token=token, base_url=url, timeout=30, retry_handlers=patience)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request was made: all that belongs to it is shown there. An empty ``thread`` is the channel itself."""

    channel: str
    thread: str = ""

    def at(self) -> dict[str, Any]:
        where = {"channel": self.channel, "unfurl_links": False, "unfurl_media": False}
        return {**where, "thread_ts": self.thread} if self.thread else where


@dataclass
class Live:
    """One message in a place, edited as the work goes on."""

    client: WebClient
    place: Place
    ts: str
    before: Sequence[Block] = ()
    _edited: float = 0.0

    @classmethod
    def begin(cls, client: WebClient, place: Place, text: str) -> Live:
        shown = said(text)
        answer = client.chat_postMessage(**place.at(), text=shown.text, blocks=shown.blocks)
        return cls(client, replace(place, channel=answer["channel"]), answer["ts"], (), time.monotonic())

    def say(self, text: str) -> None:
        """Progress, where the last edit is long enough ago; it is no harm when it cannot be told."""
        if time.monotonic() - self._edited < EDIT_SECONDS:
            return
        self._edited = time.monotonic()
        try:
            self._edit(said(text))
        except SlackApiError as error:
            log.warning("progress was not shown: %s", error.response["error"])

    def end(self, shown: Shown) -> None:
        """What it came to, in the message's place; what is too long for it as a file beside it."""
        self._edit(shown)
        upload(self.client, self.place, shown.file)

    def _edit(self, shown: Shown) -> None:
        blocks = [*self.before, *shown.blocks][:50]
        self.client.chat_update(channel=self.place.channel, ts=self.ts, text=shown.text, blocks=blocks)


def upload(client: WebClient, place: Place, text: str) -> None:
    """A text file in the place; without the right to upload, the answer stays as short as it is."""
    if not text:
        return
    what = {"content": text, "filename": "details.txt", "title": "details"}
    try:
        client.files_upload_v2(channel=place.channel, thread_ts=place.thread or None, **what)  # type: ignore[arg-type]
    except SlackClientError as error:
        log.warning("the details were not uploaded: %s", error)


def post(client: WebClient, place: Place, shown: Shown) -> None:
    """A message of its own; what does not fit in it comes before it, to be read first."""
    upload(client, place, shown.file)
    client.chat_postMessage(**place.at(), text=shown.text, blocks=shown.blocks)


def whisper(client: WebClient, place: Place, member: str, shown: Shown) -> None:
    """For one person's eyes."""
    client.chat_postEphemeral(
        channel=place.channel, user=member, thread_ts=place.thread or None, text=shown.text, blocks=shown.blocks
    )


def open_thread(client: WebClient, channel: str, member: str, shown: Shown) -> Place:
    """A thread of its own in the channel, or, where the app is no member of it, in a direct message to who asked."""
    place = Place(channel)
    try:
        answer = client.chat_postMessage(**place.at(), text=shown.text, blocks=shown.blocks)
    except SlackApiError as error:
        if error.response["error"] not in _NOT_INSIDE:
            raise
        place = Place(client.conversations_open(users=[member])["channel"]["id"])
        answer = client.chat_postMessage(**place.at(), text=shown.text, blocks=shown.blocks)
    return Place(answer["channel"], answer["ts"])
