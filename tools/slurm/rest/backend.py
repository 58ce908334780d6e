"""The slurmrestd backend: every read and every change of the Protocol that its API has."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Literal

from tools.slurm.backend import Operation, Receipt
from tools.slurm.cli.change import job_word
from tools.slurm.cli.runner import shell_text
from tools.slurm.errors import AccountingUnavailable, OutcomeUnknown, SlurmError, UnknownJob, UnknownName
from tools.slurm.hostlist import expand
from tools.slurm.models import (
    Association,
    Estimate,
    Job,
    JobQuery,
    Node,
    Page,
    Partition,
    Qos,
    Share,
    Step,
    Submitted,
    Usage,
)  # fmt: skip
from tools.slurm.paging import page_of
from tools.slurm.rest import accounting, change, cluster, filters, jobs, submit
from tools.slurm.rest import values as v
from tools.slurm.rest.client import Client, Params
from tools.slurm.rest.names import explained, require_partition
from tools.slurm.rest.versions import Api

_KEY_REACH = timedelta(days=2)


class RestBackend:
    """Slurm through slurmrestd. What its API version cannot do raises ``InvalidRequest`` (``not_in_api``), which says
    so and names the command-line backend.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self._begin = submit.Moments()

    @property
    def _api(self) -> Api:
        return self.client.api()

    @cached_property
    def _meta(self) -> Mapping[str, Any]:
        meta = self.client.read("ping").get("meta") or {}
        return meta.get("slurm") or meta.get("Slurm") or {}

    def version(self) -> tuple[int, int, int]:
        """slurmrestd's version, for example ``(22, 5, 8)``."""
        major, minor, micro = (v.number(v.take(self._meta, f"version/{part}")) for part in ("major", "minor", "micro"))
        return major, minor, micro

    def cluster(self) -> str:
        """The cluster's name; ``""`` where neither slurmrestd nor accounting tells (v0.0.38 without slurmdbd)."""
        if self._api.cluster_in_meta:
            return v.text(self._meta.get("cluster"))
        try:
            names = [v.text(row.get("name")) for row in self._rows("clusters", "clusters", part="slurmdb")]
        except AccountingUnavailable:
            names = []
        if len(names) == 1:
            return names[0]
        return next((v.text(row.get("cluster")) for row in self._rows("jobs", "jobs")), "")

    def queue(self, query: JobQuery) -> list[Job]:
        """As squeue. All jobs are fetched unless one id is asked for: slurmrestd has no filters here."""
        if len({filters.root(asked) for asked in query.ids}) == 1:
            try:
                found = self._live(query.ids[0])
            except UnknownJob:
                found = []
        else:
            found = [jobs.job(row, self._api) for row in self._rows("jobs", "jobs")]
        chosen = filters.in_queue(found, query)
        if not chosen and query.partition:
            require_partition(query.partition, self)
        return chosen

    def page(self, query: JobQuery, most: int) -> Page:
        return page_of(self.queue(query), most)

    def history(self, query: JobQuery) -> list[Job]:
        rows = self._past(query)
        return filters.in_history((jobs.past_job(row, self._past_api) for row in rows), query)

    def job(self, job_id: str) -> list[Job]:
        """Records of slurmctld, else of accounting. Raises ``UnknownJob``."""
        word = job_word(job_id)
        try:
            return self._live(word)
        except UnknownJob as gone:
            try:
                found = self.history(JobQuery(ids=(word,)))
            except AccountingUnavailable:
                raise gone from None
            if not found:
                raise UnknownJob(f"no job {job_id} in queue or accounting", code=gone.code) from None
            return found

    def steps(self, job_id: str) -> list[Step]:
        rows = self._accounted(job_id)
        named = [(jobs.past_job(row, self._past_api).id, row) for row in rows]
        return [jobs.step(one, name, self._past_api) for name, row in named for one in row.get("steps") or []]

    def submitted(self, job_id: str) -> Submitted:
        """v0.0.38 keeps the number alone; the command line, script and files come with later versions."""
        api, rows = self._past_api, []
        if api.scripts:
            params = {"step": job_word(job_id), "skip_steps": "true", "show_batch_script": "true"}
            rows = self._rows("jobs", "jobs", params, part="slurmdb")
        last = (rows or self._accounted(job_id))[-1]
        line, script, out, error = (v.text(last.get(key)) for key in ("submit_line", "script", "stdout", "stderr"))
        return Submitted(v.text(last.get("job_id")), line, script, out, error)

    def nodes(self, names: str = "") -> list[Node]:
        """All nodes, or those of a host list. Raises ``UnknownName`` with the nodes that exist."""
        wanted = expand(names)
        found = {node.name: node for node in map(cluster.node, self._rows("nodes", "nodes"))}
        if missing := [name for name in wanted if name not in found]:
            raise UnknownName(
                f"no node {', '.join(missing)} (there are: {', '.join(found)})",
                code="ESLURM_INVALID_NODE_NAME",
                valid=found,
            )
        return [found[name] for name in wanted] if names else list(found.values())

    def partitions(self) -> list[Partition]:
        return [cluster.partition(row, self._api) for row in self._rows("partitions", "partitions")]

    def licenses(self) -> dict[str, tuple[int, int]]:
        rows = self._rows("licenses", "licenses")
        return {v.text(row.get("LicenseName")): cluster.license_counts(row) for row in rows}

    def reservations(self) -> list[str]:
        return [v.text(row.get("name")) for row in self._rows("reservations", "reservations")]

    def qos(self) -> list[Qos]:
        answer = self.client.read("qos", part="slurmdb")
        return [accounting.qos(row) for row in answer.get("qos") or answer.get("QOS") or []]

    def associations(self, user: str = "", account: str = "") -> list[Association]:
        params = {key: value for key, value in (("user", user), ("account", account)) if value}
        rows = self._rows("associations", "associations", params, part="slurmdb")
        return [accounting.association(row) for row in rows]

    def usage(self, group_by: str, start: datetime, end: datetime, user: str = "", account: str = "") -> list[Usage]:
        rows = self._past(JobQuery(since=start, until=end, user=user, account=account))
        return accounting.usage(rows, group_by, start, end, user, account)

    def priority_factors(self, job_id: str) -> dict[str, float]:
        """The total alone (``PRIORITY``): the factors are sprio's, and in no version of the API."""
        try:
            waiting = [job for job in self._live(job_word(job_id)) if job.state == "PENDING"]
        except UnknownJob:
            return {}
        priority = waiting[0].priority if waiting else None
        return {} if priority is None else {"PRIORITY": float(priority)}

    def shares(self, accounts: Sequence[str]) -> list[Share]:
        raise submit.not_offered("reading of fair shares (sshare)", self._api)

    def expected_start(self, job_id: str) -> Estimate:
        waiting = [job for job in self._live(job_word(job_id)) if job.state == "PENDING"]
        if not waiting:
            raise UnknownJob(f"no pending job {job_id}", code="ESLURM_INVALID_JOB_ID")
        first = min(waiting, key=lambda job: job.start_time or datetime.max)
        return Estimate(first.start_time, first.raw.get("SchedNodeList", ""), first.reason)

    def test_submit(self, fields: dict[str, Any]) -> Estimate:
        """In no version: v0.0.38 would submit the job."""
        raise submit.not_offered("trial of a submission (sbatch --test-only)", self._api)

    def admin_level(self, user: str) -> Literal["none", "operator", "administrator"]:
        """From accounting; root is administrator. Who SlurmUser is, slurmrestd does not tell."""
        if user == "root":
            return "administrator"
        return next((accounting.level(row) for row in self._users(user)), "none")

    def coordinated_accounts(self, user: str) -> tuple[str, ...]:
        return next((accounting.coordinated(row) for row in self._users(user)), ())

    def find_by_key(self, key: str) -> list[Job]:
        """Jobs of this token's user, of the last two days, whose comment has ``key`` as a word."""
        pattern = re.compile(rf"(?:^|[\s:]){re.escape(key)}(?:\s|$)")
        query = JobQuery(user=self.client.credentials.name(), states=("all",))
        found = [job for job in self.queue(query) if pattern.search(job.comment)]
        if found:
            return found
        try:
            past = self.history(replace(query, states=(), since=datetime.now() - _KEY_REACH))
        except AccountingUnavailable:
            return []
        return [job for job in past if pattern.search(job.comment)]

    def render(self, operation: Operation) -> list[list[str]]:
        """The request as a curl command, without the token."""
        request = self._request(operation)
        return [self.client.command(request.method, self._path(request), change.shown(request))]

    def script(self, operation: Operation) -> str:
        return self._request(operation).stdin if operation.verb == "submit" else ""

    def perform(self, operation: Operation) -> Receipt:
        request = self._request(operation)
        if operation.verb == "cancel":
            change.check_state(operation, self._live)
        path = self._path(request)
        shown = shell_text(self.client.command(request.method, path, change.shown(request)), request.stdin)
        try:
            answer = self.client.send(request.method, path, request.body, shown)
        except SlurmError as error:
            raise explained(error, self, self.client.credentials.name()) from None
        said = "; ".join(map(str, answer.warnings))
        if operation.verb != "submit":
            return Receipt(operation.target, said)
        job_id = v.number(answer.payload.get("job_id"))
        if not job_id:
            raise OutcomeUnknown("slurmrestd took the job and named no id", code="garbage")
        message = v.text(answer.payload.get("job_submit_user_msg"))
        return Receipt(str(job_id), "; ".join(part for part in (message, said) if part))

    def commands(self) -> Sequence[str]:
        return self.client.ran

    @property
    def _past_api(self) -> Api:
        return self.client.api("slurmdb")

    def _request(self, operation: Operation) -> change.Request:
        if operation.verb not in ("submit", "update_node"):
            job_word(operation.target)
        match operation.verb:
            case "submit":
                user = self.client.credentials.name()
                job, script = submit.description(operation.fields, self._api, user, self._begin)
                body = {"job": {**job, "script": script}} if self._api.typed else {"job": job, "script": script}
                return change.Request("POST", "job/submit", body, stdin=script)
            case "cancel":
                return change.cancel(operation)
            case "update_job":
                return change.update_job(operation, self._api, self.job, self._begin)
            case "update_node":
                return change.update_node(operation, self._api)
            case _:
                return change.control(operation, self._api)

    def _path(self, request: change.Request) -> str:
        return self.client.path("slurm", request.path, request.params)

    def _rows(
        self,
        path: str,
        key: str,
        params: Params | None = None,
        *,
        part: Literal["slurm", "slurmdb"] = "slurm",
    ) -> list[Mapping[str, Any]]:
        found = self.client.read(path, params, part=part).get(key)
        return found if isinstance(found, list) else []

    def _live(self, job_id: str) -> list[Job]:
        """What slurmctld has of an id. Raises ``UnknownJob``."""
        whole = job_id.partition("_")[0]
        found = [jobs.job(row, self._api) for row in self._rows(f"job/{whole}", "jobs")]
        exact = filters.named(job_id, found)
        if not exact:
            raise UnknownJob(f"no job {job_id} in the queue", code="ESLURM_INVALID_JOB_ID")
        return exact

    def _past(self, query: JobQuery) -> list[Mapping[str, Any]]:
        params = filters.history_params(query, typed=self._past_api.typed)
        return self._rows("jobs", "jobs", params, part="slurmdb")

    def _accounted(self, job_id: str) -> list[Mapping[str, Any]]:
        rows = self._rows(f"job/{job_word(job_id)}", "jobs", part="slurmdb")
        if not rows:
            raise UnknownJob(f"no job {job_id} in accounting", code="ESLURM_INVALID_JOB_ID")
        return rows

    def _users(self, user: str) -> list[Mapping[str, Any]]:
        """The user's record, or none; none either at a site without accounting."""
        try:
            return self._rows(f"user/{user}", "users", self._past_api.user_query, part="slurmdb")
        except AccountingUnavailable as error:
            if error.transient:
                raise
            return []
