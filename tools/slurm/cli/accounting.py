"""QoS, associations, rights and usage, by sacctmgr and sacct."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from tools.slurm.cli.runner import Runner, operand, option
from tools.slurm.errors import AccountingUnavailable, InvalidRequest
from tools.slurm.models import Association, Qos, Share, Usage
from tools.slurm.parse import accounting as parse

Level = Literal["none", "operator", "administrator"]
_LEVELS: dict[str, Level] = {"operator": "operator", "administrator": "administrator", "admin": "administrator"}
_GROUPS = {"user": "User", "account": "Account", "partition": "Partition"}


def qos(runner: Runner) -> list[Qos]:
    rows = _show(runner, "qos", parse.QOS)
    return [parse.qos(row) for row in rows]


def associations(runner: Runner, user: str, account: str) -> list[Association]:
    """Rows of accounts (no user) and of users, narrowed by sacctmgr itself."""
    wanted = [f"{key}={operand(value, key)}" for key, value in (("user", user), ("account", account)) if value]
    return [parse.association(row) for row in _show(runner, "associations", parse.ASSOCIATION, *wanted)]


def shares(runner: Runner, accounts: Sequence[str]) -> list[Share]:
    """Rows of sshare for accounts and all their users. Raises ``SlurmError`` without priority/multifactor."""
    command = ["sshare", "--all", "--noheader", "--parsable2", option("accounts", ",".join(accounts))]
    command.append(option("format", ",".join(parse.SHARES)))
    lines = runner.read(command).splitlines()
    return [parse.share(dict(zip(parse.SHARES, line.split("|"), strict=False))) for line in lines if line.strip()]


def admin_level(runner: Runner, user: str, slurm_user: str) -> Level:
    """root and SlurmUser are administrators; the rest is in accounting, and without it nobody else is."""
    if user in ("root", slurm_user):
        return "administrator"
    try:
        rows = _show(runner, "user", ("AdminLevel",), operand(user, "user"))
    except AccountingUnavailable as error:
        if error.transient:
            raise
        return "none"
    return _LEVELS.get(rows[0]["AdminLevel"].lower(), "none") if rows else "none"


def coordinated_accounts(runner: Runner, user: str) -> tuple[str, ...]:
    """Accounts whose coordinator ``user`` is; empty where there is no accounting."""
    try:
        rows = _show(runner, "user", ("Coordinators",), operand(user, "user"), "WithCoordinator")
    except AccountingUnavailable as error:
        if error.transient:
            raise
        return ()
    return tuple(sorted({name for row in rows for name in row["Coordinators"].split(",") if name}))


def usage(runner: Runner, group_by: str, start: datetime, end: datetime, user: str, account: str) -> list[Usage]:
    """What jobs used between two moments, from sacct with its times cut to them; the biggest use first."""
    if group_by not in _GROUPS:
        raise InvalidRequest(f"group_by {group_by!r} is none of {', '.join(_GROUPS)}", valid=_GROUPS)
    command = [
        "sacct", "--allocations", "--truncate", "--noheader", "--parsable2", "--noconvert",
        option("user", user) if user else "--allusers",
        *([option("accounts", account)] if account else []),
        option("starttime", start.strftime("%Y-%m-%dT%H:%M:%S")), option("endtime", end.strftime("%Y-%m-%dT%H:%M:%S")),
        option("format", f"{_GROUPS[group_by]},ElapsedRaw,AllocTRES"),
    ]  # fmt: skip
    sums: dict[str, list[float]] = defaultdict(lambda: [0, 0.0, 0.0, 0.0])
    for line in runner.read(command).splitlines():
        key, elapsed, tres = line.rsplit("|", 2)
        if not tres:  # it never got anything
            continue
        for place, amount in enumerate(parse.hours(elapsed, tres)):
            sums[key][place] += amount
    found = [Usage(key, int(jobs), cpu, gpu, node) for key, (jobs, cpu, gpu, node) in sums.items()]
    return sorted(found, key=lambda row: (-row.gpu_hours, -row.cpu_hours, row.key))


def _show(runner: Runner, entity: str, names: tuple[str, ...], *words: str) -> list[dict[str, str]]:
    command = [
        "sacctmgr",
        "--noheader",
        "--parsable2",
        "--readonly",
        "show",
        entity,
        *words,
        f"format={','.join(names)}",
    ]
    return [dict(zip(names, line.split("|"), strict=False)) for line in runner.read(command).splitlines() if line]
