"""``python -m evals.faults``: every fault × tool × point, run now, as one table; ``--real`` adds a table of those that
are made on a real Slurm (a sandbox that is started for it: daemons frozen and stopped, processes killed, a full disk).

The cells and the cluster that they hurt live with the tests (tests/fault_cells.py, tests/fault_real.py): run it in a
checkout. Exit status 1 when an invariant was broken: a job twice, an item without an outcome, a change without its
approval.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Judge:
    """Runs cells and keeps what broke, by the cell's name."""

    broken: dict[str, str] = field(default_factory=dict)

    def __call__(self, cell: Any, run: Callable[[], None]) -> None:
        try:
            run()
        except AssertionError as error:
            self.broken[str(cell)] = str(error).splitlines()[0] if str(error) else "an assertion"


def main(argv: list[str] | None = None) -> int:
    """Run the matrix and print it; faults are rows, tools are columns, a number counts the points that held."""
    parser = argparse.ArgumentParser(prog="python -m evals.faults", description="The fault matrix, run now.")
    parser.add_argument("--real", action="store_true", help="also the faults that are made on a real Slurm")
    wanted = parser.parse_args(argv)
    try:
        cells = importlib.import_module("tests.fault_cells").matrix()
        real = importlib.import_module("tests.fault_real").real_matrix() if wanted.real else ()
    except ModuleNotFoundError as missing:
        print(f"{missing}: run this at the top of a checkout of slurm-assistant", file=sys.stderr)
        return 2
    broken = report("at the seams", cells, _at_the_seams)
    if real:
        from evals.faults_real import run_real

        broken += report("on a real Slurm", real, run_real)
    return 1 if broken else 0


def report(where: str, cells: tuple[Any, ...], run: Callable[[tuple[Any, ...], Judge], None]) -> int:
    """Run these cells, print their table, and return how many broke."""
    judge, started = Judge(), time.monotonic()
    run(cells, judge)
    print(table(cells, set(judge.broken)))
    for name, why in judge.broken.items():
        print(f"BROKEN {name}: {why}")
    print(f"{where}: {len(cells)} cells, {len(judge.broken)} broken, {time.monotonic() - started:.0f} s\n")
    return len(judge.broken)


def _at_the_seams(cells: tuple[Any, ...], judge: Judge) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for number, cell in enumerate(cells):
            place = Path(folder) / str(number)
            place.mkdir()
            judge(cell, lambda cell=cell, place=place: cell.run(place))  # type: ignore[misc]


def table(cells: Iterable[Any], broken: set[str]) -> str:
    """Plain text; ``3`` is three points that held, ``3!1`` means that one more did not."""
    cells = list(cells)
    tools = list(dict.fromkeys(cell.tool for cell in cells))
    held = Counter((cell.fault, cell.tool) for cell in cells if str(cell) not in broken)
    failed = Counter((cell.fault, cell.tool) for cell in cells if str(cell) in broken)
    lines = [f"{letter(n)} = {tool}" for n, tool in enumerate(tools)]
    lines += ["", " " * 36 + "".join(f"{letter(n):>5}" for n in range(len(tools)))]
    for fault in dict.fromkeys(cell.fault for cell in cells):
        row = ""
        for tool in tools:
            good, bad = held[fault, tool], failed[fault, tool]
            row += f"{f'{good}!{bad}' if bad else good or '·':>5}"
        lines.append(f"{fault:<36}{row}")
    return "\n".join(lines)


def letter(number: int) -> str:
    return chr(ord("A") + number)


if __name__ == "__main__":
    sys.exit(main())
