"""Who is who, and acting as them: the file, confirmed addresses, clean environments, scripts that are not theirs."""

from __future__ import annotations

import os
import pwd
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from assistant.config import Settings
from assistant.doors.slack import acting
from assistant.doors.slack.acting import AsUser, AtHome, become, environment_of
from assistant.doors.slack.command import secrets_of
from assistant.doors.slack.people import People, read
from assistant.errors import AssistantError, ConfigError
from tests.rest_server import Scripted, openapi, serving
from tools.base import Call
from tools.slurm.errors import SlurmError

GOOD = {"team_id": "T1", "is_email_confirmed": True, "profile": {"email": "Ann@Example.org"}}
ME = pwd.getpwuid(os.geteuid()).pw_name


class Profiles:
    """users.info of a workspace."""

    def __init__(self, profile: dict[str, Any]) -> None:
        self.profile, self.asked = profile, 0

    def users_info(self, *, user: str) -> dict[str, Any]:
        self.asked += 1
        return {"user": self.profile}


def people(folder: Path, text: str, profile: dict[str, Any] | None = None) -> People:
    file = folder / "slack.toml"
    file.write_text(text)
    return People(file, Profiles(profile or {}), "T1")  # type: ignore[arg-type]


def test_a_member_id_and_a_confirmed_address_stand_for_a_user(tmp_path: Path) -> None:
    known = people(tmp_path, '[users]\nU0BOB = "bin"\n"ann@example.ORG" = "daemon"\n', GOOD)
    assert [known.user_of("U0BOB"), known.user_of("U0ANN"), known.user_of("U0ANN")] == ["bin", "daemon", "daemon"]
    assert known.client.asked == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "worse",
    [{"team_id": "T2"}, {"is_email_confirmed": False}, {"is_bot": True}, {"deleted": True}, {"is_stranger": True},
     {"profile": {"email": "eve@example.org"}}, {"profile": {}}],
)  # fmt: skip
def test_an_address_that_slack_does_not_vouch_for_is_nobodys(tmp_path: Path, worse: dict[str, Any]) -> None:
    assert people(tmp_path, '[users]\n"ann@example.org" = "daemon"', {**GOOD, **worse}).user_of("U0ANN") is None


def test_who_is_taken_out_is_out_at_once(tmp_path: Path) -> None:
    known = people(tmp_path, '[users]\nU0BOB = "bin"\nU0ANN = "daemon"')
    assert known.user_of("U0ANN") == "daemon"
    known.path.write_text('[users]\nU0BOB = "bin"')
    assert known.user_of("U0ANN") is None
    known.path.write_text("[users")
    with pytest.raises(ConfigError, match="cannot be read"):
        known.user_of("U0BOB")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "users"),
        ("[users]", "at least 1"),
        ('[users]\nann = "daemon"', "neither a member id"),
        ('[users]\nU0ANN = "nobody-of-this-name"', "there is no user"),
        ('[users]\nU0ANN = "daemon; id"', "there is no user"),
        ('[people]\nU0ANN = "daemon"', "people"),
        ("[users\n", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "slack.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=why):
        read(file)


def test_a_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "slack.toml"
    file.write_text('[users]\nU0ANN = "daemon"')
    file.chmod(0o664)
    with pytest.raises(ConfigError, match="others may write it"):
        read(file)


def test_commands_run_as_the_person(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acting, "current_user", lambda: "daemon")
    assert become("daemon") == []
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert become("bin") == ["sudo", "-n", "-u", "bin", "--"]
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert become("bin")[:2] == ["setpriv", "--reuid=bin"]


def test_no_command_sees_the_services_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-test")
    monkeypatch.setenv("SLURM_JWT", "token-of-the-service")
    monkeypatch.setenv("SLURM_CONF", "somewhere")
    found = environment_of("daemon")
    assert (found["USER"], found["HOME"], found["SLURM_CONF"]) == ("daemon", pwd.getpwnam("daemon").pw_dir, "somewhere")
    assert not {"SLACK_BOT_TOKEN", "SLURM_JWT"} & found.keys()


def test_a_command_really_runs_as_that_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_CONF", raising=False)
    other = "daemon" if os.geteuid() == 0 else ME
    assert AsUser(other).read(["id", "-un"]).strip() == other


def test_tokens_leave_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_BOT_TOKEN", "one")
    monkeypatch.setenv("SLACK_SIGNING_SECRET", "two")
    monkeypatch.delenv("SLACK_APP_TOKEN", raising=False)
    assert secrets_of("SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET") == ["one", "two"]
    assert not [name for name in os.environ if name.startswith("SLACK_")]
    with pytest.raises(ConfigError, match="SLACK_BOT_TOKEN and SLACK_APP_TOKEN not set"):
        secrets_of("SLACK_BOT_TOKEN", "SLACK_APP_TOKEN")


class Ledger:
    def __init__(self) -> None:
        self.calls: tuple[Call, ...] = ()

    def run(self, request: str, calls: tuple[Call, ...], *, run: str = "") -> tuple[str, tuple[()]]:
        self.calls = calls
        return run, ()


def sent(**arguments: Any) -> dict[str, Any]:
    ledger = Ledger()
    AtHome(ledger, "daemon", lambda text: None).run("", (Call("submit_job", arguments),))  # type: ignore[arg-type]
    return ledger.calls[0].arguments


def test_a_job_starts_in_the_persons_home() -> None:
    home = pwd.getpwnam("daemon").pw_dir
    assert sent(command="true")["working_directory"] == home
    assert sent(command="true", working_directory="run1")["working_directory"] == f"{home}/run1"
    assert sent(command="true", working_directory="/data")["working_directory"] == "/data"
    assert sent(script="train.sh", working_directory="~/run1")["script"] == f"{home}/run1/train.sh"
    assert sent(script="~/train.sh", working_directory="/data")["script"] == f"{home}/train.sh"
    assert sent(script="#!/bin/sh\ntrue")["script"] == "#!/bin/sh\ntrue"


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_a_script_that_the_person_may_not_read_is_not_read_for_them(tmp_path: Path, mode: int) -> None:
    script = tmp_path / "private.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(mode)
    with pytest.raises(AssistantError, match="daemon may not read the script"):
        sent(script=str(script))
    script.chmod(0o644)
    assert sent(script=str(script))["script"] == str(script)


def test_through_slurmrestd_each_request_carries_that_users_name_and_token() -> None:
    with serving(Scripted({"GET /openapi/v3": openapi("slurm/v0.0.40")})) as rest:
        for user in ("daemon", "bin"):
            settings = Settings(backend="rest", slurmrestd_url=rest.url, slurm_jwt_command="printf token-of-{user}")
            with suppress(SlurmError):
                acting.backend(user, settings).nodes()
    assert {(one.user, one.token) for one in rest.asked if one.user} == {
        ("daemon", "token-of-daemon"),
        ("bin", "token-of-bin"),
    }


def test_slurms_commands_run_as_that_user_on_the_cluster_of_the_settings() -> None:
    way: Any = acting.backend("daemon", Settings(backend="cli", slurm_conf=Path("alpha.conf")))
    assert (way._runner.user, way._runner._given["SLURM_CONF"]) == ("daemon", "alpha.conf")
