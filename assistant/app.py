"""The only place that wires objects: settings in, an agent (or a part of one) out."""

from __future__ import annotations

import logging
import os
import pwd
import shlex
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from assistant.config import Settings, load
from assistant.errors import ConfigError
from assistant.foreign.offered import offered
from assistant.ledger.approval import Approver, DenyAll
from assistant.ledger.carry import Ledger, Progress, no_progress
from assistant.ledger.execute import LedgerExecutor
from assistant.ledger.journal import Journal
from assistant.ledger.policy import Policy, refuse
from assistant.ledger.redact import fence
from assistant.loop.action import Action
from assistant.loop.agent import Agent
from assistant.loop.decide import Capabilities, Decider, Decision
from assistant.loop.model import Message, OpenAIModel
from assistant.loop.said import Said
from tools import BY_NAME
from tools.base import Caller, Tool, ToolContext
from tools.slurm.backend import Backend
from tools.slurm.errors import InvalidRequest, SlurmError
from tools.slurm.rest import backend_for, user_of
from tools.telemetry.model import Sources

if TYPE_CHECKING:
    from tools.slurm.shared import Manners

Say = Callable[[str], None]


def silent(text: str) -> None:
    """Nobody wants to hear."""


@dataclass(frozen=True)
class Planner:
    """Requests to decisions, with nothing carried out and no cluster asked."""

    decider: Decider

    def __call__(
        self, request: str, *, user: str = "me", is_admin: bool = False, now: datetime | None = None
    ) -> Decision:
        """A decision in which calls that the caller may not make have become a refusal."""
        decision = self.decider.decide(Said(request, (), now or datetime.now()), [{"role": "user", "content": request}])
        caller = Caller(user, "administrator" if is_admin else "none")
        refusals = [why for call in decision.action.calls if (why := refuse(call, caller))]
        return replace(decision, action=Action(reply=refusals[0])) if refusals else decision


def planner(settings: Settings, say: Say = silent) -> Planner:
    return Planner(decider(settings, say))


def decider(settings: Settings, say: Say = silent, tools: Mapping[str, Tool] | None = None) -> Decider:
    """The model that the settings name, with the prompt and the abilities that go with it. The bundled one knows the
    tools of Slurm by heart and no others; ``tools`` are those of the executor, where there is one."""
    if settings.model == "embedded":
        return _embedded(settings, say)
    if not _is_url(settings.model):
        raise ConfigError(
            f"model {settings.model!r} is neither `embedded` nor a URL",
            "sask --model http://host:8000 …, or leave it out for the bundled model",
        )
    from assistant.serving.embedded.engine import MODEL

    model = _remote(settings)
    if model.model == MODEL:  # the bundled weights, whoever serves them
        return _tuned(replace(model, max_tokens=512))
    tools = offered(settings) if tools is None else tools
    return Decider(model, tools, partial(_full_prompt, tools=tools))


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def _embedded(settings: Settings, say: Say) -> Decider:
    from assistant.serving.embedded.engine import MODEL, EmbeddedEngine

    url = EmbeddedEngine().start(say)
    return _tuned(OpenAIModel(url, MODEL, timeout=settings.timeout, max_tokens=512))


def _tuned(model: OpenAIModel) -> Decider:
    """The bundled weights: the short prompt that they were trained with, one step at a time, no prose."""
    from assistant.serving.embedded.prompt import messages

    can = Capabilities(writes=False, several_steps=False)
    return Decider(model, BY_NAME, lambda said, history: messages(said.request, said.about), can)


def _remote(settings: Settings) -> OpenAIModel:
    _quiet_retries()
    key = _key(settings.api_key_file)
    url = settings.model.rstrip("/").removesuffix("/v1")
    extra = {"chat_template_kwargs": settings.chat_template_kwargs} if settings.chat_template_kwargs else {}
    ca_file = str(settings.ca_file.expanduser()) if settings.ca_file else ""
    model = OpenAIModel(
        url, settings.model_name, key, settings.timeout, settings.max_tokens, settings.temperature, extra, ca_file
    )
    return model if settings.model_name else replace(model, model=model.first_model())


def _quiet_retries() -> None:
    """stamina logs each retry as a warning; what comes of it is told by us, once."""
    logging.getLogger("stamina").addHandler(logging.NullHandler())


def _key(path: Path | None) -> str:
    """The key in that file, else in ``SASK_API_KEY``. Raises ConfigError; never shows what is in it."""
    if path is None:
        return os.environ.get("SASK_API_KEY", "")
    try:
        return path.expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"api_key_file {path} cannot be read: {error}", "see `sask config`") from None


def _full_prompt(said: Said, history: list[Message], *, tools: Mapping[str, Tool] = BY_NAME) -> list[Message]:
    """The stable system part first, so that a server's prefix cache serves it; clock and subject come last."""
    about = f"; this is about\n{fence(', '.join(said.about)[:12_000], 'what was spoken of')}\n" if said.about else ""
    return [
        {"role": "system", "content": _system_prompt(tuple(tools.values()))},
        *history,
        {"role": "user", "content": f"(It is {said.now:%A %Y-%m-%dT%H:%M}{about}. Answer with one JSON object.)"},
    ]


