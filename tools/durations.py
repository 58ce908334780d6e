"""Reading durations and amounts of memory that people write, in Slurm's own form and in words.

Slurm's forms are those of sbatch(1), ``--time``: ``minutes``, ``minutes:seconds``, ``hours:minutes:seconds``,
``days-hours``, ``days-hours:minutes``, ``days-hours:minutes:seconds``. Everything else must be number and unit
("a day and a half", "90 min", "2d12h", "zwei Tage", "6시간"); what is not understood whole is refused, never guessed.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import cache
from itertools import pairwise

UNLIMITED_WORDS = {"unlimited", "infinite", "-1"}

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_UNITS = {
    "s": "s sec secs second seconds sek sekunde sekunden seconde secondes segundo segundos 초 秒 秒钟",
    "m": "m min mins minute minutes minuten minuto minutos 분 分 分钟 分鐘 mn",
    "h": "h hr hrs hour hours hora horas std stunde stunden heure heures 시간 小时 小時 个小时 個小時 hous huors",
    "d": "d day days tag tage tagen jour jours día dia días dias 일 天 日 dy dys 하루",
    "w": "w wk wks week weeks woche wochen semaine semaines semana semanas 주 주일 周 週 个星期 星期 个礼拜",
}
_NUMBERS = {
    "0.25": "quarter quarters viertel",
    "0.5": "half halbe halber halben halbes demi demie media medio 반 半",
    "1": "a an another one single un une uno una ein eine einen einer eins 한 하나 一 1",
    "1.5": "anderthalb eineinhalb",
    "2": "two zwei deux dos 두 둘 二 两 兩 couple",
    "3": "three drei trois tres 세 셋 三",
    "4": "four vier quatre cuatro 네 넷 四",
    "5": "five fünf funf cinq cinco 다섯 五",
    "6": "six sechs seis 여섯 六",
    "7": "seven sieben sept siete 일곱 七",
    "8": "eight acht huit ocho 여덟 八",
    "9": "nine neun neuf nueve 아홉 九",
    "10": "ten zehn dix diez 열 十",
    "11": "eleven elf onze once 十一",
    "12": "twelve zwölf zwolf douze doce dozen 열두 十二",
    "13": "thirteen",
    "14": "fourteen",
    "15": "fifteen fünfzehn quinze quince 十五",
    "16": "sixteen sechzehn seize dieciséis 十六",
    "17": "seventeen",
    "18": "eighteen",
    "19": "nineteen",
    "20": "twenty zwanzig vingt veinte 二十",
    "24": "twenty-four twentyfour vierundzwanzig vingt-quatre veinticuatro 二十四",
    "30": "thirty dreißig dreissig trente treinta 三十",
    "36": "thirty-six sechsunddreißig",
    "40": "forty vierzig quarante cuarenta 四十",
    "45": "forty-five fünfundvierzig quarante-cinq 四十五",
    "48": "forty-eight achtundvierzig quarante-huit 四十八",
    "50": "fifty fünfzig cinquante cincuenta 五十",
    "60": "sixty sechzig soixante sesenta 六十",
    "72": "seventy-two zweiundsiebzig",
    "70": "seventy",
    "80": "eighty achtzig quatre-vingts ochenta",
    "90": "ninety neunzig quatre-vingt-dix noventa 九十",
    "100": "hundred hundert cent cien 백 一百",
    "1000": "thousand tausend mille mil 천 一千",
}
_WHOLE = {
    "overnight": 43200,
    "über nacht": 43200,
    "over night": 43200,
    "하루": 86400,
    "fortnight": 1209600,
    "a fortnight": 1209600,
    "demi-journée": 43200,
    "demi-heure": 1800,
    "la nuit": 43200,
}
_FILLER = re.compile(
    r"\b(more|mor|extra|additional|further|less|fewer|of|for|and|y|et|und|about|full|whole|only|just|max|the|de|mehr|"
    r"weitere[nr]?|zusätzliche|länger|longer|shorter|más|mas|plus|mal|supplémentaires?|de plus|wall ?time|time|limit|"
    r"maximum|up to|bis zu|en más)\b|더|再|多|的|个|個|[&+~,]"
)
_HALF_MORE = re.compile(
    r"\b(?:and|et|y|und)\s+(?:an? |eine[nr]? |une? |una )?(?:half|halbe[nrs]?|demie?|medi[ao])\b|\d 半$"
)


@cache
def _words(table: tuple[tuple[str, str], ...]) -> dict[str, str]:
    return {word: key for key, words in table for word in words.split()}


def number_words() -> dict[str, str]:
    """Number words of six languages to their decimal text: ``{"two": "2", "halbe": "0.5", …}``."""
    return _words(tuple(_NUMBERS.items()))


def _unit_words() -> dict[str, str]:
    return _words(tuple(_UNITS.items()))


def slurm_seconds(text: str) -> int | None:
    """Seconds of a duration in one of Slurm's own forms, ``None`` if it is in none of them."""
    if match := re.fullmatch(r"(\d+)-(\d{1,2})(?::(\d{1,2}))?(?::(\d{1,2}))?", text):
        days, hours, minutes, seconds = (int(group or 0) for group in match.groups())
        return days * 86400 + hours * 3600 + minutes * 60 + seconds
    if not re.fullmatch(r"\d+(:\d{1,2}){0,2}", text):
        return None
    parts = [int(part) for part in text.split(":")]
    if len(parts) == 3:
        return parts[0] * 3600 + parts[1] * 60 + parts[2]
    return parts[0] * 60 + (parts[1] if len(parts) == 2 else 0)


