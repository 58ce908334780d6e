"""All benches in one command: ``python -m evals.bench [NAME …] [--json FILE]``.

Every figure that compares is a ratio of two things measured in turn within one run; the machine is described beside
them, and FILE can be kept to compare runs. What this machine lacks for a bench stands in its place.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

_BENCHES = {
    "start": ["evals.bench.bench_start"],
    "memory": ["evals.bench.bench_memory"],
    "scale": ["evals.bench.bench_scale"],
    "array": ["evals.bench.array_summary", "--json"],
    "log": ["evals.bench.bench_log", "--json"],
    "eval": ["evals.bench.bench_eval"],
    "first_call": ["evals.bench.bench_first_call"],
}


def machine() -> dict[str, Any]:
    """What the figures depend on, the load of others included."""
    cpus = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return {
        "time": datetime.now().astimezone().isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "cpu": cpus[0] if cpus else platform.machine(),
        "memory_gib": round(memory / 1024**2, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "slurm": _slurm(),
        "load": [round(load, 2) for load in os.getloadavg()],
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _slurm() -> str | None:
    if not shutil.which("squeue"):
        return None
    done = subprocess.run(["squeue", "--version"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def bench(name: str) -> dict[str, Any]:
    """One bench in a process of its own; its own complaint where it cannot run here."""
    done = subprocess.run([sys.executable, "-m", *_BENCHES[name]], capture_output=True, text=True, check=False)
    if done.returncode:
        return {"not_measured": (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]}
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m evals.bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(_BENCHES)} (all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in _BENCHES]:
        parser.error(f"no bench {', '.join(unknown)}; there are: {', '.join(_BENCHES)}")
    found: dict[str, Any] = {"machine": machine()}
    print(json.dumps(found["machine"], indent=2), flush=True)
    for name in options.names or _BENCHES:
        found[name] = bench(name)
        print(f"{name}: {json.dumps(found[name], indent=2)}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
