"""The slurmrestd backend on the real Slurm: the contract of every backend, and what its API version cannot do."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import fields as fields_of
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests import world
from tests.contract import Cluster
from tests.test_backend_contract import (  # noqa: F401  (collected here, with the fixture below)
    test_a_job_is_found_by_its_key,
    test_a_job_is_what_was_asked,
    test_a_running_job_says_where,
    test_a_script_that_is_not_there,
    test_a_signal_reaches_only_running_jobs,
    test_an_unknown_name_comes_with_the_valid_ones,
    test_cancel_only_in_the_state_it_was_seen_in,
    test_cancel_says_what_it_found,
    test_history_and_usage,
    test_one_task_of_an_array,
    test_some_tasks_of_an_array,
    test_the_cluster_itself,
    test_the_queue_is_filtered,
    test_unknown_jobs,
    test_what_no_node_has_is_refused,
    test_when_a_pending_job_would_start,
)
from tests.test_cli_backend import ASKED, GPUS, MEMORY
from tools.slurm.backend import Operation
from tools.slurm.cli import CliBackend
from tools.slurm.cli.runner import shell_text
from tools.slurm.errors import InvalidRequest, PermissionRefused, SlurmUnreachable, UnknownJob, UnknownName
from tools.slurm.models import Job, JobQuery
from tools.slurm.rest import RestBackend
from tools.slurm.rest.client import Client
from tools.slurm.rest.credentials import Credentials
from tools.slurm.sandbox import Sandbox

# What differs between any two jobs.
VOLATILE = {
    "JobId", "ArrayJobId", "SubmitTime", "EligibleTime", "StartTime", "EndTime", "LastSchedEval", "Priority",
    "AllocNode:Sid", "StdOut", "StdErr", "AccrueTime", "Reason", "Scheduler",
}  # fmt: skip


def client_of(box: Sandbox, **more: Any) -> Client:
    told = box.env()
    token = {"SLURM_JWT": told["SLURMRESTD_TOKEN"]}
    return Client(told["SLURMRESTD_URL"], Credentials(environment=token, **more))


@pytest.fixture
def cluster(clean_sandbox: Sandbox, tmp_path: Path) -> Cluster:
    return Cluster(RestBackend(client_of(clean_sandbox)), 15.0, str(tmp_path))


def asked(count: int) -> Iterator[dict[str, Any]]:
    """Seeded mixtures of options that one job may have together, among those that v0.0.38 has a word for."""
    chance = random.Random(38)
    options = {name: values for name, (values, _) in ASKED.items() if name != "switches"}
    for _ in range(count):
        fields: dict[str, Any] = {name: chance.choice(options[name]) for name in chance.sample(sorted(options), 6)}
        gpus, _said = chance.choice(GPUS)
        memory, _said = chance.choice(MEMORY[:1] if "mem_per_gpu" in gpus else MEMORY)
        if "cpus_per_gpu" not in gpus:
            fields["cpus_per_task"] = chance.choice((1, 4))
        yield {"job_name": "same", **fields, **gpus, **memory}


def test_a_submission_is_what_sbatch_would_have_made(cluster: Cluster) -> None:
    """Field by field as scontrol shows both jobs, apart from who asked and when."""
    sbatch = Cluster(CliBackend(), cluster.patience, cluster.directory)
    for fields in asked(12):
        ids = [one.submit(**fields, begin="now+1day") for one in (cluster, sbatch)]
        ours, theirs = (sbatch.backend.job(job_id)[0].raw for job_id in ids)
        keys = {*ours, *theirs} - VOLATILE
        assert {key: ours.get(key) for key in keys} == {key: theirs.get(key) for key in keys}, fields


def test_a_script_runs_with_what_it_was_given(cluster: Cluster, tmp_path: Path) -> None:
    """Its environment is what was given and who it is, never this process's own."""
    script = tmp_path / "show.sh"
    script.write_text('#!/bin/bash\nprintf "%s|" "$A" "$HOME" "$USER" "${PYTEST_CURRENT_TEST:-none}"\n')
    job_id = cluster.submit(script=str(script), environment={"A": 'it\'s, "x"\n'}, output="out.txt")
    cluster.until(job_id, lambda job: job.state == "COMPLETED")
    assert (tmp_path / "out.txt").read_text() == 'it\'s, "x"\n|/root|root|none|'
    assert cluster.backend.job(job_id)[0].name == "show.sh"


def test_lines_that_slurmrestd_would_pass_over_are_refused(cluster: Cluster) -> None:
    error = cluster.refused("submit", script="#!/bin/bash\n# a comment\n\n#SBATCH --nodes=2\ntrue\n")
    assert error.code == "not_in_api" and "#SBATCH --nodes=2" in error.message and "--backend cli" in error.message
    assert cluster.submit(script="#!/bin/bash\ntrue\n#SBATCH --nodes=2\n")


