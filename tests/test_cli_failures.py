"""What goes wrong with Slurm, made for real where that can be, and what each text of Slurm's means."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tools.slurm.backend import Operation
from tools.slurm.cli import CliBackend
from tools.slurm.cli.runner import Answer, Runner
from tools.slurm.errors import (
    AccountingUnavailable,
    InvalidRequest,
    LimitRefused,
    OutcomeUnknown,
    PermissionRefused,
    SlurmError,
    SlurmUnreachable,
    UnknownJob,
    UnknownName,
)
from tools.slurm.failures import KNOWN, failure, said
from tools.slurm.models import JobQuery
from tools.slurm.sandbox import Sandbox


@pytest.fixture
def slurm(clean_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliBackend:
    monkeypatch.chdir(tmp_path)  # where jobs leave their output
    return CliBackend()


def submit(backend: CliBackend, **fields: Any) -> str:
    fields = fields if "script" in fields else {"command": "sleep 60", **fields}
    return backend.perform(Operation("submit", "", fields)).id


def test_a_limit_is_slurms_own(slurm: CliBackend) -> None:
    try:
        _sacctmgr("modify", "qos", "interactive", "set", "MaxSubmitJobsPerUser=1")
        submit(slurm, qos="interactive", begin="now+1day")
        with pytest.raises(LimitRefused, match="policy") as caught:
            submit(slurm, qos="interactive", begin="now+1day")
        assert (caught.value.code, caught.value.transient) == ("ESLURM_ACCOUNTING_POLICY", False)
    finally:
        _sacctmgr("modify", "qos", "interactive", "set", "MaxSubmitJobsPerUser=-1")


def _sacctmgr(*words: str) -> None:
    subprocess.run(["sacctmgr", "--immediate", *words], check=True, capture_output=True)


class AsDaemon(Runner):
    """Another user of the machine; only root can become one, and only root's sandbox has others."""

    def _run(self, command: Sequence[str], stdin: str, environment: dict[str, str], limit: float) -> Answer:
        become = ["setpriv", "--reuid=daemon", "--regid=daemon", "--clear-groups"] if os.geteuid() == 0 else []
        answer = super()._run([*become, *command], stdin, environment, limit)
        return Answer(tuple(command), answer.code, answer.out, answer.err)


def test_nobody_touches_what_is_not_theirs(slurm: CliBackend) -> None:
    job_id = submit(slurm, begin="now+1day", working_directory="/")
    other = CliBackend(AsDaemon())
    refused = [
        Operation("cancel", job_id),
        Operation("hold", job_id),
        Operation("update_job", job_id, {"time_limit": "1"}),
        Operation("update_node", "gpu-node01", {"state": "drain", "reason": "x"}),
    ]
    assert other.queue(JobQuery(user="root"))[0].id == job_id
    for operation in refused if os.geteuid() == 0 else []:
        with pytest.raises(PermissionRefused) as caught:
            other.perform(operation)
        assert not caught.value.transient
    assert slurm.job(job_id)[0].state == "PENDING"


def test_the_controller_away(slurm: CliBackend, sandbox: Sandbox) -> None:
    """Slurm's commands try for MessageTimeout (10 s) each, so all are asked at once."""
    submit = Operation("submit", "", {"command": "true"})
    sandbox.stop_controller()
    try:
        with ThreadPoolExecutor() as pool:
            asked = [
                pool.submit(slurm.queue, JobQuery()),
                pool.submit(slurm.job, "1"),
                pool.submit(slurm.nodes),
                pool.submit(slurm.perform, submit),
                pool.submit(slurm.perform, Operation("cancel", "1")),
            ]
            errors = [future.exception() for future in asked]
    finally:
        sandbox.start_controller()
    for error in errors:
        assert isinstance(error, SlurmUnreachable) and error.transient, error
        assert "connect failure" in error.message
    assert slurm.queue(JobQuery()) == []


