"""The door's rules: what is held back at night, how much is posted in an hour, how often Slurm is asked."""

from __future__ import annotations

import re
import tomllib
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from assistant.errors import ConfigError

_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


class Rules(BaseModel):
    """A TOML file; all of it may be left out. Times are this machine's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    outlet: str = Field(default="stdout", description="`stdout`, or the URL of a webhook")
    outlet_key_file: Path | None = Field(default=None, description="key that signs what goes to that webhook")
    runbooks: Path | None = Field(default=None, description="folder with the site's own runbooks")
    group_seconds: float = Field(
        default=10.0, ge=0, le=600, description="alerts of one runbook within it are one incident"
    )
    quiet_hours: str = Field(
        default="", description="HH:MM-HH:MM; only critical alerts are posted then, the rest after it"
    )
    posts_per_hour: int = Field(default=30, ge=1, description="at most; a quarter is kept for critical alerts")
    repeat_hours: float = Field(
        default=24.0, gt=0, description="an alert that still fires is an incident anew after that"
    )
    diagnosed: int = Field(default=3, ge=1, le=20, description="nodes and jobs of an incident that are looked into")
    cache_seconds: float = Field(default=15.0, ge=0, description="how long an answer of Slurm serves all diagnoses")
    slurm_calls_per_minute: int = Field(default=60, ge=1, description="above that a diagnosis waits")

    @field_validator("quiet_hours")
    @classmethod
    def _is_span(cls, text: str) -> str:
        if text and not _HOURS.fullmatch(text):
            raise ValueError(f"{text!r} is no span of hours; write 22:00-07:00")
        return text

    @field_validator("outlet")
    @classmethod
    def _is_outlet(cls, text: str) -> str:
        if text != "stdout" and not text.startswith(("https://", "http://")):
            raise ValueError(f"{text!r} is neither `stdout` nor the URL of a webhook")
        return text

    @classmethod
    def read(cls, path: Path) -> Rules:
        """Raises ConfigError with the file, the wrong key and the valid ones."""
        try:
            return cls.model_validate(tomllib.loads(path.expanduser().read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"the rules {path} cannot be read: {error}", "mend the file or point elsewhere") from None
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise ConfigError(f"the rules {path}: {wrong}", f"valid keys: {', '.join(cls.model_fields)}") from None

    def is_quiet(self, now: float) -> bool:
        """Whether ``now`` (seconds since the epoch) is in the quiet hours, which may go over midnight."""
        if not (span := _HOURS.fullmatch(self.quiet_hours)):
            return False
        begin, end = int(span[1]) * 60 + int(span[2]), int(span[3]) * 60 + int(span[4])
        moment = datetime.fromtimestamp(now)
        minute = moment.hour * 60 + moment.minute
        return begin <= minute < end if begin <= end else minute >= begin or minute < end