@pytest.mark.parametrize("target", ["-1", "", "1;2", "1 2", "all", "1_[", "../jobs"])
def test_what_is_no_job_id_never_reaches_slurm(target: str) -> None:
    nowhere = Cluster(RestBackend(Client("http://127.0.0.1:9")), 0.0, "/")
    for verb in ("cancel", "hold", "update_job", "requeue"):
        assert nowhere.refused(verb, target, job_name="x").code == "bad_job_id"
    assert nowhere.backend.commands() == []


BEYOND: tuple[tuple[str, str, dict[str, Any], str], ...] = (
    ("requeue", "1", {}, "requeue"),
    ("suspend", "1", {}, "suspend"),
    ("resume", "1", {}, "resume"),
    ("update_job", "1", {"job_name": "new"}, "job_name"),
    ("update_node", "gpu-node01", {"state": "drain", "reason": "x"}, "node"),
    ("submit", "", {"command": "true", "switches": "1"}, "switches"),
    ("submit", "", {"command": "true", "signal": "B:USR1@60"}, "B:"),
    ("submit", "", {"command": "true", "test_only": True}, "test_only"),
)


def test_what_the_api_has_not_is_said(cluster: Cluster) -> None:
    for verb, target, fields, what in BEYOND:
        error = cluster.refused(verb, target, **fields)
        assert (type(error), error.code, error.transient) == (InvalidRequest, "not_in_api", False), verb
        assert "v0.0.38" in error.message and what in error.message, verb
    with pytest.raises(InvalidRequest, match="--backend cli"):
        cluster.backend.test_submit({"command": "true"})
    assert cluster.backend.queue(JobQuery()) == []


def test_hold_and_release(cluster: Cluster) -> None:
    for options in ({}, {"array": "0-4"}):
        held = cluster.submit(begin="now+1day", **options)
        cluster.backend.perform(Operation("hold", held))
        assert all(job.reason.startswith("JobHeld") for job in cluster.backend.job(held))
        cluster.backend.perform(Operation("release", held))
        assert not any(job.reason.startswith("JobHeld") for job in cluster.backend.job(held))
    assert isinstance(cluster.refused("hold", "999999"), UnknownJob)


def test_a_pending_job_is_updated(cluster: Cluster) -> None:
    first = cluster.submit(begin="now+1day")
    job_id = cluster.submit(nodes=2, begin="now+1day", gpus_per_node=2)
    fields = {
        "partition": "long", "qos": "ai-train", "account": "physics", "nice": 50, "dependency": f"afterany:{first}",
        "constraint": "a100", "mem": "20G", "time_limit": "3-00:00:00", "gpus": 8, "comment": "c d",
        "begin": "now+2days",
    }  # fmt: skip
    assert fields.keys() | {"nodes"} == client_of_backend(cluster).api().updates
    cluster.backend.perform(Operation("update_job", job_id, fields))
    [job] = cluster.backend.job(job_id)
    assert (job.partition, job.qos, job.account, job.nice) == ("long", "ai-train", "physics", 50)
    assert (job.constraint, job.mem_mb, job.time_limit, job.comment) == ("a100", 20480, 259200, "c d")
    assert job.gpus == 8 and first in job.dependency
    assert job.eligible_time and job.eligible_time > datetime.now() + timedelta(days=1)
    cluster.backend.perform(Operation("update_job", job_id, {"dependency": "", "nodes": 1}))
    [job] = cluster.backend.job(job_id)
    assert (job.dependency, job.nodes) == ("", 1)
    assert isinstance(cluster.refused("update_job", job_id, partition="nope"), UnknownName)
    assert isinstance(cluster.refused("update_job", job_id, colour="red"), InvalidRequest)
    typed = cluster.submit(begin="now+1day", gpus=2, gpu_type="h100")
    cluster.backend.perform(Operation("update_job", typed, {"gpus": 4}))
    assert (cluster.backend.job(typed)[0].gpus, cluster.backend.job(typed)[0].gpu_type) == (4, "h100")


def test_a_running_job_gets_another_time_limit(cluster: Cluster) -> None:
    job_id = cluster.submit()
    cluster.until(job_id, lambda job: job.state == "RUNNING")
    cluster.backend.perform(Operation("update_job", job_id, {"time_limit": "00:30:00"}))
    assert cluster.backend.job(job_id)[0].time_limit == 1800


def test_what_is_rendered_is_what_runs(cluster: Cluster) -> None:
    backend = cluster.backend
    operation = Operation("submit", "", {"command": "python train.py --lr '1e-4'", "begin": "now+1day"})
    [command] = backend.render(operation)
    assert command[0] == "curl" and "/slurm/v0.0.38/job/submit" in command[-1]
    job_id = backend.perform(operation).id
    assert shell_text(command, backend.script(operation)) in backend.commands()
    assert "python train.py --lr '1e-4'\n" in backend.script(operation)
    [hold] = backend.render(Operation("hold", job_id))
    assert hold[3:5] == ["--json", '{"hold": true}'] and hold[-1].endswith(f"/job/{job_id}")
    secret = client_of_backend(cluster).credentials.token()
    assert len(secret) > 40 and not any(secret in text for text in backend.commands())


