"""Look at and empty the sandbox's queue, nodes, partitions and reservations with Slurm's own commands."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping

from tools.slurm.sandbox.errors import SandboxError
from tools.slurm.sandbox.programs import run


def node_states(env: Mapping[str, str]) -> dict[str, str]:
    """Node -> sinfo's long state, for example `idle`, `mixed`, `drained`, `down*` (sinfo(1), NODE STATE CODES)."""
    lines = run(["sinfo", "-h", "-a", "-N", "-o", "%N %T"], env, timeout=10).splitlines()
    pairs = (line.partition(" ") for line in lines)
    return {name: state for name, _, state in sorted(pairs) if name}


def answers(state: str) -> bool:
    """True for a node that slurmctld hears: no `*` (not responding), not unknown, not down."""
    return not state.endswith("*") and not state.startswith(("unknown", "down", "inval", "future"))


def job_ids(env: Mapping[str, str]) -> list[str]:
    """Every job that is pending, running or completing; an array or a heterogeneous job counts once."""
    said = run(["squeue", "-h", "-a", "-o", "%F"], env)
    return list(dict.fromkeys(said.split()))


def cancel_all(env: Mapping[str, str]) -> None:
    """Ask for the end of every job; they may still be completing afterwards."""
    ids = job_ids(env)
    for start in range(0, len(ids), 200):
        run(["scancel", "--quiet", *ids[start : start + 200]], env)


def wait_empty(env: Mapping[str, str], seconds: float) -> None:
    """Return when no job is left. Raises SandboxError with the ids that stay."""
    deadline = time.monotonic() + seconds
    while left := job_ids(env):
        if time.monotonic() > deadline:
            raise SandboxError(f"jobs {', '.join(left)} are still there {seconds:.0f} s after they were cancelled")
        time.sleep(0.05)


def delete_reservations(env: Mapping[str, str]) -> None:
    """Delete every reservation."""
    for line in run(["scontrol", "-o", "show", "reservation"], env).splitlines():
        if line.startswith("ReservationName="):
            name = line.split()[0].partition("=")[2]
            run(["scontrol", "delete", f"ReservationName={name}"], env)


def open_partitions(env: Mapping[str, str]) -> None:
    """Set every partition that is down, drained or inactive to up."""
    for line in run(["sinfo", "-h", "-a", "-o", "%R %a"], env).splitlines():
        name, state = line.split()
        if state != "up":
            run(["scontrol", "update", f"PartitionName={name}", "State=UP"], env)


def resume_nodes(env: Mapping[str, str]) -> None:
    """Take nodes out of drain, down and maintenance that an administrator or a fault put there."""
    sick = [
        name for name, state in node_states(env).items() if not state.startswith(("idle", "mixed", "alloc", "comp"))
    ]
    for name in sick:
        try:
            run(["scontrol", "update", f"NodeName={name}", "State=RESUME"], env)
        except SandboxError as refused:
            # A node that just came back by itself cannot be resumed; that is what was wanted.
            if "Invalid node state" not in str(refused):
                raise


def wait_nodes(
    env: Mapping[str, str], names: Collection[str], seconds: float, check: Callable[[], None] = lambda: None
) -> None:
    """Return when slurmctld hears these nodes. Raises SandboxError naming those it does not hear, and why.

    ``check`` is called in between: it raises when there is nothing left to wait for.
    """
    deadline = time.monotonic() + seconds
    while silent := {name: state for name, state in node_states(env).items() if name in names and not answers(state)}:
        check()
        if any(state in ("down", "inval") for state in silent.values()):
            resume_nodes(env)
        if time.monotonic() > deadline:
            listing = ", ".join(f"{name} is {state}" for name, state in silent.items())
            why = run(["sinfo", "-h", "-R", "-o", "%N: %E"], env).strip() or "Slurm gives no reason"
            raise SandboxError(f"after {seconds:.0f} s {listing} ({'; '.join(why.splitlines())})")
        time.sleep(0.1)
