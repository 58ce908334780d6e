"""list_jobs, show_job, cluster_status, show_node, diagnose_node, usage_report and show_limits on a real Slurm."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.read_tools import USER, Desk, shell, state, states, wait
from tools.slurm.errors import InvalidRequest, UnknownName
from tools.slurm.sandbox import Sandbox

ENDED = {"COMPLETED", "FAILED", "CANCELLED"}


@pytest.fixture(scope="module")
def desk(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(tmp_path_factory.mktemp("jobs"))


@pytest.fixture(scope="module")
def jobs(sandbox: Sandbox, desk: Desk) -> Iterator[dict[str, str]]:
    """A small world: jobs that run, wait, ended; a drained node."""
    sandbox.reset()
    made = {
        "failed": desk.submit("-Jbad", run="exit 3"),
        "fine": desk.submit("-Jgood", run="true"),
        "array": desk.submit("--array=1-4%2", "-Jmany", run="true"),
    }
    for name in made.values():
        wait(lambda job=name: states(job) <= ENDED, 40, f"the end of {name}")
    wait(lambda: "FAILED" in shell("sacct", "-nX", "-j", made["failed"], "-ostate"), 30, "accounting knows of it")
    made["running"] = desk.submit(
        "-Jbusy", "-N1", "--gpus-per-node=h100:5", "-wgpu-node03", run="echo alive; sleep 300"
    )
    made["whole"] = desk.submit("-Jwhole", "-N1", "-c64", "--mem=10G", "-wgpu-node04")
    wait(lambda: state(made["running"]) == state(made["whole"]) == "RUNNING")
    made["pending"] = desk.submit("-Jwaits", "-H", "--qos=small")
    made["tasks"] = desk.submit("-Jtasks", "-H", "--array=0-99%7")
    shell("scontrol", "update", "NodeName=gpu-node02", "State=DRAIN", "Reason=Xid 79, GPU has fallen off the bus")
    yield made
    sandbox.reset()


def ids(data: Any) -> list[str]:
    return [row["job_id"] for row in data["jobs"]]


def test_the_queue_is_what_is_live(desk: Desk, jobs: dict[str, str]) -> None:
    result = desk.ask("list_jobs")

    data = result.data
    assert ids(data) == [jobs["running"], jobs["whole"], jobs["pending"], f"{jobs['tasks']}_[0-99%7]"]
    assert data["by_state"] == {"PENDING": 101, "RUNNING": 2}
    assert (data["shown"], data["total"]) == (4, 4)
    assert not any("sacct" in command for command in result.commands)
    row = data["jobs"][0]
    assert (row["gpus"], row["gpu_type"], row["node_list"], row["name"]) == (5, "h100", "gpu-node03", "busy")


def test_a_past_state_looks_into_the_history(desk: Desk, jobs: dict[str, str]) -> None:
    data = desk.data("list_jobs", user="me", states=["FAILED"], name="bad")

    assert ids(data)[0] == jobs["failed"]
    assert data["jobs"][0]["exit_code"] == "3:0"
    assert datetime.fromisoformat(data["since"]) < datetime.now() - timedelta(days=6)


def test_a_period_has_live_and_ended_jobs_once_each(desk: Desk, jobs: dict[str, str]) -> None:
    data = desk.data("list_jobs", since=(datetime.now() - timedelta(minutes=30)).isoformat())

    found = ids(data)
    assert len(found) == len(set(found))
    assert {jobs["running"], jobs["pending"], jobs["failed"], f"{jobs['array']}_3"} <= set(found)
    assert found.index(jobs["running"]) < found.index(jobs["pending"]) < found.index(jobs["failed"])


def test_a_period_that_is_over_has_no_later_job(desk: Desk, jobs: dict[str, str]) -> None:
    data = desk.data("list_jobs", since="2020-01-01", until="2020-02-01")

    assert data["jobs"] == []
    assert data["by_state"] == {}


def test_live_and_past_states_together(desk: Desk, jobs: dict[str, str]) -> None:
    data = desk.data("list_jobs", states=["RUNNING", "FAILED"], limit=3)

    assert {row["state"] for row in data["jobs"]} <= {"RUNNING", "FAILED"}
    assert data["shown"] == 3
    assert data["total"] >= 3
    assert set(data["by_state"]) == {"RUNNING", "FAILED"}


@pytest.mark.parametrize(
    ("narrowed", "expected"),
    [
        ({"partition": "h100"}, []),
        ({"qos": "small"}, ["pending"]),
        ({"name": "busy"}, ["running"]),
        ({"node": "gpu-node04"}, ["whole"]),
        ({"states": ["PENDING"], "account": "ml-research", "name": "waits"}, ["pending"]),
        ({"user": "nobody"}, []),
    ],
)
def test_filters(desk: Desk, jobs: dict[str, str], narrowed: dict[str, Any], expected: list[str]) -> None:
    assert ids(desk.data("list_jobs", **narrowed)) == [jobs[name] for name in expected]


@pytest.mark.parametrize(
    ("arguments", "word", "valid"),
    [
        ({"partition": "nope"}, "partition nope", "h100"),
        ({"qos": "nope"}, "QoS nope", "ai-train"),
        ({"account": "nope"}, "account nope", "vision"),
        ({"node": "gpu-node99"}, "node gpu-node99", "gpu-node01"),
    ],
)
def test_unknown_names_come_with_the_valid_ones(desk: Desk, arguments: dict[str, Any], word: str, valid: str) -> None:
    with pytest.raises(UnknownName, match=word) as caught:
        desk.ask("list_jobs", **arguments)
    assert valid in caught.value.valid
    assert valid in str(caught.value)


def test_a_user_that_nobody_knows(desk: Desk) -> None:
    with pytest.raises(UnknownName, match="nosuchuser"):
        desk.ask("list_jobs", user="nosuchuser")


def test_everything_about_a_running_job(desk: Desk, jobs: dict[str, str]) -> None:
    job = desk.data("show_job", job_id=jobs["running"])["job"]

    assert (job["state"], job["qos"], job["account"]) == ("RUNNING", "normal", "ml-research")
    assert job["stdout"] == f"{desk.folder}/slurm-{jobs['running']}.out"
    assert job["tres_per_node"].endswith("gpu:h100:5")
    assert job["nodelist"] == "gpu-node03"
    assert "stderr" not in job  # the same file


def test_an_array_has_its_tasks(desk: Desk, jobs: dict[str, str]) -> None:
    data = desk.data("show_job", job_id=jobs["array"])

    assert sorted(row["job_id"] for row in data["tasks"]) == [f"{jobs['array']}_{task}" for task in range(1, 5)]
    assert data["by_state"] == {"COMPLETED": 4}
    assert desk.data("show_job", job_id=f"{jobs['array']}_3")["job"]["job_id"] == f"{jobs['array']}_3"
    assert desk.data("show_job", job_id=jobs["tasks"])["job"]["array_size"] == 100


def test_how_many_h100_are_free_and_where(desk: Desk, jobs: dict[str, str]) -> None:
    """Five of eight are used on one node; the other node's eight are idle but all its CPUs are taken."""
    data = desk.data("cluster_status", gpu_type="H100")

    (h100,) = data["gpus"]
    assert h100 == {
        "gpu_type": "h100", "total": 16, "used": 5, "free": 3, "unavailable": 0, "blocked": 8, "free_on": "gpu-node03",
    }  # fmt: skip
    assert [row["node"] for row in data["free_nodes"]] == ["gpu-node03"]
    assert data["free_nodes"][0]["free_gpus"] == {"h100": 3}
    assert [row["partition"] for row in data["partitions"]] == ["gpu", "h100", "long"]


