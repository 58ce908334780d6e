"""Settings: a flag wins over the environment (``SASK_…``), that over the file, that over the default.

Where several clusters are named, the part of the file on the chosen one wins over the rest of the file.
The file is ``$XDG_CONFIG_HOME/slurm-assistant/config.toml`` (by default ``~/.config/…``), or ``$SASK_CONFIG``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from assistant.errors import ConfigError

OF_A_CLUSTER = frozenset(
    ["slurm_conf", "backend", "slurmrestd_url", "slurmrestd_user", "slurm_jwt_file", "slurm_jwt_command",
     "slurmrestd_ca_file", "node_metrics_url", "node_smi_file", "node_kernel_log"]
)  # fmt: skip
"""Settings that each cluster may have for itself."""


def config_file() -> Path:
    """Where the file would be; it need not exist."""
    if named := os.environ.get("SASK_CONFIG"):
        return Path(named).expanduser()
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "slurm-assistant" / "config.toml"


class McpServer(BaseModel):
    """An MCP server whose tools the model may use: started here by its ``command``, or reached at its ``url``.

    Only tools that it marks as read-only, and those that ``tools`` names, which are asked for like any change.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: tuple[str, ...] = ()
    env: dict[str, SecretStr] = {}
    url: str = ""
    token_file: Path | None = None
    tools: tuple[str, ...] = ()
    timeout: float = Field(20.0, gt=0, le=600)

    @model_validator(mode="after")
    def _one_way(self) -> McpServer:
        if bool(self.command) == bool(self.url):
            raise ValueError("give either `command` (a list of words) or `url`")
        if self.url and not self.url.startswith(("http://", "https://")):
            raise ValueError("its `url` begins with http:// or https://")
        return self

    def token(self) -> str:
        """Raises OSError, ValueError."""
        return self.token_file.expanduser().read_text(encoding="utf-8").strip() if self.token_file else ""


class Settings(BaseSettings):
    """Every setting, with what it means; ``sask config`` prints them with their origin."""

    model_config = SettingsConfigDict(env_prefix="SASK_", extra="forbid")

    model: str = Field("embedded", description="`embedded`, or the URL of an OpenAI-compatible server")
    model_name: str = Field("", description="name of the model at that URL; empty takes the first that it lists")
    api_key_file: Path | None = Field(None, description="file with its API key; or the key is in SASK_API_KEY")
    ca_file: Path | None = Field(None, description="PEM file with the certificate authorities of that URL, if its own")
    chat_template_kwargs: dict[str, Any] = Field({}, description='for the model there: {"enable_thinking": false}')
    timeout: float = Field(120.0, gt=0, description="seconds to wait for one answer of the model")
    max_tokens: int = Field(1024, gt=0, description="tokens of one answer at most")
    temperature: float = Field(0.0, ge=0, le=2, description="sampling temperature")
    journal: str = Field("", description="SQLAlchemy URL of the journal; empty is SQLite in the state directory")
    policy: Path | None = Field(None, description="policy file (TOML) for approvals")
    backend: Literal["auto", "cli", "rest"] = Field("auto", description="Slurm's commands, or slurmrestd")
    cluster: str = Field("", description="one of `clusters`; empty is the one that SLURM_CONF or this machine names")
    clusters: dict[str, dict[str, str]] = Field(
        {}, description='settings of each: {"alpha": {"slurm_conf": "/etc/slurm/alpha.conf"}}; those of slurmrestd too'
    )
    slurm_conf: Path | None = Field(None, description="slurm.conf for Slurm's commands; empty leaves SLURM_CONF")
    slurmrestd_url: str = Field("", description="http://host:6820, https://host:6820 or unix:/path of slurmrestd")
    slurmrestd_user: str = Field("", description="who the requests are from; empty is the name in the token")
    slurm_jwt_file: Path | None = Field(None, description="file with the token for slurmrestd; else SLURM_JWT")
    slurm_jwt_command: str = Field("", description="command that prints a token of {user}, run again when it ends")
    slurmrestd_ca_file: Path | None = Field(None, description="authority of an https slurmrestd")
    mcp_servers: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9]{0,30}$")], McpServer] = Field(
        {}, description='whose tools the model may use too: {"tickets": {"url": "https://…/mcp", "token_file": "…"}}'
    )
    node_metrics_url: str = Field("", description="a node's DCGM exporter, for instance http://{node}:9400/metrics")
    node_smi_file: str = Field("", description="recorded output of `nvidia-smi -q -x` of a node; {node} is its name")
    node_kernel_log: str = Field("", description="a node's kernel log, as syslog, journalctl or dmesg write it; {node}")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, config_file())


def load(**flags: Any) -> Settings:
    """The settings in force; flags that are ``None`` were not given. Raises ConfigError with the bad value."""
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        settings = Settings(**given)
        return Settings(**{**_of_cluster(settings), **given}) if settings.cluster else settings
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        valid = f"; valid settings: {', '.join(Settings.model_fields)}" if first["type"] == "extra_forbidden" else ""
        got = "" if name.startswith("mcp_servers") else f" (got {first['input']!r})"  # an `env` may hold a secret
        raise ConfigError(
            f"setting {name}: {first['msg']}{got}{valid}", f"see `sask config` and {config_file()}"
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{config_file()} cannot be read: {error}", "mend or remove that file") from error


def _of_cluster(settings: Settings) -> dict[str, Any]:
    """What the settings say of the chosen cluster. Raises ConfigError with the clusters that there are."""
    if settings.cluster not in settings.clusters:
        there = ", ".join(sorted(settings.clusters)) or "none"
        raise ConfigError(
            f"no cluster {settings.cluster!r} in the settings; there are: {there}",
            f"name it under [clusters.{settings.cluster}] in {config_file()}",
        )
    of_it = settings.clusters[settings.cluster]
    if unfit := sorted(set(of_it) - OF_A_CLUSTER):
        raise ConfigError(f"[clusters.{settings.cluster}] has {', '.join(unfit)}", f"fit: {', '.join(OF_A_CLUSTER)}")
    return {name: value for name, value in of_it.items() if f"SASK_{name}".upper() not in os.environ}


def origins(**flags: Any) -> list[dict[str, Any]]:
    """One row a setting: name, value, where it comes from, what it means."""
    settings = load(**flags)
    file_values = TomlConfigSettingsSource(Settings, config_file())()
    rows = []
    for name, field in Settings.model_fields.items():
        origin = "default"
        if flags.get(name) is not None:
            origin = "flag"
        elif f"SASK_{name}".upper() in os.environ:
            origin = f"environment SASK_{name.upper()}"
        elif name in file_values:
            origin = str(config_file())
        if origin in ("default", str(config_file())) and name in settings.clusters.get(settings.cluster, {}):
            origin = f"{config_file()} [clusters.{settings.cluster}]"
        value = getattr(settings, name)
        shown = "" if value is None else str(value)
        rows.append({"name": name, "value": shown, "origin": origin, "meaning": field.description or ""})
    return rows