def system_prompt(names: tuple[str, ...]) -> str:
    """The stable part of the full prompt, with these tools described."""
    return _system_prompt(tuple(map(BY_NAME.__getitem__, names)))


@cache
def _system_prompt(tools: tuple[Tool, ...]) -> str:
    from prompts import render

    described = [
        {
            "name": tool.name,
            "effect": str(tool.effect),
            "description": tool.description,
            "schema": tool.schema()["properties"],
            "examples": tool.examples,
        }
        for tool in tools
    ]
    return render("system.md.j2", tools=described)


def current_user() -> str:
    """The Unix user of this process, whatever the environment says."""
    return pwd.getpwuid(os.geteuid()).pw_name


def backend(settings: Settings, user: str = "") -> Backend:
    """The way to Slurm that the settings name; slurmrestd's package is loaded where it is the way.

    ``user``: as that user, which slurmrestd takes from their own token or from SlurmUser's (JWT Authentication,
    slurm.schedmd.com/jwt.html). Slurm's commands run as this process: a door that acts for others has them run
    otherwise. Raises ConfigError for an address that is none.
    """
    user = user or settings.slurmrestd_user
    try:
        return backend_for(
            settings.backend,
            settings.slurmrestd_url,
            user=user,
            token_file=settings.slurm_jwt_file,
            token_command=shlex.split(settings.slurm_jwt_command.replace("{user}", user or current_user())),
            ca_file=settings.slurmrestd_ca_file,
            slurm_conf=settings.slurm_conf,
        )
    except InvalidRequest as error:
        raise ConfigError(str(error), "set SASK_SLURMRESTD_URL, or use --backend cli; see `sask config`") from None


def context(telemetry: Sources | None = None, settings: Settings | None = None) -> Callable[[], ToolContext]:
    """The cluster, the caller with the rights that Slurm gives them, and the clock, anew for each call."""
    slurm = backend(settings or load())
    return _context(slurm, lambda: user_of(slurm, current_user()), telemetry or Sources())


def _context(
    slurm: Backend, who: Callable[[], str], telemetry: Sources, moment: Callable[[datetime], datetime] = lambda now: now
) -> Callable[[], ToolContext]:
    known: list[Caller] = []

    def make() -> ToolContext:
        if not known:
            user = who()
            known.append(Caller(user, slurm.admin_level(user), slurm.coordinated_accounts(user)))
        return ToolContext(slurm, known[0], moment(datetime.now()), telemetry)

    return make


def served(
    base: LedgerExecutor, manners: Manners, slurm: Backend, user: str, telemetry: Sources | None = None
) -> LedgerExecutor:
    """``base`` for one request of ``user`` to a process that serves many: looks share their answers, and what is to
    be changed is judged on fresh ones. ``slurm`` asks as that user and is for this request alone."""
    told = telemetry or Sources()
    reads = _context(manners.reading(slurm, user), lambda: user, told, manners.moment)
    ledger = replace(base.ledger, context=_context(manners.fresh(slurm), lambda: user, told), reads=reads)
    return replace(base, ledger=ledger)


def instruments(settings: Settings) -> Sources:
    """Where the settings say that the nodes' telemetry is."""
    return Sources(settings.node_metrics_url, settings.node_smi_file, settings.node_kernel_log)


def known_names(backend: Backend, user: str) -> Callable[[], Mapping[str, frozenset[str]]]:
    """Names of the cluster's partitions, nodes and QoS and of the user's accounts, asked for once.

    Fewer where accounting is away, none where Slurm is: the call that is made next says so.
    """

    @cache
    def ask() -> Mapping[str, frozenset[str]]:
        found: dict[str, frozenset[str]] = {}
        with suppress(SlurmError):
            found["partition"] = frozenset(row.name for row in backend.partitions())
            found["node"] = frozenset(row.name for row in backend.nodes())
            found["qos"] = frozenset(row.name for row in backend.qos())
            found["account"] = frozenset(row.account for row in backend.associations(user=user))
        return found

    return ask


def executor(
    settings: Settings,
    approver: Approver | None = None,
    *,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> LedgerExecutor:
    """The ledger; without an approver nothing that changes the cluster is done."""
    _quiet_retries()
    policy = Policy.read(settings.policy) if settings.policy else Policy()
    ctx, journal = context(instruments(settings), settings), Journal(settings.journal)
    ledger = Ledger(ctx, journal, approver or DenyAll(), policy, progress=progress)
    return LedgerExecutor(ledger, offered(settings), dry_run)


def agent(settings: Settings, approver: Approver | None = None, *, dry_run: bool = False, say: Say = silent) -> Agent:
    """All of it. Raises a ModelError or ServingError when there is no model."""
    slurm, hands = backend(settings), executor(settings, approver, dry_run=dry_run)
    return Agent(
        decider(settings, say, hands.tools),
        hands,
        known=known_names(slurm, user_of(slurm, current_user())),
    )


__all__ = ["Planner", "agent", "context", "current_user", "decider", "executor", "load", "planner", "system_prompt"]