def test_free_does_not_count_what_is_drained(desk: Desk, jobs: dict[str, str]) -> None:
    data = desk.data("cluster_status")

    gpus = {row["gpu_type"]: row for row in data["gpus"]}
    assert (gpus["a100"]["free"], gpus["a100"]["unavailable"]) == (8, 8)
    assert gpus["a100"]["free_on"] == "gpu-node01"
    assert gpus["a100_1g.5gb"]["free"] == 4
    assert data["unavailable"][0]["node"] == "gpu-node02"
    assert "Xid 79" in data["unavailable"][0]["reason"]
    assert data["nodes"] == {"total": 5, "idle": 2, "mixed": 1, "allocated": 1, "unavailable": 1}
    assert data["jobs"] == {"PENDING": 101, "RUNNING": 2}


def test_one_partition_and_one_that_is_down(desk: Desk, jobs: dict[str, str]) -> None:
    up = desk.data("cluster_status", partition="mig")
    shell("scontrol", "update", "PartitionName=mig", "State=DOWN")
    try:
        down = desk.data("cluster_status", partition="mig")
    finally:
        shell("scontrol", "update", "PartitionName=mig", "State=UP")

    assert [row["free"] for row in up["gpus"]] == [4, 4]
    assert [row["free"] for row in down["gpus"]] == [0, 0]
    assert down["unavailable"][0]["reason"] == "none of its partitions is up"


@pytest.mark.parametrize(
    ("arguments", "valid"), [({"gpu_type": "v100"}, "a100_3g.20gb"), ({"partition": "nope"}, "debug")]
)
def test_unknown_kinds(desk: Desk, arguments: dict[str, Any], valid: str) -> None:
    with pytest.raises(UnknownName) as caught:
        desk.ask("cluster_status", **arguments)
    assert valid in caught.value.valid


