"""The MCP door's way into the ledger: reads at once, a change in two steps that are bound to each other.

The first step plans the change and leaves the question in the journal; the second carries the same call out, where
the same digest results. Nothing is kept in memory between them, so that a step may come from another connection.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from assistant.errors import RequestRefused
from assistant.ledger import later
from assistant.ledger.approval import Preview
from assistant.ledger.carry import Place
from assistant.ledger.done import Done
from assistant.ledger.execute import LedgerExecutor
from assistant.ledger.journal import Journal
from assistant.ledger.reading import find_run
from assistant.ledger.resume import check_cluster
from tools.base import Call

_MAC = 24
"""Hex digits of a token's seal: 96 bits, for a model has to copy it."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A change that was planned and not approved yet; ``preview`` is without secrets, ``expires`` an ISO time."""

    approval: str
    digest: str
    expires: str
    cluster: str
    preview: Preview


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a call; with ``waiting`` nothing was done yet."""

    run: str
    done: Done
    waiting: Waiting | None = None


@dataclass(frozen=True)
class Desk:
    """``executor`` makes a ledger anew for each call: who the caller is and what they may is asked each time, and
    calls that run side by side do not mix their commands. Its approver leaves every question for later."""

    executor: Callable[[], LedgerExecutor]
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def begin(self, call: Call, client: str) -> Answer:
        """A read carried out, a change planned. Raises JournalError, SlurmError."""
        executor = self.executor()
        run, (done,) = executor.run(f"{call.tool}, asked for by the MCP client {client[:100]}", (call,))
        return Answer(run, done, _waiting(executor.ledger.journal, run))

    def confirm(self, approval: str, call: Call, how: str) -> Answer:
        """Carry out what waits for that approval, which is spent by it; a change of the world asks anew.

        ``call`` is the one that was begun: the journal keeps no secrets, so its arguments come from the caller again
        and are held to the digest. Raises JournalError, RequestRefused, SlurmError.
        """
        executor = self.executor()
        journal, ctx = executor.ledger.journal, executor.ledger.context()
        row = later.find_approval(journal, approval)
        run = find_run(journal, row.run)
        if run.user != ctx.caller.user:
            raise RequestRefused(f"{ctx.caller.user} may not confirm what {run.user} asked for", "ask for it yourself")
        check_cluster(run, ctx.backend)
        if not journal.decide(row.id, True, ctx.caller.user, how):
            state = later.find_approval(journal, row.id).state
            raise RequestRefused(f"approval {row.id} is {state}, it is no longer open", "ask for the change anew")
        journal.claim(run.id)
        try:
            journal.forget(run.id, row.seq)
            done = executor.carry(call, Place(run.id, row.seq))
        finally:
            journal.release(run.id)
        return Answer(run.id, done, _waiting(journal, run.id))

    def deny(self, approval: str, reason: str) -> Answer:
        """Close the question; nothing of it is taken up any more. Raises JournalError, RequestRefused."""
        run, (done,) = later.deny(self.executor(), approval, reason)
        return Answer(run, done)

    def token(self, waiting: Waiting, call: Call) -> str:
        """What confirms this very change, on this server, until the approval expires or is spent."""
        return f"{waiting.approval}.{self._seal(waiting.approval, waiting.digest, call)}"

    def redeem(self, token: str, call: Call, how: str) -> Answer:
        """Carry out the change that ``token`` was given for. Raises as :meth:`confirm`."""
        approval, _, seal = token.rpartition(".")
        row = later.find_approval(self.executor().ledger.journal, approval)
        if not hmac.compare_digest(seal.encode(), self._seal(row.id, row.digest, call).encode()):
            text = "this confirm token was not given for this call with these arguments, or by a server that has ended"
            raise RequestRefused(text, "repeat the call exactly as it was previewed, or ask for a new preview")
        return self.confirm(row.id, call, how)

    def _seal(self, approval: str, digest: str, call: Call) -> str:
        what: list[Any] = [approval, digest, call.tool, call.arguments]
        canonical = json.dumps(what, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hmac.new(self.key, canonical.encode(), hashlib.sha256).hexdigest()[:_MAC]


def _waiting(journal: Journal, run: str) -> Waiting | None:
    """The question of this run that is open, where there is one."""
    for row in later.pending(journal):
        if row["run"] == run:
            return Waiting(row["id"], row["digest"], row["expires"], row["cluster"], later.preview_from(row["preview"]))
    return None
