"""Start-up as ratios within one run: `sask --help` against a bare typer hello, `sask call` against squeue; imports.

python -m evals.bench.bench_start [RUNS]                     prints one JSON document

``help_ratio`` is the time of ``sask --help`` to that of a bare typer hello. ``call_hellos`` is how many hellos
``sask call list_jobs`` takes more than ``squeue``; it needs a Slurm (eval "$(sask sandbox env)"). All processes take
turns within one run, after a round that warms up and leaves bytecode; each figure is a median. ``heavy`` are modules
that ``sask --help`` has no use for and loads all the same, ``imports`` the slowest of what ``sask call`` loads.
"""

from __future__ import annotations

import json
import re
import shutil
import statistics
import subprocess
import sys
import time
from typing import Any

HELLO = "import typer\napp = typer.Typer()\n@app.command()\ndef hello() -> None: print('hello')\napp()"
HELP_RATIO, CALL_HELLOS = 1.3, 1.5
HEAVY = (
    "httpx", "pydantic", "rich", "dateparser", "sqlalchemy", "jinja2", "stamina", "prometheus_client", "jsonschema",
    "detect_secrets", "regex", "ClusterShell", "asyncio",
)  # fmt: skip
_SASK = [sys.executable, "-m", "assistant.doors.cli"]
_IMPORT = re.compile(r"import time:\s*(\d+) \|\s*(\d+) \| (\s*)(\S+)")


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    commands = {"hello": [sys.executable, "-c", HELLO], "help": [*_SASK, "--help"]}
    if has_slurm():
        commands |= {"squeue": ["squeue"], "call": [*_SASK, "call", "list_jobs", "--json", "{}"]}
    print(json.dumps(figures(seconds(commands, runs)), indent=2))


def has_slurm() -> bool:
    return bool(shutil.which("squeue")) and subprocess.run(["squeue"], capture_output=True, check=False).returncode == 0


def seconds(commands: dict[str, list[str]], runs: int) -> dict[str, float]:
    """Wall time of whole processes, which take turns: the median of ``runs`` rounds after one that warms up."""
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs + 1):
        for name, argv in commands.items():
            started = time.perf_counter()
            subprocess.run(argv, capture_output=True, check=True)
            taken[name].append(time.perf_counter() - started)
    return {name: statistics.median(times[1:]) for name, times in taken.items()}


def figures(took: dict[str, float]) -> dict[str, Any]:
    ratio = took["help"] / took["hello"]
    found: dict[str, Any] = {
        "ms": {name: round(1000 * value, 1) for name, value in took.items()},
        "help_ratio": round(ratio, 3),
        "help_ok": ratio <= HELP_RATIO,
        "heavy": heavy(),
    }
    if "call" in took:
        hellos = (took["call"] - took["squeue"]) / took["hello"]
        profile = imports("call", "list_jobs", "--json", "{}")
        found |= {"call_hellos": round(hellos, 3), "call_ok": hellos <= CALL_HELLOS, "imports": slowest(profile)}
    return found


def heavy() -> list[str]:
    """Of :data:`HEAVY`, what ``sask --help`` loads."""
    loaded = {name.partition(".")[0] for name, _, _ in imports("--help")}
    return [name for name in HEAVY if name in loaded]


def imports(*words: str) -> list[tuple[str, int, int]]:
    """(module, microseconds of its own, microseconds with what it imports) of one ``sask`` process."""
    argv = [sys.executable, "-X", "importtime", "-m", "assistant.doors.cli", *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return [(found[4], int(found[1]), int(found[2])) for found in _IMPORT.finditer(done.stderr)]


def slowest(profile: list[tuple[str, int, int]], most: int = 12) -> dict[str, float]:
    """Milliseconds of the packages themselves, what they import from other packages apart."""
    sums: dict[str, int] = {}
    for name, own, _ in profile:
        package = name.partition(".")[0]
        sums[package] = sums.get(package, 0) + own
    ordered = sorted(sums.items(), key=lambda pair: -pair[1])[:most]
    return {name: round(own / 1000, 1) for name, own in ordered}


if __name__ == "__main__":
    main()
