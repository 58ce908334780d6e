"""What people write is read into Slurm's one form, whole, or refused with the forms that are understood."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tools import BY_NAME
from tools.dates import iso, read_moment
from tools.durations import read_memory, read_seconds, slurm_duration
from tools.values import read_change, read_duration, read_gpu_type, read_hostlist, read_signal

NOW = datetime(2026, 11, 21, 10, 0)  # a Saturday


@pytest.mark.parametrize(
    ("said", "slurm"),
    [
        # sbatch(1), --time
        ("90", "01:30:00"), ("40:00", "00:40:00"), ("1:30:00", "01:30:00"), ("2-12", "2-12:00:00"),
        ("1-06:30", "1-06:30:00"), ("1-12:00:00", "1-12:00:00"), ("unlimited", "UNLIMITED"),
        ("a day", "1-00:00:00"), ("a day and a half", "1-12:00:00"), ("one and a half days", "1-12:00:00"),
        ("an hour and a half", "01:30:00"), ("two and a half hours", "02:30:00"), ("half an hour", "00:30:00"),
        ("one hundred and twenty minutes", "02:00:00"), ("a quarter of an hour", "00:15:00"),
        ("three quarters of an hour", "00:45:00"),
        ("twenty five minutes", "00:25:00"),
        ("3 1/2 hours", "03:30:00"), ("2:30h", "02:30:00"), ("half a day", "12:00:00"), ("90 min", "01:30:00"),
        ("2h30", "02:30:00"), ("2d12h", "2-12:00:00"),
        ("1.5h", "01:30:00"), ("1,5 Stunden", "01:30:00"), ("10 hours 30 mins", "10:30:00"),
        ("two hours thirty minutes", "02:30:00"), ("another day", "1-00:00:00"), ("another 10 hours", "10:00:00"),
        ("six more hrs", "06:00:00"),
        ("zwei Tage", "2-00:00:00"), ("anderthalb Tage", "1-12:00:00"), ("une heure et demie", "01:30:00"),
        ("tres días", "3-00:00:00"), ("6시간", "06:00:00"), ("半小时", "00:30:00"), ("三天", "3-00:00:00"),
    ],
)  # fmt: skip
def test_durations(said: str, slurm: str) -> None:
    assert read_duration(said) == slurm


@pytest.mark.parametrize(
    "said",
    [
        "",
        "soon",
        "3 apples",
        "-5 hours",
        "0",
        "12:99:xx",
        "2 2",
        "1 3 hours",
        "five thirty hours",
        "hours",
        "1e9 h",
        "٣ days ago",
    ],
)
def test_no_duration_is_guessed(said: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        read_seconds(said)


@given(st.integers(1, 400 * 86400))
def test_every_duration_is_read_back(seconds: int) -> None:
    assert read_seconds(slurm_duration(seconds)) == seconds


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (read_seconds, read_memory, lambda t: read_moment(t, NOW)):
        try:
            read(text)
        except ValueError as error:
            assert str(error)


@pytest.mark.parametrize(
    ("said", "slurm"),
    [
        ("+6 hours", "+6:00:00"),
        ("+a day", "+1-00:00:00"),
        ("-90 min", "-1:30:00"),
        ("6 hours", "06:00:00"),
        ("+0:30:00", "+0:30:00"),
    ],
)
def test_changes_of_a_limit(said: str, slurm: str) -> None:
    assert read_change(said) == slurm


@pytest.mark.parametrize(
    ("said", "slurm"),
    [
        ("900G", "900G"),
        ("64 gigs", "64G"),
        ("1.5 TB", "1536G"),
        ("512MB", "512M"),
        ("half a terabyte", "512G"),
        ("sixteen gigabytes", "16G"),
        ("48Gi", "48G"),
        ("64 GByte", "64G"),
        ("64 Go", "64G"),
        ("0", "0"),
    ],
)
def test_memory(said: str, slurm: str) -> None:
    assert read_memory(said) == slurm


@pytest.mark.parametrize("said", ["900", "G", "lots", "-4G", "1.3K"])
def test_memory_needs_its_unit(said: str) -> None:
    with pytest.raises(ValueError, match="memory"):
        read_memory(said)


@pytest.mark.parametrize(
    ("said", "start", "end"),
    [
        ("yesterday", "2026-11-20T00:00:00", "2026-11-21T00:00:00"),
        ("last week", "2026-11-09T00:00:00", "2026-11-16T00:00:00"),
        ("last month", "2026-10-01T00:00:00", "2026-11-01T00:00:00"),
        ("in October", "2026-10-01T00:00:00", "2026-11-01T00:00:00"),
        ("the 12th", "2026-11-12T00:00:00", "2026-11-13T00:00:00"),
        ("since the 30th", "2026-10-30T00:00:00", "2026-10-31T00:00:00"),
        ("16.11.", "2026-11-16T00:00:00", "2026-11-17T00:00:00"),
        ("31.10.", "2026-10-31T00:00:00", "2026-11-01T00:00:00"),
        ("this morning", "2026-11-21T00:00:00", "2026-11-22T00:00:00"),
        ("8 Uhr", "2026-11-21T08:00:00", "2026-11-21T08:00:00"),
        ("Mitternacht", "2026-11-21T00:00:00", "2026-11-21T00:00:00"),
        ("half an hour ago", "2026-11-21T09:30:00", "2026-11-21T09:30:00"),
        ("past fortnight", "2026-11-07T10:00:00", "2026-11-21T10:00:00"),
        ("early november", "2026-11-01T00:00:00", "2026-11-02T00:00:00"),
        ("thurs", "2026-11-19T00:00:00", "2026-11-20T00:00:00"),
        ("그저께", "2026-11-19T00:00:00", "2026-11-20T00:00:00"),
        ("this week", "2026-11-16T00:00:00", "2026-11-23T00:00:00"),
        ("last quarter", "2026-07-01T00:00:00", "2026-10-01T00:00:00"),
        ("Q3", "2026-07-01T00:00:00", "2026-10-01T00:00:00"),
        ("over the weekend", "2026-11-21T00:00:00", "2026-11-23T00:00:00"),
        ("the last 24 hours", "2026-11-20T10:00:00", "2026-11-21T10:00:00"),
        ("last 6 months", "2026-05-01T00:00:00", "2026-11-21T10:00:00"),
        ("last hour", "2026-11-21T09:00:00", "2026-11-21T10:00:00"),
        ("letzte Woche", "2026-11-09T00:00:00", "2026-11-16T00:00:00"),
        ("die letzten 3 Tage", "2026-11-18T10:00:00", "2026-11-21T10:00:00"),
        ("지난주", "2026-11-09T00:00:00", "2026-11-16T00:00:00"),
        ("过去24小时", "2026-11-20T10:00:00", "2026-11-21T10:00:00"),
        ("2026-11-20T22:00", "2026-11-20T22:00:00", "2026-11-20T22:00:00"),
        ("3.11.2026", "2026-11-03T00:00:00", "2026-11-04T00:00:00"),
    ],
)
def test_periods_have_a_start_and_an_end(said: str, start: str, end: str) -> None:
    assert iso(read_moment(said, NOW)) == start
    assert iso(read_moment(said, NOW, edge="end")) == end


@pytest.mark.parametrize(
    ("said", "begin"),
    [
        ("now+2hours", "now+2hours"), ("in 2 hours", "now+2hours"), ("tonight at 10", "2026-11-21T22:00:00"),
        ("tomorrow 6am", "2026-11-22T06:00:00"), ("6pm", "2026-11-21T18:00:00"), ("monday 8am", "2026-11-23T08:00:00"),
        ("morgen um 8 Uhr", "2026-11-22T08:00:00"), ("demain à 8h", "2026-11-22T08:00:00"),
        ("mañana a las 8", "2026-11-22T08:00:00"), ("내일 오전 9시", "2026-11-22T09:00:00"),
        ("明天早上8点", "2026-11-22T08:00:00"), ("今晚10点", "2026-11-21T22:00:00"),
    ],
)  # fmt: skip
def test_begin_looks_ahead(said: str, begin: str) -> None:
    arguments = BY_NAME["update_job"].Arguments.model_validate({"job_id": "1", "begin": said}, context={"now": NOW})
    assert arguments.given()["begin"] == begin


@pytest.mark.parametrize(
    ("said", "slurm"),
    [
        ("H100s", "h100"),
        ("L40S", "l40s"),
        ("gpu:a100:2", "a100"),
        ("A100 3g.20gb", "a100_3g.20gb"),
        ("NVIDIA T4s", "t4"),
        ("L4s", "l4"),
        ("RTX 6000 Ada", "rtx_6000_ada"),
        ("RTX A6000s", "rtx_a6000"),
    ],
)
def test_gpu_types(said: str, slurm: str) -> None:
    assert read_gpu_type(said) == slurm


@pytest.mark.parametrize(("said", "slurm"), [("SIGUSR1", "USR1"), ("b:usr1@120", "B:USR1@120"), ("9", "9")])
def test_signals(said: str, slurm: str) -> None:
    assert read_signal(said) == slurm


def test_hostlists_are_joined() -> None:
    assert read_hostlist("gpu-node01 and gpu-node[03-05]") == "gpu-node01,gpu-node[03-05]"


def test_ranges_of_jobs_are_spelled_out() -> None:
    ids = BY_NAME["cancel_jobs"].Arguments.model_validate({"job_ids": ["101-103", "#7", "9_[1-5]"]}).given()["job_ids"]
    assert ids == ["101", "102", "103", "7", "9_[1-5]"]


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("submit_job", {}, "exactly one of command and script"),
        ("submit_job", {"command": "a", "script": "b"}, "exactly one of command and script"),
        ("submit_job", {"command": "a", "nodes": 0}, "greater than or equal to 1"),
        ("submit_job", {"command": "a", "partition": "-p x"}, "is not a name"),
        ("submit_job", {"command": "a", "array": "1 to 5"}, "is not an array"),
        ("submit_job", {"command": "a", "dependency": "when 5 is done"}, "is not a dependency"),
        ("submit_job", {"command": "a", "mail_type": "SOMETIMES"}, "valid: ALL"),
        ("submit_job", {"command": "a", "environment": {"A B": "1"}}, "environment variable"),
        ("cancel_jobs", {}, "say which jobs"),
        ("cancel_jobs", {"job_ids": ["all"]}, "is not a job id"),
        ("list_jobs", {"states": ["BROKEN"]}, "valid: PENDING"),
        ("update_job", {"job_id": "5"}, "say what to change"),
        ("resize_job", {"job_id": "5"}, "give nodes or time_limit"),
    ],
)
def test_bad_values_are_named_with_the_valid_ones(tool: str, arguments: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        BY_NAME[tool].Arguments.model_validate(arguments)


def test_schemas_stay_inside_what_constrained_decoding_does_well() -> None:
    banned = {
        "$ref",
        "$defs",
        "allOf",
        "oneOf",
        "multipleOf",
        "uniqueItems",
        "format",
        "patternProperties",
        "default",
        "title",
    }

    def keys(node: object) -> set[str]:
        if isinstance(node, dict):
            return set(node) | {key for value in node.values() for key in keys(value)}
        return {key for part in node for key in keys(part)} if isinstance(node, list) else set()

    for tool in BY_NAME.values():
        schema = tool.schema()
        assert schema["additionalProperties"] is False
        assert not banned & (keys(schema) - {"title"}), tool.name
