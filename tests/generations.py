"""Three generations of Slurm as data: what each said to both backends of tests/world.py's jobs and of its refusals.

``scripts/generations record`` makes ``recordings/generations/VERSION/`` by running this module on that Slurm. A file
holds where it comes from, the jobs' ids, and the exchanges: commands with exit status and output, or requests to
slurmrestd with status and body. Bodies are kept whole but for the OpenAPI document, of which the paths alone are read.
"""

from __future__ import annotations

import json
import os
import re
import signal
import tempfile
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import asdict, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from tests import world
from tests.recording import SEPARATOR, Recorder, Replay
from tests.refusals import REFUSALS, Refusal, When
from tools.slurm.backend import Backend
from tools.slurm.cli import CliBackend
from tools.slurm.cli.runner import Answer, Runner
from tools.slurm.errors import SlurmError
from tools.slurm.models import Job, JobQuery
from tools.slurm.rest import RestBackend
from tools.slurm.rest.client import Client, _Raw
from tools.slurm.rest.credentials import Credentials
from tools.slurm.sandbox import Sandbox

FOLDER = Path(__file__).parent / "recordings" / "generations"
DOORS = ("cli", "rest")
Exchanges = list[dict[str, Any]]
_ORDINARY = "daemon"
_MOVING = frozenset({"raw", "elapsed", "priority"})
_NOT_LISTED = frozenset({"stdout", "stderr", "exclusive"})


class OtherUser(Recorder):
    """Commands as a user without rights; kept as that user would type them."""

    @property
    def user(self) -> str:
        return _ORDINARY

    def _run(self, command: Sequence[str], stdin: str, environment: dict[str, str], limit: float) -> Answer:
        become = ["setpriv", f"--reuid={_ORDINARY}", f"--regid={_ORDINARY}", "--clear-groups", *command]
        answer = super()._run(become, stdin, environment, limit)
        self.answers[-1]["command"] = list(command)
        return replace(answer, command=tuple(command))


class RestRecorder(Client):
    """Asks slurmrestd for real and keeps what it said."""

    def __init__(self, url: str, credentials: Credentials) -> None:
        super().__init__(url, credentials)
        self.answers: Exchanges = []

    def _send(self, method: Any, path: str, body: Mapping[str, Any] | None, where: str) -> _Raw:
        raw = super()._send(method, path, body, where)
        self.answers.append({"request": _asked(method, path), "status": raw.status, "type": raw.kind, **_body(raw)})
        return raw


class RestReplay(Client):
    """Answers from a recording; a request that is not in it is an error of the test."""

    def __init__(self, answers: Exchanges) -> None:
        super().__init__("http://recorded", Credentials(environment={}))
        self._answers = {answer["request"]: answer for answer in answers}

    def _send(self, method: Any, path: str, body: Mapping[str, Any] | None, where: str) -> _Raw:
        kept = self._answers[_asked(method, path)]
        data = json.dumps(kept["json"]) if "json" in kept else kept["text"]
        return _Raw(kept["status"], kept["type"], data.encode())


def _asked(method: str, path: str) -> str:
    """The request without what is another at each asking: moments."""
    still = re.sub(r"(start|end)_time=[^&]*", r"\1_time=…", path)
    return f"{method} {still}"


def _body(raw: _Raw) -> dict[str, Any]:
    try:
        found = json.loads(raw.data)
    except ValueError:
        return {"text": raw.data.decode(errors="replace")}
    if isinstance(found, dict) and "paths" in found:
        return {"json": {"paths": {path: {} for path in found["paths"]}}}
    return {"json": found}


def load(generation: str, what: str, door: str) -> dict[str, Any]:
    """The recording ``what`` ("world", "refusals") of a door of a generation ("24.11")."""
    [home] = FOLDER.glob(f"{generation}.*")
    found: dict[str, Any] = json.loads((home / f"{what}-{door}.json").read_text(encoding="utf-8"))
    return found


def replayed(door: str, answers: Exchanges) -> Backend:
    return CliBackend(Replay(answers), separator=SEPARATOR) if door == "cli" else RestBackend(RestReplay(answers))


