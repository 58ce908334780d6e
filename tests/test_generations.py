"""Every generation of Slurm is read alike, by both backends, from what each really said (tests/recordings)."""

from __future__ import annotations

from typing import Any

import pytest

from tests import generations, world
from tests.refusals import REFUSALS, Refusal
from tools.slurm.errors import InvalidRequest, SlurmError, SlurmUnreachable

GENERATIONS = ("22.05", "24.11")
EVERYWHERE = [(generation, door) for generation in GENERATIONS for door in generations.DOORS]
Expected = tuple[type[SlurmError], str, bool]
# Slurm itself counts otherwise: --cpus-per-gpu is in what a waiting job asks for from 23.02 on.
COUNTED_LATER = {
    f"{what} total: {key}": value
    for what, memory, resources in (
        ("job", 48000, "cpu=24,mem=96000M,node=1,billing=24,gres/gpu=12,license/matlab=1"),
        ("queue", 48000, "cpu=24,mem=96000M,node=1,billing=24,gres/gpu=12,license/matlab=1"),
        ("past", 96000, "billing=24,cpu=24,gres/gpu=12,license/matlab=1,mem=96000M,node=1"),
    )
    for key, value in (("cpus", 24), ("mem_mb", memory), ("tres", resources))
}
# v0.0.38 has no batch scripts, and says SUCCESS of every job in accounting; v0.0.42 names no default partition.
NOT_TOLD: dict[tuple[str, str], dict[str, Any]] = {
    ("22.05", "rest"): {
        "past failed: exit_code": "", "period failed: exit_code": "", "step: exit_code": "", "script": "",
    },
    ("24.11", "rest"): {"partition gpu: default": False},
}  # fmt: skip
NOT_IN_API: Expected = (InvalidRequest, "not_in_api", False)
# slurmrestd tells a controller that is away (and in 22.05 a token that is refused) by no more than this.
UNSPECIFIED: Expected = (SlurmUnreachable, "unspecified", True)
OTHERWISE: dict[tuple[str, str], dict[str, Expected]] = {
    ("22.05", "rest"): {
        "drain an unknown node": NOT_IN_API, "drain without right": NOT_IN_API, "a token that is none": UNSPECIFIED,
        "list, no controller": UNSPECIFIED, "show, no controller": UNSPECIFIED, "nodes, no controller": UNSPECIFIED,
        "cancel, no controller": UNSPECIFIED,
    },
    ("24.11", "rest"): {"show, no controller": UNSPECIFIED, "cancel, no controller": UNSPECIFIED},
}  # fmt: skip


def expected(refusal: Refusal, generation: str, door: str) -> Expected:
    usual = (refusal.error, refusal.code, refusal.transient)
    return OTHERWISE.get((generation, door), {}).get(refusal.name, usual)


def world_of(generation: str, door: str) -> tuple[Any, dict[str, str]]:
    kept = generations.load(generation, "world", door)
    return generations.replayed(door, kept["answers"]), kept["ids"]


def facts_of(generation: str, door: str) -> dict[str, Any]:
    moment = generations.load(generation, "world", door)["provenance"]["date"]
    return generations.facts(*world_of(generation, door), moment)


@pytest.fixture(scope="module")
def oldest() -> dict[str, Any]:
    """What the commands of 22.05 are read to say."""
    return facts_of("22.05", "cli")


@pytest.mark.parametrize("generation", GENERATIONS)
def test_the_commands_are_read_rightly(generation: str) -> None:
    backend, ids = world_of(generation, "cli")
    world.check(backend, ids)


@pytest.mark.parametrize(("generation", "door"), EVERYWHERE)
def test_the_same_world_gives_the_same_facts(generation: str, door: str, oldest: dict[str, Any]) -> None:
    found = facts_of(generation, door)
    assert found.keys() == oldest.keys()
    wanted = oldest | (COUNTED_LATER if generation > "22.05" else {}) | NOT_TOLD.get((generation, door), {})
    assert {what: (found[what], wanted[what]) for what in wanted if found[what] != wanted[what]} == {}


@pytest.mark.parametrize(("generation", "door"), EVERYWHERE)
def test_recordings_say_where_they_come_from(generation: str, door: str) -> None:
    for what in ("world", "refusals"):
        told = generations.load(generation, what, door)["provenance"]
        assert told["slurm"].startswith(f"{generation}.") and told["date"] and told["system"]
        assert "scripts/generations" in told["made_by"]
    version = world_of(generation, door)[0].version()
    assert "{}.{:02d}.{}".format(*version) == told["slurm"]


@pytest.mark.parametrize(("generation", "door"), EVERYWHERE)
def test_refusals_are_known(generation: str, door: str) -> None:
    kept = generations.load(generation, "refusals", door)
    wanted = {refusal.name: refusal for refusal in REFUSALS if door in refusal.doors}
    assert wanted.keys() <= kept["refusals"].keys()
    for name, refusal in wanted.items():
        answers = [kept["answers"][place] for place in kept["refusals"][name]]
        with pytest.raises(SlurmError) as caught:
            refusal.act(generations.replayed(door, answers), kept["ids"])
        error = caught.value
        assert (type(error), error.code, error.transient) == expected(refusal, generation, door), (name, error.message)