def test_a_node_and_who_is_on_it(desk: Desk, jobs: dict[str, str]) -> None:
    data = desk.data("show_node", node="gpu-node03")

    assert data["node"]["state"] == "MIXED"
    assert data["node"]["gpus"] == [{"gpu_type": "h100", "total": 8, "used": 5}]
    assert ids(data) == [jobs["running"]]


def test_a_drained_node_is_diagnosed(desk: Desk, jobs: dict[str, str]) -> None:
    data = desk.data("diagnose_node", node="gpu-node02")

    assert data["verdict"] == "out_of_service"
    first = data["findings"][0]
    assert first["label"] == "gpu_fell_off_bus"
    assert f"by {USER} since" in first["summary"]
    assert any(line.startswith("Xid 79:") for line in first["evidence"])
    assert "call" not in data


def test_a_healthy_node(desk: Desk, jobs: dict[str, str]) -> None:
    data = desk.data("diagnose_node", node="gpu-node03")

    assert data["verdict"] == "healthy"
    assert data["findings"] == []
    assert data["failures"]["peers"] == "gpu-node04"


@pytest.mark.parametrize("tool", ["show_node", "diagnose_node"])
def test_a_node_that_is_not_there(desk: Desk, tool: str) -> None:
    with pytest.raises(UnknownName, match="gpu-node77") as caught:
        desk.ask(tool, node="gpu-node77")
    assert "gpu-node01" in caught.value.valid


@pytest.mark.parametrize(("group", "key"), [("user", USER), ("account", "ml-research"), ("partition", "gpu")])
def test_usage(desk: Desk, jobs: dict[str, str], group: str, key: str) -> None:
    data = desk.data("usage_report", group_by=group)

    row = next(row for row in data["usage"] if row[group] == key)
    assert row["jobs"] >= 5
    assert data["sum"]["jobs"] == sum(row["jobs"] for row in data["usage"])
    assert data["start"] == datetime.now().replace(day=1, hour=0, minute=0, second=0).isoformat(timespec="seconds")


def test_usage_of_a_period_and_of_one_user(desk: Desk, jobs: dict[str, str]) -> None:
    assert desk.data("usage_report", start="2020-01-01", end="2020-02-01")["usage"] == []
    mine = desk.data("usage_report", user="me")
    assert mine["user"] == USER
    with pytest.raises(InvalidRequest, match="empty"):
        desk.ask("usage_report", start="2026-02-01", end="2026-01-01")
    for wrong in ({"user": "nosuchuser"}, {"account": "nope"}):
        with pytest.raises(UnknownName):
            desk.ask("usage_report", **wrong)


def test_my_limits_with_what_is_used(desk: Desk, jobs: dict[str, str]) -> None:
    used = desk.submit("--qos=small", "--gpus=a100:1", "-pdebug")
    wait(lambda: state(used) == "RUNNING")
    data = desk.data("show_limits")
    shell("scancel", used)

    gpus = next(row for row in data["limits"] if (row["scope"], row["resource"]) == ("QoS small", "gres/gpu"))
    assert (gpus["allowed"], gpus["used"], gpus["by"]) == (2, 1, {USER: 1})
    assert "ml-research" in data["accounts"]
    assert data["qos"] == ["ai-train", "interactive", "normal", "small"]
    debug = next(row for row in data["partitions"] if row["partition"] == "debug")
    assert debug["max_time"] == "00:30:00"


def test_limits_of_an_association(desk: Desk, jobs: dict[str, str]) -> None:
    change = ("sacctmgr", "-i", "modify", "user", "nobody", "account=vision", "set")
    shell(*change, "MaxJobs=3", "GrpTRES=gres/gpu=8,mem=2T")
    try:
        data = desk.data("show_limits", user="nobody", account="vision")
    finally:
        shell(*change, "MaxJobs=-1", "GrpTRES=gres/gpu=-1,mem=-1")

    own = {row["resource"]: row for row in data["limits"] if row["scope"] == "user nobody in account vision"}
    assert own["jobs"]["allowed"] == 3
    assert own["gres/gpu"] | {"used": 0} == own["gres/gpu"]
    assert own["mem"]["allowed"] == "2T"


def test_limits_of_a_qos_and_of_a_partition(desk: Desk) -> None:
    qos = desk.data("show_limits", qos="interactive")
    partition = desk.data("show_limits", partition="debug")

    assert {(row["limit"], row["allowed"]) for row in qos["limits"]} == {("MaxWall", "04:00:00"), ("MaxJobsPU", 2)}
    assert [row["partition"] for row in partition["partitions"]] == ["debug"]


@pytest.mark.parametrize("wrong", [{"user": "nosuchuser"}, {"account": "nope"}, {"qos": "nope"}, {"partition": "nope"}])
def test_limits_of_nothing(desk: Desk, wrong: dict[str, str]) -> None:
    with pytest.raises(UnknownName):
        desk.ask("show_limits", **wrong)
