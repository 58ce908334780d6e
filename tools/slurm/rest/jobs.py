"""slurmctld's and slurmdbd's job records as the fields of scontrol and sacct, and through those as models.

The tools read ``Job.raw`` by scontrol's names, so a record becomes those first; the reader of the command-line
backend then makes the job, and both backends mean the same.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

from tools.slurm.models import Job, Step
from tools.slurm.parse import jobs as parse
from tools.slurm.parse.values import pairs
from tools.slurm.rest import values as v
from tools.slurm.rest.versions import Api

Record = Mapping[str, Any]
Read = Callable[[Any], str]
_ENDED = frozenset(
    {"COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE"}
)
# scontrol's name → (key of the record, reader).
_FIELDS: Mapping[str, tuple[str, Read]] = {
    "JobId": ("job_id", v.text), "JobName": ("name", v.text), "Account": ("account", v.text), "QOS": ("qos", v.text),
    "Partition": ("partition", v.text), "JobState": ("job_state", v.state), "Dependency": ("dependency", v.text),
    "NodeList": ("nodes", v.text), "NumCPUs": ("cpus", v.text), "NumTasks": ("tasks", v.text),
    "SubmitTime": ("submit_time", v.when), "EligibleTime": ("eligible_time", v.when),
    "StartTime": ("start_time", v.when), "EndTime": ("end_time", v.when), "LastSchedEval": (
        "last_sched_evaluation", v.when), "PreemptTime": ("preempt_time", v.when), "Priority": ("priority", v.text),
    "ExitCode": ("exit_code", v.exit_code), "WorkDir": ("current_working_directory", v.text),
    "Command": ("command", v.text), "Comment": ("comment", v.text), "Features": ("features", v.text),
    "Reservation": ("resv_name", v.text), "Licenses": ("licenses", v.text), "Restarts": ("restart_cnt", v.text),
    "BatchHost": ("batch_host", v.text), "BatchFlag": ("batch_flag", v.text), "Requeue": ("requeue", v.text),
    "ReqNodeList": ("required_nodes", v.text), "ExcNodeList": ("excluded_nodes", v.text),
    "SchedNodeList": ("scheduled_nodes", v.text), "TresPerJob": ("tres_per_job", v.text),
    "TresPerNode": ("tres_per_node", v.text), "TresPerTask": ("tres_per_task", v.text),
    "CpusPerTres": ("cpus_per_tres", v.text), "MemPerTres": ("memory_per_tres", v.text),
    "CPUs/Task": ("cpus_per_task", v.text), "MinCPUsNode": ("minimum_cpus_per_node", v.text),
    "Switches": ("required_switches", v.text), "ArrayTaskThrottle": ("array_max_tasks", v.text),
}  # fmt: skip


def job(record: Record, api: Api) -> Job:
    """A record of ``/slurm/…/job`` or ``/jobs``; ``raw`` has scontrol's fields."""
    fields = {name: read(v.take(record, key) if read is not v.exit_code else record.get(key))
              for name, (key, read) in _FIELDS.items()}  # fmt: skip
    fields |= _array(record) | _memory(record) | _files(record, fields)
    held = v.text(record.get("tres_alloc_str")) or v.text(record.get("tres_req_str"))
    fields |= {
        "UserId": f"{v.text(record.get('user_name'))}({v.number(record.get('user_id'))})",
        "Nice": str(v.number(record.get("nice"))),
        "Reason": v.text(record.get("state_description")) or v.text(record.get("state_reason")),
        "NumNodes": _nodes(record, fields["JobState"]),
        "NtasksPerN:B:S:C": f"{v.number(record.get('tasks_per_node'))}:0:*:*",
        "TimeLimit": _limit(record, api),
        "RunTime": v.clock(_elapsed(record, fields["JobState"])),
        "OverSubscribe": "NO" if "NONE" in v.words(record.get("shared")) else "OK",
        "TRES": held,
        # v0.0.38 leaves the count out of a job that gave no number of tasks.
        "NumCPUs": fields["NumCPUs"] or pairs(held).get("cpu", ""),
    }
    return parse.scontrol_job(fields)


