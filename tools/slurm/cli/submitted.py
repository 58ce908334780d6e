"""How a job was submitted, by sacct: for finding the log of a job that slurmctld has forgotten."""

from __future__ import annotations

import re

from tools.slurm.cli.runner import Runner, operand, option
from tools.slurm.errors import SlurmError, UnknownJob
from tools.slurm.models import Submitted
from tools.slurm.parse.records import columns

_NONE = frozenset({"NONE", "Batch Script is not stored", ""})


def submitted(runner: Runner, job_id: str, separator: str) -> Submitted:
    """SubmitLine is kept since 21.08, the files' names since 24.05, the script with AccountingStoreFlags=job_script.

    Raises ``UnknownJob``, ``AccountingUnavailable``.
    """
    known = runner.read(["sacct", "--helpformat"]).split()
    names = ("JobIDRaw", "SubmitLine", *(name for name in ("StdOut", "StdErr") if name in known))
    wanted = ["sacct", "--allocations", option("jobs", operand(job_id, "job id"))]
    shape = ["--noheader", "--parsable", option("delimiter", separator), option("format", ",".join(names))]
    rows = list(columns(runner.read([*wanted, *shape]), names, separator))
    if not rows:
        raise UnknownJob(f"no job {job_id} in accounting", code="ESLURM_INVALID_JOB_ID")
    last = rows[-1]
    return Submitted(
        id=last["JobIDRaw"],
        line=last["SubmitLine"],
        script=_script(runner, job_id),
        stdout=last.get("StdOut", ""),
        stderr=last.get("StdErr", ""),
    )


def _script(runner: Runner, job_id: str) -> str:
    """The text below sacct's dashed line; ``""`` where it is not kept or not shown to this user."""
    try:
        output = runner.read(["sacct", option("jobs", job_id), "--batch-script"])
    except SlurmError as error:
        if error.transient:
            raise
        return ""
    below = re.split(r"^-{20,}\n", output, maxsplit=1, flags=re.MULTILINE)
    text = below[1] if len(below) == 2 else ""
    return "" if text.strip() in _NONE else text
