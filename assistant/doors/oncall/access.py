"""Who may hand in alerts: a bearer token, or a signature over the body; both from files that nobody else can read."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

FRESH_SECONDS = 300
"""A signature is good for as long, either way: clocks differ, and what was caught on the way must not serve later."""


@dataclass(frozen=True)
class Access:
    """``token`` for ``Authorization: Bearer``; ``key`` for ``X-Sask-Timestamp`` (seconds) and
    ``X-Sask-Signature: sha256=HEX``, the HMAC-SHA256 of timestamp, a full stop and the body. Empty: not accepted."""

    token: str = field(repr=False)
    key: str = field(default="", repr=False)

    def by_token(self, headers: Mapping[str, str]) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        right = hmac.compare_digest(given.strip().encode(), self.token.encode())
        return right and scheme.lower() == "bearer" and bool(self.token)

    def may_sign(self, headers: Mapping[str, str], now: float) -> bool:
        """Whether it is worth reading the body: there is a fresh timestamp and a signature."""
        stamp = headers.get("x-sask-timestamp", "")
        fresh = bool(re.fullmatch(r"\d{1,12}", stamp)) and abs(now - int(stamp)) <= FRESH_SECONDS
        return bool(self.key) and fresh and headers.get("x-sask-signature", "").startswith("sha256=")

    def by_signature(self, headers: Mapping[str, str], body: bytes) -> bool:
        given = headers.get("x-sask-signature", "").removeprefix("sha256=")
        return hmac.compare_digest(given.encode(), sign(self.key, headers.get("x-sask-timestamp", ""), body).encode())


def sign(key: str, stamp: str, body: bytes) -> str:
    return hmac.new(key.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
