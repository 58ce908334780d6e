"""``python -m evals.faults``: every fault × tool × point, run now, as one table.

The cells and the cluster that they hurt live with the tests (tests/fault_cells.py): run it in a checkout.
Exit status 1 when an invariant was broken: a job twice, an item without an outcome, a change without its approval.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def main() -> int:
    """Run the matrix and print it; faults are rows, tools are columns, a number counts the points that held."""
    try:
        cells = importlib.import_module("tests.fault_cells").matrix()
    except ModuleNotFoundError as missing:
        print(f"{missing}: run this at the top of a checkout of slurm-assistant", file=sys.stderr)
        return 2
    started = time.monotonic()
    broken: list[tuple[str, str]] = []
    with tempfile.TemporaryDirectory() as folder:
        for number, cell in enumerate(cells):
            place = Path(folder) / str(number)
            place.mkdir()
            try:
                cell.run(place)
            except AssertionError as error:
                broken.append((str(cell), str(error).splitlines()[0] if str(error) else "an assertion"))
    print(table(cells, {name for name, _ in broken}))
    for name, why in broken:
        print(f"BROKEN {name}: {why}")
    print(f"{len(cells)} cells, {len(broken)} broken, {time.monotonic() - started:.0f} s")
    return 1 if broken else 0


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