def slurm_duration(seconds: int) -> str:
    """Slurm's way to write it: ``06:00:00``, ``1-12:00:00``; ``-1`` is ``UNLIMITED``."""
    if seconds < 0:
        return "UNLIMITED"
    days, rest = divmod(seconds, 86400)
    clock = f"{rest // 3600:02}:{rest % 3600 // 60:02}:{rest % 60:02}"
    return f"{days}-{clock}" if days else clock


def read_seconds(text: str) -> int:
    """Seconds of any duration we understand, ``-1`` for unlimited.

    Raises ValueError, naming the text and the forms that are understood.
    """
    plain = re.sub(r"\s+", " ", text.strip().lower()).strip(" .!?")
    if plain in UNLIMITED_WORDS:
        return -1
    plain = re.sub(r"(\d)?\s*\b1/2\b", lambda half: f"{half[1] or 0}.5", plain)
    plain = re.sub(r"^(\d+):(\d\d)\s?(?:h|hrs|hours)$", r"\1h\2", plain)
    seconds = slurm_seconds(plain)
    if seconds is None and not plain.startswith("-"):
        seconds = _WHOLE.get(plain)
    if seconds is None and not plain.startswith("-"):
        seconds = _spelled_seconds(plain)
    if seconds is None or seconds <= 0:
        raise ValueError(
            f"{text!r} is not a duration; write D-HH:MM:SS, HH:MM:SS, minutes, or number and unit such as '90 min'"
        )
    return seconds


def _spelled_seconds(plain: str) -> int | None:
    """Sum of "number unit" pairs; a bare "half" after a unit is half of that unit ("a day and a half")."""
    tokens = _tokens(plain)
    total: Decimal = Decimal(0)
    number: Decimal | None = None
    unit: str | None = None
    for (before, _), (kind, value) in pairwise([("", ""), *tokens]):
        if kind == "half more":
            total, number = (
                (total, number + Decimal("0.5")) if number else (total + Decimal(_SECONDS[unit or "s"]) / 2, None)
            )
        elif kind in ("number", "digits"):
            number = _joined(number, Decimal(value)) if (before, kind) != ("digits", "digits") else None
            if number is None:
                return None
        elif number is None:
            return None
        else:
            total, number, unit = total + number * _SECONDS[value], None, value
    if number is not None:
        if unit is None:
            return None
        # "2h30" is two hours thirty minutes
        total += number * {"h": 60, "m": 1, "d": 3600}.get(unit, 0)
    return int(total) if tokens and total == int(total) else None


