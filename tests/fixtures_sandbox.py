"""The real Slurm that the tests share: started once, emptied before each test that asks for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tools.slurm.sandbox import Sandbox


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox with accounting and slurmrestd; SLURM_CONF points at it for the whole session."""
    box = Sandbox(tmp_path_factory.mktemp("sbx"), name="tests")
    try:
        box.up(accounting=True, rest=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SLURM_CONF", str(box.conf))
            yield box
    finally:
        box.down(remove=True)


@pytest.fixture
def clean_sandbox(sandbox: Sandbox) -> Sandbox:
    """The shared sandbox with no job, no reservation, and every node and partition up."""
    sandbox.reset()
    return sandbox
