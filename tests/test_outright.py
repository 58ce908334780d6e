"""What a request says outright is filled in, and nothing else (assistant/loop/outright.py)."""

from __future__ import annotations

from typing import Any

import pytest

from assistant.loop.outright import complete
from assistant.loop.said import Said
from tools.base import Call

SUBMIT = {
    "run a.sh on bigmem": ({"script": "a.sh"}, {"partition": "bigmem"}),
    "run a.sh on a cpu node": ({"script": "a.sh"}, {}),
    "a.sh, 4 gpus, 16 cores": ({"script": "a.sh"}, {"gpus": 4, "cpus_per_task": 16}),
    "a.sh, 4 gpus on each of 2 nodes": ({"script": "a.sh", "gpus_per_node": 4}, {"nodes": 2}),
    "stress --cpu 64 with 2 gpus": ({"command": "stress --cpu 64"}, {"gpus": 2}),
    "a.sh with 8 ranks": ({"script": "a.sh"}, {"ntasks": 8}),
    "go to /scratch/x/run and start a.sh there": ({"script": "a.sh"}, {"working_directory": "/scratch/x/run"}),
    "log of a.sh goes to /scratch/x/run.log": ({"script": "a.sh"}, {}),
    "a.sh in the image ./x.sqsh, data from /raw": ({"script": "a.sh"}, {}),
    "start a.sh two hours from now": ({"script": "a.sh", "time_limit": "two hours"}, {"begin": "two hours from now"}),
    "just a second ago I said: a.sh": ({"script": "a.sh"}, {}),
}


@pytest.mark.parametrize("text", SUBMIT)
def test_what_is_missing_is_filled_in(text: str) -> None:
    given, added = SUBMIT[text]
    (call,) = complete((Call("submit_job", dict(given)),), Said(text))
    kept = {name: value for name, value in given.items() if not (name == "time_limit" and "begin" in added)}
    assert call.arguments == {**kept, **added}


WHOLE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "run `hostname -f` in ./x.sqsh": ({"command": "./x.sqsh"}, {"command": "hostname -f"}),
    "run ./solver -i in.dat now": ({"command": "./solver -i"}, {"command": "./solver -i in.dat"}),
    "python a.py, mount /lustre/data at /data": (
        {"command": "python a.py", "container_mounts": "/data"},
        {"command": "python a.py", "container_mounts": "/lustre/data:/data"},
    ),
}


@pytest.mark.parametrize("text", WHOLE)
def test_what_was_cut_short_is_made_whole(text: str) -> None:
    given, whole = WHOLE[text]
    (call,) = complete((Call("submit_job", given),), Said(text))
    assert call.arguments == whole


def test_a_user_who_is_called_one() -> None:
    (call,) = complete((Call("list_jobs", {}),), Said("what has user njoroge got queued"))
    assert call.arguments == {"user": "njoroge"}
    (call,) = complete((Call("list_jobs", {}),), Said("is any user on that node"))
    assert call.arguments == {}


def test_several_things_are_left_to_the_model() -> None:
    calls = (Call("submit_job", {"script": "a.sh"}),)
    assert complete(calls, Said("a.sh with 4 gpus, then b.sh with 2 nodes")) == calls
