"""A real slurmctld with a thousand pretended nodes of 8 GPUs and many thousand jobs, and slurmdbd with their history.

No slurmd runs. The nodes are of the kind that Slurm starts on demand (State=CLOUD, slurm.conf(5)) and that never come
up, so that jobs are placed on them and stay CONFIGURING for hours. An array of held tasks becomes as many records
when it is changed task by task (scontrol(1), update); the history is rows in slurmdbd's own table.
"""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.slurm.sandbox import Sandbox
from tools.slurm.sandbox.accounting import ACCOUNTS

TASKS = 500
"""How many tasks an array of held jobs has."""
_PATIENCE = 300.0
_OURS = re.compile(
    r"^(NodeName|PartitionName|TopologyPlugin|SchedulerParameters|SlurmdTimeout|MessageTimeout)\b.*\n", re.MULTILINE
)
_CONF = """
PrivateData=cloud
SlurmdTimeout=0
MessageTimeout=60
MaxJobCount=200000
MaxArraySize=20001
SchedulerParameters=default_queue_depth=5000,batch_sched_delay=1,sched_interval=5,bf_interval=600,max_sched_time=30
ResumeProgram=/bin/true
SuspendProgram=/bin/true
SuspendTime=65000
ResumeTimeout=65000
NodeName={nodes} NodeAddr=127.0.0.1 Sockets=2 CoresPerSocket=32 RealMemory=1031000 Gres=gpu:h100:8 Feature=h100,ib State=CLOUD
PartitionName=DEFAULT DefaultTime=01:00:00 DefMemPerCPU=4000 State=UP
PartitionName=gpu Nodes={nodes} Default=YES MaxTime=2-00:00:00
PartitionName=long Nodes={nodes} MaxTime=7-00:00:00
PartitionName=debug Nodes={first} MaxTime=00:30:00
"""  # noqa: E501
_HISTORY = """
INSERT INTO {cluster}_job_table (account, cpus_req, job_name, id_assoc, id_job, id_qos, id_resv, id_wckey, id_user,
  id_group, het_job_id, het_job_offset, state_reason_prev, nodelist, nodes_alloc, `partition`, priority, state,
  timelimit, time_submit, time_eligible, time_start, time_end, tres_alloc, tres_req, exit_code)
SELECT a.acct, 8, CONCAT('past', seq % 50), a.id_assoc, 10000000 + seq, 1, 0, 0, u.uid, 0, 0, 4294967295, 0,
  CONCAT('n', LPAD(1 + seq % {nodes}, 4, '0')), 1, IF(seq % 3, 'gpu', 'long'), 1, IF(seq % 20, 3, 5), 60,
  {end} - 7200 - seq, {end} - 7200 - seq, {end} - 3600 - seq, {end} - seq % 3600, '1=8,2=32000,4=1,5=8,1001=2',
  '1=8,2=32000,4=1,5=8,1001=2', IF(seq % 20, 0, 256)
FROM seq_1_to_{jobs} s
JOIN (SELECT *, ROW_NUMBER() OVER (ORDER BY id_assoc) AS place FROM {cluster}_assoc_table WHERE user <> '') a
JOIN ({users}) u ON u.user = a.user
WHERE a.place = 1 + seq % (SELECT COUNT(*) FROM {cluster}_assoc_table WHERE user <> '')
"""


@dataclass(frozen=True)
class Size:
    """Nodes, jobs in the queue (an array's tasks one by one), those of them that have nodes, single ones that have
    none, and jobs of the last hours that have ended."""

    nodes: int = 1000
    jobs: int = 20_000
    started: int = 1000
    singles: int = 4000
    ended: int = 20_000


@dataclass(frozen=True)
class World:
    """What the cluster was filled with."""

    size: Size
    environment: dict[str, str]
    waiting: str
    """A job that waits for more nodes than are free."""
    array: str
    """An array of held tasks."""
    user: str


@contextmanager
def cluster(folder: Path, size: Size, tell: Callable[[str], None]) -> Iterator[World]:
    """The cluster as long as the block lasts. Needs root for jobs of many users. Raises SandboxError."""
    box = Sandbox(folder, name="scale")
    try:
        box.up(accounting=True)
        box.without_slurmds(lambda text: _OURS.sub("", text) + _conf(size), _gres(size))
        tell(f"slurmctld knows {size.nodes} nodes")
        environment = os.environ | {"SLURM_CONF": str(box.conf)}
        yield _filled(size, environment, box.conf.parent / "mysql.sock", tell)
    finally:
        box.down(remove=True)


