"""Start-up and prompt, as ratios within one run: `sask --help` against a bare typer hello, `sask call` against squeue.

python -m evals.bench.bench_start [RUNS]      (the second needs a Slurm: eval "$(sask sandbox env)")
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import time

HELLO = "import typer\napp = typer.Typer()\n@app.command()\ndef hello() -> None: print('hello')\napp()"


def median_seconds(argv: list[str], runs: int) -> float:
    """Wall time of a whole process, the median of ``runs`` after one that warms up."""
    taken = []
    for _ in range(runs + 1):
        started = time.perf_counter()
        subprocess.run(argv, capture_output=True, check=False)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[1:])


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    hello = median_seconds([sys.executable, "-c", HELLO], runs)
    sask = [sys.executable, "-m", "assistant.doors.cli"]
    helped = median_seconds([*sask, "--help"], runs)
    print(f"typer hello {hello:.3f} s; sask --help {helped:.3f} s; ratio {helped / hello:.2f}")
    if shutil.which("squeue"):
        queue = median_seconds(["squeue"], runs)
        listed = median_seconds([*sask, "call", "list_jobs"], runs)
        print(f"squeue {queue:.3f} s; sask call list_jobs {listed:.3f} s; {(listed - queue) / hello:.2f} hellos more")


if __name__ == "__main__":
    main()
