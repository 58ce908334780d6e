"""The cells of the fault matrix that need a real Slurm: a sandbox of its own is started for them and removed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


def run_real(cells: tuple[Any, ...], run: Callable[[Any, Callable[[], None]], None]) -> None:
    """Give each cell its turn on one sandbox with accounting; ``run`` judges what the second argument raises.

    Raises the sandbox's MissingPackages where there is no Slurm here to start.
    """
    from tools.slurm.sandbox import Sandbox

    before = os.environ.get("SLURM_CONF")
    with tempfile.TemporaryDirectory(prefix="sask-") as folder:
        box = Sandbox(Path(folder) / "box", name="faults")
        try:
            box.up(accounting=True)
            os.environ["SLURM_CONF"] = str(box.conf)  # Slurm's commands and ours find it here
            for number, cell in enumerate(cells):
                place = Path(folder) / str(number)
                place.mkdir()
                run(cell, lambda cell=cell, place=place: cell.run(place, box))  # type: ignore[misc]
        finally:
            box.down(remove=True)
            os.environ.pop("SLURM_CONF", None)
            if before is not None:
                os.environ["SLURM_CONF"] = before
