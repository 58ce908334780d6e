"""The harness's own speed against an endpoint of 100 ms, as shares of the ideal; inspect_ai on the same, where given.

python -m evals.bench.bench_eval [--cases 1000] [--concurrency 64] [--rounds 3] [--inspect PYTHON]

``ours`` is a whole ``sask eval run``: prompt, narrowed schema, HTTP, the ladder, the score, a flushed line, the run
read back. ``pool`` is the same threads and client with a fixed body and nothing else: what is left to win. ``judged``
is our work on a case without any waiting. PYTHON is an interpreter that has inspect_ai and openai. JSON on standard
output; the ratios are what can be compared between machines.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evals.options import Options
from evals.pool import each
from evals.runner import run

LATENCY = 0.1
INSPECT = """
import sys, time
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import get_model
from inspect_ai.scorer import match
from inspect_ai.solver import generate
url, cases, concurrency, logs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
samples = [Sample(input=f"show job {7000 + n}", target=str(7000 + n)) for n in range(cases)]
model = get_model("openai-api/mock/mock", base_url=url + "/v1", api_key="none")
started = time.perf_counter()
eval(Task(dataset=samples, solver=generate(), scorer=match("any")), model=model, max_connections=concurrency,
     max_samples=concurrency, display="none", log_dir=logs)
print(time.perf_counter() - started)
"""


@contextmanager
def endpoint(latency: float) -> Iterator[str]:
    """The URL of a mock endpoint that lives as long as the block."""
    command = [sys.executable, "-m", "evals.bench.mock_endpoint", str(latency)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        try:
            yield server.stdout.readline().strip()
        finally:
            server.communicate()


def ours(url: str, cases: int, concurrency: int) -> float:
    """Seconds of a whole run."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cases.jsonl"
        path.write_text("".join(json.dumps(_case(7000 + n)) + "\n" for n in range(cases)), encoding="utf-8")
        options = Options(datasets=(str(path),), model=url, concurrency=concurrency)
        started = time.perf_counter()
        done = run(options, Path(folder) / "run")
        seconds = time.perf_counter() - started
    if len(done.scored) != cases or not all(record.score and record.score.exact for record in done.scored):
        raise SystemExit(f"{len(done.scored)} of {cases} were answered, or not all of them rightly: no figure")
    return seconds


def _case(job: int) -> dict[str, Any]:
    expect = {"tool": "show_job", "arguments": {"job_id": str(job)}}
    return {"id": str(job), "category": "show_job", "request": f"show job {job}", "expect": expect}


def pool(url: str, cases: int, concurrency: int) -> float:
    """Seconds of the threads and the client alone."""
    import httpx

    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    with httpx.Client(base_url=url, limits=limits, trust_env=False) as client:
        body = {"messages": [{"role": "user", "content": "show job 7"}]}
        started = time.perf_counter()
        list(each(range(cases), lambda n: client.post("/v1/chat/completions", json=body).json(), concurrency))
        return time.perf_counter() - started


def inspect(python: str, url: str, cases: int, concurrency: int) -> float:
    """Seconds of inspect_ai's ``eval``, without its imports."""
    with tempfile.TemporaryDirectory() as folder:
        words = [python, "-c", INSPECT, url, str(cases), str(concurrency), folder]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{python} could not run inspect_ai: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout.split()[-1])


def measure(take: Callable[[str, int, int], float], options: argparse.Namespace, latency: float) -> float:
    """Median seconds of some rounds after a short one that warms up."""
    with endpoint(latency) as url:
        take(url, 2 * options.concurrency, options.concurrency)
        return statistics.median(take(url, options.cases, options.concurrency) for _ in range(options.rounds))


def figures(seconds: float, cases: int, concurrency: int) -> dict[str, float]:
    ideal = cases / concurrency * LATENCY
    overhead = (seconds - ideal) / cases * 1000
    return {
        "seconds": round(seconds, 3),
        "share_of_ideal": round(ideal / seconds, 3),
        "overhead_ms_per_case": round(overhead, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--inspect", metavar="PYTHON", help="an interpreter that has inspect_ai and openai")
    options = parser.parse_args()
    size = (options.cases, options.concurrency)
    found: dict[str, Any] = {"cases": size[0], "concurrency": size[1], "latency_s": LATENCY}
    mine = measure(ours, options, LATENCY)
    found["pool"] = figures(measure(pool, options, LATENCY), *size)
    found["ours"] = figures(mine, *size)
    found["judged"] = {"ms_per_case": round(measure(ours, options, 0.0) / options.cases * 1000, 3)}
    if options.inspect:
        theirs = measure(lambda *words: inspect(options.inspect, *words), options, LATENCY)
        found["inspect_ai"] = figures(theirs, *size) | {"times_ours": round(theirs / mine, 1)}
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
