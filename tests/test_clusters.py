"""Several clusters in the settings: by flag, by the words of a request, never by guessing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assistant.clusters import addressed
from assistant.config import Settings, load, origins
from assistant.errors import ConfigError, RequestRefused
from tests.shell import Shell
from tools.slurm.sandbox import Sandbox

TWO = """
node_smi_file = "of-all"
[clusters.alpha]
slurm_conf = "{conf}"
[clusters.Beta-2]
slurm_conf = "/nonexistent/slurm.conf"
node_smi_file = "of-beta"
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"SASK_{name.upper()}", raising=False)
    path = tmp_path / "config.toml"
    path.write_text(TWO.replace("{conf}", str(tmp_path / "alpha.conf")))
    monkeypatch.setenv("SASK_CONFIG", str(path))
    return path


@pytest.mark.parametrize(
    ("request_", "left", "cluster"),
    [
        ("what is running on alpha?", "what is running?", "alpha"),
        ("on the cluster beta-2 cancel 7", "cancel 7", "Beta-2"),
        ("cancel 7 @ALPHA", "cancel 7", "alpha"),
        ("submit alpha.py on alphabet", "submit alpha.py on alphabet", ""),
        ("what is running?", "what is running?", ""),
    ],
)
def test_the_words_name_the_cluster(file: Path, request_: str, left: str, cluster: str) -> None:
    words, settings = addressed(request_, load())
    assert (words, settings.cluster) == (left, cluster)


def test_what_is_not_clear_is_not_done(file: Path) -> None:
    with pytest.raises(RequestRefused, match="Beta-2 and alpha"):
        addressed("move 7 from there: on alpha and on beta-2", load())
    with pytest.raises(RequestRefused, match="the chosen cluster is alpha"):
        addressed("cancel 7 on beta-2", load(cluster="alpha"))
    assert addressed("cancel 7 on alpha", load(cluster="alpha"))[0] == "cancel 7"


def test_a_cluster_has_its_own_settings_over_those_of_all(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load().slurm_conf is None
    assert load(cluster="alpha").node_smi_file == "of-all"
    assert load(cluster="Beta-2").node_smi_file == "of-beta"
    assert load(cluster="Beta-2", node_smi_file="flag").node_smi_file == "flag"
    rows = {row["name"]: row for row in origins(cluster="Beta-2")}
    assert rows["slurm_conf"]["origin"] == f"{file} [clusters.Beta-2]"
    monkeypatch.setenv("SASK_NODE_SMI_FILE", "of-here")
    assert load(cluster="Beta-2").node_smi_file == "of-here"


def test_a_wrong_one_is_told_the_right_ones(file: Path) -> None:
    with pytest.raises(ConfigError, match="no cluster 'gamma' in the settings; there are: Beta-2, alpha"):
        load(cluster="gamma")
    file.write_text('[clusters.alpha]\ntimeout = "5"\n')
    with pytest.raises(ConfigError, match=r"\[clusters.alpha\] has timeout") as caught:
        load(cluster="alpha")
    assert "slurm_conf" in caught.value.remedy


def test_a_command_goes_to_the_cluster_that_is_named(clean_sandbox: Sandbox, file: Path, tmp_path: Path) -> None:
    (tmp_path / "alpha.conf").symlink_to(clean_sandbox.conf)
    shell = Shell(tmp_path, SASK_CONFIG=str(file), SLURM_CONF="/nonexistent/other.conf")
    here = shell("call", "list_jobs", "--cluster", "alpha")
    assert here.returncode == 0, here.stderr
    assert json.loads(here.stdout)["done"][0]["status"] == "ok"
    there = shell("--cluster=Beta-2", "call", "list_jobs", SLURM_CONF=str(clean_sandbox.conf))
    assert there.returncode == 6
    assert "/nonexistent/slurm.conf" in there.stdout + there.stderr
    wrong = shell("call", "list_jobs", "--backend", "ssh")
    assert wrong.returncode == 2
    assert "'cli' or 'rest'" in wrong.stderr + wrong.stdout
    none = shell("call", "list_jobs", "--backend", "rest")
    assert none.returncode == 2
    assert "slurmrestd" in none.stderr + none.stdout