def facts(backend: Backend, ids: dict[str, str], moment: str) -> dict[str, Any]:
    """Everything that is read of the world, without what differs between two runs of one Slurm: clocks and numbers.

    A job is called by its name in tests/world.py; a moment is only there or not. ``moment``: when it was recorded.
    """
    names = {job_id: name for name, job_id in ids.items()}
    found: dict[str, Any] = {}
    for name, job_id in ids.items():
        # of the job that forges Slurm's lines the commands believe squeue alone
        left = _NOT_LISTED if name == "forged" else frozenset()
        found |= _flat(f"job {name}", backend.job(job_id)[0], names, left)
    for what, rows in (
        ("queue", backend.queue(JobQuery())),
        ("ended", backend.queue(JobQuery(states=("FAILED",)))),
        ("past", backend.history(JobQuery(ids=tuple(ids.values())))),
        ("period", backend.history(_period(backend, moment))),
    ):
        for job in rows:
            found |= _flat(f"{what} {names[job.id.partition('_')[0]]}", job, names, _NOT_LISTED)
    [step] = backend.steps(ids["failed"])
    found |= {"step": (step.name, step.state, step.node_list), "step: exit_code": step.exit_code}
    found["script"] = backend.submitted(ids["failed"]).script.strip()
    return found | _cluster(backend)


def _period(backend: Backend, moment: str) -> JobQuery:
    """Until now; slurmrestd's records are chosen by this machine's clock, which must be where it was."""
    until = datetime.fromisoformat(moment) if isinstance(backend, RestBackend) else None
    return JobQuery(since=datetime(2020, 1, 1), until=until, user="root")


def _cluster(backend: Backend) -> dict[str, Any]:
    usage = backend.usage("user", datetime(2020, 1, 1), datetime(2100, 1, 1))
    found: dict[str, Any] = {
        "cluster": backend.cluster(),
        "licenses": backend.licenses(),
        "reservations": backend.reservations(),
        "rights": [backend.admin_level(user) for user in ("root", _ORDINARY)],
        "coordinated": backend.coordinated_accounts(_ORDINARY),
        "usage": [(row.key, row.jobs) for row in usage],
    }
    skipped = {"raw", "load", "boot_time", "reason_time"}
    kinds: tuple[tuple[str, Iterable[Any]], ...] = (
        ("node", backend.nodes()), ("partition", backend.partitions()), ("qos", backend.qos()),
        ("association", backend.associations("root")),
    )  # fmt: skip
    for kind, rows in kinds:
        for row in rows:
            name = getattr(row, "name", "") or row.account
            told = {key: value for key, value in asdict(row).items() if key not in skipped}
            if kind == "association":  # a set, in whatever order
                told["qos"] = sorted(told["qos"])
            found |= {f"{kind} {name}: {key}": value for key, value in told.items()}
    return found


def _flat(what: str, job: Job, names: Mapping[str, str], left: Set[str]) -> dict[str, Any]:
    told = {one.name: getattr(job, one.name) for one in fields(job) if one.name not in left | _MOVING}
    return {f"{what}: {key}": _told(value, names) for key, value in told.items()}


def _told(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, datetime):
        return "a moment"
    if isinstance(value, str):
        return re.sub(r"\d+", lambda match: names.get(match[0], match[0]), value)
    return value


def record() -> Path:
    """Fill a sandbox of this machine's Slurm and keep what it says; returns the folder of its version."""
    with tempfile.TemporaryDirectory(prefix="generation") as folder:
        box = Sandbox(Path(folder) / "box", name="generation")
        try:
            box.up(accounting=True, rest=True)
            bed = Bed(box)
            ids = world.make(bed.backend("cli")[0], folder)
            moment = datetime.now().isoformat(timespec="seconds")
            kept = {door: _recorded(bed, door, ids, moment) for door in DOORS}
            version = "{}.{:02d}.{}".format(*bed.backend("cli")[0].version())
            refused = bed.refusals(ids)
        finally:
            box.down(remove=True)
    home = FOLDER / version
    home.mkdir(parents=True, exist_ok=True)
    for door in DOORS:
        told = {"provenance": _provenance(version, moment), "ids": ids}
        for name, content in (("world", {"answers": kept[door]}), ("refusals", _folded(refused[door]))):
            text = json.dumps(told | content, indent=1, ensure_ascii=False).replace(folder, "/home/user")
            (home / f"{name}-{door}.json").write_text(text + "\n", encoding="utf-8")
    return home


