"""Settings: where each comes from, and what a wrong one is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from assistant.app import decider
from assistant.config import Settings, config_file, load, origins
from assistant.errors import ConfigError
from assistant.loop.model import OpenAIModel
from tests.endpoint import endpoint, tls_endpoint


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings file of an otherwise bare environment; not there yet."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"SASK_{name.upper()}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("SASK_CONFIG", raising=False)
    path = tmp_path / "slurm-assistant" / "config.toml"
    path.parent.mkdir()
    return path


def test_without_anything_the_bundled_model_is_used(file: Path) -> None:
    assert config_file() == file
    assert load().model == "embedded"
    assert {row["origin"] for row in origins()} == {"default"}


def test_every_source_beats_the_next(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("timeout = 1\n")
    assert load().timeout == 1
    monkeypatch.setenv("SASK_TIMEOUT", "2")
    assert load().timeout == 2
    assert load(timeout=3).timeout == 3
    assert load(timeout=None).timeout == 2


def test_the_origin_told_is_the_one_that_counts(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('model_name = "m"\ntimeout = 1\n')
    monkeypatch.setenv("SASK_TIMEOUT", "2")
    rows = {row["name"]: row for row in origins(model="http://flag:1")}
    assert rows["model"]["origin"] == "flag"
    assert rows["timeout"] == {**rows["timeout"], "value": "2.0", "origin": "environment SASK_TIMEOUT"}
    assert rows["model_name"]["origin"] == str(file)
    assert rows["journal"]["origin"] == "default"
    assert all(row["meaning"] for row in rows.values())


def test_a_named_file_replaces_the_usual_one(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("timeout = 1\n")
    other = tmp_path / "other.toml"
    other.write_text("timeout = 5\n")
    monkeypatch.setenv("SASK_CONFIG", str(other))
    assert load().timeout == 5


def test_zero_is_shown_as_zero(file: Path) -> None:
    assert next(row["value"] for row in origins() if row["name"] == "temperature") == "0.0"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("SASK_TIMEOUT", "soon", "'soon'"),
        ("SASK_TIMEOUT", "0", "greater than 0"),
        ("SASK_TEMPERATURE", "3", "less than or equal to 2"),
        ("SASK_MAX_TOKENS", "1.5", "setting max_tokens"),
    ],
)
def test_a_wrong_value_in_the_environment_is_named(
    file: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=f"setting {name.removeprefix('SASK_').lower()}") as raised:
        load()
    assert says in raised.value.message


def test_a_key_file_that_is_not_there_is_named(file: Path) -> None:
    from assistant import app

    settings = load(model="http://127.0.0.1:9", model_name="m", api_key_file=str(file.parent / "key"))
    with pytest.raises(ConfigError, match="api_key_file"):
        app.decider(settings)


def test_an_unknown_setting_lists_the_valid_ones(file: Path) -> None:
    file.write_text("colour = 1\n")
    with pytest.raises(ConfigError, match=r"setting colour.*valid settings: model, model_name"):
        load()


def test_what_the_server_is_asked_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of the environment, the site's own authority and the thinking switch reach the server."""
    monkeypatch.setenv("SASK_CONFIG", str(tmp_path / "none.toml"))
    monkeypatch.setenv("SASK_API_KEY", "k3y-of-the-site")
    monkeypatch.setenv("SASK_CHAT_TEMPLATE_KWARGS", '{"enable_thinking": false}')
    with endpoint(key="k3y-of-the-site") as server:
        model = decider(load(model=server.url)).model
        model.complete([{"role": "user", "content": "x"}], {"properties": {"value": {"enum": ["a"]}}})
        assert server.bodies[0]["chat_template_kwargs"] == {"enable_thinking": False}
    assert "k3y" not in str(origins(model=server.url))
    with tls_endpoint(tmp_path) as (url, certificate):
        monkeypatch.setenv("SASK_CA_FILE", str(certificate))
        assert isinstance(decider(load(model=url)).model, OpenAIModel)
