"""Slurm's answers about as many jobs and nodes as one likes, in Slurm's own form, without a Slurm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tools.slurm.cli.runner import Answer, Runner
from tools.slurm.parse.jobs import SACCT

_NODE = (
    "NodeName=n{n:05} Arch=x86_64 CoresPerSocket=32 CPUAlloc={used} CPUEfctv=64 CPUTot=64 CPULoad=12.5 "
    "AvailableFeatures=h100,ib ActiveFeatures=h100,ib Gres=gpu:h100:8(S:0-1) GresDrain=N/A GresUsed=gpu:h100:{gpus}"
    "(IDX:0-{gpus}) NodeAddr=n{n:05} NodeHostName=n{n:05} Version=22.05.8 OS=Linux RealMemory=1031000 "
    "AllocMem={used}000 FreeMem=900000 Sockets=2 Boards=1 State={state} ThreadsPerCore=1 TmpDisk=0 Weight=1 "
    "Owner=N/A MCS_label=N/A "
    "Partitions=gpu,long BootTime=2026-11-01T00:00:00 SlurmdStartTime=2026-11-01T00:01:00 "
    "LastBusyTime=2026-11-21T12:00:00 CfgTRES=cpu=64,mem=1031000M,billing=64,gres/gpu=8 AllocTRES=cpu={used}"
)
_STATES = ("IDLE", "MIXED", "MIXED", "ALLOCATED", "DOWN*")
_PARTITION = (
    "PartitionName={name} AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL Default={default} QoS=N/A "
    "DefaultTime=01:00:00 MaxNodes=UNLIMITED MaxTime=2-00:00:00 Nodes=n[00000-{last:05}] State=UP TotalCPUs={cpus} "
    "TotalNodes={nodes}"
)
# What squeue and sacct print of job number n, by column; what is not here is "N/A" and nothing.
_VALUES = {
    "JobArrayID": "{n}", "JobID": "{n}", "JobIDRaw": "{n}", "Name": "train-{m}", "JobName": "train-{m}",
    "UserName": "user{u}", "User": "user{u}", "Account": "lab{a}", "Partition": "gpu", "QOS": "normal",
    "State": "{state}", "Reason": "Priority", "NumNodes": "2", "NNodes": "2", "NodeList": "{nodes}",
    "NumCPUs": "128", "ReqCPUS": "128", "AllocCPUS": "128", "TimeLimit": "1-00:00:00", "TimelimitRaw": "1440",
    "TimeUsed": "1:02:03", "ElapsedRaw": "{seconds}", "SubmitTime": "2026-11-2{d}T10:{mm}:{ss}",
    "Submit": "2026-11-2{d}T10:{mm}:{ss}", "Start": "2026-11-2{d}T11:{mm}:{ss}", "End": "2026-11-2{d}T12:{mm}:{ss}",
    "StartTime": "2026-11-2{d}T11:{mm}:{ss}", "EndTime": "2026-11-2{d}T12:{mm}:{ss}", "PriorityLong": "{p}",
    "WorkDir": "/home/user{u}/runs/{n}", "Command": "/home/user{u}/train.sh", "exit_code": "0", "ExitCode": "0:0",
    "tres-alloc": "cpu=128,mem=512G,node=2,billing=128,gres/gpu=16", "NumTasks": "16", "Comment": "sask:{n}",
    "ReqTRES": "cpu=128,mem=512G,node=2,gres/gpu=16", "AllocTRES": "cpu=128,mem=512G,node=2,gres/gpu=16",
}  # fmt: skip


@dataclass
class Generated(Runner):
    """Answers every read with ``jobs`` jobs and ``nodes`` nodes, whatever it is narrowed to."""

    def __init__(self, jobs: int, nodes: int) -> None:
        super().__init__({})
        self.jobs = jobs
        self.nodes = nodes

    def _run(self, command: Sequence[str], stdin: str, environment: dict[str, str], limit: float) -> Answer:
        return Answer(tuple(command), 0, self._said(command), "")

    def _said(self, command: Sequence[str]) -> str:
        match command[0], command[-1]:
            case "scontrol", "node":
                return "".join(self._node(n) for n in range(self.nodes))
            case "scontrol", "partition":
                return "".join(_partition(name, self.nodes) for name in ("gpu", "long"))
            case "scontrol", "config":
                return "SLURM_VERSION = 22.05.8\nClusterName = big\n"
            case "squeue", last:
                return "".join(self._rows([part.split(":") for part in last.removeprefix("--Format=").split(",")]))
            case "sacct", last:
                return self._history(last.removeprefix("--format=").split(","), command)
        return ""

    def _node(self, n: int) -> str:
        state = _STATES[n % len(_STATES)]
        gpus = {"IDLE": 0, "ALLOCATED": 8}.get(state, n % 8)
        return _NODE.format(n=n, used=gpus * 8, gpus=gpus, state=state) + "\n"

    def _rows(self, columns: list[list[str]]) -> list[str]:
        row = "".join(f"{_VALUES.get(name, 'N/A')}{end}" for name, end in columns) + "\n"
        return [row.format(**_facts(n)) for n in range(self.jobs)]

    def _history(self, names: list[str], command: Sequence[str]) -> str:
        if tuple(names) == SACCT:
            end = next(word for word in command if word.startswith("--delimiter=")).partition("=")[2]
            return "".join(self._rows([[name, end] for name in names]))
        row = "|".join(_VALUES[name] for name in names) + "\n"
        return "".join(row.format(**_facts(n)) for n in range(self.jobs))


def _facts(n: int) -> dict[str, object]:
    """Every fifth job runs, the others wait."""
    running = n % 5 == 0
    state, nodes = ("RUNNING", f"n[{n % 5000:05}-{(n + 1) % 5000:05}]") if running else ("PENDING", "")
    clock = {"d": n % 2, "mm": f"{n % 60:02}", "ss": f"{n // 60 % 60:02}", "seconds": n % 86400}
    return {"n": 48000 + n, "m": n % 97, "u": n % 300, "a": n % 40, "p": 1000 + n % 5000, "state": state,
            "nodes": nodes, **clock}  # fmt: skip


def _partition(name: str, nodes: int) -> str:
    default = "YES" if name == "gpu" else "NO"
    return _PARTITION.format(name=name, default=default, last=nodes - 1, cpus=64 * nodes, nodes=nodes) + "\n"
