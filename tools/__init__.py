"""The toolkit: knows Slurm, knows no model. A new tool is one class, and one line in ``_CLASSES``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tools.base import Tool

    TOOLS: tuple[Tool, ...]

_CLASSES = {
    "submit_job": ("tools.submit", "SubmitJob"),
    "list_jobs": ("tools.jobs", "ListJobs"),
    "show_job": ("tools.jobs", "ShowJob"),
    "read_job_log": ("tools.jobs", "ReadJobLog"),
    "cancel_jobs": ("tools.control", "CancelJobs"),
    "control_jobs": ("tools.control", "ControlJobs"),
    "resize_job": ("tools.resize", "ResizeJob"),
    "update_job": ("tools.resize", "UpdateJob"),
    "diagnose_job": ("tools.diagnose", "DiagnoseJob"),
    "estimate_start": ("tools.estimate", "EstimateStart"),
    "cluster_status": ("tools.nodes", "ClusterStatus"),
    "show_node": ("tools.nodes", "ShowNode"),
    "diagnose_node": ("tools.nodes", "DiagnoseNode"),
    "drain_node": ("tools.maintenance", "DrainNode"),
    "resume_node": ("tools.maintenance", "ResumeNode"),
    "usage_report": ("tools.accounting", "UsageReport"),
    "show_limits": ("tools.accounting", "ShowLimits"),
}


@cache
def _made(name: str) -> Tool:
    module, called = _CLASSES[name]
    tool: Tool = getattr(import_module(module), called)()
    return tool


class _Tools(Mapping[str, "Tool"]):
    """Names to tools; a tool is imported when it is asked for, because one call needs one of them."""

    def __getitem__(self, name: str) -> Tool:
        return _made(name)

    def __contains__(self, name: object) -> bool:
        return name in _CLASSES

    def __iter__(self) -> Iterator[str]:
        return iter(_CLASSES)

    def __len__(self) -> int:
        return len(_CLASSES)

    def __or__(self, others: Mapping[str, Tool]) -> dict[str, Tool]:
        return {**self, **others}


BY_NAME = _Tools()


def __getattr__(name: str) -> tuple[Tool, ...]:
    if name == "TOOLS":
        return tuple(BY_NAME.values())
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
