"""The loop: every rung of the ladder, grounding on both sides of decoding, repair, limits."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from assistant.errors import ModelUnreachable, RequestRefused
from assistant.loop.action import action_schema, merged
from assistant.loop.agent import Agent, Limits
from assistant.loop.conversation import Conversation
from assistant.loop.decide import Capabilities, Decider
from assistant.loop.grounding import narrow, ungrounded
from assistant.loop.ladder import Rung, climb
from assistant.loop.said import Said
from tests.scripted import RecordingExecutor, ScriptedModel, calls
from tools import BY_NAME
from tools.base import Call, ToolResult

NOW = datetime(2026, 11, 21, 10, 0)
TRAIN = "train.py on 2 nodes with 8 h100s each, a day, qos ai-train, mail me when done"


def said(text: str, *about: str) -> Said:
    return Said(text, about, NOW)


@pytest.mark.parametrize(
    ("answer", "rung"),
    [
        ("", Rung.PRESENT),
        ("   \n", Rung.PRESENT),
        ('{"show_job": [', Rung.JSON),
        ("Sure! I will cancel it.", Rung.JSON),
        ("[]", Rung.SCHEMA),
        ('"cancel"', Rung.SCHEMA),
        ("{}", Rung.SCHEMA),
        ('{"steps": []}', Rung.SCHEMA),
        ('{"steps": {}}', Rung.SCHEMA),
        ('{"steps": [{"list_jobs": {}}, "cancel"]}', Rung.SCHEMA),
        ('{"steps": [{"list_jobs": {}}, {"list_jobs": {}, "show_job": {}}]}', Rung.SCHEMA),
        ('{"rm_rf": {}}', Rung.SCHEMA),
        ('{"show_job": {}}', Rung.SCHEMA),
        ('{"show_job": "{}"}', Rung.SCHEMA),
        ('{"show_job": {"job_id": "4711"}, "list_jobs": {}}', Rung.SCHEMA),
        ('{"show_job": {"job_id": "4711", "force": true}}', Rung.SCHEMA),
        ('{"ask": ""}', Rung.SCHEMA),
        ('{"ask": "which?", "reply": "both"}', Rung.SCHEMA),
        (calls(("show_job", {"job_id": "9999"})), Rung.GROUNDED),
        (calls(("list_jobs", {"user": "mallory"})), Rung.GROUNDED),
        (calls(("resize_job", {"job_id": "4711", "time_limit": "+8:00:00"})), Rung.GROUNDED),
        (calls(("resize_job", {"job_id": "4711"})), Rung.SEMANTIC),
        (calls(("cancel_jobs", {})), Rung.SEMANTIC),
    ],
)
def test_each_rung_breaks_where_it_should(answer: str, rung: Rung) -> None:
    result = climb(answer, BY_NAME, said("give 4711 six more hours"))
    assert result.failed is rung
    assert result.action is None
    assert result.error


@given(st.text(max_size=300))
@settings(max_examples=300)
def test_no_answer_of_a_model_is_a_crash(text: str) -> None:
    assert climb(text, BY_NAME, said("cancel 4711")).failed is not None


def test_arguments_leave_the_ladder_in_slurms_form() -> None:
    answer = calls(
        ("submit_job", {"command": "train.py", "qos": "ai-train", "nodes": 2, "gpus_per_node": 8, "gpu_type": "h100",
                        "time_limit": "a day", "mail_type": "end"})
    )  # fmt: skip
    action = climb(answer, BY_NAME, said(TRAIN)).action
    assert action is not None
    assert action.calls[0].arguments["time_limit"] == "1-00:00:00"
    assert action.calls[0].arguments["mail_type"] == "END"


@pytest.mark.parametrize(
    ("request_text", "call", "wrong"),
    [
        (TRAIN, ("submit_job", {"command": "train.py", "nodes": 4}), ["nodes"]),
        (TRAIN, ("submit_job", {"command": "train.py", "time_limit": "1-00:00:00"}), []),
        (TRAIN, ("submit_job", {"command": "train.py", "time_limit": "2-00:00:00"}), ["time_limit"]),
        (TRAIN, ("submit_job", {"command": "evil.py"}), ["command"]),
        (TRAIN, ("submit_job", {"command": "train.py", "qos": "gold"}), ["qos"]),
        ("cancel 101-105", ("cancel_jobs", {"job_ids": ["101", "105"]}), []),
        ("cancel 101", ("cancel_jobs", {"job_ids": ["101", "102"]}), ["job_ids"]),
        ("drain gpu-node[01-04], Xid 79", ("drain_node", {"nodes": "gpu-node[01-04]", "reason": "Xid 79"}), []),
        ("drain gpu-node01", ("drain_node", {"nodes": "gpu-node02"}), ["nodes"]),
        ("512 gigs for 77", ("update_job", {"job_id": "77", "mem": "512G"}), []),
        ("512 gigs for 77", ("update_job", {"job_id": "77", "mem": "64G"}), ["mem"]),
        ("what is running", ("list_jobs", {"states": ["RUNNING"]}), []),
        ("jobs since yesterday", ("list_jobs", {"since": "2026-11-20T00:00:00"}), []),
        ("my jobs", ("list_jobs", {"since": "2026-11-20T00:00:00"}), ["since"]),
    ],
)
def test_every_value_was_said(request_text: str, call: tuple[str, dict[str, object]], wrong: list[str]) -> None:
    assert [v.argument for v in ungrounded(Call(*call), said(request_text))] == wrong


def test_narrowing_leaves_no_room_for_an_id_that_was_not_said() -> None:
    schemas = narrow(BY_NAME, said("cancel my job"))
    assert "show_job" not in schemas
    assert "control_jobs" not in schemas
    assert "job_ids" not in schemas["cancel_jobs"]["properties"]


def test_narrowing_offers_what_was_said() -> None:
    schemas = narrow(BY_NAME, said("cancel 4711 and 4712 of @alice on gpu-long"))
    properties = schemas["cancel_jobs"]["properties"]
    assert properties["job_ids"]["items"]["enum"] == ["4711", "4712"]
    assert {"me", "alice"} <= set(properties["user"]["enum"])
    assert "gpu-long" in properties["partition"]["enum"]
    Draft202012Validator.check_schema(action_schema(schemas))


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("train.py on 2 nodes with 8 h100s", ()),
        ("kill 101-105 and 77", ("77", "101-105")),
        ("stop tasks 10 to 20 of array 7340", ("7340_[10-20]",)),
        ("48121번 취소해줘", ("48121",)),
        ("gpu-node03 at 10:00", ()),
        ("123_4 and 5001+1", ("123_4", "5001+1")),
    ],
)
def test_what_can_be_a_job_id(text: str, ids: tuple[str, ...]) -> None:
    found = said(text).job_ids
    assert set(ids) <= set(found)
    assert bool(found) == bool(ids)


def decider(model: ScriptedModel, **can: object) -> Decider:
    return Decider(model, BY_NAME, lambda s, m: list(m), Capabilities(**can))  # type: ignore[arg-type]


def test_the_model_sees_its_mistake_and_the_narrower_schema() -> None:
    model = ScriptedModel(calls(("show_job", {"job_id": "9"})), calls(("show_job", {"job_id": "4711"})))
    decision = decider(model).decide(said("show 4711"), [{"role": "user", "content": "show 4711"}])
    assert decision.action.calls == (Call("show_job", {"job_id": "4711"}),)
    assert "'9' is neither in the request" in model.asked[1][-1]["content"]
    assert "show_job" not in json.dumps(model.schemas[1])


def test_two_repairs_then_the_person_is_asked() -> None:
    model = ScriptedModel("no json at all")
    decision = decider(model).decide(said("show 4711"), [])
    assert len(model.asked) == 3
    assert decision.action.ask
    assert not decision.action.calls
    assert not decision.valid_json


def test_a_mistake_of_the_person_is_told_to_the_person() -> None:
    model = ScriptedModel(calls(("submit_job", {"command": "a.py", "array": "5-x"})))
    decision = decider(model, repairs=0).decide(said("submit a.py as array 5-x"), [])
    assert "'5-x' is not an array such as 0-99%10" in decision.action.ask


def agent(model: ScriptedModel, executor: RecordingExecutor, **limits: int) -> Agent:
    return Agent(decider(model), executor, Limits(**limits), clock=lambda: NOW)


OK = ToolResult("ok", data={"jobs": [{"job_id": "4711"}]})


def test_a_result_grounds_the_next_call() -> None:
    model = ScriptedModel(
        calls(("list_jobs", {"user": "me"})), calls(("cancel_jobs", {"job_ids": ["4711"]})), '{"reply": "done"}'
    )
    executor = RecordingExecutor(OK)
    answer = agent(model, executor).run("cancel my oldest job")
    assert [call.tool for call in executor.calls] == ["list_jobs", "cancel_jobs"]
    assert answer.text == "done"


@pytest.mark.parametrize(
    ("limits", "stopped"),
    [
        ({"turns": 3}, "3 turns"),
        ({"calls": 2}, "2 calls"),
        ({"repeats": 1}, "the same call"),
        ({"tokens": 20}, "20 tokens"),
    ],
)
def test_a_model_that_goes_on_for_ever_is_stopped(limits: dict[str, int], stopped: str) -> None:
    executor = RecordingExecutor(OK)
    answer = agent(ScriptedModel(calls(("list_jobs", {}))), executor, **limits).run("my jobs")
    assert stopped in answer.stopped
    assert len(executor.calls) <= 3


def test_after_a_failure_the_model_does_not_carry_on() -> None:
    executor = RecordingExecutor(ToolResult("partial"))
    agent(ScriptedModel(calls(("list_jobs", {}))), executor).run("my jobs")
    assert len(executor.calls) == 1


def test_that_job_is_the_last_one_spoken_of() -> None:
    talk = Conversation()
    model = ScriptedModel(
        calls(("show_job", {"job_id": "4711"})),
        '{"reply": "ok"}',
        calls(("diagnose_job", {"job_id": "4711"})),
        '{"reply": "ok"}',
    )
    executor = RecordingExecutor(ToolResult("ok"))
    runner = agent(model, executor)
    runner.run("show 4711", talk)
    runner.run("why is it stuck", talk)
    assert executor.calls[-1] == Call("diagnose_job", {"job_id": "4711"})


@pytest.mark.parametrize("request_text", ["", "  \n ", "x" * 100_000])
def test_requests_that_no_model_is_asked(request_text: str) -> None:
    model = ScriptedModel(calls(("list_jobs", {})))
    with pytest.raises(RequestRefused):
        agent(model, RecordingExecutor(OK)).run(request_text)
    assert not model.asked


def test_no_model_is_an_error_with_a_remedy() -> None:
    model = ScriptedModel(ModelUnreachable("no model answers", "sask serve embedded"))
    with pytest.raises(ModelUnreachable):
        agent(model, RecordingExecutor(OK)).run("my jobs")


@pytest.mark.parametrize(
    ("text", "tool", "argument", "offered"),
    [
        ("sbatch run.sh pls", "submit_job", "partition", None),
        ("run.sh on a single node", "submit_job", "partition", None),
        ("qib-short, 16 threads: blast.sh", "submit_job", "partition", ["qib-short"]),
        ("blast.sh to the L queue, account bio", "submit_job", "partition", ["L"]),
        ("blast.sh, account=bio, two gpus", "submit_job", "account", ["bio"]),
        ("帮我在 gpu 分区提交 a.sh", "submit_job", "partition", ["gpu"]),
        ("a.sh with 64 gigs and 8 cores for 90 minutes", "submit_job", "cpus_per_task", [1, 8]),
        ("a.sh for 2 hours", "submit_job", "gpus", None),
        ("a.sh but not on cn01 or cn02", "submit_job", "exclude", ["cn01", "cn02", "cn01,cn02"]),
        ("a.sh on cn01", "submit_job", "exclude", None),
        ("bring cn121 through cn124 back", "resume_node", "nodes", ["cn[121-124]", "cn121", "cn124", "cn121,cn124"]),
        ("what is wrong with dgx-02", "diagnose_node", "node", ["dgx-02"]),
        ("give 48121 2 more days", "resize_job", "time_limit", ["+2 more days"]),
        ("set 48121 to 2 days", "resize_job", "time_limit", ["2 days"]),
        ("last 25 lines of 48121", "read_job_log", "job_id", ["48121"]),
        ("my jobs, the cap is 5000", "list_jobs", "limit", None),
        ("usage since monday", "usage_report", "end", None),
    ],
)
def test_a_model_that_copies_is_offered_the_words_that_fit_the_slot(
    text: str, tool: str, argument: str, offered: list[object] | None
) -> None:
    spec = narrow(BY_NAME, said(text), literal=True)[tool]["properties"].get(argument)
    assert (spec and spec["enum"]) == offered


def test_a_name_of_the_cluster_needs_no_rule() -> None:
    text, known = "is bender idle", {"node": frozenset({"bender", "fry"}), "partition": frozenset({"idle-ones"})}
    on_cluster = Said(text, (), NOW, known)
    assert narrow(BY_NAME, on_cluster, literal=True)["show_node"]["properties"]["node"]["enum"] == ["bender"]


@pytest.mark.parametrize(
    ("made", "meant"),
    [
        ([("cancel_jobs", {"job_ids": ["1"]}), ("cancel_jobs", {"job_ids": ["2", "1"]})], 1),
        ([("cancel_jobs", {"job_ids": ["1"]}), ("cancel_jobs", {"job_ids": ["2"], "signal": "USR1"})], 2),
        ([("cancel_jobs", {"user": "me"}), ("cancel_jobs", {"job_ids": ["2"]})], 2),
        ([("show_job", {"job_id": "1"}), ("show_job", {"job_id": "1"})], 1),
        ([("show_job", {"job_id": "1"}), ("show_job", {"job_id": "2"})], 2),
        ([("submit_job", {"script": "a"}), ("submit_job", {"script": "b", "dependency": "afterok:$1"})], 2),
    ],
)
def test_one_thing_done_to_several_jobs_is_one_call(made: list[tuple[str, dict[str, object]]], meant: int) -> None:
    assert len(merged(tuple(Call(*call) for call in made))) == meant