def _names(size: Size) -> str:
    return f"n[0001-{size.nodes:04}]"


def _conf(size: Size) -> str:
    return _CONF.format(nodes=_names(size), first="n[0001-0002]")


def _gres(size: Size) -> str:
    return f"AutoDetect=off\nNodeName={_names(size)} Name=gpu Type=h100 Count=8\n"


def _filled(size: Size, environment: dict[str, str], socket: Path, tell: Callable[[str], None]) -> World:
    users = [entry.pw_name for entry in pwd.getpwall() if entry.pw_uid < 1000] if os.geteuid() == 0 else [""]
    if users != [""]:
        command = ["sacctmgr", "-i", "add", "user", ",".join(users), f"Account={','.join(ACCOUNTS)}"]
        _run(command, environment, may_fail=True)  # 1 is also for users that are there already
    send = Submitter(environment, users)
    started = send("--array", f"0-{size.started - 1}", "--gpus-per-node=4", "--cpus-per-task=8")
    waiting = send("--nodes", str(size.nodes), "--gpus-per-node=8")
    _until(lambda: _count(environment, "CONFIGURING") >= size.started)
    tell(f"{size.started} jobs have nodes")
    left = size.jobs - size.started - size.singles - 1
    sizes = [min(TASKS, left - at) for at in range(0, left, TASKS)]
    arrays = [send("--hold", "--array", f"0-{tasks - 1}") for tasks in sizes]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: send.single(number, started), range(size.singles)))
        list(pool.map(lambda job, tasks: _split(environment, job, tasks), arrays, sizes))
    tell(f"{size.jobs} jobs are in the queue")
    _write_history(size, environment, socket)
    tell(f"{size.ended} jobs are in the history")
    return World(size, environment, waiting, arrays[0], users[-1] or pwd.getpwuid(os.geteuid()).pw_name)


@dataclass
class Submitter:
    """Submits as one user after the other, with ever different names."""

    environment: dict[str, str]
    users: list[str]
    sent: int = 0

    def __call__(self, *words: str) -> str:
        self.sent += 1
        user = self.users[self.sent % len(self.users)]
        who = [f"--uid={user}"] if user else []
        account, name = ACCOUNTS[self.sent % len(ACCOUNTS)], f"--job-name=train-{self.sent % 97}"
        command = ["sbatch", "--parsable", "--chdir=/", f"--account={account}", name, *who, *words, "--wrap=true"]
        return _run(command, self.environment).strip().partition(";")[0]

    def single(self, number: int, other: str) -> str:
        """Waiting for another job, for a moment, or held."""
        ways = (f"--dependency=afterok:{other}", f"--begin=now+{1 + number % 20}days", "--hold")
        shape = (f"--nodes={1 + number % 4}", "--gpus-per-node=8", f"--time={1 + number % 40}:00:00")
        return self(ways[number % 3], *shape)


def _split(environment: dict[str, str], job: str, tasks: int) -> None:
    """Every task its own record. Until slurmdbd has taken the job down, slurmctld refuses the change."""
    command = ["scontrol", "update", f"JobId={job}_[0-{max(tasks - 2, 0)}]", "Nice=1"]
    _until(lambda: subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0)


def _write_history(size: Size, environment: dict[str, str], socket: Path) -> None:
    users = " UNION ".join(f"SELECT '{entry.pw_name}' AS user, {entry.pw_uid} AS uid" for entry in pwd.getpwall())
    end = int(time.time())
    statement = _HISTORY.format(cluster="sandbox", nodes=size.nodes, jobs=size.ended, end=end, users=users)
    # Without fresh statistics MariaDB joins so many new rows one by one.
    statement += "; ANALYZE TABLE sandbox_job_table, sandbox_assoc_table"
    _run(["mariadb", "--no-defaults", f"--socket={socket}", "slurm_acct_db", f"--execute={statement}"], environment)


def _count(environment: dict[str, str], state: str) -> int:
    words = ["squeue", "--all", "--noheader", "--array", f"--states={state}", "--Format=State"]
    return len(_run(words, environment).splitlines())


def _until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the cluster was not filled in {_PATIENCE:.0f} s")
        time.sleep(0.5)


def _run(command: list[str], environment: dict[str, str], *, may_fail: bool = False) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode and not may_fail:
        raise RuntimeError(f"{command[0]} failed: {done.stderr.strip()}")
    return done.stdout
