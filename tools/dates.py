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
    r"^(since|from|starting|before|after|until|till|up to|by|at|on|for|over|during|within|not before|the|"
    r"seit|ab|vor|bis|um|am|depuis|le|la|desde|hasta|à partir de|en|im|in)\s+(?=\S)"
)
_SPAN = re.compile(
    r"^(?:the |die |der |den |les |los |las )?"
    r"(?:last|past|previous|letzten?|vergangenen?|derni[eè]re?s?|[uú]ltim[oa]s?|지난|최근|过去|最近)\s*(.+)$"
)
_WEEKEND = re.compile(
    r"(?:(?:over|on|at|this|last|the|past|am|letztes|ce|le|el|dieses) )*"
    r"(?:weekend|wochenende|week-end|fin de semana|周末|주말)"
)
_AHEAD = re.compile(
    r"^(?:in|dans|en|within)\s+(.+)$|^(.+?)(?:\s*from now|\s*later|\s*hence|\s*후에?|\s*뒤에?|之?后|之?後)$"
)


_HOUR_OF_DAY = re.compile(
    r"(?P<lead>à|a las|at|um|ab|gegen|vers)?\s*(?P<hour>[01]?\d|2[0-3])\s?(?P<unit>h|uhr)\s?(?P<minute>[0-5]\d)?"
)
_SPELT = {
    r"\b(?:yday|yest|ystd)\b": "yesterday",
    r"\bthurs?\b": "thursday",
    r"\btues?\b": "tuesday",
    r"\bweds?\b": "wednesday",
    r"\bnite\b": "night",
    r"\bcurrent (?=(?:week|month|quarter|year)$)": "this ",
    r"\banoche\b": "last night",
    r"\b(?:mitternacht|minuit|medianoche)\b": "midnight",
    r"그저께|前天": "2 days ago",
    r"\b(?:half an hour|halben stunde|demi-heure|media hora)\b": "30 minutes",
    r"\b(?:a )?fortnight\b": "2 weeks",
    r"\b(?:a )?few\b": "3",
    r"\b(?:early|(?:the )?(?:beginning|start) of) (?=[a-z]+$)": "1 ",
    r"\bmid[ -](?=[a-z]{3,}$)": "15 ",
    r"\b(?:beginning|start) of the month$": "this month",
    r"^(?:el|le|am|on) (?=[a-záé]+$)": "",
    r"^(\d+) (?:derniers|letzten|últimos) ": r"last \1 ",
}
"""What people write and dateparser does not know, or knows as something else → what it reads rightly."""
_DAY_OF_MONTH = re.compile(r"(?:the )?(?:(\d{1,2})(?:st|nd|rd|th)|(\d{1,2})\.(\d{1,2})\.)")
_THIS_MORNING = re.compile(r"(?:since )?(?:this morning|heute (?:morgen|früh)|ce matin|esta mañana|오늘 아침|今天早上)")
MOST_YEARS = 50
"""Further away than that, a number was no year ("the 5000 jobs")."""


def iso(moment: datetime) -> str:
    """``2026-11-20T00:00:00``: what Slurm's options and the contract use."""
    return moment.replace(microsecond=0, tzinfo=None).isoformat()


def read_moment(text: str, now: datetime, *, edge: Edge = "start", ahead: bool = False) -> datetime:
    """The moment that ``text`` names, seen from ``now``; a period ("last week") gives its start or its end.

    ``ahead`` prefers the future ("6pm" is tonight, not last night). Raises ValueError with the forms understood.
    """
    plain = re.sub(r"\s+", " ", text.strip().lower()).strip(" !?,")
    plain = plain if re.search(r"\b\d{1,2}\.\d{1,2}\.$", plain) else plain.strip(" .")
    plain = re.sub(r"(?<=\w) (?:so far|bisher|until now|till now)$", "", plain)
    plain = re.sub(
        r"^(?:the )?(first|second|third) of (?=[a-z]+$)", lambda m: {"f": "1 ", "s": "2 ", "t": "3 "}[m[1][0]], plain
    )
    for spelt, meant in _SPELT.items():
        plain = re.sub(spelt, meant, plain)
    plain = re.sub(r"^(?:the )?past (day|week|month|year)$", r"last 1 \1", plain)
    plain = re.sub(r"\b1 year$", "365 days", plain.replace("1 month", "30 days"))
    if moment := _time_of_day(plain, now, ahead):
        return moment
    if ahead and (seconds := _try_seconds(_ahead_span(plain))):
        return now + timedelta(seconds=seconds)
    if not ahead and (span := _SPAN.match(plain)) and (seconds := _try_seconds(span[1], bare_unit=False)):
        return now - timedelta(seconds=seconds) if edge == "start" else now
    if months := re.fullmatch(r"(?:the )?(?:last|past|previous) (\d+) (month|year)s?", plain):
        return read_moment(f"{months[1]} {months[2]}s ago", now) if edge == "start" else now
    if (day := _one_day(plain, now, ahead)) is not None:
        return day if edge == "start" else day + timedelta(days=1)
    if (period := _named_period(plain, now)) is not None:
        return period[0] if edge == "start" else period[1]
    moment = _read_clockless(plain, now, edge, ahead)
    while moment is None and (shorter := _LEAD.sub("", plain)) != plain:
        plain = shorter
        moment = _read_clockless(plain, now, edge, ahead)
    if moment is None or abs(moment.year - now.year) > MOST_YEARS:
        raise ValueError(f"{text!r} is not a time; write 2026-11-20T18:00, 'yesterday', 'last week' or 'monday 9am'")
    return moment


