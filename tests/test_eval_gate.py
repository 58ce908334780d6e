"""The gate: the bundled model on a few of the development requests, as a person would measure it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from assistant.loop.ladder import Rung
from assistant.serving.embedded import engine
from evals.cases import dataset
from evals.records import read_run
from tests.eval_runs import sask_eval, without_settings

EVERY = 7
"""Of the development requests in the order of their ids; 32 of 220, of eighteen categories."""
TOOL, EXACT = 30, 29
"""Of those 32, how many the bundled adapter has right."""
TOLERANCE = 4
"""Answers: another adapter may lose so many here and still be better on the whole."""


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An engine of our own, which goes with the test."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("gate")
        without_settings(patch, folder)
        patch.setenv("XDG_STATE_HOME", str(folder))
        patch.setenv("SASK_TIMEOUT", "600")  # a busy machine is slow, not wrong
        patch.setattr(engine, "START_SECONDS", 300.0)
        yield
        engine.EmbeddedEngine().stop()


@pytest.mark.timeout(1800)
def test_the_bundled_model_is_as_good_as_it_was(state: None, tmp_path: Path) -> None:
    lines = sorted(dataset("requests_dev").read_text(encoding="utf-8").splitlines())
    few = tmp_path / "few.jsonl"
    few.write_text("\n".join(lines[::EVERY]) + "\n", encoding="utf-8")
    done = sask_eval("run", few, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    records = read_run(tmp_path / "out").scored
    scores = [record.score for record in records if record.score]
    assert len(scores) == 32 and all(record.rungs_first[Rung.SCHEMA] for record in records), "JSON of the right schema"
    assert not any(score.forbidden for score in scores), "nothing forbidden, whatever else is wrong"
    missed = [(record.id, record.calls) for record in records if record.score and not record.score.exact]
    assert sum(score.tool for score in scores) >= TOOL - TOLERANCE, missed
    assert sum(score.exact for score in scores) >= EXACT - TOLERANCE, missed