def _joined(first: Decimal | None, second: Decimal) -> Decimal | None:
    """ "one hundred", "a quarter (of) an": times; "hundred twenty", "twenty five": and; anything else is no number."""
    if first is None:
        return second
    if min(first, second) <= 1 or second in (100, 1000):
        return first * second
    return first + second if first % 10 == 0 and second < first else None


def _tokens(plain: str) -> list[tuple[str, str]]:
    text = re.sub(r"(?<=\d),(?=\d)", ".", plain)
    text = _FILLER.sub(" ", re.sub(r"\bhalf an?\b", "half", _HALF_MORE.sub(" ½ ", text)))
    tokens: list[tuple[str, str]] = []
    for piece in re.findall(r"\d+(?:\.\d+)?|[^\W\d_]+(?:-[^\W\d_]+)*|\S", text):
        if piece == "½":
            tokens.append(("half more", "0.5"))
        elif re.match(r"\d", piece):
            tokens.append(("digits", piece))
        elif tokens_of := _read_word(piece):
            tokens.extend(tokens_of)
        elif piece not in "-.":
            return []
    return tokens


def _read_word(word: str) -> list[tuple[str, str]]:
    """A number word, a unit word, or both written together ("twoday" is neither; "半小时" is 半 + 小时)."""
    numbers, units = number_words(), _unit_words()
    if word in units and word not in {"un"}:
        return [("unit", units[word])]
    if word in numbers:
        return [("number", numbers[word])]
    for cut in range(1, len(word)):
        head, tail = word[:cut], word[cut:].lstrip("-")
        if head in numbers and tail in units and (not head.isascii() or "-" in word):
            return [("number", numbers[head]), ("unit", units[tail])]
        if head in units and tail in numbers and not head.isascii():
            return [("unit", units[head]), ("number", numbers[tail])]
    return []


_MEMORY_UNITS = {
    "K": "k kb kib ki kbyte kilobyte kilobytes",
    "M": "m mb mib mi mbyte mbytes megabyte megabytes meg megs mo",
    "G": "g gb gib gi gbyte gbytes gig gigs gigabyte gigabytes go gigas giga 기가 gbs",
    "T": "t tb tib ti tbyte tbytes terabyte terabytes tera teras to 테라",
}


def read_memory(text: str) -> str:
    """Memory as Slurm writes it, an integer and a unit: ``900G``, ``1536G`` for 1.5 TB; ``0`` is all of a node.

    Raises ValueError for a missing or unknown unit.
    """
    plain = re.sub(r"\b(of|ram|memory|mem|a|de|per|speicher|mémoire|memoria)\b", " ", text.strip().lower())
    plain = re.sub(r"^[^\W\d_]+(?=\s)", lambda match: number_words().get(match[0], match[0]), plain.strip())
    match = re.fullmatch(r"(\d+(?:[.,]\d+)?)\s*([^\W\d_]*)", plain.strip())
    unit = _words(tuple(_MEMORY_UNITS.items())).get(match[2]) if match else None
    if match and match[1] == "0" and not match[2]:
        return "0"
    if not match or not unit:
        raise ValueError(f"{text!r} is not an amount of memory; write a number and K, M, G or T, such as 900G")
    amount = Decimal(match[1].replace(",", "."))
    while amount != int(amount) and unit != "K":
        amount, unit = amount * 1024, {"M": "K", "G": "M", "T": "G"}[unit]
    if amount != int(amount) or amount <= 0:
        raise ValueError(f"{text!r} is not a whole amount of memory")
    return f"{int(amount)}{unit}"
