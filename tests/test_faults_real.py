"""Every cell of the fault matrix that is made on the real Slurm."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fault_real import RealCell, real_matrix
from tools.slurm.sandbox import Sandbox


@pytest.fixture(scope="module")
def emptied(sandbox: Sandbox) -> Sandbox:
    sandbox.reset()
    return sandbox


@pytest.mark.parametrize("cell", real_matrix(), ids=str)
def test_real_cell(cell: RealCell, emptied: Sandbox, tmp_path: Path) -> None:
    cell.run(tmp_path, emptied)
