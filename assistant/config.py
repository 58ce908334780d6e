"""Settings: a flag wins over the environment (``SASK_…``), that over the file, that over the default.

The file is ``$XDG_CONFIG_HOME/slurm-assistant/config.toml`` (by default ``~/.config/…``), or ``$SASK_CONFIG``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from assistant.errors import ConfigError


def config_file() -> Path:
    """Where the file would be; it need not exist."""
    if named := os.environ.get("SASK_CONFIG"):
        return Path(named).expanduser()
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "slurm-assistant" / "config.toml"


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
    slurmrestd_url: str = Field("", description="http://host:6820, https://host:6820 or unix:/path of slurmrestd")
    slurmrestd_user: str = Field("", description="who the requests are from; empty is the name in the token")
    slurm_jwt_file: Path | None = Field(None, description="file with the token for slurmrestd; else SLURM_JWT")
    slurm_jwt_command: str = Field("", description="command that prints a token, run again when it ends")
    slurmrestd_ca_file: Path | None = Field(None, description="authority of an https slurmrestd")
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
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        valid = f"; valid settings: {', '.join(Settings.model_fields)}" if first["type"] == "extra_forbidden" else ""
        raise ConfigError(
            f"setting {name}: {first['msg']} (got {first['input']!r}){valid}", f"see `sask config` and {config_file()}"
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{config_file()} cannot be read: {error}", "mend or remove that file") from error


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
        value = getattr(settings, name)
        shown = "" if value is None else str(value)
        rows.append({"name": name, "value": shown, "origin": origin, "meaning": field.description or ""})
    return rows
