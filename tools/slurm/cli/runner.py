"""Run one Slurm command: an argument list, a clean environment, a deadline, and an error that says what happened."""

from __future__ import annotations

import getpass
import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tools.slurm.errors import AccountingUnavailable, InvalidRequest, OutcomeUnknown, SlurmUnreachable
from tools.slurm.failures import REMEDY, failure, said

READ_SECONDS = 30.0
WRITE_SECONDS = 60.0
# Variables that change what the commands print, choose or do (squeue(1), sbatch(1) … ENVIRONMENT VARIABLES).
_STEERING = (
    "SLURM_",
    "SQUEUE_",
    "SACCT_",
    "SINFO_",
    "SBATCH_",
    "SCANCEL_",
    "SPRIO_",
    "SREPORT_",
    "SCONTROL_",
    "SALLOC_",
)
_COLUMNS = frozenset({"--Format", "--format", "format", "--delimiter"})
_KEPT = frozenset({"SLURM_CONF", "SLURM_JWT", "SLURM_CONF_SERVER", "SLURM_SACK_KEY", "SLURM_SACK_SOCKET"})


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command said. ``code`` is its exit status, negative where a signal ended it."""

    command: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return said(self.err, self.out)


def option(name: str, value: object) -> str:
    """``--name=value``: one word, so that no value can become an option. Raises ``InvalidRequest`` for a NUL."""
    text = str(value)
    if "\0" in text:
        raise InvalidRequest(f"--{name}: a value cannot hold a NUL character")
    return f"--{name}={text}"


def operand(value: str, what: str) -> str:
    """A word that is no option. Raises ``InvalidRequest`` for an empty one, one with a leading ``-``, or a NUL."""
    if not value or value.startswith("-") or "\0" in value or value != value.strip():
        raise InvalidRequest(f"{value!r} is not a {what}")
    return value


def shell_text(command: Sequence[str], stdin: str = "") -> str:
    """The command as one would type it, its standard input as a here-document; long lists of columns cut short."""
    line = " ".join(_shown(word) for word in command)
    if not stdin:
        return line
    mark = "EOF"
    while f"\n{mark}\n" in f"\n{stdin}\n":
        mark += "_"
    return f"{line} <<'{mark}'\n{stdin.rstrip(chr(10))}\n{mark}"


def _shown(word: str) -> str:
    name, equals, value = word.partition("=")
    return f"{name}=…" if equals and name in _COLUMNS and len(value) > 40 else shlex.quote(word)


def _cannot_run(command: Sequence[str], code: str, why: str) -> SlurmUnreachable:
    return SlurmUnreachable(f"{why} ({REMEDY})", code=code, transient=False, command=command)


class Runner:
    """Runs commands and remembers them. ``environment`` (default: this process's) says where Slurm is: SLURM_CONF."""

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        *,
        read_seconds: float = READ_SECONDS,
        write_seconds: float = WRITE_SECONDS,
    ) -> None:
        self._given = environment
        self._read_seconds = read_seconds
        self._write_seconds = write_seconds
        self.ran: list[str] = []

    @property
    def user(self) -> str:
        """Whose commands they are, and so whose jobs are looked up when an answer was lost."""
        return getpass.getuser()

    def read(self, command: Sequence[str]) -> str:
        """The output of a command that changes nothing. Raises the ``SlurmError`` for what it said on failing."""
        answer = self.ask(command)
        if answer.code != 0:
            raise failure(answer.said, command)
        return answer.out

    def ask(self, command: Sequence[str], stdin: str = "") -> Answer:
        """As :meth:`read`, but a failure of the command is an answer too.

        Raises ``SlurmUnreachable`` (``AccountingUnavailable`` for sacct and sacctmgr) at the deadline.
        """
        environment = self._environment() | {"LC_ALL": "C", "SLURM_TIME_FORMAT": "standard", "SLURM_BITSTR_LEN": "0"}
        try:
            return self._run(command, stdin, environment, self._read_seconds)
        except subprocess.TimeoutExpired as late:
            kind = AccountingUnavailable if command[0] in ("sacct", "sacctmgr") else SlurmUnreachable
            raise kind(
                f"{command[0]} gave no answer in {late.timeout:.0f} s", code="timeout", command=command
            ) from None

    def write(self, command: Sequence[str], stdin: str = "") -> Answer:
        """Run a command that may change the cluster. Its failure is an answer; raises ``OutcomeUnknown`` when there
        is none (deadline, a signal), ``SlurmUnreachable`` when it could not even start.
        """
        try:
            answer = self._run(command, stdin, self._environment(), self._write_seconds)
        except subprocess.TimeoutExpired as late:
            raise OutcomeUnknown(
                f"{command[0]} gave no answer in {late.timeout:.0f} s: it may have done its work or not",
                code="timeout",
                command=command,
            ) from None
        if answer.code < 0:
            raise OutcomeUnknown(
                f"{command[0]} was killed by signal {-answer.code}: it may have done its work or not",
                code="killed",
                command=command,
            )
        return answer

    def _run(self, command: Sequence[str], stdin: str, environment: dict[str, str], limit: float) -> Answer:
        # Slurm's commands would wait a minute for a configuration that is not there.
        configuration = environment.get("SLURM_CONF")
        if configuration and not os.path.isfile(configuration):
            raise _cannot_run(command, "no_configuration", f"SLURM_CONF names {configuration}, which is not there")
        self.ran.append(shell_text(command, stdin))
        try:
            done = subprocess.run(
                list(command), input=stdin.encode(), capture_output=True, env=environment, timeout=limit, check=False
            )
        except OSError as error:
            raise _cannot_run(command, "no_commands", f"{command[0]} cannot be run: {error.strerror}") from None
        return Answer(
            tuple(command), done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        )

    def _environment(self) -> dict[str, str]:
        """Where Slurm is, and nothing that would change what its commands do. sbatch hands it on to the job."""
        source = os.environ if self._given is None else self._given
        return {name: value for name, value in source.items() if name in _KEPT or not name.startswith(_STEERING)}
