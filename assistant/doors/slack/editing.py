"""The Edit button: a form with the call's arguments, and a new question in place of the old one."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slack_bolt import Ack
from slack_sdk.errors import SlackApiError

from assistant.doors.slack import blocks
from assistant.doors.slack.form import at, form, typed
from assistant.doors.slack.post import Live, Place, post, whisper
from assistant.errors import AssistantError
from assistant.ledger.redact import redact
from tools.slurm.errors import SlurmError

if TYPE_CHECKING:
    from assistant.doors.slack.door import Door

LONGEST_ERROR = 500
log = logging.getLogger(__name__)
Body = dict[str, Any]


@dataclass(frozen=True)
class Editor:
    door: Door

    def pressed(self, ack: Ack, body: Body, action: Body) -> None:
        ack()
        self.door.decide(self._open, body, action["value"])

    def submitted(self, ack: Ack, body: Body) -> None:
        """Slack shows at the field what is wrong with it; anything that needs Slurm comes after the answer."""
        view, memo = body["view"], json.loads(body["view"]["private_metadata"])
        try:
            call = self.door.desk.rewritten(memo["approval"], lambda schema, before: typed(view, schema, before))
        except AssistantError as error:
            wrong = redact(blocks.told(error))[:LONGEST_ERROR]
            ack(response_action="errors", errors={at(error.message, view): wrong})
            return
        ack()
        if self.door.seen.first(("view", view["id"])):
            self.door.decide(self._amend, body["user"]["id"], memo, call.arguments)

    def _open(self, body: Body, approval: str) -> None:
        member, message, client = body["user"]["id"], body["message"], self.door.client
        place = Place(body["channel"]["id"], message.get("thread_ts", ""))
        if (user := self.door.admitted(member, place)) is None:
            return
        asker = blocks.members_in(message["blocks"])[:1]
        memo = {"approval": approval, "asker": asker, "channel": place.channel, "thread": place.thread}
        try:
            tool, schema, arguments = self.door.desk.editable(user, approval)
            view = form(tool, schema, arguments, json.dumps({**memo, "ts": message["ts"]}))
            client.views_open(trigger_id=body["trigger_id"], view=view)
        except (AssistantError, SlurmError) as error:
            whisper(client, place, member, blocks.said(blocks.told(error)))
        except SlackApiError as error:
            log.warning("the form was not opened: %s", error.response["error"])
            whisper(client, place, member, blocks.said("Slack did not open the form in time; press Edit again"))

    def _amend(self, member: str, memo: Body, arguments: Body) -> None:
        client, place = self.door.client, Place(memo["channel"], memo["thread"])
        if (user := self.door.admitted(member, place)) is None:
            return
        try:
            old, done, waiting = self.door.desk.amend(user, memo["approval"], arguments)
        except (AssistantError, SlurmError) as error:
            return whisper(client, place, member, blocks.said(blocks.told(error)))
        kept = blocks.without_buttons(blocks.card(old, "".join(memo["asker"])).blocks)
        Live(client, place, memo["ts"], kept).end(blocks.withdrawn(member, user))
        for row in waiting:
            post(client, place, blocks.card(row, member))
        if not waiting:
            post(client, place, blocks.said("; ".join(map(blocks.outcome, done))))
