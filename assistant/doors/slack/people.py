"""Who in Slack is who in Slurm: a file that the site writes, read again whenever it changes."""

from __future__ import annotations

import logging
import pwd
import re
import stat
import time
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from assistant.errors import ConfigError

if TYPE_CHECKING:
    from slack_sdk import WebClient

_MEMBER = re.compile(r"[UW][A-Z0-9]{2,}")
_EMAIL_SECONDS = 300.0
"""How long an address that Slack told is believed: who loses it loses the right within this time."""
log = logging.getLogger(__name__)


class SlackFile(BaseModel):
    """``users``: a member id or a confirmed e-mail address of the own workspace → the user of Slurm."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    users: dict[str, str] = Field(min_length=1)
    api_url: str = "https://slack.com/api/"
    """Another only for GovSlack."""

    @field_validator("users")
    @classmethod
    def _known_forms(cls, users: dict[str, str]) -> dict[str, str]:
        for who, user in users.items():
            if not _MEMBER.fullmatch(who) and "@" not in who:
                raise ValueError(f"{who!r} is neither a member id (U0123ABCD) nor an e-mail address")
            if not is_user(user):
                raise ValueError(f"{who}: there is no user {user!r} on this machine")
        return {who if _MEMBER.fullmatch(who) else who.lower(): user for who, user in users.items()}


def is_user(name: str) -> bool:
    try:
        return bool(pwd.getpwnam(name))
    except KeyError:
        return False


def read(path: Path) -> SlackFile:
    """Raises ConfigError with the file, what is wrong in it, and the valid form."""
    form = 'write [users] and, a line each, U0123ABCD = "ann" or "ann@example.org" = "ann"'
    try:
        if path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise ConfigError(f"{path} says who may act as whom, and others may write it", f"chmod go-w {path}")
        return SlackFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", form) from None
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{path}: {wrong}", form) from None


@dataclass
class People:
    """``team``: the workspace of the app; the addresses of other workspaces' members count for nothing."""

    path: Path
    client: WebClient
    team: str
    _file: SlackFile | None = None
    _changed: float = 0.0
    _emails: dict[str, tuple[float, str]] = field(default_factory=dict)

    def user_of(self, member: str) -> str | None:
        """The user of Slurm, or None for whom nobody has let in. Raises ConfigError, SlackApiError."""
        users = self._current().users
        user = users.get(member)
        if user is None and any("@" in who for who in users):
            user = users.get(self._email(member))
        return user if user and is_user(user) else None

    def _current(self) -> SlackFile:
        """The file as it is now. One that was spoilt meanwhile lets nobody in until it is mended."""
        changed = self.path.stat().st_mtime_ns if self.path.exists() else -1
        if self._file is None or changed != self._changed:
            self._file, self._changed = read(self.path), changed
        return self._file

    def _email(self, member: str) -> str:
        until, email = self._emails.get(member, (0.0, ""))
        if time.monotonic() < until:
            return email
        email = self._confirmed(self.client.users_info(user=member).get("user") or {})
        if len(self._emails) > 10_000:
            self._emails.clear()
        self._emails[member] = time.monotonic() + _EMAIL_SECONDS, email
        return email

    def _confirmed(self, user: dict[str, Any]) -> str:
        """The address where Slack vouches for it; empty for bots, guests of other workspaces, and who has left."""
        foreign = user.get("team_id") != self.team or user.get("is_stranger")
        if foreign or user.get("deleted") or user.get("is_bot") or not user.get("is_email_confirmed"):
            return ""
        return str((user.get("profile") or {}).get("email") or "").lower()
