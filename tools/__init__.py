"""The toolkit: knows Slurm, knows no model. A new tool is one class, and one line in ``TOOLS``."""

from __future__ import annotations

from tools.accounting import ShowLimits, UsageReport
from tools.base import Tool
from tools.control import CancelJobs, ControlJobs
from tools.diagnose import DiagnoseJob
from tools.estimate import EstimateStart
from tools.jobs import ListJobs, ReadJobLog, ShowJob
from tools.maintenance import DrainNode, ResumeNode
from tools.nodes import ClusterStatus, DiagnoseNode, ShowNode
from tools.resize import ResizeJob, UpdateJob
from tools.submit import SubmitJob

TOOLS: tuple[Tool, ...] = (
    SubmitJob(),
    ListJobs(),
    ShowJob(),
    ReadJobLog(),
    CancelJobs(),
    ControlJobs(),
    ResizeJob(),
    UpdateJob(),
    DiagnoseJob(),
    EstimateStart(),
    ClusterStatus(),
    ShowNode(),
    DiagnoseNode(),
    DrainNode(),
    ResumeNode(),
    UsageReport(),
    ShowLimits(),
)

BY_NAME: dict[str, Tool] = {tool.name: tool for tool in TOOLS}