@contextmanager
def paused(sandbox: Sandbox, daemon: str) -> Iterator[None]:
    """A daemon that takes connections and says nothing: what was sent may be done later."""
    pid = sandbox.status().daemons[daemon]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_lost_answer_is_unknown_and_found_by_its_key(slurm: CliBackend, sandbox: Sandbox) -> None:
    hasty = CliBackend(Runner(read_seconds=1, write_seconds=1))
    with paused(sandbox, "slurmctld"):
        with pytest.raises(OutcomeUnknown) as caught:
            submit(hasty, begin="now+1day", comment="sask:lost.1.0")
        with pytest.raises(SlurmUnreachable, match="no answer in 1 s") as read:
            hasty.queue(JobQuery())
    assert (caught.value.transient, caught.value.code) == (False, "timeout")
    assert read.value.transient
    deadline = time.monotonic() + 10
    while not (found := slurm.find_by_key("lost.1.0")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert [job.comment for job in found] == ["sask:lost.1.0"]


def test_slurms_own_time_out_is_unknown_too(slurm: CliBackend, sandbox: Sandbox) -> None:
    job_id = submit(slurm, begin="now+1day")
    with paused(sandbox, "slurmctld"), ThreadPoolExecutor() as pool:
        writes = [Operation("submit", "", {"command": "true"}), Operation("cancel", job_id), Operation("hold", job_id)]
        errors = [future.exception() for future in [pool.submit(slurm.perform, write) for write in writes]]
    assert [type(error) for error in errors] == [OutcomeUnknown] * 3, errors


def test_accounting_away(slurm: CliBackend, sandbox: Sandbox) -> None:
    job_id = submit(slurm, command="true", comment="sask:k.1.0")
    hasty = CliBackend(Runner(read_seconds=2))
    os.kill(sandbox.status().daemons["slurmdbd"], signal.SIGKILL)
    for ask in (lambda: hasty.history(JobQuery()), hasty.qos, hasty.associations, lambda: hasty.admin_level("daemon")):
        with pytest.raises(AccountingUnavailable) as caught:
            ask()  # type: ignore[no-untyped-call]
        assert caught.value.transient
    assert slurm.job(job_id)[0].id == job_id
    assert slurm.admin_level("root") == "administrator"
    assert hasty.find_by_key("other.1.0") == []
    with pytest.raises(UnknownJob):
        hasty.job("999999")


def test_no_slurm_here(tmp_path: Path) -> None:
    nowhere = CliBackend(Runner({"PATH": str(tmp_path)}))
    for ask in (nowhere.partitions, lambda: nowhere.perform(Operation("cancel", "1"))):
        with pytest.raises(SlurmUnreachable, match="sask sandbox up") as caught:
            ask()  # type: ignore[no-untyped-call]
        assert (caught.value.code, caught.value.transient) == ("no_commands", False)
    configless = CliBackend(Runner({"PATH": os.environ["PATH"], "SLURM_CONF": str(tmp_path / "absent.conf")}))
    with pytest.raises(SlurmUnreachable, match="SLURM_CONF") as caught:
        configless.partitions()
    assert not caught.value.transient


def command(folder: Path, name: str, script: str) -> CliBackend:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return CliBackend(Runner({"PATH": f"{folder}:/usr/bin:/bin"}))


@pytest.mark.parametrize(
    ("script", "code"),
    [("kill -9 $$", "killed"), ("echo welcome to the cluster", "garbage"), ("exit 0", "garbage")],
)
def test_an_answer_that_is_none(tmp_path: Path, script: str, code: str) -> None:
    with pytest.raises(OutcomeUnknown) as caught:
        submit(command(tmp_path, "sbatch", script))
    assert caught.value.code == code


def test_an_answer_that_is_cut_off(tmp_path: Path) -> None:
    with pytest.raises(SlurmUnreachable, match="cut off") as caught:
        command(tmp_path, "squeue", "printf '1@x@root@x@vis'").queue(JobQuery())
    assert caught.value.transient


def test_what_steers_slurms_commands_is_not_inherited(tmp_path: Path) -> None:
    script = 'env > "$OUT"; echo 7'
    path = tmp_path / "sbatch"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    steering = {"SBATCH_PARTITION": "x", "SQUEUE_FORMAT": "x", "SLURM_CLUSTERS": "other", "SLURM_JOB_ID": "9"}
    plain = {"SLURM_CONF": str(path), "HF_HOME": "kept", "LC_ALL": "ko_KR", "OUT": str(tmp_path / "seen")}
    given = {"PATH": f"{tmp_path}:/usr/bin:/bin", **plain, **steering}
    assert submit(CliBackend(Runner(given))) == "7"
    seen = (tmp_path / "seen").read_text().splitlines()
    # The job inherits all this: its own locale stays.
    assert {f"{name}={value}" for name, value in plain.items()} <= set(seen)
    assert not [line for line in seen if line.partition("=")[0] in steering]


@pytest.mark.parametrize(
    ("text", "kind", "code"),
    [
        ("sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's "
         "size and/or time limits)", LimitRefused, "ESLURM_ACCOUNTING_POLICY"),
        ("sbatch: error: Batch job submission failed: Job dependency problem", InvalidRequest, "ESLURM_DEPENDENCY"),
        ("sbatch: error: Invalid --time specification", SlurmError, "slurm_error"),
        ("Job is no longer pending execution for job 26", InvalidRequest, "ESLURM_JOB_NOT_PENDING"),
        ("Requested operation is presently disabled for job 5", InvalidRequest, "ESLURM_DISABLED"),
        ("slurm_suspend error: Invalid user id", PermissionRefused, "ESLURM_USER_ID_MISSING"),
        ("sacct: error: Invalid user id: nosuch", UnknownName, "unknown_user"),
        ("scancel: error: Kill job error on job id 4: Job/step already completing or completed", InvalidRequest,
         "ESLURM_ALREADY_DONE"),
        ("sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received", OutcomeUnknown,
         "SLURM_PROTOCOL_SOCKET_ZERO_BYTES_SENT"),
        ("Slurm accounting storage is disabled", AccountingUnavailable, "accounting_disabled"),
    ],
)  # fmt: skip
def test_texts_of_slurm(text: str, kind: type[SlurmError], code: str) -> None:
    error = failure(said(text), ["sbatch"], write=True)
    assert (type(error), error.code) == (kind, code)


def test_a_lost_answer_of_a_read_is_only_a_wait() -> None:
    text = "slurm_load_jobs error: Socket timed out on send/recv operation"
    assert isinstance(failure(text, ["squeue"], write=True), OutcomeUnknown)
    error = failure(text, ["squeue"])
    assert isinstance(error, SlurmUnreachable) and error.transient


def test_no_text_hides_another() -> None:
    """Each entry of the table is reachable: none stands behind a shorter one."""
    for place, entry in enumerate(KNOWN):
        shadow = [earlier.text for earlier in KNOWN[:place] if earlier.text.lower() in entry.text.lower()]
        assert not shadow, (entry.text, shadow)
