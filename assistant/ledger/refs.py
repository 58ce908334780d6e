"""``$1``, ``$2`` …: the job of an earlier call of the same Action."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tools.base import Call

_FIELDS = ("job_id", "job_ids", "dependency")
"""Only here: a command or a script has dollar signs of its own."""
_REF = re.compile(r"\$(\d+)")


def references(call: Call) -> tuple[int, ...]:
    """Numbers of the earlier calls that ``call`` depends on, each once, in order."""
    texts = [str(part) for name in _FIELDS for part in _parts(call.arguments.get(name))]
    return tuple(dict.fromkeys(int(number) for text in texts for number in _REF.findall(text)))


def resolved(call: Call, jobs: Mapping[int, str]) -> Call:
    """``call`` with the ids put in; raises KeyError with the number of a call that gave none."""

    def put(value: Any) -> Any:
        if isinstance(value, list):
            return [put(part) for part in value]
        return _REF.sub(lambda match: jobs[int(match[1])], value) if isinstance(value, str) else value

    return Call(call.tool, {k: put(v) if k in _FIELDS else v for k, v in call.arguments.items()})


def _parts(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value is not None else []