def past_job(record: Record, api: Api) -> Job:
    """An allocation of ``/slurmdb/…/jobs``. The comment is there once the job has ended."""
    state = v.state(v.take(record, "state/current"))
    killer = v.text(v.take(record, "kill_request_user"))
    row = {
        "JobID": _past_id(record),
        "JobName": v.text(record.get("name")),
        "User": v.text(record.get("user")) or v.text(v.take(record, "association/user")),
        "Account": v.text(record.get("account")),
        "Partition": v.text(record.get("partition")),
        "QOS": v.text(record.get("qos")),
        "State": f"{state} by {killer}" if state == "CANCELLED" and killer else state,
        "NNodes": str(v.number(record.get("allocation_nodes")) or _of_tres(record, "node")),
        "NodeList": v.text(record.get("nodes")),
        "ReqCPUS": str(v.number(v.take(record, "required/CPUs"))),
        "AllocCPUS": str(_of_tres(record, "cpu", "allocated")),
        "TimelimitRaw": _raw_minutes(v.take(record, "time/limit")),
        "ElapsedRaw": v.text(v.take(record, "time/elapsed")),
        "Submit": v.when(v.take(record, "time/submission")),
        "Eligible": v.when(v.take(record, "time/eligible")),
        "Start": v.when(v.take(record, "time/start")),
        "End": v.when(v.take(record, "time/end")),
        "Priority": v.text(record.get("priority")),
        "ExitCode": _exit_code(record, state, api),
        "WorkDir": v.text(record.get("working_directory")),
        "Comment": v.text(v.take(record, "comment/job")),
        "Constraints": v.text(record.get("constraints")),
        "Reservation": _named(v.take(record, "reservation/name")),
        "ReqTRES": v.tres(v.take(record, "tres/requested")),
        "AllocTRES": v.tres(v.take(record, "tres/allocated")),
        "JobIDRaw": v.text(record.get("job_id")),
    }
    return parse.sacct_job(row)


def step(record: Record, job_id: str, api: Api) -> Step:
    """One of a job's ``steps``; ``job_id`` is how the job is called (``5_4`` for an array's task)."""
    told = v.take(record, "step/id")
    last = v.text(told.get("step_id") if isinstance(told, Mapping) else told).rpartition(".")[2]
    state = v.state(record.get("state"))
    row = {
        "JobID": f"{job_id}.{last}",
        "JobName": v.text(v.take(record, "step/name")),
        "State": state,
        "ExitCode": _exit_code(record, state, api),
        "ElapsedRaw": v.text(v.take(record, "time/elapsed")),
        "TotalCPU": _cpu_time(record),
        "AllocCPUS": str(_of_tres(record, "cpu", "allocated")),
        "MaxRSS": _peak_memory(record),
        "NodeList": v.text(v.take(record, "nodes/range")),
    }
    return parse.sacct_step(row)


def ended(job: Job) -> bool:
    return job.state in _ENDED


def _array(record: Record) -> dict[str, str]:
    task = v.take(record, "array_task_id")
    which = v.text(record.get("array_task_string")) if task is None else str(task)
    # Of an array that was cancelled whole no task is left to name: it is called by its number, as in squeue.
    if which and (array := v.number(record.get("array_job_id"))):
        return {"ArrayJobId": str(array), "ArrayTaskId": which}
    if leader := v.number(record.get("het_job_id")):
        return {"HetJobId": str(leader), "HetJobOffset": str(v.number(record.get("het_job_offset")))}
    return {}


def _memory(record: Record) -> dict[str, str]:
    per_cpu, per_node = v.take(record, "memory_per_cpu"), v.take(record, "memory_per_node")
    if per_cpu is not None and v.number(per_cpu):
        return {"MinMemoryCPU": f"{v.number(per_cpu)}M"}
    return {} if per_node is None else {"MinMemoryNode": f"{v.number(per_node)}M" if v.number(per_node) else "0"}


