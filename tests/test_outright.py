"""What a request says outright is filled in, and nothing else (assistant/loop/outright.py)."""

from __future__ import annotations

from typing import Any

import pytest

from assistant.loop.outright import complete
from assistant.loop.said import Said
from tools.base import Call

SUBMIT = ("submit_job", {"script": "a.sh"})


@pytest.mark.parametrize(
    ("text", "made", "added"),
    [
        ("a.sh on the gpu partition", SUBMIT, {"partition": "gpu"}),
        ("a.sh on the cpu partition, I said", ("submit_job", {"script": "a.sh", "partition": "gpu"}), {}),
        ("a.sh on the gpu partition; b.sh too", SUBMIT, {}),
        ("put 4711 from the gpu partition into cpu", ("update_job", {"job_id": "4711"}), {}),
        ("a.sh, 16 nodes, 64 GB, two days", SUBMIT, {"nodes": 16, "mem": "64 GB", "time_limit": "two days"}),
        ("a.sh on a 3g.20gb slice, two hours from now", SUBMIT, {"gpus": 1, "begin": "two hours from now"}),
        ("a.sh two hours or two days", SUBMIT, {}),
        ("a.sh excl, dont requeue it", SUBMIT, {"exclusive": True, "requeue": False}),
        ("a.sh, not exclusive", SUBMIT, {}),
        (
            "./run -i in.dat with 2 cores",
            ("submit_job", {"command": "./run -i"}),
            {"command": "./run -i in.dat", "cpus_per_task": 2},
        ),
        ("./run now. Thanks", ("submit_job", {"command": "./run"}), {}),
        ("a.sh 11 pm tonight", ("submit_job", {"script": "a.sh", "begin": "tonight"}), {"begin": "11 pm tonight"}),
        (
            "a.sh tomorrow at 6:30",
            ("submit_job", {"script": "a.sh", "begin": "tomorrow"}),
            {"begin": "tomorrow at 6:30"},
        ),
        ("run a.sh on bigmem", SUBMIT, {"partition": "bigmem"}),
        ("run a.sh on a cpu node", SUBMIT, {}),
        ("a.sh, 4 gpus, 16 cores", SUBMIT, {"gpus": 4, "cpus_per_task": 16}),
        ("a.sh, 4 gpus on each of 2 nodes", ("submit_job", {"gpus_per_node": 4}), {"nodes": 2}),
        ("stress --cpu 64 with 2 gpus", ("submit_job", {"command": "stress --cpu 64"}), {"gpus": 2}),
        ("a.sh with 8 ranks", SUBMIT, {"ntasks": 8}),
        ("go to /scratch/x/run and start a.sh there", SUBMIT, {"working_directory": "/scratch/x/run"}),
        ("log of a.sh goes to /scratch/x/run.log", SUBMIT, {}),
        ("a.sh in the image ./x.sqsh, data from /raw", SUBMIT, {}),
        ("just a second ago I said: a.sh", SUBMIT, {}),
        ("a.sh, dont requeue", ("submit_job", {"requeue": True}), {"requeue": False}),
        ("what has user njoroge got queued", ("list_jobs", {}), {"user": "njoroge", "states": ["PENDING"]}),
        ("what is running on n1", ("list_jobs", {}), {}),
        ("what have I got running", ("list_jobs", {"user": "me"}), {"states": ["RUNNING"]}),
        ("the running jobs of pdas", ("list_jobs", {"user": "pdas"}), {"states": ["RUNNING"]}),
        ("grep -i nan 1182034 stderr", ("read_job_log", {"job_id": "1182034"}), {"pattern": "nan", "stream": "stderr"}),
        ("1000 last lines of 70344", ("read_job_log", {"job_id": "70344"}), {"lines": 1000}),
        ("last 50 lines of 70344", ("read_job_log", {"job_id": "70344"}), {"lines": 50}),
        ("is any user on that node", ("list_jobs", {}), {}),
        ("cancel 7012 of user ana", ("cancel_jobs", {"job_ids": ["7012"]}), {}),
        (
            "which jobs did tanaka finish last week",
            ("list_jobs", {}),
            {"user": "tanaka", "since": "last week", "until": "last week"},
        ),
        (
            "bob's failed jobs since yesterday",
            ("list_jobs", {}),
            {"user": "bob", "states": ["FAILED"], "since": "yesterday"},
        ),
        ("the group's usage this month", ("usage_report", {}), {"start": "this month"}),
        ("stderr of 70344, only 'NCCL WARN'", ("read_job_log", {}), {"stream": "stderr", "pattern": "NCCL WARN"}),
        ("stdout or stderr of 70344, last 40", ("read_job_log", {}), {"lines": 40}),
    ],
)
def test_what_is_said_outright_is_not_left_out(
    text: str, made: tuple[str, dict[str, Any]], added: dict[str, Any]
) -> None:
    (call,) = complete((Call(*made),), Said(text))
    assert call.arguments == {**made[1], **added}


