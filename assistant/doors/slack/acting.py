"""Acting as the person who asked, so that Slurm judges by that user's rights.

Where slurmrestd is the way, its requests carry that user's name and token. Otherwise Slurm's commands run as that user.

The service itself has none: as root it changes the user id of each command, otherwise it needs the sudo rule of the
guide (``sudo -n -u USER -- COMMAND``, sudo(8)). A command sees a clean environment, never the service's secrets.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from assistant import app
from assistant.app import current_user
from assistant.config import Settings
from assistant.errors import RequestRefused
from assistant.ledger.done import Done
from assistant.ledger.execute import LedgerExecutor
from tools.base import Call, Caller, ToolContext
from tools.slurm.backend import Backend
from tools.slurm.cli import CliBackend
from tools.slurm.cli.runner import Answer, Runner

_WHERE_SLURM_IS = ("SLURM_CONF", "SLURM_CONF_SERVER")
_PATH = "/usr/local/bin:/usr/bin:/bin"


class AsUser(Runner):
    """Runs Slurm's commands as ``user``."""

    def __init__(self, user: str, slurm_conf: Path | None = None) -> None:
        super().__init__(environment_of(user) | ({"SLURM_CONF": str(slurm_conf)} if slurm_conf else {}))
        self._user = user
        self._become = become(user)

    @property
    def user(self) -> str:
        """Whose jobs are looked up when the answer to a submission was lost."""
        return self._user

    def _run(self, command: Sequence[str], stdin: str, environment: dict[str, str], limit: float) -> Answer:
        return super()._run([*self._become, *command], stdin, environment, limit)


def become(user: str) -> list[str]:
    """What stands before a command so that it runs as ``user``: nothing where this process is that user."""
    if user == current_user():
        return []
    if os.geteuid() == 0:
        group = pwd.getpwnam(user).pw_gid
        return ["setpriv", f"--reuid={user}", f"--regid={group}", "--init-groups", "--"]
    return ["sudo", "-n", "-u", user, "--"]


def environment_of(user: str) -> dict[str, str]:
    """What a command of that user sees: sbatch hands it on to the job. The service's own variables stay out."""
    entry = pwd.getpwnam(user)
    own = {"HOME": entry.pw_dir, "USER": user, "LOGNAME": user, "SHELL": entry.pw_shell or "/bin/sh"}
    kept = {name: os.environ[name] for name in _WHERE_SLURM_IS if name in os.environ}
    return {"PATH": os.environ.get("PATH", _PATH), "LANG": "C.UTF-8", **own, **kept}


def backend(user: str, settings: Settings) -> Backend:
    """The way to Slurm that the settings name, as ``user``. Raises InvalidRequest."""
    way = app.backend(settings, user)
    return CliBackend(AsUser(user, settings.slurm_conf)) if isinstance(way, CliBackend) else way


def context(user: str, settings: Settings) -> Callable[[], ToolContext]:
    """The cluster as that user sees it, with the rights that Slurm gives them, and the clock, anew for each call."""
    slurm = backend(user, settings)
    known: list[Caller] = []

    def make() -> ToolContext:
        if not known:
            known.append(Caller(user, slurm.admin_level(user), slurm.coordinated_accounts(user)))
        return ToolContext(slurm, known[0], datetime.now())

    return make


def executors(base: LedgerExecutor, settings: Settings) -> Callable[[str], LedgerExecutor]:
    """A ledger for a user, made anew for each request, on the journal and the policy of ``base``."""
    from tools.slurm.shared import Manners

    manners = Manners()

    def make(user: str) -> LedgerExecutor:
        return app.served(base, manners, backend(user, settings), user)

    return make


@dataclass(frozen=True)
class AtHome:
    """Carries calls out from the person's home directory: a channel has no current one. ``say`` tells of progress."""

    inner: LedgerExecutor
    user: str
    say: Callable[[str], None]

    def run(self, request: str, calls: tuple[Call, ...], *, run: str = "") -> tuple[str, tuple[Done, ...]]:
        """As the ledger's. Raises RequestRefused for a script that is not the person's to read."""
        self.say(f"running {', '.join(dict.fromkeys(call.tool for call in calls))} …")
        return self.inner.run(request, tuple(self.at_home(call) for call in calls), run=run)

    def at_home(self, call: Call) -> Call:
        """A submission with its paths as seen from home. Raises RequestRefused."""
        if call.tool != "submit_job":
            return call
        home = pwd.getpwnam(self.user).pw_dir
        arguments = {**call.arguments, "working_directory": _inside(home, call.arguments.get("working_directory"))}
        script = str(arguments.get("script") or "")
        if script and not script.startswith("#!"):
            arguments["script"] = _inside(arguments["working_directory"], script, home)
            self._check(Path(arguments["script"]))
        return replace(call, arguments=arguments)

    def _check(self, script: Path) -> None:
        """The process may be able to read more than the person may."""
        if self.user == current_user() or not script.is_file():
            return
        found = script.stat()
        if found.st_uid != pwd.getpwnam(self.user).pw_uid and not found.st_mode & stat.S_IROTH:
            raise RequestRefused(f"{self.user} may not read the script {script}", "give one of your own")


def _inside(folder: str, path: object, home: str = "") -> str:
    """``path`` as seen from ``folder``; ``~`` is the person's home, never the service's."""
    text = str(path or "")
    if text == "~" or text.startswith("~/"):
        text = (home or folder) + text[1:]
    return os.path.join(folder, text) if text else folder
