"""A cluster in memory with the Backend's own Protocol, for what the real one cannot be made to do on demand.

    fake = FakeSlurm(user="alice")
    fake.fail("perform", SlurmUnreachable("away"), at=2)      # the second perform raises, nothing was done
    fake.lose_answer(at=1)                                    # the first is done, and its answer never comes
    fake.submit_as("bob", command="sleep 1")                  # somebody else's job
    fake.finish("1", "FAILED", "3:0")

tests/test_backend_contract.py holds it to what the real Slurm does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tests.fake_reads import ENDED, PARTITIONS, FakeReads, Fault, tasks, unknown
from tools.slurm.backend import Operation, Receipt
from tools.slurm.cli import change, sbatch
from tools.slurm.cli.runner import shell_text
from tools.slurm.errors import InvalidRequest, OutcomeUnknown, PermissionRefused, SlurmError
from tools.slurm.hostlist import expand, fold
from tools.slurm.models import Job
from tools.slurm.parse.values import array_size, mebibytes, minutes, seconds


@dataclass
class FakeSlurm(FakeReads):
    def fail(self, method: str, error: SlurmError, at: int = 1) -> None:
        self.faults.append(Fault(method, error, at))

    def lose_answer(self, at: int = 1) -> None:
        self.faults.append(Fault("perform", OutcomeUnknown("the answer was lost", code="timeout"), at, done=True))

    def submit_as(self, user: str, **fields: Any) -> str:
        return self._submit(fields, user)

    def finish(self, job_id: str, state: str = "COMPLETED", exit_code: str = "0:0") -> None:
        self.jobs[job_id] = replace(
            self.jobs[job_id], state=state, exit_code=exit_code, end_time=self.now, reason="", start_time=self.now
        )
        self._occupy()

    def start(self, job_id: str, node_list: str = "gpu-node01") -> None:
        self.jobs[job_id] = replace(
            self.jobs[job_id], state="RUNNING", reason="", node_list=node_list, start_time=self.now, elapsed=0
        )
        self._occupy()

    def render(self, operation: Operation) -> list[list[str]]:
        match operation.verb:
            case "submit":
                return [sbatch.submission(operation.fields).command]
            case "cancel":
                return [change.cancel(operation)]
            case "update_job":
                return [change.update_job(operation, self._records)]
            case "update_node":
                return [change.update_node(operation)]
        return [change.control(operation)]

    def script(self, operation: Operation) -> str:
        return sbatch.submission(operation.fields).script if operation.verb == "submit" else ""

    def perform(self, operation: Operation) -> Receipt:
        command = self.render(operation)[0]
        fault = self._asked("perform", shell_text(command, self.script(operation)))
        receipt = self._do(operation)
        self.performed.append(operation)
        if fault:
            raise fault.error
        return receipt

    def _do(self, operation: Operation) -> Receipt:
        if operation.verb == "submit":
            return Receipt(self._submit(operation.fields, self.user))
        if operation.verb == "update_node":
            return self._update_node(operation)
        word = change.job_word(operation.target)
        jobs = [self._split(job, tasks(word) or tasks(job.id)) for job in self._records(word)]
        for job in jobs:
            if job.user != self.user and self.level == "none" and job.account not in self.coordinates:
                raise PermissionRefused(
                    f"{operation.verb} {job.id}: Access/permission denied", code="ESLURM_ACCESS_DENIED"
                )
        changes: dict[str, Callable[[Job], Job]] = {
            "cancel": lambda job: self._cancelled(job, operation.fields),
            "hold": lambda job: replace(job, priority=0, reason="JobHeldUser"),
            "release": lambda job: replace(job, priority=1000, reason="Priority"),
            "requeue": _requeued,
            "suspend": lambda job: replace(_needs(job, "RUNNING"), state="SUSPENDED"),
            "resume": lambda job: replace(_needs(job, "SUSPENDED"), state="RUNNING"),
            "update_job": lambda job: _updated(job, operation.fields),
        }
        for changed in [changes[operation.verb](job) for job in jobs]:
            self.jobs[changed.id] = changed
        self._occupy()
        return Receipt(operation.target)

    def _split(self, job: Job, wanted: set[int]) -> Job:
        """Some of an array's tasks on their own, as Slurm has them once something happens to them alone."""
        mine = tasks(job.id) & wanted
        left = tasks(job.id) - wanted
        if not left:
            return job
        base = job.id.partition("_")[0]
        del self.jobs[job.id]
        for numbers in (left, mine):
            spec = fold(f"t{number}" for number in numbers).removeprefix("t")
            part = replace(job, id=f"{base}_{spec}" if len(numbers) == 1 else f"{base}_[{spec.strip('[]')}]")
            self.jobs[part.id] = replace(part, array_size=len(numbers))
        return self.jobs[part.id]

    def _cancelled(self, job: Job, fields: dict[str, Any]) -> Job:
        if fields.get("state") and job.state != fields["state"]:
            raise InvalidRequest(f"{job.id} is {job.state}, not {fields['state']}", code="state_changed")
        if job.state in ENDED:
            raise InvalidRequest(f"{job.id}: Job/step already completing or completed", code="ESLURM_ALREADY_DONE")
        if fields.get("signal"):
            return _needs(job, "RUNNING")
        return replace(job, state="CANCELLED", end_time=self.now, reason="")

    def _submit(self, fields: dict[str, Any], user: str) -> str:
        self._check_submit(fields)
        job_id = str(self.next_id)
        self.next_id += 1
        nodes = fields.get("nodes") or 1
        gpus = fields.get("gpus") or nodes * (fields.get("gpus_per_node") or 0) or int(bool(fields.get("gpu_type")))
        limit = str(fields.get("time_limit") or "1:00:00")
        word = f"{job_id}_[{fields['array']}]" if fields.get("array") else job_id
        job = Job(
            word, fields.get("job_name") or "job", user, fields.get("account") or "ml-research",
            fields.get("partition") or "gpu", fields.get("qos") or "normal", "PENDING", "Priority", nodes, "",
            nodes * (fields.get("cpus_per_task") or 1), gpus, fields.get("gpu_type") or "",
            int(mebibytes(fields["mem"]) or 0) if fields.get("mem") else 4000,
            minutes(limit) if limit.isdigit() else seconds(limit), 0, self.now, self.now, priority=1000, nice=0,
            dependency=fields.get("dependency") or "", array_size=array_size(fields.get("array") or ""),
            exit_code="0:0", working_directory=fields.get("working_directory") or ".",
            comment=fields.get("comment") or "", constraint=fields.get("constraint") or "",
            licenses=fields.get("licenses") or "", exclusive=bool(fields.get("exclusive")),
        )  # fmt: skip
        self.jobs[word] = job
        self._schedule(job, fields)
        return job_id

    def _schedule(self, job: Job, fields: dict[str, Any]) -> None:
        if fields.get("begin") or job.dependency or job.array_size > 1:
            return
        share = -(-job.gpus // job.nodes)
        free = [
            node.name
            for node in self.cluster_nodes.values()
            if job.partition in node.partitions
            and "DRAIN" not in node.state
            and (not job.gpu_type or node.gpus[0].type == job.gpu_type)
            and node.gpus[0].total - node.gpus[0].used >= share
        ]
        if len(free) >= job.nodes:
            self.start(job.id, fold(free[: job.nodes]))
        else:
            self.jobs[job.id] = replace(job, reason="Resources")

    def _occupy(self) -> None:
        used = dict.fromkeys(self.cluster_nodes, 0)
        for job in self.jobs.values():
            if job.state == "RUNNING":
                for name in expand(job.node_list):
                    used[name] += -(-job.gpus // job.nodes)
        for name, node in self.cluster_nodes.items():
            drain = "+DRAIN" if "DRAIN" in node.state else ""
            state = ("MIXED" if used[name] else "IDLE") + drain
            self.cluster_nodes[name] = replace(node, state=state, gpus=(replace(node.gpus[0], used=used[name]),))

    def _update_node(self, operation: Operation) -> Receipt:
        for name in expand(operation.target):
            if name not in self.cluster_nodes:
                raise unknown("node", name, self.cluster_nodes, "ESLURM_INVALID_NODE_NAME")
            if self.level == "none" and self.user != "root":
                raise PermissionRefused("Invalid user id", code="ESLURM_USER_ID_MISSING")
            node, drain = self.cluster_nodes[name], operation.fields["state"] == "drain"
            base = node.state.partition("+")[0]
            self.cluster_nodes[name] = replace(
                node, state=base + "+DRAIN" * drain, reason=str(operation.fields.get("reason", "")) if drain else ""
            )
        return Receipt(operation.target)


def _needs(job: Job, state: str) -> Job:
    if job.state != state:
        raise InvalidRequest(f"{job.id} is {job.state}, not {state}", code=f"ESLURM_JOB_NOT_{state}")
    return job


def _requeued(job: Job) -> Job:
    if job.state == "PENDING":
        raise InvalidRequest(f"{job.id}: Job is pending execution", code="ESLURM_JOB_PENDING")
    return replace(job, state="PENDING", restarts=job.restarts + 1, node_list="", start_time=None)


def _updated(job: Job, fields: dict[str, Any]) -> Job:
    plain = {"partition", "qos", "account", "nice", "dependency", "constraint", "nodes", "gpus"}
    changes: dict[str, Any] = {name: value for name, value in fields.items() if name in plain}
    if fields.get("partition") and fields["partition"] not in PARTITIONS:
        raise unknown("partition", fields["partition"], PARTITIONS, "ESLURM_INVALID_PARTITION_NAME")
    if job.state in ENDED:
        raise InvalidRequest(f"{job.id}: Job has already finished", code="ESLURM_ALREADY_DONE")
    if "job_name" in fields:
        changes["name"] = fields["job_name"]
    if "time_limit" in fields:
        limit = str(fields["time_limit"])
        changes["time_limit"] = minutes(limit) if limit.isdigit() else seconds(limit)
    if "mem" in fields:
        changes["mem_mb"] = int(mebibytes(fields["mem"]) or 0)
    return replace(job, **changes)
