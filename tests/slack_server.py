"""Slack on this machine: the Web API, Socket Mode and HTTP delivery, with everything that goes wrong there.

Shapes are those of docs.slack.dev (Events API, Socket Mode envelopes, interactivity payloads, 429 with Retry-After).
"""

from __future__ import annotations

import itertools
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode

from slack_sdk.signature import SignatureVerifier
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

from tests.slack_page import Message, blocks_of, check_view, fields, state_of, words_of

BOT, TEAM, SECRET = "UBOT", "T1", "signing-for-tests"
PATIENCE = 200.0
Body = dict[str, Any]


CUT_OFF = 0
"""Instead of a status: a server need not read to its end what it refuses (RFC 9110, section 15.5.14)."""


@dataclass
class Slack:
    """``users``: what users.info tells. ``limits``: methods that answer 429 that often, with Retry-After 1."""

    users: dict[str, Body] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    outside: set[str] = field(default_factory=set)
    messages: list[Message] = field(default_factory=list)
    whispers: list[Body] = field(default_factory=list)
    files: dict[str, Body] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    views: dict[str, Body] = field(default_factory=dict)
    acked: dict[str, Body] = field(default_factory=dict)
    http: str = ""
    """Where events are delivered over HTTP; empty is Socket Mode."""

    def __post_init__(self) -> None:
        self.changed = threading.Condition(threading.RLock())
        self._numbers = itertools.count(1)
        self._sockets: list[ServerConnection] = []
        self._web = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._web.daemon_threads = True
        self._socket: Server = serve(self._connected, "127.0.0.1", 0)
        threading.Thread(target=self._web.serve_forever, args=(0.02,), daemon=True).start()
        threading.Thread(target=self._socket.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._web.server_address[1]}/api/"

    def close(self) -> None:
        self._socket.shutdown()
        self._web.shutdown()
        self._web.server_close()

    def next(self) -> int:
        return next(self._numbers)

    def ts(self) -> str:
        return f"1790000000.{self.next():06d}"

    def until(self, true: Callable[[], Any], what: str) -> Any:
        """What ``true`` gives, once it gives something; whatever Slack is told wakes the one who waits."""
        end = time.monotonic() + PATIENCE
        with self.changed:
            while not (found := true()):
                assert self.changed.wait(end - time.monotonic()), f"{what}: {[m.words for m in self.messages][-5:]}"
            return found

    # ---- what people see

    def in_thread(self, channel: str, thread: str) -> list[Message]:
        return [one for one in self.messages if (one.channel, one.thread) == (channel, thread)]

    def answer(self, channel: str, thread: str, count: int = 1) -> Message:
        """The ``count``-th message of the app in a thread, once nothing is being worked on."""

        def finished() -> list[Message]:
            found = self.in_thread(channel, thread)
            return found if len(found) >= count and not found[count - 1].words.endswith("…") else []

        return self.until(finished, f"no answer {count} in {channel} {thread}")[count - 1]

    def card(self, channel: str, thread: str) -> Message:
        return self.until(lambda: [m for m in self.in_thread(channel, thread) if m.buttons], "no card")[-1]

    def whisper(self, count: int = 1) -> str:
        one = self.until(lambda: self.whispers[count - 1 :], f"no whisper {count}")[0]
        return "\n".join(words_of(one["blocks"]))

    # ---- what people do

    def mention(self, user: str, text: str, channel: str = "C1", thread: str = "", **how: Any) -> str:
        """The thread that the answer belongs in."""
        event = {"type": "app_mention", "user": user, "text": f"<@{BOT}> {text}", "channel": channel, "ts": self.ts()}
        event |= {"thread_ts": thread} if thread else {}
        self.event(event, **how)
        return thread or event["ts"]

    def direct(self, user: str, text: str, channel: str = "D1", **more: Any) -> None:
        event = {"type": "message", "channel_type": "im", "user": user, "text": text, "channel": channel}
        self.event({**event, "ts": self.ts(), **more})

    def event(self, event: Body, event_id: str = "", attempt: int = 0) -> None:
        body = {"type": "event_callback", "team_id": TEAM, "api_app_id": "A1", "event": event}
        body |= {"event_id": event_id or f"Ev{self.next()}", "authorizations": [{"team_id": TEAM, "user_id": BOT}]}
        self.deliver("events_api", body, attempt)

    def command(self, user: str, text: str, channel: str = "C1", trigger: str = "") -> Body:
        body = {"command": "/sask", "text": text, "user_id": user, "channel_id": channel, "team_id": TEAM}
        return self.deliver("slash_commands", {**body, "trigger_id": trigger or f"t{self.next()}"})

    def shortcut(self, user: str, message: Body, channel: str = "C1") -> None:
        body = {"type": "message_action", "callback_id": "sask_diagnose", "trigger_id": f"t{self.next()}"}
        self._interact({**body, "message": message}, user, channel)

    def click(self, user: str, message: Message, button: str) -> None:
        action = {**message.buttons[button], "type": "button", "block_id": "b", "action_ts": self.ts()}
        kept = {"ts": message.ts, "text": message.text, "blocks": message.blocks}
        kept |= {"thread_ts": message.thread} if message.thread else {}
        body = {"type": "block_actions", "actions": [action], "trigger_id": f"t{self.next()}"}
        self._interact({**body, "message": kept}, user, message.channel)

    def form(self, count: int = 1) -> Body:
        """The ``count``-th modal that was opened, once it is there."""
        return self.until(lambda: list(self.views.values())[count - 1 :], f"no form {count}")[0]

    def fill(self, user: str, view: Body, **typed: str) -> Body:
        """Submits a modal with these fields typed in anew; what Slack is answered."""
        values = {
            one["block_id"]: {"value": state_of(one["element"], typed.get(one["block_id"]))} for one in fields(view)
        }
        body = {"type": "view_submission", "user": {"id": user, "team_id": TEAM}, "team": {"id": TEAM}}
        return self.deliver("interactive", {**body, "view": {**view, "state": {"values": values}}})

    def _interact(self, body: Body, user: str, channel: str) -> None:
        who = {"user": {"id": user, "team_id": TEAM}, "channel": {"id": channel}, "team": {"id": TEAM}}
        self.deliver("interactive", {**body, **who})

    # ---- delivery

    def deliver(self, kind: str, body: Body, attempt: int = 0) -> Body:
        """Over whichever way the app has; returns once it has acknowledged, with what it said."""
        if self.http:
            return self._deliver_http(kind, body, attempt)
        number = f"env{self.next()}"
        envelope = {"type": kind, "envelope_id": number, "payload": body, "accepts_response_payload": True}
        envelope |= {"retry_attempt": attempt, "retry_reason": "timeout" if attempt else ""}
        self.until(lambda: self._sockets, "the app is not connected")[-1].send(json.dumps(envelope))
        self.until(lambda: number in self.acked, f"{kind} was not acknowledged")
        return self.acked[number].get("payload", {})

    def _deliver_http(self, kind: str, body: Body, attempt: int) -> Body:
        wrapped = {"events_api": json.dumps(body), "slash_commands": urlencode(body)}
        text = wrapped.get(kind) or urlencode({"payload": json.dumps(body)})
        form = "application/json" if kind == "events_api" else "application/x-www-form-urlencoded"
        more = {"X-Slack-Retry-Num": str(attempt)} if attempt else {}
        status, answer = self.post(text.encode(), form, **more)
        assert status == 200, answer
        return json.loads(answer) if answer.startswith("{") else {"text": answer}

    def post(self, body: bytes, form: str = "application/json", secret: str = SECRET, age: int = 0, **more: str) -> Any:
        """(status, text) of a request as Slack signs it."""
        moment = str(int(time.time()) - age)
        signature = SignatureVerifier(secret).generate_signature(timestamp=moment, body=body) or ""
        headers = {"Content-Type": form, "X-Slack-Request-Timestamp": moment, "X-Slack-Signature": signature, **more}
        return self.send(body, headers)

    def send(self, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
        request = urllib.request.Request(self.http, data=body, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except urllib.error.URLError as error:
            if isinstance(error.reason, (BrokenPipeError, ConnectionResetError)):
                return CUT_OFF, "the app closed the connection while it was being told"
            raise

    def drop(self) -> None:
        """Every connection goes away without a word."""
        for connection in list(self._sockets):
            connection.close()
        self.until(lambda: not self._sockets, "connections stay")

    def renew(self) -> None:
        """Slack asks the app to connect anew, as it does every few hours."""
        old = self._sockets[-1]
        old.send(json.dumps({"type": "disconnect", "reason": "refresh_requested"}))
        self.until(lambda: self._sockets and old not in self._sockets, "the app did not connect anew")

    def _connected(self, connection: ServerConnection) -> None:
        connection.send(json.dumps({"type": "hello", "num_connections": 1, "connection_info": {"app_id": "A1"}}))
        with self.changed:
            self._sockets.append(connection)
            self.changed.notify_all()
        with suppress(ConnectionClosed):
            for text in connection:
                self._ack(json.loads(text))
        with self.changed:
            self._sockets.remove(connection)
            self.changed.notify_all()

    def _ack(self, body: Body) -> None:
        with self.changed:
            self.acked[body["envelope_id"]] = body
            self.changed.notify_all()

    # ---- the Web API

    def api(self, method: str, body: Body) -> tuple[int, Body]:
        with self.changed:
            self.calls.append(method)
            if self.limits.get(method, 0) > 0:
                self.limits[method] -= 1
                return 429, {"ok": False, "error": "ratelimited"}
            if body.get("channel") in self.outside:
                return 200, {"ok": False, "error": "not_in_channel"}
            answer = getattr(self, "_" + method.replace(".", "_"))(body)
            self.changed.notify_all()
            return 200, {"ok": True, **answer}

    def _auth_test(self, body: Body) -> Body:
        return {"team_id": TEAM, "user_id": BOT, "bot_id": "B1", "team": "t", "user": "sask", "url": self.url}

    def _apps_connections_open(self, body: Body) -> Body:
        return {"url": f"ws://127.0.0.1:{self._socket.socket.getsockname()[1]}/link"}

    def _users_info(self, body: Body) -> Body:
        return {"user": self.users.get(body["user"], {})}

    def _conversations_open(self, body: Body) -> Body:
        return {"channel": {"id": f"D-{body['users']}"}}

    def _chat_postMessage(self, body: Body) -> Body:
        one = Message(body["channel"], self.ts(), body.get("thread_ts", ""), body["text"], blocks_of(body))
        self.messages.append(one)
        return {"channel": one.channel, "ts": one.ts}

    def _chat_update(self, body: Body) -> Body:
        [one] = [m for m in self.messages if (m.channel, m.ts) == (body["channel"], body["ts"])]
        one.text, one.blocks, one.edits = body["text"], blocks_of(body), one.edits + 1
        return {"channel": one.channel, "ts": one.ts}

    def _chat_postEphemeral(self, body: Body) -> Body:
        self.whispers.append({**body, "blocks": blocks_of(body)})
        return {"message_ts": self.ts()}

    def _views_open(self, body: Body) -> Body:
        assert body["trigger_id"]
        view = {**check_view(body["view"]), "id": f"V{self.next()}", "hash": "1.1"}
        self.views[view["id"]] = view
        return {"view": view}

    def _files_getUploadURLExternal(self, body: Body) -> Body:
        number = f"F{self.next()}"
        self.files[number] = {}
        return {"file_id": number, "upload_url": f"{self.url}upload/{number}"}

    def _files_completeUploadExternal(self, body: Body) -> Body:
        files = json.loads(body["files"])
        for one in files:
            self.files[one["id"]] |= {"channel": body["channel_id"], "thread": body.get("thread_ts", "")}
        return {"files": files}


def _handler(slack: Slack) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = self.path.partition("/api/")[2]
            if path.startswith("upload/"):
                slack.files[path.removeprefix("upload/")]["content"] = raw.decode()
                return self._answer(200, b"OK")
            is_json = "json" in self.headers.get("Content-Type", "")
            body = json.loads(raw or b"{}") if is_json else dict(parse_qsl(raw.decode()))
            status, answer = slack.api(path, body)
            self._answer(status, json.dumps(answer).encode())

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if status == 429:
                self.send_header("Retry-After", "1")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: Any) -> None:
            """Quiet."""

    return Handler
