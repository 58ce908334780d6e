"""Records of ``Key=Value`` words (``scontrol show …``) and of separated columns (``squeue -O``, ``sacct -P``).

People choose the text of job names and comments, spaces, ``=`` and line ends included, so nobody may be able to
write a record of their own into an answer: columns are told apart by a separator that is new in each process, and
a job's records are refused (:class:`Ambiguous`) when they are not of the one shape that Slurm itself prints.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_KEY = re.compile(r"(?:^|\s)([A-Za-z][\w/&:.()-]*)=")
# Keys whose value is the rest of their line.
_FREE = re.compile(
    r"(?:^|\s)(JobName|Command|SubmitLine|WorkDir|StdErr|StdIn|StdOut|Comment|AdminComment|SystemComment|Extra)="
)
_LINE = re.compile(r"   ([A-Za-z][\w/&:.()-]*)=")


class Ambiguous(ValueError):
    """A record could have been written by the person who named the job."""


def one_line(line: str) -> dict[str, str]:
    """Fields of one ``scontrol -o show`` record; a value goes on to the next word that has ``=``."""
    _, *parts = _KEY.split(line)
    return dict(zip(parts[::2], map(str.strip, parts[1::2]), strict=True))


def one_line_records(output: str, first_key: str) -> list[dict[str, str]]:
    """All records of a ``scontrol -o show`` whose lines start with ``first_key=``."""
    return [one_line(line) for line in output.splitlines() if line.startswith(f"{first_key}=")]


def job_records(output: str) -> list[dict[str, str]]:
    """Fields of each job of ``scontrol show job ID`` (many lines a job). Raises :class:`Ambiguous`.

    One id has one owner, so records of different owners, like a field given twice or a line that is not Slurm's,
    come from line ends in a name or a comment.
    """
    records = [_job_record(block) for block in output.strip("\n").split("\n\nJobId=")]
    if len({record.get("UserId") for record in records}) > 1:
        raise Ambiguous("records of one job id name several owners")
    if len({record.get("JobId") for record in records}) < len(records):
        raise Ambiguous("two records have the same job id")
    return records


def _job_record(block: str) -> dict[str, str]:
    first, *rest = block.rstrip().split("\n")
    fields = _line_fields(first if first.startswith("JobId=") else f"JobId={first}")
    for line in rest:
        if not line.strip():
            continue
        if not _LINE.match(line):
            raise Ambiguous(f"a line that Slurm would not write: {line[:60]!r}")
        added = _line_fields(line.strip())
        if twice := fields.keys() & added.keys():
            raise Ambiguous(f"{', '.join(sorted(twice))} given twice")
        fields |= added
    return fields


def _line_fields(line: str) -> dict[str, str]:
    """A line's fields; one of free text takes the rest of its line."""
    if mark := _FREE.search(line):
        return one_line(line[: mark.start()]) | {mark[1]: line[mark.end() :].strip()}
    return one_line(line)


def columns(output: str, names: Sequence[str], separator: str) -> Iterator[dict[str, str]]:
    """Rows of ``names`` where every value, the last one too, ends with ``separator`` and every row with a line end.

    Values may hold line ends. Raises ValueError when the output ends inside a row.
    """
    values = output.split(separator)
    width = len(names)
    if len(values) % width != 1 or values[-1].strip():
        raise ValueError(f"{len(values) - 1} values do not make rows of {width}")
    for start in range(0, len(values) - 1, width):
        row = values[start : start + width]
        row[0] = row[0].removeprefix("\n")
        yield dict(zip(names, row, strict=True))