def _named_period(plain: str, now: datetime) -> tuple[datetime, datetime] | None:
    """Quarters and weekends, which dateparser does not know: their start and their end."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if _WEEKEND.fullmatch(plain):
        saturday = today - timedelta(days=(today.weekday() - 5) % 7)
        return saturday, saturday + timedelta(days=2)
    first = today.replace(month=3 * ((today.month - 1) // 3) + 1, day=1)
    if re.fullmatch(r"(?:the )?(?:last|previous) quarter|letztes quartal", plain):
        return _start_of("quarter", first - timedelta(days=1)), first
    if re.fullmatch(r"this quarter|the quarter", plain):
        return first, _start_of("quarter", first + timedelta(days=95))
    if match := re.fullmatch(r"q([1-4])(?: (\d{4}))?", plain):
        start = today.replace(year=int(match[2] or today.year), month=3 * int(match[1]) - 2, day=1)
        start = start if match[2] or start <= now else start.replace(year=start.year - 1)
        return start, _start_of("quarter", start + timedelta(days=95))
    return None


def _time_of_day(plain: str, now: datetime, ahead: bool) -> datetime | None:
    """Midnight, "19h", "20 Uhr", "à 8h": hours of a clock, where "8h" alone would be a span. The next one, or the
    last."""
    if re.fullmatch(r"midnight(?: tonight)?|tonight at midnight", plain):
        hour, minute = 0, 0
    elif match := _HOUR_OF_DAY.fullmatch(plain):
        hour, minute = int(match["hour"]), int(match["minute"] or 0)
        if (hour < 13 or not ahead) and not match["lead"] and match["unit"] == "h":
            return None
    else:
        return None
    moment = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    if ahead:
        return moment if moment > now else moment + timedelta(days=1)
    return moment if moment <= now else moment - timedelta(days=1)


def _one_day(plain: str, now: datetime, ahead: bool) -> datetime | None:
    """The day of "this morning", "the 12th", "16.11.": the last such day, or the next."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if not ahead and _THIS_MORNING.fullmatch(plain):
        return today
    if not (match := _DAY_OF_MONTH.fullmatch(_LEAD.sub("", plain))):
        return None
    months = [today + timedelta(days=31 * step) for step in (range(-1, 13) if ahead else range(1, -13, -1))]
    for month in months:
        try:
            day = month.replace(day=int(match[1] or match[2]), month=int(match[3] or month.month))
        except ValueError:  # no 31st in that month
            continue
        if (day >= today) if ahead else (day <= today):
            return day
    return None


def _ahead_span(plain: str) -> str:
    if match := re.fullmatch(r"now ?\+ ?(\d+) ?([a-z]*)", plain):
        return f"{match[1]} {match[2] or 'seconds'}"
    match = _AHEAD.match(plain)
    return (match[1] or match[2]) if match else ""


def _try_seconds(words: str, *, bare_unit: bool = True) -> int | None:
    """Seconds of "24 hours"; "week" alone is a period, not a span."""
    if not words or re.fullmatch(r"[\d:\-]+", words):
        return None
    if re.fullmatch(r"hour|minute|stunde|heure|hora", words):
        words = f"1 {words}"
    if not bare_unit and not re.search(r"\d|\s|[^\x00-\x7f]", words):
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


_DAYS = {
    "today": "today|tonight|this|heute|aujourd'hui|ce|hoy|esta|오늘|今天|今日|今",
    "tomorrow": "tomorrow|morgen|demain|mañana|내일|明天|明日|明",
    "yesterday": "yesterday|gestern|hier|ayer|어제|昨天|昨",
}
_EVENING = "tonight|evening|night|abend|nacht|soir|noche|tarde|저녁|밤|오후|下午|晚上|晚|傍晚|afternoon|nachmittag|pm"
_MORNING = "morning|früh|morgen|matin|아침|오전|早上|上午|早|am"
_CLOCK = re.compile(
    rf"^(?P<day>{'|'.join(_DAYS.values())})?\s*(?P<part>{_EVENING}|{_MORNING})?\s*"
    r"(?:at|um|[àa]|a las|gegen|vers|sobre las)?\s*"
    r"(?P<hour>\d{1,2})(?::(?P<minute>\d\d))?\s*(?:h|uhr|시|点|點|时|時)?(?P<half>반|半)?\s*(?P<late>am|pm)?(?:에|부터)?$"
)
_PART = re.compile(rf"^(?P<day>{'|'.join(_DAYS.values())})\s*(?P<part>{_EVENING}|{_MORNING})$|^tonight$")


def _straighten(plain: str) -> str:
    """Day, part of day and hour in six languages, in words that dateparser reads: "tonight at 10" → "today 22:00"."""
    if match := _CLOCK.match(plain):
        if not match["day"] and not match["part"] and not match["half"]:
            return plain
        late = match["late"] == "pm" or bool(re.fullmatch(_EVENING, match["part"] or "")) or match["day"] == "tonight"
        hour = int(match["hour"]) + (12 if late and int(match["hour"]) < 12 else 0)
        return f"{_day(match['day'])} {hour}:{match['minute'] or ('30' if match['half'] else '00')}"
    if plain != "this morning" and (match := _PART.match(plain)):
        late = plain == "tonight" or bool(re.fullmatch(_EVENING, match["part"] or ""))
        return f"{_day(match['day'])} {'18:00' if late else '09:00'}"
    return re.sub(r"^(?:this )?(morning|afternoon|evening)$", r"this \1", plain)


def _day(word: str | None) -> str:
    return next((day for day, words in _DAYS.items() if word and re.fullmatch(words, word)), "today")


def _start_of(period: str, moment: datetime) -> datetime:
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "week":
        return day - timedelta(days=day.weekday())
    if period == "month":
        return day.replace(day=1)
    if period == "quarter":
        return day.replace(month=3 * ((day.month - 1) // 3) + 1, day=1)
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
