"""The literal text that a regular expression cannot match without: the cheap test before the dear one."""

from __future__ import annotations

_CLASS_ESCAPES = "dDwWsSbBAZ"
_SHORTEST = 3


def required_literals(pattern: str) -> tuple[str, ...]:
    """Lower-case strings one of which is in every text that `pattern` matches; () when none is certain."""
    found: list[str] = []
    for alternative in _alternatives(pattern):
        literals = _of_alternative(alternative)
        if not literals:
            return ()
        found.extend(literals)
    return tuple(dict.fromkeys(found))


def _of_alternative(pattern: str) -> tuple[str, ...]:
    runs, groups = _walk(pattern)
    longest = max(runs, key=len, default="")
    if len(longest) >= _SHORTEST:
        return (longest,)
    for group in groups:
        literals = required_literals(group)
        if literals:
            return literals
    return ()


def _walk(pattern: str) -> tuple[list[str], list[str]]:
    """The literal runs outside groups, and the contents of the groups that must match."""
    runs, groups, run, at = [], [], "", 0
    while at < len(pattern):
        width, char, group = _next(pattern, at)
        follows = pattern[at + width : at + width + 1]
        optional = follows in ("?", "*", "{")
        if char and not optional:
            run += char
        if group and not optional:
            groups.append(group)
        if not char or follows in ("?", "*", "{", "+"):
            runs.append(run.lower())
            run = ""
        at += width
    return [*runs, run.lower()], groups


def _next(pattern: str, at: int) -> tuple[int, str, str]:
    """(width, literal character or "", content of a group or "") of the element at `at`."""
    char = pattern[at]
    if char == "\\":
        escaped = pattern[at + 1]
        return 2, "" if escaped in _CLASS_ESCAPES or escaped.isdigit() else escaped, ""
    if char == "[":
        return _class_end(pattern, at) + 1 - at, "", ""
    if char == "(":
        end = _group_end(pattern, at)
        inner = pattern[at + 1 : end]
        if inner.startswith(("?:", "?-i:")):
            return end + 1 - at, "", inner[inner.index(":") + 1 :]
        return end + 1 - at, "", "" if inner.startswith("?") else inner
    if char == "{":
        return pattern.index("}", at) + 1 - at, "", ""
    return 1, "" if char in ".^$?*+" else char, ""


def _class_end(pattern: str, at: int) -> int:
    end = at + 2 if pattern[at + 1 : at + 2] in ("]", "^") else at + 1
    while pattern[end] != "]":
        end += 2 if pattern[end] == "\\" else 1
    return end


def _group_end(pattern: str, at: int) -> int:
    depth = 0
    while True:
        char = pattern[at]
        if char == "\\":
            at += 1
        elif char == "[":
            at = _class_end(pattern, at)
        elif char in "()":
            depth += 1 if char == "(" else -1
            if depth == 0:
                return at
        at += 1


def _alternatives(pattern: str) -> list[str]:
    parts, start, at = [], 0, 0
    while at < len(pattern):
        char = pattern[at]
        if char == "|":
            parts.append(pattern[start:at])
            start = at + 1
        at = (
            _group_end(pattern, at)
            if char == "("
            else _class_end(pattern, at)
            if char == "["
            else at + 1
            if char == "\\"
            else at
        ) + 1
    return [*parts, pattern[start:]]