def client_of_backend(cluster: Cluster) -> Client:
    assert isinstance(cluster.backend, RestBackend)
    return cluster.backend.client


def test_both_backends_read_the_same(cluster: Cluster, tmp_path: Path) -> None:
    rest, cli = cluster.backend, CliBackend()
    ids = world.make(rest, str(tmp_path))
    for name in ids.keys() - {"forged"}:
        assert settled(rest.job(ids[name])) == settled(cli.job(ids[name])), name
    assert rest.job(ids["forged"])[0].name == world.FORGED and rest.job(ids["forged"])[0].user == "root"
    both = [one.queue(JobQuery(ids=tuple(ids.values()), states=("all",))) for one in (rest, cli)]
    assert settled(both[0], in_list=True) == settled(both[1], in_list=True)
    past = JobQuery(ids=tuple(ids.values()))
    assert settled(rest.history(past), in_list=True) == settled(cli.history(past), in_list=True)
    assert [replace(node, load=None) for node in rest.nodes()] == [replace(node, load=None) for node in cli.nodes()]
    assert rest.partitions() == cli.partitions()
    assert (rest.qos(), rest.licenses(), rest.version()) == (cli.qos(), cli.licenses(), cli.version())
    assert sorted(rest.associations("daemon"), key=str) == sorted(cli.associations("daemon"), key=str)
    assert sorted(rest.associations(account="vision"), key=str) == sorted(cli.associations(account="vision"), key=str)
    start, end = datetime.now() - timedelta(hours=1), datetime.now() - timedelta(seconds=1)
    for group in ("user", "account", "partition"):
        assert rest.usage(group, start, end) == cli.usage(group, start, end)


def settled(jobs: list[Job], *, in_list: bool = False) -> dict[str, dict[str, Any]]:
    """All that must be alike: a clock goes on, squeue gives no files, v0.0.38 no exit codes of accounting's."""
    moving = {"raw", "elapsed"} | ({"stdout", "stderr", "exclusive", "exit_code", "cpus"} if in_list else set())
    return {
        job.id: {one.name: getattr(job, one.name) for one in fields_of(job) if one.name not in moving} for job in jobs
    }


def test_exit_codes_of_accounting_are_not_made_up(cluster: Cluster) -> None:
    """v0.0.38 says 0 of every job that ended by itself; a signal it does tell."""
    failed, killed = cluster.submit(command="exit 3"), cluster.submit(command="kill -9 $$")
    for job_id in (failed, killed):
        cluster.until(job_id, lambda job: job.state == "FAILED")
    past = JobQuery(ids=(failed, killed))
    cluster.eventually(lambda: [job.state for job in cluster.backend.history(past)] == ["FAILED", "FAILED"])
    assert {job.id: job.exit_code for job in cluster.backend.history(past)} == {failed: "", killed: "0:9"}
    assert cluster.backend.job(failed)[0].exit_code == "3:0"


def test_nobody_touches_what_is_not_theirs(cluster: Cluster, clean_sandbox: Sandbox) -> None:
    """The name beside root's token is another's, and slurmctld goes by that."""
    job_id = cluster.submit(begin="now+1day")
    other = Cluster(RestBackend(client_of(clean_sandbox, user="daemon")), 0.0, "/")
    for verb in ("cancel", "hold"):
        assert isinstance(other.refused(verb, job_id), PermissionRefused), verb
    assert cluster.backend.job(job_id)[0].state == "PENDING"


def test_the_controller_away(cluster: Cluster, clean_sandbox: Sandbox) -> None:
    cluster.backend.version()
    clean_sandbox.stop_controller()
    try:
        with pytest.raises(SlurmUnreachable) as caught:
            cluster.backend.queue(JobQuery())
        error = cluster.refused("submit", command="true")
        assert cluster.backend.qos()  # accounting goes on
    finally:
        clean_sandbox.start_controller()
    for one in (caught.value, error):
        assert isinstance(one, SlurmUnreachable) and one.transient
        assert "/slurm/v0.0.38/" in one.message and "scontrol ping" in one.message


def test_a_token_that_slurm_refuses(cluster: Cluster, clean_sandbox: Sandbox) -> None:
    url = clean_sandbox.env()["SLURMRESTD_URL"]
    for token in ("", "a.b.c"):
        backend = RestBackend(Client(url, Credentials(environment={"SLURM_JWT": token})))
        with pytest.raises(SlurmUnreachable, match="scontrol token"):
            backend.queue(JobQuery())