class Bed:
    """A sandbox, and backends that keep what it says."""

    def __init__(self, box: Sandbox) -> None:
        self.box = box
        told = box.env()
        self.environment = {"PATH": os.environ["PATH"], "SLURM_CONF": str(box.conf)}
        self.url, self.token = told["SLURMRESTD_URL"], told["SLURMRESTD_TOKEN"]

    def backend(self, door: str, when: When = "up") -> tuple[Backend, Exchanges]:
        if door == "cli":
            runner = OtherUser(self.environment) if when == "ordinary" else Recorder(self.environment)
            return CliBackend(runner, separator=SEPARATOR), runner.answers
        token = "a.b.c" if when == "bad token" else self.token
        user = _ORDINARY if when == "ordinary" else "root"
        client = RestRecorder(self.url, Credentials(user=user, environment={"SLURM_JWT": token}))
        return RestBackend(client), client.answers

    def refusals(self, ids: dict[str, str]) -> dict[str, dict[str, Exchanges]]:
        """Every refusal by both doors, in an order in which none disturbs the next."""
        Runner(self.environment).write(["sacctmgr", "-i", "modify", "qos", "small", "set", "Flags=DenyOnLimit"])
        found: dict[str, dict[str, Exchanges]] = {door: {} for door in DOORS}
        for when in ("up", "ordinary", "bad token", "no controller", "no accounting"):
            if when == "no controller":
                self.box.stop_controller()
            if when == "no accounting":
                self.box.start_controller()
                os.kill(self.box.status().daemons["slurmdbd"], signal.SIGKILL)
            for refusal in REFUSALS:
                for door in refusal.doors if refusal.when == when else ():
                    found[door][refusal.name] = self._refused(refusal, door, ids)
        return found

    def _refused(self, refusal: Refusal, door: str, ids: dict[str, str]) -> Exchanges:
        backend, answers = self.backend(door, refusal.when)
        try:
            refusal.act(backend, ids)
            print(f"{door}: {refusal.name}: not refused")
        except SlurmError as error:
            if (type(error), error.code, error.transient) != (refusal.error, refusal.code, refusal.transient):
                print(f"{door}: {refusal.name}: {type(error).__name__} {error.code} {error.transient}: {error}")
        return answers


def _recorded(bed: Bed, door: str, ids: dict[str, str], moment: str) -> Exchanges:
    backend, answers = bed.backend(door)
    facts(backend, ids, moment)
    if door == "cli":
        world.check(backend, ids)
    else:
        backend.version()
    return list({json.dumps(one.get("command") or one["request"]): one for one in answers}.values())


def _folded(scenes: Mapping[str, Exchanges]) -> dict[str, Any]:
    """Each exchange once; a refusal names its own by their places."""
    places: dict[str, int] = {}
    found: dict[str, list[int]] = {}
    for name, answers in scenes.items():
        found[name] = [places.setdefault(json.dumps(one), len(places)) for one in answers]
    return {"answers": [json.loads(one) for one in places], "refusals": found}


def _provenance(version: str, moment: str) -> dict[str, str]:
    system = re.search(r'PRETTY_NAME="(.*)"', Path("/etc/os-release").read_text(encoding="utf-8"))
    return {
        "slurm": version,
        "system": system[1] if system else "",
        "date": moment,
        "made_by": "scripts/generations record, which runs python -m tests.generations in the sandbox of "
        "tools/slurm/sandbox with accounting and slurmrestd",
    }


if __name__ == "__main__":
    print(record())
