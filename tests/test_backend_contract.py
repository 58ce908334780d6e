"""What every backend must do, on the real Slurm and on the fake that other tests use in its place."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.contract import Cluster
from tests.fake_reads import tasks
from tests.fake_slurm import FakeSlurm
from tools.slurm.backend import Operation
from tools.slurm.cli import CliBackend
from tools.slurm.errors import InvalidRequest, UnknownJob, UnknownName
from tools.slurm.models import JobQuery


@pytest.fixture(params=["real", "fake"])
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Cluster:
    if request.param == "fake":
        return Cluster(FakeSlurm(user="root", level="administrator"), 0.0, str(tmp_path))
    request.getfixturevalue("clean_sandbox")
    return Cluster(CliBackend(), 15.0, str(tmp_path))


def test_a_job_is_what_was_asked(cluster: Cluster) -> None:
    job_id = cluster.submit(
        job_name="train", nodes=2, gpus_per_node=8, gpu_type="h100", time_limit="1-00:00:00", mem="64G",
        qos="ai-train", account="vision", comment="two words", begin="now+1day", cpus_per_task=4,
    )  # fmt: skip
    [job] = cluster.backend.job(job_id)
    assert (job.id, job.name, job.user, job.state) == (job_id, "train", "root", "PENDING")
    assert (job.nodes, job.gpus, job.gpu_type, job.mem_mb, job.cpus) == (2, 16, "h100", 64 * 1024, 8)
    assert (job.time_limit, job.qos, job.account, job.comment) == (86400, "ai-train", "vision", "two words")


def test_the_queue_is_filtered(cluster: Cluster) -> None:
    a = cluster.submit(job_name="one", partition="h100", begin="now+1day")
    b = cluster.submit(job_name="two", partition="mig", qos="ai-train", account="physics", begin="now+1day")
    ids = lambda **by: {job.id for job in cluster.backend.queue(JobQuery(**by))}  # noqa: E731
    assert ids() == {a, b}
    assert ids(partition="h100") == ids(name="one") == ids(ids=(a,)) == {a}
    assert ids(account="physics") == ids(qos="ai-train") == {b}
    assert ids(user="root", states=("PENDING",)) == {a, b}
    assert ids(states=("RUNNING",)) == ids(user="daemon") == set()


def test_a_running_job_says_where(cluster: Cluster) -> None:
    job_id = cluster.submit(partition="h100", gpus_per_node=2)
    job = cluster.until(job_id, lambda job: job.state == "RUNNING")
    assert job.node_list in ("gpu-node03", "gpu-node04")
    assert [job.id for job in cluster.backend.queue(JobQuery(node=job.node_list))] == [job_id]
    [node] = cluster.backend.nodes(job.node_list)
    assert (node.gpus[0].type, node.gpus[0].total, node.gpus[0].used) == ("h100", 8, 2)
    assert node.state == "MIXED"


@pytest.mark.parametrize(
    ("field", "code"),
    [
        ("partition", "ESLURM_INVALID_PARTITION_NAME"),
        ("qos", "ESLURM_INVALID_QOS"),
        ("account", "ESLURM_INVALID_ACCOUNT"),
    ],
)
def test_an_unknown_name_comes_with_the_valid_ones(cluster: Cluster, field: str, code: str) -> None:
    error = cluster.refused("submit", command="true", **{field: "nope"})
    assert isinstance(error, UnknownName)
    assert error.code == code
    known = {"partition": "h100", "qos": "ai-train", "account": "vision"}[field]
    assert known in error.valid and known in error.message
    assert not error.transient


def test_what_no_node_has_is_refused(cluster: Cluster) -> None:
    error = cluster.refused("submit", command="true", gpus_per_node=9)
    assert (type(error), error.code) == (InvalidRequest, "ESLURM_REQUESTED_NODE_CONFIG_UNAVAILABLE")


def test_a_script_that_is_not_there(cluster: Cluster) -> None:
    error = cluster.refused("submit", script="absent.sbatch")
    assert error.code == "no_script" and "absent.sbatch" in error.message and str(Path.cwd()) in error.message


def test_cancel_says_what_it_found(cluster: Cluster) -> None:
    job_id = cluster.submit(begin="now+1day")
    assert cluster.backend.perform(Operation("cancel", job_id)).id == job_id
    cluster.until(job_id, lambda job: job.state == "CANCELLED")
    assert cluster.refused("cancel", job_id).code == "ESLURM_ALREADY_DONE"
    assert isinstance(cluster.refused("cancel", "999999"), UnknownJob)


def test_cancel_only_in_the_state_it_was_seen_in(cluster: Cluster) -> None:
    job_id = cluster.submit(begin="now+1day")
    assert cluster.refused("cancel", job_id, state="RUNNING").code == "state_changed"
    assert cluster.backend.job(job_id)[0].state == "PENDING"
    cluster.backend.perform(Operation("cancel", job_id, {"state": "PENDING"}))
    assert cluster.until(job_id, lambda job: job.state == "CANCELLED")


def test_one_task_of_an_array(cluster: Cluster) -> None:
    """scancel --state=PENDING 5_4 would end the whole array."""
    job_id = cluster.submit(array="0-9%3", begin="now+1day")
    [job] = cluster.backend.queue(JobQuery(ids=(job_id,)))
    assert (job.id, job.array_size) == (f"{job_id}_[0-9%3]", 10)
    cluster.backend.perform(Operation("cancel", f"{job_id}_4", {"state": "PENDING"}))
    [left] = cluster.backend.queue(JobQuery(ids=(job_id,), states=("PENDING",)))
    assert left.array_size == 9
    cluster.backend.perform(Operation("cancel", left.id))
    assert not cluster.backend.queue(JobQuery())


def test_some_tasks_of_an_array(cluster: Cluster) -> None:
    job_id = cluster.submit(array="0-9", begin="now+1day")
    some = f"{job_id}_[2-4]"
    assert [job.array_size for job in cluster.backend.job(some)] == [10]
    assert [job.id for job in cluster.backend.queue(JobQuery(ids=(some,)))] == [f"{job_id}_[0-9]"]
    assert cluster.backend.queue(JobQuery(ids=(f"{job_id}_[20-30]",))) == []
    assert cluster.refused("cancel", some, signal="USR1").code == "ESLURM_JOB_NOT_RUNNING"
    assert cluster.refused("cancel", some, state="RUNNING").code == "state_changed"
    cluster.backend.perform(Operation("cancel", some, {"state": "PENDING"}))
    assert sum(job.array_size for job in cluster.backend.queue(JobQuery(states=("PENDING",)))) == 7
    cluster.backend.perform(Operation("hold", f"{job_id}_[5-6]"))
    assert all(job.reason.startswith("JobHeld") for job in cluster.backend.job(f"{job_id}_[5-6]"))
    assert not cluster.backend.job(f"{job_id}_9")[0].reason.startswith("JobHeld")
    # Tasks that never were jobs of their own are forgotten at once; see what is left of the array.
    left = cluster.backend.queue(JobQuery(ids=(job_id,), states=("PENDING",)))
    assert set().union(*(tasks(job.id) for job in left)) == set(range(10)) - {2, 3, 4}
    with pytest.raises(UnknownJob):
        cluster.backend.job(f"{job_id}_[20-30]")


def test_a_signal_reaches_only_running_jobs(cluster: Cluster) -> None:
    """scancel itself would try again without end."""
    job_id = cluster.submit(begin="now+1day")
    assert cluster.refused("cancel", job_id, signal="USR1").code == "ESLURM_JOB_NOT_RUNNING"
    running = cluster.submit()
    cluster.until(running, lambda job: job.state == "RUNNING")
    cluster.backend.perform(Operation("cancel", running, {"signal": "USR1"}))
    assert cluster.backend.job(running)[0].state == "RUNNING"


def test_hold_release_requeue(cluster: Cluster) -> None:
    held = cluster.submit(begin="now+1day")
    cluster.backend.perform(Operation("hold", held))
    assert cluster.backend.job(held)[0].reason.startswith("JobHeld")
    cluster.backend.perform(Operation("release", held))
    assert not cluster.backend.job(held)[0].reason.startswith("JobHeld")
    assert cluster.refused("requeue", held).code == "ESLURM_JOB_PENDING"
    assert isinstance(cluster.refused("hold", "999999"), UnknownJob)


def test_suspend_and_resume(cluster: Cluster) -> None:
    job_id = cluster.submit()
    cluster.until(job_id, lambda job: job.state == "RUNNING")
    assert isinstance(cluster.refused("resume", job_id), InvalidRequest)
    cluster.backend.perform(Operation("suspend", job_id))
    assert cluster.backend.job(job_id)[0].state == "SUSPENDED"
    cluster.backend.perform(Operation("resume", job_id))
    assert cluster.backend.job(job_id)[0].state == "RUNNING"


def test_a_pending_job_is_updated(cluster: Cluster) -> None:
    first = cluster.submit(begin="now+1day")
    job_id = cluster.submit(nodes=2, begin="now+1day", gpus_per_node=2)
    fields = {
        "partition": "long", "qos": "ai-train", "account": "physics", "nice": 50, "dependency": f"afterany:{first}",
        "job_name": "new name", "constraint": "a100", "mem": "20G", "time_limit": "3-00:00:00", "gpus": 8,
    }  # fmt: skip
    cluster.backend.perform(Operation("update_job", job_id, fields))
    [job] = cluster.backend.job(job_id)
    assert (job.partition, job.qos, job.account, job.nice) == ("long", "ai-train", "physics", 50)
    assert (job.name, job.constraint, job.mem_mb, job.time_limit) == ("new name", "a100", 20480, 259200)
    assert job.gpus == 8 and first in job.dependency
    cluster.backend.perform(Operation("update_job", job_id, {"dependency": "", "nodes": 1}))
    [job] = cluster.backend.job(job_id)
    assert (job.dependency, job.nodes) == ("", 1)
    assert isinstance(cluster.refused("update_job", job_id, partition="nope"), UnknownName)
    assert isinstance(cluster.refused("update_job", job_id, colour="red"), InvalidRequest)


def test_nodes_are_drained_and_resumed(cluster: Cluster) -> None:
    drain = Operation("update_node", "gpu-node[01-02]", {"state": "drain", "reason": "Xid 79, GPU = 3"})
    cluster.backend.perform(drain)
    first, second = cluster.backend.nodes("gpu-node[01-02]")
    assert (first.state, first.reason, second.state) == ("IDLE+DRAIN", "Xid 79, GPU = 3", "IDLE+DRAIN")
    cluster.backend.perform(Operation("update_node", "gpu-node[01-02]", {"state": "resume"}))
    cluster.eventually(lambda: [node.state for node in cluster.backend.nodes("gpu-node[01-02]")] == ["IDLE", "IDLE"])
    error = cluster.refused("update_node", "gpu-node09", state="drain", reason="x")
    assert isinstance(error, UnknownName) and "gpu-node05" in error.valid
    with pytest.raises(UnknownName):
        cluster.backend.nodes("gpu-node01,gpu-node09")


def test_a_job_is_found_by_its_key(cluster: Cluster) -> None:
    job_id = cluster.submit(begin="now+1day", comment="for Ann sask:ab12.1.1")
    cluster.submit(begin="now+1day", comment="sask:ab12.1.10")
    assert [job.id for job in cluster.backend.find_by_key("ab12.1.1")] == [job_id]
    assert [job.id for job in cluster.backend.find_by_key("sask:ab12.1.1")] == [job_id]
    assert cluster.backend.find_by_key("ab12.1") == []


def test_what_is_rendered_is_what_runs(cluster: Cluster) -> None:
    from tools.slurm.cli.runner import shell_text

    operation = Operation("submit", "", {"command": "python train.py --lr '1e-4'", "begin": "now+1day"})
    [command] = cluster.backend.render(operation)
    before = len(cluster.backend.commands())
    job_id = cluster.backend.perform(operation).id
    assert cluster.backend.commands()[before:][0] == shell_text(command, cluster.backend.script(operation))
    assert "python train.py --lr '1e-4'\n" in cluster.backend.script(operation)
    hold = Operation("hold", job_id)
    assert cluster.backend.render(hold) == [["scontrol", "hold", job_id]]


def test_a_test_submits_nothing(cluster: Cluster) -> None:
    assert cluster.backend.test_submit({"command": "true", "nodes": 1}).start_time
    with pytest.raises(UnknownName):
        cluster.backend.test_submit({"command": "true", "partition": "nope"})
    assert cluster.backend.queue(JobQuery()) == []


def test_unknown_jobs(cluster: Cluster) -> None:
    for ask in (cluster.backend.job, cluster.backend.steps, cluster.backend.expected_start):
        with pytest.raises(UnknownJob):
            ask("999999")
    assert cluster.backend.queue(JobQuery(ids=("999999",))) == []
    assert cluster.backend.priority_factors("999999") == {}
    with pytest.raises(UnknownName):
        cluster.backend.queue(JobQuery(partition="nope"))


def test_when_a_pending_job_would_start(cluster: Cluster) -> None:
    first, second = (cluster.submit(nodes=4, gpus_per_node=8) for _ in range(2))
    cluster.until(first, lambda job: job.state == "RUNNING")
    job = cluster.until(second, lambda job: job.reason == "Resources")
    cluster.eventually(lambda: cluster.backend.expected_start(second).start_time is not None)
    assert cluster.backend.expected_start(second).reason == job.reason
    assert cluster.backend.priority_factors(second)["PRIORITY"] > 0
    assert cluster.backend.priority_factors(first) == {}
    with pytest.raises(UnknownJob):
        cluster.backend.expected_start(first)


def test_the_cluster_itself(cluster: Cluster) -> None:
    backend = cluster.backend
    assert backend.version() >= (22, 5, 0)
    assert backend.cluster() == "sandbox"
    assert [node.name for node in backend.nodes()] == [f"gpu-node0{number}" for number in range(1, 6)]
    partitions = {partition.name: partition for partition in backend.partitions()}
    assert partitions.keys() == {"gpu", "h100", "mig", "debug", "long"}
    assert partitions["gpu"].default and partitions["h100"].nodes == "gpu-node[03-04]"
    assert {qos.name for qos in backend.qos()} == {"normal", "ai-train", "interactive", "small"}
    assert {row.account for row in backend.associations(user="root")} >= {"vision", "physics", "ml-research"}
    assert [row.account for row in backend.associations(user="root", account="vision")] == ["vision"]
    assert backend.licenses() == {"ansys": (4, 0), "matlab": (2, 0)}
    assert (backend.admin_level("root"), backend.admin_level("daemon")) == ("administrator", "none")
    assert backend.coordinated_accounts("daemon") == ()
    assert backend.reservations() == []


def test_history_and_usage(cluster: Cluster) -> None:
    job_id = cluster.submit(job_name="past", command="true")
    if isinstance(cluster.backend, FakeSlurm):
        cluster.backend.finish(job_id)
    cluster.until(job_id, lambda job: job.state == "COMPLETED")
    since = datetime.now() - timedelta(hours=1) if cluster.patience else datetime(2026, 1, 1)
    query = JobQuery(ids=(job_id,), since=since)
    # slurmdbd may hear of the end before it hears of the start, and then knows no name for a moment.
    seen = lambda: [(job.name, job.state) for job in cluster.backend.history(query)]  # noqa: E731
    cluster.eventually(lambda: seen() == [("past", "COMPLETED")])
    [found] = cluster.backend.history(query)
    assert (found.id, found.name, found.exit_code, found.user) == (job_id, "past", "0:0", "root")
    assert job_id in {job.id for job in cluster.backend.history(JobQuery(states=("COMPLETED",), since=since))}
    assert job_id not in {job.id for job in cluster.backend.history(JobQuery(states=("FAILED",), since=since))}
    rows = cluster.backend.usage("user", since, datetime.now() + timedelta(hours=1), user="root")
    assert [row.key for row in rows] == ["root"] and rows[0].jobs >= 1
    assert [step.name for step in cluster.backend.steps(job_id)] == ["batch"]
    assert cluster.backend.submitted(job_id).id == job_id


@pytest.mark.parametrize("target", ["-1", "", "1;2", "--name=x", "1 2", "all", "1_[", "$1"])
@pytest.mark.parametrize("verb", ["cancel", "hold", "update_job"])
def test_what_is_no_job_id_never_reaches_slurm(cluster: Cluster, verb: str, target: str) -> None:
    before = len(cluster.backend.commands())
    assert isinstance(cluster.refused(verb, target, job_name="x"), InvalidRequest)
    assert len(cluster.backend.commands()) == before
