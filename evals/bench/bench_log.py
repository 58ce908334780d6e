"""Log diagnosis at size: seconds and memory for a log of one gigabyte, as ratios to merely reading it.

`python -m evals.bench.bench_log [MEGABYTES] [--json]` writes a log of a training run with its first cause in the
middle and a storm of echoes at the end, then prints seconds, the ratio to reading the file once, and the peak memory.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tools.findings import Diagnosis, diagnose_log

_STEP = (
    "2026-05-01 12:00:00,{ms:03d} INFO [rank{rank}] step {n} loss 2.31{n} lr 1e-4 tokens/s 10234 grad_norm 0.53 "
    "memory 71.3GB eta 3:21:11\n"
)
_CAUSE = "[rank3]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 3 has 1.31 GiB free.\n"
_ECHO = (
    "[rank{rank}]:[E501 14:02:08.4 ProcessGroupNCCL.cpp:607] [Rank {rank}] Watchdog caught collective operation "
    "timeout: WorkNCCL(SeqNum=1580, OpType=ALLREDUCE, Timeout(ms)=600000)\n"
)


@dataclass(frozen=True, slots=True)
class Measured:
    """seconds of the diagnosis, seconds of reading the file once, and the process's peak memory in MiB."""

    diagnosis: Diagnosis
    seconds: float
    reading: float
    peak_mib: float


def write_log(path: Path, megabytes: int) -> None:
    """Write a log of about this size whose first cause lies half-way."""
    block = "".join(_STEP.format(ms=n % 1000, rank=n % 8, n=n) for n in range(8000)).encode()
    blocks = max(2, megabytes * 1_000_000 // len(block))
    with path.open("wb") as log:
        for number in range(blocks):
            if number == blocks // 2:
                log.write(_CAUSE.encode())
            log.write(block)
        log.write("".join(_ECHO.format(rank=n % 8) for n in range(2000)).encode())


def measure(path: Path) -> Measured:
    """Read the file once, then diagnose it."""
    started = time.perf_counter()
    with path.open("rb") as log:
        while log.read(1 << 20):
            pass
    reading = time.perf_counter() - started
    started = time.perf_counter()
    diagnosis = diagnose_log(path)
    seconds = time.perf_counter() - started
    return Measured(diagnosis, seconds, reading, _peak_mib())


def _peak_mib() -> float:
    """VmHWM of proc(5): unlike getrusage's, it does not begin with the parent's peak."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main(arguments: list[str] | None = None) -> None:
    """Print one line of figures."""
    parser = argparse.ArgumentParser(prog="python -m evals.bench.bench_log", description="Bench the log analysers.")
    parser.add_argument("megabytes", nargs="?", type=int, default=1000, help="size of the log (default: 1000)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    megabytes = options.megabytes
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.log"
        write_log(path, megabytes)
        found = measure(path)
    if options.json:
        figures = {"ratio": found.seconds / found.reading, "seconds": found.seconds, "peak_mib": found.peak_mib}
        print(json.dumps({"megabytes": megabytes, **figures, "label": found.diagnosis.label}))
        return
    print(
        f"{megabytes} MB: {found.seconds:.2f} s ({found.seconds / found.reading:.1f} × reading it), "
        f"peak {found.peak_mib:.0f} MiB, first cause {found.diagnosis.label}"
    )


if __name__ == "__main__":
    main()
