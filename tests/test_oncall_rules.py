"""What the on-call door holds back, counts once and forgets, and whom it lets in."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from assistant.doors.oncall.access import Access
from assistant.doors.oncall.alerts import Alert, Severity
from assistant.doors.oncall.intake import MOST_KEPT, Intake
from assistant.doors.oncall.rules import Rules
from assistant.doors.oncall.runbooks import load
from assistant.errors import ConfigError

NOON = datetime(2026, 11, 21, 12, 0).timestamp()
NIGHT = datetime(2026, 11, 21, 23, 30).timestamp()
MORNING = datetime(2026, 11, 22, 7, 30).timestamp()
KEY = "fedcba9876543210" * 2


def intake(**rules: Any) -> Intake:
    return Intake(Rules(**{"group_seconds": 10, **rules}), load())


def fires(name: str, number: int = 0, severity: Severity = "warning", firing: bool = True) -> Alert:
    return Alert(f"{name}{number}", name, firing, severity, {}, "")


def opened(into: Intake, now: float) -> list[str]:
    return [incident.runbook.name for incident in into.due(now).to_open]


def test_alerts_of_one_runbook_are_one_incident() -> None:
    into = intake()
    first = into.take([fires("SlurmNodeDown", 1), fires("SlurmNodeDown", 2), fires("NodeDiskFull")], NOON)
    assert first == {"new": 2, "folded": 1}
    assert opened(into, NOON + 9) == []
    assert into.take([fires("SlurmNodeDown", 3), fires("SlurmNodeDown", 1)], NOON + 9) == {"folded": 1, "repeated": 1}
    due = into.due(NOON + 10)
    assert {one.runbook.name: one.total for one in due.to_open} == {"node-down": 3, "disk-full": 1}
    assert into.due(NOON + 11) == type(due)()
    assert into.take([fires("SlurmNodeDown", 4)], NOON + 12) == {"new": 1}


def test_the_worst_comes_first() -> None:
    into = intake()
    into.take([fires("NodeDiskFull"), fires("SlurmctldDown", severity="critical")], NOON)
    assert opened(into, NOON + 10) == ["slurmctld", "disk-full"]


def test_what_fires_for_long_is_news_again() -> None:
    into = intake(repeat_hours=1)
    into.take([fires("NodeDiskFull")], NOON)
    opened(into, NOON + 10)
    assert into.take([fires("NodeDiskFull")], NOON + 3599) == {"repeated": 1}
    assert into.take([fires("NodeDiskFull")], NOON + 3600) == {"new": 1}


def test_an_incident_closes_when_all_of_it_is_resolved() -> None:
    into = intake()
    into.take([fires("SlurmNodeDown", 1), fires("SlurmNodeDown", 2)], NOON)
    opened(into, NOON + 10)
    into.take([fires("SlurmNodeDown", 1, firing=False)], NOON + 20)
    assert into.due(NOON + 21).to_close == ()
    into.take([fires("SlurmNodeDown", 2, firing=False)], NOON + 30)
    [closed] = into.due(NOON + 31).to_close
    assert closed.resolved == NOON + 30
    assert into.due(NOON + 32).to_close == ()
    assert into.take([fires("SlurmNodeDown", 2, firing=False)], NOON + 40) == {"unknown": 1}


def test_what_is_over_before_it_was_posted_is_not_posted() -> None:
    into = intake()
    into.take([fires("NodeDiskFull")], NOON)
    into.take([fires("NodeDiskFull", firing=False)], NOON + 5)
    due = into.due(NOON + 10)
    assert (due.to_open, due.to_close, len(due.gone)) == ((), (), 1)


def test_quiet_hours_hold_back_what_is_not_critical() -> None:
    into = intake(quiet_hours="22:00-07:00")
    into.take([fires("NodeDiskFull", number) for number in range(3)], NIGHT)
    into.take([fires("SlurmctldDown", severity="critical")], NIGHT)
    due = into.due(NIGHT + 10)
    assert [one.runbook.name for one in due.to_open] == ["slurmctld"]
    assert due.held == "held back in the quiet hours 22:00-07:00: disk-full (3)"
    into.take([fires("NodeDiskFull", 7)], NIGHT + 600)
    assert [one.total for one in into.due(MORNING).to_open] == [4]


def test_an_incident_that_turns_critical_wakes_somebody() -> None:
    into = intake(quiet_hours="22:00-07:00")
    into.take([fires("NodeDiskFull")], NIGHT)
    assert opened(into, NIGHT + 10) == []
    into.take([fires("SlurmStateDiskFull", severity="critical")], NIGHT + 20)
    assert opened(into, NIGHT + 21) == ["disk-full"]


@pytest.mark.parametrize(
    ("hours", "clock", "quiet"),
    [
        ("22:00-07:00", "21:59", False),
        ("22:00-07:00", "22:00", True),
        ("22:00-07:00", "06:59", True),
        ("22:00-07:00", "07:00", False),
        ("12:00-13:00", "12:30", True),
        ("12:00-13:00", "13:00", False),
        ("", "03:00", False),
    ],
)
def test_hours(hours: str, clock: str, quiet: bool) -> None:
    moment = datetime.fromisoformat(f"2026-11-21T{clock}:00").timestamp()
    assert Rules(quiet_hours=hours).is_quiet(moment) is quiet


def test_the_budget_keeps_a_quarter_for_what_is_critical() -> None:
    into = intake(posts_per_hour=4, group_seconds=0)
    names = ["NodeDiskFull", "SlurmQueueStalled", "SlurmdbdBehind", "GpuXid", "GpuTemperatureHigh"]
    into.take([fires(name) for name in names], NOON)
    due = into.due(NOON)
    assert len(due.to_open) == 3
    assert "budget of 4 posts an hour is spent" in due.held
    into.take([fires("SlurmctldDown", severity="critical")], NOON + 1)
    assert opened(into, NOON + 1) == ["slurmctld"]
    assert opened(into, NOON + 3599) == []
    assert len(opened(into, NOON + 3600)) == 2


def test_a_flood_takes_bounded_memory() -> None:
    into = intake()
    into.take((fires("SlurmNodeDown", number) for number in range(30_000)), NOON)
    assert into.counts()["firing"] == 20_000
    [incident] = into.due(NOON + 10).to_open
    assert (incident.total, len(incident.alerts)) == (30_000, MOST_KEPT)


def test_rules_are_read_and_mistakes_are_named(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text('quiet_hours = "22:00-07:00"\nposts_per_hour = 5\n')
    assert Rules.read(file).posts_per_hour == 5
    for text, said in (
        ('quiet_hours = "22-7"', "write 22:00-07:00"),
        ("posts_per_hour = 0", "posts_per_hour"),
        ("colour = 1", "valid keys: outlet"),
        ('outlet = "smoke"', "neither"),
        ("=", "cannot be read"),
    ):
        file.write_text(text)
        with pytest.raises(ConfigError) as wrong:
            Rules.read(file)
        assert said in f"{wrong.value.message} {wrong.value.remedy}"


def test_secrets_are_not_shown() -> None:
    assert KEY not in repr(Access(KEY, KEY))


def test_an_empty_token_or_key_lets_nobody_in() -> None:
    assert not Access("").by_token({"authorization": "Bearer "})
    assert not Access("").may_sign({"x-sask-timestamp": "1", "x-sask-signature": "sha256="}, 1)
