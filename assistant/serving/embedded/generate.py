"""The training set: the hand-written lines, and variants of each with other values and another surface.

What a person wrote stays; what changes is what does not matter: which id, node, partition, user or number it is,
capitals, stops, a greeting, a typo. Every variant is judged like a hand-written line and dropped when it fails.
Deterministic from a seed.

    python -m assistant.serving.embedded.generate [--count 12000] [--seed 0] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from assistant.serving.embedded.examples import Example, problems, read_examples

PROTECTED = {
    "command",
    "script",
    "constraint",
    "container_image",
    "container_mounts",
    "environment",
    "output",
    "error",
    "pattern",
}
KIND = {"job_name": "name", "reservation": "name", "nodes": "node", "nodelist": "node", "exclude": "node"}
HOURS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 18, 20, 24, 30, 36, 48, 72)


@cache
def _values() -> dict[str, Any]:
    """``before``, ``after``: decoration; ``names``: kind → names; ``counts``: argument → numbers."""
    text = Path(str(files("assistant.serving.embedded"))).joinpath("data", "values.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def generate(count: int, seed: int = 0, hand: list[Example] | None = None) -> list[Example]:
    """``count`` examples, the hand-written ones first, in a stable order."""
    rng = random.Random(seed)
    written = [example for example in (hand or list(read_examples())) if not problems(example)]
    seen = {example.request for example in written}
    found = list(written)
    for example in _forever(written, rng, count):
        variant = vary(example, rng)
        if variant.request not in seen and not problems(variant):
            seen.add(variant.request)
            found.append(variant)
        if len(found) >= count:
            break
    return found[:count]


def _forever(written: list[Example], rng: random.Random, count: int) -> Iterator[Example]:
    """Passes over all lines in changing order, bounded: some lines have few variants."""
    for _ in range(3 * count // max(len(written), 1) + 1):
        yield from rng.sample(written, len(written))


def vary(example: Example, rng: random.Random) -> Example:
    """One variant: other values in most, another surface in half."""
    swaps = _swaps(example, rng)
    varied = _swap(example, swaps) if swaps else example
    return _resurface(varied, rng) if rng.random() < 0.5 or not swaps else varied


def _swaps(example: Example, rng: random.Random) -> dict[str, str]:
    """Old text → new text for values that can be exchanged without changing what is meant."""
    found: dict[str, str] = {}
    for call in example.answer.get("calls", []):
        for argument, value in call["arguments"].items():
            for old, new in _one_swap(argument, value, rng):
                found.setdefault(old, new)
    used = set(found)
    return {old: new for old, new in found.items() if new not in used and _exchangeable(old, example)}


def _one_swap(argument: str, value: Any, rng: random.Random) -> Iterator[tuple[str, str]]:
    if argument in ("job_id", "job_ids", "dependency"):
        for number in re.findall(r"\d{3,}", json.dumps(value)):
            width = len(number)
            yield number, str(rng.randint(10 ** (width - 1), 10**width - 1))
    elif argument in _values()["counts"] and isinstance(value, int):
        yield str(value), str(rng.choice(_values()["counts"][argument]))
    elif (names := _values()["names"].get(KIND.get(argument, argument))) and re.fullmatch(r"[\w.\-]+", str(value)):
        if value != "me":
            yield str(value), rng.choice(names)
    elif argument == "time_limit" and (number_text := re.search(r"(?<![\d:.\-])\d{1,2}(?![\d:.\-])", str(value))):
        yield number_text[0], str(rng.choice(HOURS))


def _exchangeable(old: str, example: Example) -> bool:
    """Said exactly once, as a word of its own: then old and new cannot be mixed up with anything."""
    text = " ".join([example.request, *example.about])
    protected = [str(v) for c in example.answer["calls"] for a, v in c["arguments"].items() if a in PROTECTED]
    return len(_places(old, text)) == 1 and not any(_places(old, value) for value in protected)


def _places(word: str, text: str) -> list[str]:
    return re.findall(rf"(?<![A-Za-z0-9_]){re.escape(word)}(?![A-Za-z0-9]|[.\-]\w)", text, re.IGNORECASE)


def _swap(example: Example, swaps: dict[str, str]) -> Example:
    longest_first = sorted(swaps, key=len, reverse=True)
    words = (rf"(?<![A-Za-z0-9_]){re.escape(old)}(?![A-Za-z0-9]|[.\-]\w)" for old in longest_first)
    pattern = re.compile("|".join(words), re.IGNORECASE)
    lower = {old.lower(): new for old, new in swaps.items()}

    def over(text: str) -> str:
        return pattern.sub(lambda match: lower[match[0].lower()], text)

    calls = [
        {"tool": call["tool"], "arguments": {a: _swapped(v, over, swaps) for a, v in call["arguments"].items()}}
        for call in example.answer["calls"]
    ]
    return replace(
        example, request=over(example.request), answer={"calls": calls}, about=tuple(map(over, example.about))
    )


def _swapped(value: Any, over: Callable[[str], str], swaps: dict[str, str]) -> Any:
    if isinstance(value, str):
        return over(value)
    if isinstance(value, list):
        return [_swapped(part, over, swaps) for part in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return int(swaps.get(str(value), value))
    return value


def _resurface(example: Example, rng: random.Random) -> Example:
    """The same request in another dress; a change that touches a value is caught by the judge."""
    text = example.request
    kind = rng.choice(["lower", "stop", "before", "after", "typo", "typo", "capital", "squeeze"])
    if kind == "lower":
        text = text.lower()
    elif kind == "stop":
        text = re.sub(r"[.?!,]+(?=\s|$)", "", text)
    elif kind == "before":
        text = rng.choice(_values()["before"]) + (text[:1].lower() + text[1:] if rng.random() < 0.7 else text)
    elif kind == "after":
        text = text.rstrip(" .!?") + rng.choice(_values()["after"])
    elif kind == "typo":
        text = _typo(text, rng)
    elif kind == "capital":
        text = text[:1].upper() + text[1:] + ("" if text[-1:] in ".?!" else rng.choice((".", "")))
    else:
        text = re.sub(r"\b(the|a|an|please|can you|could you)\s+", "", text, count=2, flags=re.IGNORECASE)
    return replace(example, request=text) if text.strip() else example


def _typo(text: str, rng: random.Random) -> str:
    """One ordinary word with two letters exchanged, one dropped or one doubled."""
    words = list(re.finditer(r"(?<![\w.\-/@#=])[a-z]{4,}(?![\w.\-/=])", text))
    if not words:
        return text
    match = rng.choice(words)
    at = match.start() + rng.randrange(1, len(match[0]) - 1)
    pair = rng.choice((text[at + 1] + text[at], text[at], text[at] * 2 + text[at + 1]))
    return text[:at] + pair + text[at + 2 :]


def as_line(example: Example) -> str:
    line = {"request": example.request, "about": list(example.about), **example.answer}
    return json.dumps({k: v for k, v in line.items() if v != []}, ensure_ascii=False)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the training set of the embedded model.")
    parser.add_argument("--count", type=int, default=12_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    lines = "\n".join(map(as_line, generate(options.count, options.seed))) + "\n"
    if options.out:
        options.out.write_text(lines, encoding="utf-8")
    else:
        sys.stdout.write(lines)


if __name__ == "__main__":
    main()
