"""submit_job on a real Slurm: what is checked before, what is said, and that what was asked is what Slurm has."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.write_tools import Bench, bench_here
from tools import BY_NAME
from tools.batch_script import asked_in
from tools.durations import read_seconds
from tools.picking import task_numbers
from tools.slurm.errors import InvalidRequest, SlurmError, UnknownJob, UnknownName
from tools.slurm.models import JobQuery
from tools.slurm.sandbox import Sandbox

TRAIN = "#!/bin/bash\n# a comment\n#SBATCH -p h100 -t 20\n#SBATCH --nodes=2 --exclusive\n\nsleep 9\n#SBATCH -N 4\n"


@pytest.fixture
def bench(clean_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.chdir(tmp_path)
    return bench_here()


@pytest.fixture
def looking(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """For plans that nobody carries out: the sandbox as it is."""
    monkeypatch.chdir(tmp_path)
    return bench_here()


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        ({"partition": "gpu,no-such"}, UnknownName, "no partition 'no-such'; valid: gpu, h100, mig, debug, long"),
        ({"qos": "no-such"}, UnknownName, "valid: normal, ai-train, interactive, small"),
        ({"account": "no-such"}, UnknownName, "for .*; valid: ml-research, physics, .*vision"),
        ({"gpu_type": "v100"}, UnknownName, "valid: a100, a100_1g.5gb, a100_3g.20gb, h100"),
        ({"constraint": "[a100*2|no-such]&ib"}, UnknownName, "'no-such'; valid: a100, h100, ib, mig, nvlink"),
        ({"nodelist": "gpu-node[04-06]"}, UnknownName, "no node 'gpu-node06'; valid: gpu-node01"),
        ({"exclude": "gpu-node99"}, UnknownName, "no node 'gpu-node99'"),
        ({"reservation": "no-such"}, UnknownName, "no reservation 'no-such'"),
        ({"licenses": "no-such:1"}, UnknownName, "valid: ansys, matlab"),
        ({"licenses": "matlab:3"}, InvalidRequest, "the cluster has 2 of matlab"),
        ({"dependency": "afterok:999999"}, UnknownJob, "no job 999999"),
    ],
)
def test_unknown_names_come_with_the_valid_ones(
    looking: Bench, wrong: dict[str, Any], error: type[SlurmError], says: str
) -> None:
    with pytest.raises(error, match=says):
        looking.plan("submit_job", command="true", **wrong)


def test_a_reservation_that_exists_is_taken(bench: Bench) -> None:
    made = f"reservation ReservationName=class StartTime=now Duration=60 Users={bench.user} Nodes=gpu-node01"
    subprocess.run(["scontrol", "create", *made.split()], check=True, capture_output=True)
    _, seen = bench.do("submit_job", command="true", reservation="class", begin="now+1hour")
    job = seen["jobs"][0]["job_id"]
    assert bench.job(job).reservation == "class"
    bench.do("cancel_jobs", job_ids=[job])


def test_the_script_is_looked_for_where_it_may_be(bench: Bench, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with pytest.raises(InvalidRequest) as caught:
        bench.plan("submit_job", script="train.sh", working_directory=str(elsewhere))
    assert str(elsewhere / "train.sh") in caught.value.message and str(tmp_path / "train.sh") in caught.value.message
    (tmp_path / "train.sh").write_text(TRAIN)
    assert bench.plan("submit_job", script="train.sh").operations[0].fields["script"] == "train.sh"
    (elsewhere / "train.sh").write_text(TRAIN)
    there = bench.plan("submit_job", script="train.sh", working_directory=str(elsewhere))
    assert there.operations[0].fields["script"] == str(elsewhere / "train.sh")
    (tmp_path / "plain.sh").write_text("echo no interpreter\n")
    with pytest.raises(InvalidRequest, match="#!"):
        bench.plan("submit_job", script="plain.sh")


def test_a_script_s_own_lines_count(bench: Bench) -> None:
    assert asked_in(TRAIN) == {"partition": "h100", "time_limit": "00:20:00", "nodes": 2}
    assert asked_in("#!/bin/sh\n#SBATCH --gres=x\n#SBATCH --gpus-per-node h100:4 -J'a b'\n") == {
        "gpus_per_node": 4, "gpu_type": "h100", "job_name": "a b",
    }  # fmt: skip
    plan = bench.plan("submit_job", script=TRAIN, time_limit="00:30:00")
    assert not any("no partition" in note or "no time limit" in note for note in plan.notes)
    assert any("#SBATCH lines: partition h100, nodes 2" in note for note in plan.notes)
    assert (plan.blast.nodes, plan.blast.node_hours) == (2, 1.0)
    with pytest.raises(UnknownName, match="no partition 'no-such'"):
        bench.plan("submit_job", script="#!/bin/sh\n#SBATCH -p no-such\ntrue\n")


@pytest.mark.parametrize(
    ("asked", "note"),
    [
        ({}, "no partition given: the default one, gpu"),
        ({}, "no time limit given: partition gpu's default, 01:00:00"),
        ({"time_limit": "3-00:00:00"}, "above what partition gpu allows (MaxTime 2-00:00:00): it would stay pending"),
        ({"time_limit": "5:00:00", "qos": "interactive"}, "QoS interactive allows (MaxWall 04:00:00)"),
        ({"nodes": 5}, "more than partition gpu has or allows (4)"),
        ({"gpus_per_node": 9}, "no node of partition gpu has 9 GPUs (the most is 8): Slurm will refuse it"),
        ({"gpu_type": "h100", "partition": "mig"}, "mig has h100 GPUs (there are: a100_1g.5gb, a100_3g.20gb)"),
        ({"gpu_type": "h100", "constraint": "a100"}, "partition gpu with a100 has h100 GPUs"),
        ({"gpu_type": "h100", "gpus_per_node": 8, "nodes": 3}, "only 2 nodes of partition gpu have 8 h100 GPUs"),
        ({"gpu_type": "h100", "gpus": 17}, "partition gpu has 16 h100 GPUs in all, not 17"),
        ({"mem": "2T"}, "2048G of memory on a node is above what any node of partition gpu has (1006G)"),
        ({"mem_per_gpu": "200G", "gpus_per_node": 8}, "1600G of memory"),
        ({"cpus_per_task": 65}, "has 65 CPUs (the most is 64)"),
        ({"working_directory": "/no/such/directory"}, "no directory /no/such/directory on this machine"),
        ({"mail_user": "root"}, "no mail will be sent"),
    ],
)
def test_notes_before_the_submission(looking: Bench, asked: dict[str, Any], note: str) -> None:
    plan = looking.plan("submit_job", command="true", **asked)
    assert any(note in said for said in plan.notes), plan.notes


@pytest.mark.parametrize(
    "asked",
    [
        {"partition": "h100", "time_limit": "1:00:00", "gpus_per_node": 8, "nodes": 2, "gpu_type": "h100"},
        {"partition": "debug,long", "time_limit": "3-00:00:00", "mem": "900G", "cpus_per_task": 64},
        {"partition": "mig", "time_limit": "60", "gpu_type": "a100_3g.20gb", "gpus": 4},
    ],
)
def test_nothing_is_said_of_what_fits(bench: Bench, asked: dict[str, Any]) -> None:
    assert all("asks for up to" in note for note in bench.plan("submit_job", command="true", **asked).notes)


def test_how_much_is_asked_for(bench: Bench) -> None:
    sweep = bench.plan("submit_job", command="true", array="0-9%2", nodes=2, gpus_per_node=4, time_limit="6:00:00")
    assert (sweep.blast.jobs, sweep.blast.tasks, sweep.blast.nodes, sweep.blast.node_hours) == (1, 10, 2, 120.0)
    assert sweep.before["hours"] == {"node_hours": 120.0, "gpu_hours": 480.0} and sweep.blast.users == (bench.user,)
    total = bench.plan("submit_job", command="true", gpus=12, gpu_type="h100", time_limit="1:00:00")
    assert (total.blast.nodes, total.before["hours"]["gpu_hours"]) == (2, 12.0)


def test_a_dependency_that_can_never_be_satisfied(bench: Bench) -> None:
    failed = bench.submit(command="exit 3")
    bench.wait(failed, "FAILED")
    plan = bench.plan("submit_job", command="true", dependency=f"afterok:{failed}")
    assert f"{failed} ended FAILED: afterok can never be satisfied" in plan.notes
    assert bench.plan("submit_job", command="true", dependency="afterok:$1").operations  # a job that is yet to come


def test_a_test_changes_nothing_and_answers(bench: Bench) -> None:
    arguments = {"command": "true", "nodes": 2, "gpus_per_node": 8, "gpu_type": "h100", "test_only": True}
    plan, seen = bench.do("submit_job", **arguments)
    assert plan.operations == () and plan.skipped == () and bench.backend.queue(JobQuery()) == []
    assert plan.before["estimate"]["nodes"] == seen["estimate"]["nodes"] == "gpu-node[03-04]"
    assert plan.before["estimate"]["start_time"]
    with pytest.raises(SlurmError, match="node configuration is not available"):
        bench.plan("submit_job", **{**arguments, "gpus_per_node": 9})


COUNTS = st.fixed_dictionaries(
    {"time_limit": st.sampled_from(["00:10:00", "06:00:00", "1-12:00:00"])},
    optional={
        "nodes": st.integers(1, 2),
        "ntasks_per_node": st.integers(1, 4),
        "cpus_per_task": st.integers(1, 8),
        "account": st.sampled_from(["ml-research", "vision", "physics"]),
        "qos": st.sampled_from(["normal", "ai-train"]),
        "partition": st.sampled_from(["gpu", "long", "h100"]),
        "mem": st.sampled_from(["4G", "1500M", "900G"]),
        "constraint": st.sampled_from(["nvlink", "ib&nvlink", "a100|h100"]),
        "exclusive": st.just(True),
        "licenses": st.sampled_from(["matlab:1", "ansys:2"]),
        "job_name": st.sampled_from(["x", "bert-large", "αβ"]),
        "array": st.sampled_from(["0-3", "1-9:2%2", "5"]),
        "exclude": st.sampled_from(["gpu-node01", "gpu-node[01-02]"]),
        "requeue": st.booleans(),
        "comment": st.sampled_from(["two words", "a,b;c"]),
    },
)
GPUS = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"gpus_per_node": st.integers(1, 8)}),
    st.fixed_dictionaries({"gpus_per_node": st.integers(1, 8), "gpu_type": st.just("h100")}),
    st.fixed_dictionaries({"gpus": st.integers(2, 8), "gpu_type": st.just("h100")}),
)


@given(counts=COUNTS, gpus=GPUS)
@settings(
    max_examples=30, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
def test_what_was_asked_is_what_slurm_has(bench: Bench, counts: dict[str, Any], gpus: dict[str, Any]) -> None:
    asked = {**counts, **gpus}
    try:
        plan, seen = bench.do("submit_job", command="true", begin="now+1hour", output="/dev/null", **asked)
    except SlurmError as error:
        raise AssertionError(f"{asked}: {error.message}") from error
    assert not any("refuse" in note or "forever" in note for note in plan.notes)
    job = bench.job(seen["jobs"][0]["job_id"].partition("_")[0])
    tasks = asked.get("ntasks_per_node", 1) * asked.get("nodes", 1)
    gpu_count = gpus.get("gpus") or gpus.get("gpus_per_node", 0) * asked.get("nodes", 1)
    said = {
        "time_limit": read_seconds(asked["time_limit"]), "nodes": asked.get("nodes", 1),
        "account": asked.get("account", "ml-research"), "qos": asked.get("qos", "normal"),
        "partition": asked.get("partition", "gpu"), "constraint": asked.get("constraint", ""),
        "exclusive": asked.get("exclusive", False), "licenses": asked.get("licenses", ""),
        "name": asked.get("job_name", "true"), "gpus": gpu_count,
        "gpu_type": gpus.get("gpu_type", ""), "comment": asked.get("comment", ""),
    }  # fmt: skip
    assert {name: getattr(job, name) for name in said} == said
    assert job.raw["CPUs/Task"] == str(asked.get("cpus_per_task", 1)) and job.raw["NumTasks"] == str(tasks)
    assert job.raw["Requeue"] == str(int(asked.get("requeue", True)))
    assert job.raw["ExcNodeList"] == asked.get("exclude", "(null)")
    if "mem" in asked:
        assert job.mem_mb == {"4G": 4096, "1500M": 1500, "900G": 921600}[asked["mem"]]
    if "array" in asked:
        said_tasks, said_most = job.raw["ArrayTaskId"], job.raw.get("ArrayTaskThrottle", "")
        assert task_numbers(f"1_[{said_tasks}]") == task_numbers(f"1_[{asked['array']}]")
        assert said_most == asked["array"].partition("%")[2]


def test_every_example_of_the_write_tools_is_valid() -> None:
    for name in ("submit_job", "cancel_jobs", "control_jobs", "resize_job", "update_job", "drain_node", "resume_node"):
        tool = BY_NAME[name]
        assert 2 <= len(tool.examples) <= 4
        for words, arguments in tool.examples:
            assert words and tool.Arguments.model_validate(arguments).given() == arguments, name