def test_what_is_said_to_be_a_moment_is_no_limit() -> None:
    made = Call("submit_job", {"script": "a.sh", "time_limit": "two hours"})
    (call,) = complete((made,), Said("start a.sh two hours from now"))
    assert call.arguments == {"script": "a.sh", "begin": "two hours from now"}


def test_pasted_directives_of_a_script_that_is_named_ask_for_nothing() -> None:
    pasted = "send a.sh with account hep, 30 minutes\n#SBATCH --account=old\n#SBATCH --nodes=8\n#SBATCH -t 10:00"
    made = Call("submit_job", {"script": "a.sh", "account": "hep", "nodes": 8, "time_limit": "10:00"})
    (call,) = complete((made,), Said(pasted))
    assert call.arguments == {"script": "a.sh", "account": "hep", "time_limit": "30 minutes"}


WHOLE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "run `hostname -f` in ./x.sqsh": ({"command": "./x.sqsh"}, {"command": "hostname -f"}),
    "run ./solver -i in.dat now": ({"command": "./solver -i"}, {"command": "./solver -i in.dat"}),
    "drain n1 por cambio de disco": ({"nodes": "n1", "reason": "disco"}, {"nodes": "n1", "reason": "cambio de disco"}),
    "resume n1 through n4": ({"nodes": "n1,n4"}, {"nodes": "n[1-4]"}),
    "a.sh, stdout in logs/%A_%a": ({"output": "logs/%A_%a.out"}, {"output": "logs/%A_%a"}),
    "python a.py, mount /lustre/data at /data": (
        {"command": "python a.py", "container_mounts": "/data"},
        {"command": "python a.py", "container_mounts": "/lustre/data:/data"},
    ),
}


@pytest.mark.parametrize("text", WHOLE)
def test_what_was_cut_short_is_made_whole(text: str) -> None:
    given, whole = WHOLE[text]
    (call,) = complete((Call("drain_node" if "nodes" in given else "submit_job", given),), Said(text))
    assert call.arguments == whole


@pytest.mark.parametrize(
    ("text", "added"),
    [
        ("a.sh, bill it to hep-24", {"account": "hep-24"}),
        ("a.sh for project lqcd_26, reservation ws_nov please", {"account": "lqcd_26", "reservation": "ws_nov"}),
        ("job name is clip256, a.sh, qos: high", {"job_name": "clip256", "qos": "high"}),
        ("error: Job violates accounting/QOS policy: a.sh with 2 nodes", {"nodes": 2}),
        ("a.sh, it cannot be billed to anybody", {}),
    ],
)
def test_a_name_that_is_given_plainly_is_taken(text: str, added: dict[str, Any]) -> None:
    (call,) = complete((Call(*SUBMIT),), Said(text))
    assert call.arguments == {**SUBMIT[1], **added}


@pytest.mark.parametrize(
    ("text", "given", "whole"),
    [
        ("hold 4120\n4121, 4125 and 4190", ["4120", "4121"], ["4120", "4121", "4125", "4190"]),
        ("cancel 4120 4121 but keep 4121", ["4120"], ["4120"]),
        ("cancel 4120, it blocks 4121", ["4120"], ["4120"]),
        ("the first two of 4120 4121 4122: cancel", ["4120", "4121"], ["4120", "4121"]),
    ],
)
def test_jobs_in_a_row_are_meant_together(text: str, given: list[str], whole: list[str]) -> None:
    (call,) = complete((Call("cancel_jobs", {"job_ids": given}),), Said(text))
    assert call.arguments["job_ids"] == whole


ALONE: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("submit_job", {"script": "a.sh", "dependency": "afterok:$1"}, {"script": "a.sh"}),
    ("submit_job", {"script": "/x/a.sh", "working_directory": "/x/a.sh"}, {"script": "/x/a.sh"}),
    ("submit_job", {"command": "bash a.sh -v", "script": "a.sh"}, {"command": "bash a.sh -v"}),
    ("estimate_start", {"job_id": "4711", "time_limit": "9 hours"}, {"job_id": "4711"}),
]


@pytest.mark.parametrize(("tool", "given", "left"), ALONE)
def test_what_a_lone_call_cannot_mean_is_left_out(tool: str, given: dict[str, Any], left: dict[str, Any]) -> None:
    (call,) = complete((Call(tool, given),), Said("/x/a.sh with 4711"))
    assert call.arguments == left


def test_several_things_are_left_to_the_model() -> None:
    calls = (Call("submit_job", {"script": "a.sh"}),)
    assert complete(calls, Said("a.sh with 4 gpus, then b.sh with 2 nodes")) == calls
