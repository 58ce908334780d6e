"""The contract of every backend through slurmrestd, whatever version of its API this machine's Slurm serves.

``scripts/generations test`` collects it on each generation; the suite itself has test_rest_backend.py for v0.0.38.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import test_backend_contract as contract
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
    test_what_is_no_job_id_never_reaches_slurm,
    test_what_no_node_has_is_refused,
    test_when_a_pending_job_would_start,
)
from tests.test_rest_backend import client_of
from tools.slurm.backend import Operation
from tools.slurm.errors import InvalidRequest, UnknownJob
from tools.slurm.rest import RestBackend
from tools.slurm.rest.versions import Api
from tools.slurm.sandbox import Sandbox


@pytest.fixture
def cluster(clean_sandbox: Sandbox, tmp_path: Path) -> Cluster:
    return Cluster(RestBackend(client_of(clean_sandbox)), 15.0, str(tmp_path))


def api_of(cluster: Cluster) -> Api:
    assert isinstance(cluster.backend, RestBackend)
    return cluster.backend.client.api()


def test_what_no_version_has_is_said(cluster: Cluster) -> None:
    job_id = cluster.submit(begin="now+1day")
    for verb in ("requeue", "suspend", "resume"):
        assert cluster.refused(verb, job_id).code == "not_in_api", verb
    with pytest.raises(InvalidRequest, match="--backend cli"):
        cluster.backend.test_submit({"command": "true"})


def test_hold_and_release(cluster: Cluster) -> None:
    held = cluster.submit(begin="now+1day")
    cluster.backend.perform(Operation("hold", held))
    assert cluster.backend.job(held)[0].reason.startswith("JobHeld")
    cluster.backend.perform(Operation("release", held))
    assert not cluster.backend.job(held)[0].reason.startswith("JobHeld")
    assert isinstance(cluster.refused("hold", "999999"), UnknownJob)


def test_a_pending_job_is_updated(cluster: Cluster) -> None:
    if "job_name" in api_of(cluster).updates:
        contract.test_a_pending_job_is_updated(cluster)
    else:
        job_id = cluster.submit(begin="now+1day")
        assert cluster.refused("update_job", job_id, job_name="new").code == "not_in_api"
        cluster.backend.perform(Operation("update_job", job_id, {"partition": "long", "nice": 50}))
        [job] = cluster.backend.job(job_id)
        assert (job.partition, job.nice) == ("long", 50)


def test_nodes_are_drained_and_resumed(cluster: Cluster) -> None:
    if api_of(cluster).node_update:
        contract.test_nodes_are_drained_and_resumed(cluster)
    else:
        assert cluster.refused("update_node", "gpu-node01", state="drain", reason="x").code == "not_in_api"
