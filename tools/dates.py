"""Reading points in time that people write ("yesterday", "tonight at 10", "letzte Woche", ISO) against a clock.

``dateparser`` knows the words of the languages; this module adds what a job scheduler needs: whether the start or
the end of a named period is meant, spans that end now ("last 24 hours"), and Slurm's own ``now+2hours``.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any, Literal

from tools.durations import read_seconds

Edge = Literal["start", "end"]
LANGUAGES = ["en", "de", "fr", "es", "ko", "zh"]
_LEAD = re.compile(
    r"^(since|from|starting|before|after|until|till|up to|by|at|on|for|over|during|within|not before|the|seit|ab|vor|bis|um|am|"
    r"depuis|le|la|desde|hasta|à partir de|en|im|in)\s+(?=\S)"
)
_SPAN = re.compile(
    r"^(?:the |die |der |den |les |los |las )?(?:last|past|previous|letzten?|vergangenen?|derni[eè]re?s?|[uú]ltim[oa]s?|지난|최근|过去|最近)\s*(.+)$"
)
_AHEAD = re.compile(r"^(?:in|dans|en|within)\s+(.+)$|^(.+?)(?:\s*from now|\s*later|\s*hence| 후에?|后|後)$")


def iso(moment: datetime) -> str:
    """``2026-11-20T00:00:00``: what Slurm's options and the contract use."""
    return moment.replace(microsecond=0, tzinfo=None).isoformat()


def read_moment(text: str, now: datetime, *, edge: Edge = "start", ahead: bool = False) -> datetime:
    """The moment that ``text`` names, seen from ``now``; a period ("last week") gives its start or its end.

    ``ahead`` prefers the future ("6pm" is tonight, not last night). Raises ValueError with the forms understood.
    """
    plain = re.sub(r"\s+", " ", text.strip().lower()).strip(" .!?,")
    if ahead and (seconds := _try_seconds(_ahead_span(plain))):
        return now + timedelta(seconds=seconds)
    if not ahead and (span := _SPAN.match(plain)) and (seconds := _try_seconds(span[1], bare_unit=False)):
        return now - timedelta(seconds=seconds) if edge == "start" else now
    moment = _read_clockless(plain, now, edge, ahead)
    while moment is None and (shorter := _LEAD.sub("", plain)) != plain:
        plain = shorter
        moment = _read_clockless(plain, now, edge, ahead)
    if moment is None:
        raise ValueError(f"{text!r} is not a time; write 2026-11-20T18:00, 'yesterday', 'last week' or 'monday 9am'")
    return moment


def _ahead_span(plain: str) -> str:
    if match := re.fullmatch(r"now ?\+ ?(\d+) ?([a-z]*)", plain):
        return f"{match[1]} {match[2] or 'seconds'}"
    match = _AHEAD.match(plain)
    return (match[1] or match[2]) if match else ""


def _try_seconds(words: str, *, bare_unit: bool = True) -> int | None:
    """Seconds of "24 hours"; "week" alone is a period, not a span."""
    if not words or not re.search(r"\d|\s|[^\x00-\x7f]", words) or re.fullmatch(r"[\d:\-]+", words):
        return None
    try:
        return read_seconds(words)
    except ValueError:
        return None


def _read_clockless(plain: str, now: datetime, edge: Edge, ahead: bool) -> datetime | None:
    if plain == "now":
        return now
    found = _parse(_straighten(plain), now, ahead) if plain else None
    if found is None or found.date_obj is None:
        return None
    moment: datetime = found.date_obj.replace(microsecond=0, tzinfo=None)
    if re.search(r"\b\d{1,2}(:\d\d| ?[ap]m|h| uhr)|[时點点시]|t\d\d", plain) or found.period == "time":
        return moment
    if found.period == "part_of_day":
        return moment if edge == "start" else _end_of("day", moment)
    return _start_of(found.period, moment) if edge == "start" else _end_of(found.period, moment)


def _straighten(plain: str) -> str:
    """Hours of an evening said without pm: "tonight at 10" is 22:00 today."""
    if match := re.fullmatch(
        r"(?:tonight|this evening|heute abend|ce soir|esta noche)(?: at| um| à| a las)? (\d{1,2})(:\d\d)?(?: ?(?:pm|uhr|h))?",
        plain,
    ):
        hour = int(match[1])
        return f"today {hour + 12 if hour < 12 else hour}{match[2] or ':00'}"
    if re.fullmatch(r"tonight|this evening|heute abend|ce soir|esta noche", plain):
        return "today 18:00"
    plain = re.sub(r"^(morgen|heute|gestern) um (\d{1,2}) uhr$", r"\1 \2:00", plain)
    return re.sub(r"^(?:this )?(morning|afternoon|evening)$", r"this \1", plain)


def _start_of(period: str, moment: datetime) -> datetime:
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "week":
        return day - timedelta(days=day.weekday())
    if period == "month":
        return day.replace(day=1)
    return day.replace(month=1, day=1) if period == "year" else day


def _end_of(period: str, moment: datetime) -> datetime:
    start = _start_of(period, moment)
    if period == "week":
        return start + timedelta(days=7)
    if period == "month":
        return (start + timedelta(days=32)).replace(day=1)
    return start.replace(year=start.year + 1) if period == "year" else start + timedelta(days=1)


def _parse(plain: str, now: datetime, ahead: bool) -> Any:
    """dateparser's ``DateData`` (``date_obj``, ``period``), seen from ``now`` instead of the machine's clock."""
    from dateparser.date import DateDataParser

    settings = {
        "RELATIVE_BASE": now,
        "PREFER_DATES_FROM": "future" if ahead else "past",
        "RETURN_TIME_AS_PERIOD": True,
        "DATE_ORDER": "DMY" if re.match(r"\d{1,2}\.\d", plain) else "MDY",
    }
    return DateDataParser(languages=LANGUAGES, settings=settings).get_date_data(plain)