def _files(record: Record, fields: Mapping[str, str]) -> dict[str, str]:
    """Where a batch job writes, with Slurm's own name for what was not given (sbatch(1), --output)."""
    if not record.get("batch_flag"):
        return {}
    array, task = v.number(record.get("array_job_id")), v.take(record, "array_task_id")
    own = f"slurm-{array}_{'%a' if task is None else task}.out" if array else f"slurm-{fields['JobId']}.out"
    folder = PurePosixPath(fields["WorkDir"] or "/")
    meant = {"j": fields["JobId"], "J": fields["JobId"], "A": str(array or fields["JobId"]), "x": fields["JobName"],
             "u": v.text(record.get("user_name")), "a": "%a" if task is None else str(task)}  # fmt: skip
    out = str(folder / _expanded(v.text(record.get("standard_output")) or own, meant))
    error = _expanded(v.text(record.get("standard_error")), meant)
    return {"StdOut": out, "StdErr": str(folder / error) if error else out}


def _expanded(pattern: str, meant: Mapping[str, str]) -> str:
    """sbatch(1), FILENAME PATTERN, as far as slurmctld expands it; v0.0.38 shows the pattern as it was given."""
    if "\\" in pattern:
        return pattern
    return re.sub(r"%(\d*)([jJAxua])", lambda match: meant[match[2]].rjust(int(match[1] or 0), "0"), pattern)


def _nodes(record: Record, state: str) -> str:
    """As scontrol writes it: ``2-2`` of a pending job that asked for them, ``1`` where it is Slurm's guess."""
    least, most = v.number(record.get("node_count")), v.number(record.get("max_nodes"))
    return f"{least}-{most}" if state == "PENDING" and most else str(least)


def _limit(record: Record, api: Api) -> str:
    told = v.take(record, "time_limit")
    # v0.0.38 writes null for INFINITE; the later ones say which of both it is.
    return v.UNLIMITED if told is None and not api.typed else v.minutes(told)


def _elapsed(record: Record, state: str) -> int:
    """Seconds as scontrol counts them (src/api/job_info.c): without the time in which it was suspended."""
    start, suspended = v.number(record.get("start_time")), v.number(record.get("suspend_time"))
    before = v.number(record.get("pre_sus_time"))
    if not start or state == "PENDING":
        return 0
    if state == "SUSPENDED":
        return before
    end = v.number(record.get("end_time")) if state in _ENDED else int(time.time())
    return max(end - suspended + before if suspended else end - start, 0)


def _past_id(record: Record) -> str:
    if array := v.number(v.take(record, "array/job_id")):
        task = v.take(record, "array/task_id")
        if task is not None:
            return f"{array}_{task}"
        if waiting := v.tasks(v.take(record, "array/task")):
            throttle = v.number(v.take(record, "array/limits/max/running/tasks"))
            return f"{array}_[{waiting.partition('%')[0]}{f'%{throttle}' if throttle else ''}]"
    if leader := v.number(v.take(record, "het/job_id")):
        return f"{leader}+{v.number(v.take(record, 'het/job_offset'))}"
    return v.text(record.get("job_id"))


def _exit_code(record: Record, state: str, api: Api) -> str:
    well = state == "COMPLETED" or state not in _ENDED
    return v.exit_code(record.get("exit_code"), believable=api.accounting_exit_codes or well)


def _of_tres(record: Record, kind: str, which: str = "requested") -> int:
    found = v.take(record, f"tres/{which}")
    rows = found if isinstance(found, list) else []
    return next((v.number(one.get("count")) for one in rows if one.get("type") == kind and not one.get("name")), 0)


def _raw_minutes(limit: Any) -> str:
    return limit if limit == v.UNLIMITED else "UNLIMITED" if v.number(limit) >= 0xFFFFFFFE else v.text(limit)


def _named(value: Any) -> str:
    """v0.0.38 writes a number in the place of the reservation's name."""
    return value if isinstance(value, str) else ""


def _cpu_time(record: Record) -> str:
    seconds, micro = v.take(record, "time/total/seconds"), v.number(v.take(record, "time/total/microseconds"))
    return "" if seconds is None else f"{v.clock(v.number(seconds))}.{micro:06}"


def _peak_memory(record: Record) -> str:
    """Bytes of the task that used most. ``requested`` is Slurm's misnomer for what was used (tres_usage_in_max)."""
    found = v.take(record, "tres/requested/max")
    rows = found if isinstance(found, list) else []
    return next((str(v.number(one.get("count"))) for one in rows if one.get("type") == "mem"), "")
