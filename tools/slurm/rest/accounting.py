"""QoS, associations and usage out of slurmdbd's records, named as sacctmgr names them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal

from tools.slurm.errors import InvalidRequest
from tools.slurm.models import Association, Qos, Usage
from tools.slurm.parse import accounting as parse
from tools.slurm.rest import values as v

Record = Mapping[str, Any]
Level = Literal["none", "operator", "administrator"]
_LEVELS: dict[str, Level] = {"OPERATOR": "operator", "ADMINISTRATOR": "administrator"}
_GROUPS = {"user": "user", "account": "account", "partition": "partition"}
# sacctmgr's name → path. Which limit each path is: src/plugins/data_parser/v0.0.42/parsers.c, QOS and ASSOC; v0.0.38
# calls them alike.
_QOS = {
    "GrpTRES": "limits/max/tres/total", "GrpTRESMins": "limits/max/tres/minutes/total",
    "GrpTRESRunMins": "limits/max/tres/minutes/per/qos", "GrpJobs": "limits/max/active_jobs/count",
    "GrpSubmit": "limits/max/jobs/count", "GrpWall": "limits/max/wall_clock/per/qos",
    "MaxTRES": "limits/max/tres/per/job", "MaxTRESPerNode": "limits/max/tres/per/node",
    "MaxTRESMins": "limits/max/tres/minutes/per/job", "MaxTRESPU": "limits/max/tres/per/user",
    "MaxJobsPU": "limits/max/jobs/active_jobs/per/user", "MaxSubmitPU": "limits/max/jobs/per/user",
    "MaxTRESPA": "limits/max/tres/per/account", "MaxJobsPA": "limits/max/jobs/active_jobs/per/account",
    "MaxSubmitPA": "limits/max/jobs/per/account", "MinTRES": "limits/min/tres/per/job",
}  # fmt: skip
_ASSOCIATION = {
    "GrpTRES": "max/tres/total", "GrpTRESMins": "max/tres/group/minutes", "GrpTRESRunMins": "max/tres/group/active",
    "GrpJobs": "max/jobs/per/count", "GrpSubmit": "max/jobs/per/submitted", "GrpWall": "max/per/account/wall_clock",
    "MaxTRES": "max/tres/per/job", "MaxTRESPerNode": "max/tres/per/node", "MaxTRESMins": "max/tres/minutes/per/job",
    "MaxJobs": "max/jobs/active", "MaxSubmit": "max/jobs/total", "MaxWall": "max/jobs/per/wall_clock",
}  # fmt: skip
_WALLS = frozenset({"GrpWall", "MaxWall"})


def qos(record: Record) -> Qos:
    row = {name: _limit(name, v.take(record, path)) for name, path in _QOS.items()}
    flags = [flag for flag in v.words(record.get("flags")) if flag != "NOT_SET"]
    return parse.qos(
        row
        | {
            "Name": v.text(record.get("name")),
            "Priority": v.text(record.get("priority")),
            "MaxWall": _limit("MaxWall", v.take(record, "limits/max/wall_clock/per/job")),
            "Flags": ",".join(flags),
            "Preempt": v.text(v.take(record, "preempt/list")),
        }
    )


def association(record: Record) -> Association:
    row = {name: _limit(name, v.take(record, path)) for name, path in _ASSOCIATION.items()}
    shares = v.take(record, "shares_raw")
    return parse.association(
        row
        | {
            "Account": v.text(record.get("account")),
            "User": v.text(record.get("user")),
            "ParentName": v.text(record.get("parent_account")),
            "Partition": v.text(record.get("partition")),
            "DefaultQOS": v.text(v.take(record, "default/qos")),
            "QOS": v.text(record.get("qos")),
            # SLURMDB_FS_USE_PARENT
            "Fairshare": "parent" if v.number(shares) == 0x7FFFFFFF else v.text(shares),
        }
    )


def level(record: Record) -> Level:
    """A user's AdminLevel."""
    return next((_LEVELS[word] for word in v.words(record.get("administrator_level")) if word in _LEVELS), "none")


def coordinated(record: Record) -> tuple[str, ...]:
    """Accounts of a user's ``coordinators``: names, or objects with a name."""
    rows = record.get("coordinators") or []
    names = (v.text(one.get("name")) if isinstance(one, Mapping) else v.text(one) for one in rows)
    return tuple(sorted({name for name in names if name}))


def usage(
    records: Iterable[Record], group_by: str, start: datetime, end: datetime, user: str, account: str
) -> list[Usage]:
    """What jobs used between two moments, the biggest use first.

    slurmdbd is asked for whole jobs, so their times are cut here; a job's suspended time is taken from what is left.
    """
    if group_by not in _GROUPS:
        raise InvalidRequest(f"group_by {group_by!r} is none of {', '.join(_GROUPS)}", valid=_GROUPS)
    sums: dict[str, list[float]] = defaultdict(lambda: [0, 0.0, 0.0, 0.0])
    for record in _once(records):
        held = v.tres(v.take(record, "tres/allocated"))
        if not held or (user and _owner(record) != user) or (account and v.text(record.get("account")) != account):
            continue
        key = _owner(record) if group_by == "user" else v.text(record.get(_GROUPS[group_by]))
        for place, amount in enumerate(parse.hours(str(_seconds(record, start, end)), held)):
            sums[key][place] += amount
    found = [Usage(key, int(jobs), cpu, gpu, node) for key, (jobs, cpu, gpu, node) in sums.items()]
    return sorted(found, key=lambda row: (-row.gpu_hours, -row.cpu_hours, row.key))


def _once(records: Iterable[Record]) -> list[Record]:
    """Without the earlier rows of requeued jobs, as sacct has it; the rows of a job that shrank all count."""
    kept: dict[tuple[str, ...], Record] = {}
    for record in records:
        number = v.text(record.get("job_id"))
        resized = "RESIZING" in v.words(v.take(record, "state/current"))
        kept[(number, v.text(v.take(record, "time/end"))) if resized else (number,)] = record
    return list(kept.values())


def _owner(record: Record) -> str:
    return v.text(record.get("user")) or v.text(v.take(record, "association/user"))


def _seconds(record: Record, start: datetime, end: datetime) -> int:
    began, ended = v.number(v.take(record, "time/start")), v.number(v.take(record, "time/end"))
    if not began:
        return 0
    first, last = int(start.timestamp()), min(int(end.timestamp()), int(datetime.now().timestamp()))
    inside = min(ended or last, last) - max(began, first)
    return max(inside - v.number(v.take(record, "time/suspended")), 0)


def _limit(name: str, value: Any) -> str:
    """As sacctmgr prints it; ``""`` where there is none."""
    if isinstance(value, list):
        return v.tres(value)
    if value is None or value == v.UNLIMITED:
        return ""
    return v.minutes(value) if name in _WALLS else v.text(value)
