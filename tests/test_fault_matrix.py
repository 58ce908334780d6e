"""Every cell of the fault matrix: no job twice, no item without an outcome, no change without its approval."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fault_cells import Cell, matrix

CELLS = matrix()


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_cell(cell: Cell, tmp_path: Path) -> None:
    cell.run(tmp_path)


def test_the_matrix_is_as_large_as_it_says() -> None:
    assert len(CELLS) == len({str(cell) for cell in CELLS})
    assert len(CELLS) >= 500
