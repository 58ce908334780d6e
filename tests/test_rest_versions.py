"""The typed versions of the API (23.02 on), in the shapes of Slurm's own parser tables; v0.0.38 runs for real."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from tests.rest_server import Scripted, openapi, serving
from tools.slurm.backend import Operation
from tools.slurm.errors import InvalidRequest
from tools.slurm.models import UNLIMITED, Gpus, JobQuery
from tools.slurm.rest import RestBackend
from tools.slurm.rest import values as v
from tools.slurm.rest.client import Client
from tools.slurm.rest.credentials import Credentials
from tools.slurm.rest.versions import APIS, BY_VERSION

START = 1_795_260_000


def number(value: int) -> dict[str, Any]:
    return {"set": True, "infinite": False, "number": value}


NOTHING = {"set": False, "infinite": False, "number": 0}
ENDLESS = {"set": False, "infinite": True, "number": 0}
META = {"slurm": {"version": {"major": "24", "minor": "11", "micro": "5"}, "release": "24.11.5", "cluster": "alpha"}}
JOB = {
    "job_id": 671, "name": "train", "user_name": "ann", "user_id": 1000, "account": "vision", "partition": "h100",
    "qos": "ai-train", "job_state": ["RUNNING", "COMPLETING"], "state_reason": "None", "state_description": "",
    "array_job_id": number(670), "array_task_id": number(4), "array_task_string": "", "array_max_tasks": number(3),
    "node_count": number(2), "max_nodes": number(0), "nodes": "n[1-2]", "cpus": number(16), "tasks": number(2),
    "time_limit": ENDLESS, "submit_time": number(START - 50), "start_time": number(START), "end_time": number(0),
    "eligible_time": number(START - 50), "priority": number(90), "nice": 0, "memory_per_node": number(65536),
    "memory_per_cpu": NOTHING, "batch_flag": True, "standard_output": "/home/ann/o.txt", "standard_error": "",
    "current_working_directory": "/home/ann", "shared": ["none"], "requeue": True, "features": "nvlink",
    "tres_req_str": "cpu=16,mem=128G,node=2", "tres_alloc_str": "cpu=16,mem=128G,node=2,gres/gpu:h100=4",
    "tres_per_node": "gres/gpu:h100:2", "comment": "c", "restart_cnt": 1, "suspend_time": number(0),
    "pre_sus_time": number(0), "het_job_id": number(0), "exit_code": {
        "status": ["SUCCESS"], "return_code": number(0), "signal": {"id": NOTHING, "name": ""}},
}  # fmt: skip
PAST = {
    "job_id": 49, "name": "old", "user": "ann", "account": "vision", "partition": "h100", "qos": "ai-train",
    "array": {"job_id": 0, "task_id": NOTHING, "task": "", "limits": {"max": {"running": {"tasks": 0}}}},
    "het": {"job_id": 0, "job_offset": NOTHING}, "state": {"current": ["CANCELLED"], "reason": "None"},
    "kill_request_user": "bob", "allocation_nodes": 1, "nodes": "n1", "required": {"CPUs": 8},
    "time": {"elapsed": 314, "eligible": START, "submission": START, "start": START, "end": START + 314, "suspended": 0,
             "limit": number(120)},
    "priority": number(1), "comment": {"job": "sask:k.1"}, "constraints": "", "working_directory": "/w",
    "exit_code": {"status": ["ERROR"], "return_code": number(3), "signal": {"id": NOTHING, "name": ""}},
    "tres": {"allocated": [{"type": "cpu", "name": "", "id": 1, "count": 8},
                           {"type": "energy", "name": "", "id": 3, "count": -2},
                           {"type": "gres", "name": "gpu:h100", "id": 9, "count": 2}], "requested": []},
    "reservation": {"id": 0, "name": ""}, "submit_line": "sbatch a.sh", "script": "#!/bin/sh\n", "stdout": "/w/o",
    "steps": [{"step": {"id": "49.batch", "name": "batch"}, "state": ["CANCELLED"], "nodes": {"range": "n1"},
               "time": {"elapsed": 314, "total": {"seconds": 3, "microseconds": 500000}},
               "exit_code": {"status": ["SIGNALED"], "return_code": NOTHING, "signal": {"id": number(15)}},
               "tres": {"allocated": [{"type": "cpu", "name": "", "count": 8}],
                        "requested": {"max": [{"type": "mem", "name": "", "count": 2097152}]}}}],
}  # fmt: skip
NODE = {
    "name": "n1", "state": ["MIXED", "DRAIN"], "cpus": 64, "alloc_cpus": 58, "real_memory": 131072, "cpu_load": 229,
    "alloc_memory": 29696, "gres": "gpu:h100:8(S:0-1)", "gres_used": "gpu:h100:2(IDX:0-1)", "features": ["h100", "ib"],
    "active_features": ["h100", "ib"], "partitions": ["h100", "gpu"], "reason": "Xid 79", "reason_set_by_user": "root",
    "reason_changed_at": number(START), "boot_time": number(START), "version": "24.11.5", "free_mem": number(469),
}  # fmt: skip
PARTITION = {
    "name": "h100", "nodes": {"configured": "n[1-4]", "total": 4}, "cpus": {"total": 256},
    "qos": {"assigned": "", "allowed": "a,b"},
    "accounts": {"allowed": ""}, "maximums": {"time": ENDLESS, "nodes": number(2)}, "defaults": {"time": number(60)},
    "partition": {"state": ["DRAIN"]},
}  # fmt: skip
QOS = {
    "name": "q", "priority": number(7),
    "limits": {
        "max": {"wall_clock": {"per": {"job": number(240)}}, "jobs": {"active_jobs": {"per": {"user": number(2)}}}},
    },
}  # fmt: skip
USER = {"name": "ann", "administrator_level": ["Operator"], "coordinators": [{"name": "vision", "direct": True}]}


@pytest.fixture
def server() -> Iterator[Scripted]:
    with serving(Scripted({"GET /openapi/v3": openapi("slurm/v0.0.42", "slurmdb/v0.0.42")})) as scripted:
        for path, key, row in (
            ("slurm/v0.0.42/jobs", "jobs", JOB),
            ("slurm/v0.0.42/nodes", "nodes", NODE),
            ("slurm/v0.0.42/partitions", "partitions", PARTITION),
            ("slurmdb/v0.0.42/jobs", "jobs", PAST),
            ("slurmdb/v0.0.42/job/49", "jobs", PAST),
            ("slurmdb/v0.0.42/user/ann", "users", USER),
        ):
            scripted.routes[f"GET /{path}"] = {key: [row], "errors": [], "warnings": [], "meta": META}
        scripted.routes["GET /slurm/v0.0.42/ping"] = {"pings": [], "meta": META}
        scripted.routes["GET /slurmdb/v0.0.42/qos"] = {"qos": [QOS]}
        yield scripted


@pytest.fixture
def rest(server: Scripted) -> RestBackend:
    return RestBackend(Client(server.url, Credentials("ann", environment={})))


def test_a_job(rest: RestBackend) -> None:
    [job] = rest.queue(JobQuery())
    assert (job.id, job.user, job.state, job.nodes, job.cpus, job.gpus) == ("670_4", "ann", "COMPLETING", 2, 16, 4)
    assert (job.gpu_type, job.mem_mb, job.time_limit, job.exclusive) == ("h100", 65536, UNLIMITED, True)
    assert (job.stdout, job.stderr, job.exit_code) == ("/home/ann/o.txt", "/home/ann/o.txt", "0:0")
    assert (job.start_time, job.end_time) == (datetime.fromtimestamp(START), None)
    assert (job.raw["JobId"], job.raw["ArrayTaskThrottle"], job.raw["MinMemoryNode"]) == ("671", "3", "65536M")
    assert rest.queue(JobQuery(states=("PENDING",))) == rest.queue(JobQuery(user="bob")) == []
    assert len(rest.queue(JobQuery(node="n2"))) == 1 and rest.queue(JobQuery(node="n3")) == []


def test_a_past_job(rest: RestBackend, server: Scripted) -> None:
    [job] = rest.history(JobQuery(user="ann", since=datetime.fromtimestamp(START)))
    assert (job.id, job.state, job.raw["State"], job.exit_code) == ("49", "CANCELLED", "CANCELLED by bob", "3:0")
    assert (job.gpus, job.gpu_type, job.cpus, job.time_limit, job.comment) == (2, "h100", 8, 7200, "sask:k.1")
    assert f"start_time={START}&" in server.asked[-1].path and "users=ann" in server.asked[-1].path
    [step] = rest.steps("49")
    assert (step.id, step.exit_code, step.total_cpu, step.max_rss_mb, step.cpus) == ("49.batch", "0:15", 3.5, 2.0, 8)
    kept = rest.submitted("49")
    assert (kept.id, kept.line, kept.script, kept.stdout) == ("49", "sbatch a.sh", "#!/bin/sh\n", "/w/o")
    assert "show_batch_script=true" in server.asked[-1].path
    [row] = rest.usage("user", datetime.fromtimestamp(START + 14), datetime.fromtimestamp(START + 114))
    assert (row.key, row.jobs, round(row.gpu_hours * 3600), round(row.cpu_hours * 3600)) == ("ann", 1, 200, 800)


def test_the_cluster(rest: RestBackend) -> None:
    assert (rest.version(), rest.cluster()) == ((24, 11, 5), "alpha")
    [node] = rest.nodes()
    assert (node.state, node.gpus, node.load, node.features) == (
        "MIXED+DRAIN", (Gpus("h100", 8, 2),), 2.29, ("h100", "ib"))  # fmt: skip
    assert (node.reason, node.reason_user, node.reason_time) == ("Xid 79", "root", datetime.fromtimestamp(START))
    [one] = rest.partitions()
    assert (one.state, one.max_time, one.default_time, one.max_nodes, one.allow_qos) == (
        "DRAIN", UNLIMITED, 3600, 2, ("a", "b"))  # fmt: skip
    [qos] = rest.qos()
    assert (qos.name, qos.priority, qos.max_wall, qos.limits) == ("q", 7, 14400, {"MaxJobsPU": "2"})
    assert (rest.admin_level("ann"), rest.coordinated_accounts("ann")) == ("operator", ("vision",))


def test_a_submission(rest: RestBackend, server: Scripted) -> None:
    server.routes["POST /slurm/v0.0.42/job/submit"] = {"job_id": 9, "errors": [], "error_code": 0}
    fields = {
        "command": "true", "nodes": 2, "gpus_per_node": 8, "gpu_type": "h100", "time_limit": "1-00:00:30", "mem": "64G",
        "cpus_per_gpu": 4, "mem_per_gpu": None, "exclusive": True, "requeue": False, "switches": "1@00:30:00",
        "signal": "B:USR1@120", "mail_type": "END,TIME_LIMIT", "nodelist": "n[1-2]", "exclude": "n9",
        "begin": "2026-11-22T08:00:00", "working_directory": "/w", "environment": {"A": "1,2"}, "constraint": "ib",
    }  # fmt: skip
    assert rest.perform(Operation("submit", "", fields)).id == "9"
    job = server.asked[-1].body["job"]
    assert job.pop("script") == "#!/bin/bash\ntrue\n"
    assert "A=1,2" in job["environment"] and "USER=ann" in job.pop("environment")
    assert job == {
        "name": "true", "nodes": "2", "tasks": 2, "tres_per_node": "gres/gpu:h100:8", "time_limit": number(1441),
        "memory_per_node": number(65536), "cpus_per_tres": "gres/gpu:4", "shared": ["none"], "requeue": False,
        "required_switches": number(1), "wait_for_switch": 1800, "kill_warning_signal": "USR1",
        "kill_warning_delay": number(120), "kill_warning_flags": ["BATCH_JOB"], "mail_type": ["END", "TIME=100%"],
        "required_nodes": "n[1-2]", "excluded_nodes": "n9", "current_working_directory": "/w", "constraints": "ib",
        "begin_time": number(int(datetime(2026, 11, 22, 8).timestamp())),
    }  # fmt: skip


def test_changes(rest: RestBackend, server: Scripted) -> None:
    server.routes["POST /slurm/v0.0.42/job/7"] = {"errors": []}
    fields = {"job_name": "new", "time_limit": "UNLIMITED", "nodes": 1, "mem": "1G", "begin": "now", "nice": 5}
    rest.perform(Operation("update_job", "7", fields))
    body = server.asked[-1].body
    assert abs(body.pop("begin_time")["number"] - datetime.now().timestamp()) < 600
    assert body == {
        "name": "new", "time_limit": {"set": False, "infinite": True, "number": 0}, "minimum_nodes": 1,
        "maximum_nodes": 1, "memory_per_node": number(1024), "nice": 5,
    }  # fmt: skip
    server.routes["POST /slurm/v0.0.42/node/n%5B1-2%5D"] = {"errors": []}
    rest.perform(Operation("update_node", "n[1-2]", {"state": "drain", "reason": "Xid 79"}))
    assert server.asked[-1].body == {"state": ["DRAIN"], "reason": "Xid 79"}
    for operation in (Operation("requeue", "7"), Operation("suspend", "7")):
        with pytest.raises(InvalidRequest, match=r"v0\.0\.42"):
            rest.perform(operation)


def test_a_moment_is_the_same_in_preview_and_request(rest: RestBackend) -> None:
    later = Operation("submit", "", {"command": "true", "begin": "now+2hours"})
    assert rest.render(later) == rest.render(later)
    with pytest.raises(InvalidRequest, match=r"begin 'teatime': write 2026-"):
        rest.render(Operation("submit", "", {"command": "true", "begin": "teatime"}))


def test_every_version_knows_what_it_takes() -> None:
    assert [api.version for api in APIS] == sorted(BY_VERSION, reverse=True)
    assert not any(api.keys.keys() & api.missing for api in APIS)


@pytest.mark.parametrize(
    ("bits", "said"),
    [("0x3FF", "0-9"), ("0x15", "0,2,4"), ("0x249", "0,3,6,9"), ("0x1249", "0-12:3"), ("3-5", "3-5"), ("", "")],
)
def test_the_tasks_of_an_array(bits: str, said: str) -> None:
    assert v.tasks(bits) == said
