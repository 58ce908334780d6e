"""Figures of hand-made records whose answers are known, and the intervals around them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from assistant.loop.action import Action
from assistant.loop.ladder import Rung
from evals import metrics
from evals.cases import NOW
from evals.intervals import bootstrap, mean, percentile, proportion, quantile, share
from evals.judge import rungs
from evals.records import (
    ArgumentScore,
    DatasetRecord,
    ErrorRecord,
    Manifest,
    ModelRecord,
    Record,
    Run,
    ScoreRecord,
    line_of,
    read_records,
    read_run,
    write_manifest,
)
from evals.reporting.failing import fell_at
from evals.scorers import arguments, mentions, score, wilson
from evals.show import show
from tools.base import Call


def record(name: str, want: str = "show_job", got: str | None = None, **changes: Any) -> Record:
    """An answer: ``want`` and ``got`` are tools, ask, reply, or several tools with a plus between them."""
    got = want if got is None else got
    right = changes.pop("right", want == got)
    calls = () if got in ("ask", "reply", "invalid") else tuple(Call(tool) for tool in got.split("+"))
    fell = changes.pop("fell", Rung.SCHEMA if got == "invalid" else None)
    expect: dict[str, Any] = {"action": want} if want in ("ask", "reply") else {"tool": want}
    if "+" in want:
        expect = {"tools": [{"tool": tool} for tool in want.split("+")]}
    score = {"tool": want == got, "exact": right, "forbidden": False} | changes.pop("score", {})
    usual = {
        "id": name,
        "category": want,
        "request": "r",
        "expect": expect,
        "rungs_first": rungs(changes.pop("fell_first", fell)),
        "rungs_last": rungs(fell),
        "kind": "call" if calls else got,
        "calls": calls,
        "score": ScoreRecord(**score),
        "attempts": 1,
    }
    return Record(**usual | changes)


def lost(name: str, kind: str = "timeout") -> Record:
    error = ErrorRecord(kind=kind, message="gone")
    return record(name, fell=Rung.HTTP, score={"exact": True}, error=error).model_copy(update={"score": None})


def verdicts(*pairs: tuple[str, str]) -> tuple[ArgumentScore, ...]:
    return tuple(ArgumentScore(tool="submit_job", name=name, verdict=verdict) for name, verdict in pairs)


def judged(name: str, *pairs: tuple[str, str]) -> Record:
    return record(name, "submit_job", score={"arguments": verdicts(*pairs)})


def test_wilson_is_the_textbook_interval() -> None:
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)  # Newcombe 1998, table I
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


def test_one_repeat_has_wilsons_interval() -> None:
    figure = share([record(str(n), right=n < 81) for n in range(263)], metrics.judged("exact"))
    assert (figure.value, figure.cases) == (81 / 263, 263)
    assert (figure.low, figure.high) == pytest.approx(wilson(81, 263))


def test_repeats_of_one_case_are_no_new_cases() -> None:
    """Ten cases that are always or never right, ten times each: as uncertain as ten answers, not as a hundred."""
    records = [record(str(n), right=n < 5, repeat=r) for n in range(10) for r in range(10)]
    figure = share(records, metrics.judged("exact"))
    assert figure.value == 0.5 and figure.cases == 10
    assert figure.low is not None and figure.high is not None and figure.high - figure.low > 0.4
    low, high = wilson(50, 100)
    assert high - low < 0.2
    even = share([record(str(n), right=r < 5, repeat=r) for n in range(10) for r in range(10)], metrics.judged("exact"))
    assert (even.value, even.low, even.high) == (0.5, *wilson(5, 10)), "where cases do not differ, ten of them"


def test_all_right_is_not_certain() -> None:
    figure = proportion([(3, 3)] * 10)
    assert (figure.value, figure.low, figure.high) == (1.0, *wilson(10, 10))


def test_the_bootstrap_is_seeded_and_close_to_theory() -> None:
    clusters = [(float(n % 2),) for n in range(400)]
    one, two = bootstrap(clusters, mean), bootstrap(clusters, mean)
    assert one == two and one.value == 0.5 and one.low is not None and one.high is not None
    assert one.low == pytest.approx(0.5 - 1.96 * 0.025, abs=0.012)
    assert one.high == pytest.approx(0.5 + 1.96 * 0.025, abs=0.012)


def test_quantiles_lie_between_neighbours() -> None:
    assert [percentile([1, 2, 3, 4], at) for at in (0, 0.5, 1)] == [1, 2.5, 4]
    assert quantile(0.95)([(1.0, 2.0), (3.0,)]) == pytest.approx(2.9)


def test_errors_are_counted_apart() -> None:
    records = [record("a"), record("b", got="list_jobs"), lost("c"), lost("d", "refused"), lost("e")]
    assert metrics.headline(records)["tool"].value == 0.5
    assert metrics.errors(records) == {"timeout": 2, "refused": 1}
    http, present = metrics.ladder(records)[:2]
    assert (http.rung, http.first.value, http.first.cases) == ("http", 0.4, 5)
    assert (present.rung, present.first.value, present.first.cases) == ("present", 1.0, 2)


def test_the_ladder_before_and_after_repair() -> None:
    records = [
        record("a"),
        record("b", fell_first=Rung.JSON),
        record("c", fell_first=Rung.GROUNDED),
        record("d", got="invalid", fell_first=Rung.PRESENT, fell=Rung.SCHEMA),
    ]
    steps = {step.rung: (step.first.value, step.last.value) for step in metrics.ladder(records)}
    assert steps == {
        "http": (1.0, 1.0),
        "present": (0.75, 1.0),
        "json": (0.5, 1.0),
        "schema": (0.5, 0.75),
        "grounded": (0.25, 0.75),
        "semantic": (0.25, 0.75),
        "tool": (None, 0.75),
        "exact": (None, 0.75),
    }
    figures = metrics.headline(records)
    assert (figures["valid"].value, figures["accepted"].value) == (0.5, 0.75)


def test_the_end_state_stands_on_the_cases_that_have_one() -> None:
    records = [record("a", score={"end_state": True}), record("b", score={"end_state": False}), record("c")]
    figure = metrics.headline(records)["end_state"]
    assert (figure.value, figure.cases) == (0.5, 2)
    assert metrics.ladder(records)[-1].rung == "end_state"


def mixed() -> list[Record]:
    return [
        record("1"),
        record("2"),
        record("3", got="diagnose_job"),
        record("4", got="ask"),
        record("5", "submit_job+cancel_jobs"),
        record("6", "ask"),
        record("7", "ask", "cancel_jobs"),
        record("8", "reply"),
        record("9", "reply", "ask"),
        record("10", "ask", "invalid", score={"tool": True}),
    ]


def test_confusion() -> None:
    found = metrics.confusion(mixed())
    assert found.counts == {
        ("show_job", "show_job"): 2,
        ("show_job", "diagnose_job"): 1,
        ("show_job", "ask"): 1,
        ("multi", "multi"): 1,
        ("ask", "ask"): 1,
        ("ask", "cancel_jobs"): 1,
        ("reply", "reply"): 1,
        ("reply", "ask"): 1,
        ("ask", "invalid"): 1,
    }
    assert found.labels[-4:] == ("multi", "ask", "reply", "invalid") and set(found.labels[:-4]) == {
        "show_job", "diagnose_job", "cancel_jobs",
    }  # fmt: skip


def test_another_acceptable_outcome_is_on_the_diagonal() -> None:
    also = record("a", "ask", "list_jobs", score={"tool": True, "exact": True})
    assert metrics.confusion([also]).counts == {("list_jobs", "list_jobs"): 1}


def test_calling_nothing() -> None:
    """Silent: 4, 6, 8, 9, 10; rightly: 6, 8, 9, 10; wanted: 6, 7, 8, 9, 10."""
    found = metrics.not_calling(mixed())
    assert (found.right, found.given, found.wanted) == (4, 5, 5)
    assert (found.precision.value, found.recall.value, found.f1.value) == (0.8, 0.8, 0.8)


def test_abstention() -> None:
    found = {name: figure.value for name, figure in metrics.abstention(mixed()).items()}
    assert found == {
        "asked_when_it_should": 2 / 3,
        "replied_when_it_should": 0.5,
        "acted_instead": 0.2,
        "asked_instead": 0.2,
    }


def test_arguments() -> None:
    records = [
        judged("a", ("nodes", "right"), ("mem", "right")),
        judged("b", ("nodes", "right"), ("mem", "wrong")),
        judged("c", ("nodes", "missing"), ("qos", "extra")),
        judged("d", ("nodes", "right")),
        record("e", got="ask"),
    ]
    found = metrics.arguments(records)
    assert list(found)[:3] == ["all", "nodes", "mem"]
    nodes, mem, qos, whole = found["nodes"], found["mem"], found["qos"], found["all"]
    assert (nodes.right, nodes.given, nodes.wanted) == (3, 3, 4)
    assert (nodes.precision.value, nodes.recall.value, nodes.f1.value) == (1.0, 0.75, pytest.approx(6 / 7))
    assert (mem.precision.value, mem.recall.value, mem.f1.value) == (0.5, 0.5, 0.5)
    assert (qos.precision.value, qos.recall.value, qos.f1.value) == (0.0, None, 0.0)
    assert (whole.right, whole.given, whole.wanted) == (4, 6, 6)
    assert nodes.recall.low is not None and nodes.recall.low < 0.75 < (nodes.recall.high or 0)


def test_one_call_may_have_an_argument_twice() -> None:
    found = metrics.arguments([judged("a", ("job_id", "right"), ("job_id", "wrong"))])["job_id"]
    assert (found.right, found.given, found.wanted) == (1, 2, 2)


def test_minefields_are_the_cases_that_forbid() -> None:
    records = [
        record("a", "ask", forbid=("cancel_jobs",)),
        record("b", "ask", "cancel_jobs", forbid=("cancel_jobs",), score={"forbidden": True}),
        record("c"),
    ]
    figure = metrics.minefields(records)
    assert (figure.value, figure.cases) == (0.5, 2)


def test_pass_at_k_and_pass_all_k() -> None:
    """One case right 3 times of 4, one never, one always."""
    hits = {"a": 3, "b": 0, "c": 4}
    records = [record(name, right=n < count, repeat=n) for name, count in hits.items() for n in range(4)]
    found = {name: figure.value for name, figure in metrics.passes(records).items()}
    assert found == {
        "pass@1": pytest.approx(7 / 12),
        "pass@2": pytest.approx((1 + 0 + 1) / 3),
        "pass^2": pytest.approx((0.5 + 0 + 1) / 3),
        "pass@3": pytest.approx(2 / 3),
        "pass^3": pytest.approx((0.25 + 0 + 1) / 3),
        "pass@4": pytest.approx(2 / 3),
        "pass^4": pytest.approx(1 / 3),
    }
    assert list(metrics.passes(records[:1])) == ["pass@1"] and metrics.passes([]) == {}


@pytest.mark.parametrize("hits", [0, 2, 4])
def test_cases_that_do_not_differ_are_not_certain(hits: int) -> None:
    records = [record(str(case), right=n < hits, repeat=n) for case in range(8) for n in range(4)]
    for name, figure in metrics.passes(records).items():
        assert figure.low is not None and figure.high is not None and figure.high - figure.low > 0.2, name
        assert figure.value is not None and figure.low <= figure.value <= figure.high, name


def test_one_case_has_no_spread() -> None:
    figure = metrics.costs([record("a", seconds=2.0)])["seconds"]["p95"]
    assert (figure.value, figure.low, figure.high) == (2.0, None, None)


def test_what_must_be_said_is_a_figure_of_its_own() -> None:
    assert mentions("Job 7 is HELD", [("7",), ("on hold", "held")]) is True
    assert mentions("Job 7 runs", [("7",), ("on hold", "held")]) is False and mentions("anything", []) is None
    records = [record("a", score={"mentions": True}), record("b", score={"mentions": False}), record("c")]
    figure = metrics.headline(records)["mentions"]
    assert (figure.value, figure.cases) == (0.5, 2)
    assert [fell_at(one) for one in records] == ["", "mentions", ""]


def test_costs() -> None:
    records = [record(str(n), seconds=float(n), prompt_tokens=10 * n, ttft=None) for n in range(1, 6)]
    found = metrics.costs(records)
    assert set(found) == {"seconds", "prompt_tokens", "completion_tokens", "attempts"}
    seconds = found["seconds"]
    assert (seconds["mean"].value, seconds["p50"].value, seconds["p95"].value) == (3.0, 3.0, pytest.approx(4.8))
    assert seconds["p50"].low is not None and 1 <= seconds["p50"].low < 3
    streamed = [one.model_copy(update={"ttft": 0.1}) for one in records[:2]]
    assert metrics.costs([*streamed, *records[2:]])["ttft"]["mean"].value == pytest.approx(0.1)


SUBMIT = {"script": "a.sh", "nodes": 2, "time_limit": "1-00:00:00"}


def test_every_argument_is_judged() -> None:
    action = Action(calls=(Call("submit_job", {"script": "a.sh", "nodes": 3, "qos": "high", "mem": "4G"}),))
    wanted = {"tool": "submit_job", "arguments": SUBMIT, "optional": ["mem"]}
    found = {one.name: (one.verdict, one.want, one.got) for one in arguments(action, [wanted], NOW)}
    assert found == {
        "script": ("right", "a.sh", "a.sh"),
        "nodes": ("wrong", 2, 3),
        "time_limit": ("missing", "1-00:00:00", None),
        "qos": ("extra", None, "high"),
    }


def test_values_are_compared_in_slurms_form_and_lists_without_order() -> None:
    action = Action(
        calls=(Call("cancel_jobs", {"job_ids": ["7", "5"]}), Call("submit_job", SUBMIT | {"time_limit": "24h"}))
    )
    wanted = [
        {"tool": "cancel_jobs", "arguments": {"job_ids": ["5", "7"]}},
        {"tool": "submit_job", "arguments": SUBMIT | {"time_limit": {"any": ["02:00:00", "1-00:00:00"]}}},
    ]
    assert [one.verdict for one in arguments(action, [{"tools": wanted}], NOW)] == ["right"] * 4


def test_the_closest_acceptable_outcome_judges() -> None:
    action = Action(calls=(Call("submit_job", {"script": "a.sh", "gpus": 2}),))
    expects = [
        {"tool": "submit_job", "arguments": {"script": "a.sh", "nodes": 2}},
        {"tool": "submit_job", "arguments": {"script": "a.sh", "gpus": 2}},
        {"action": "ask"},
    ]
    assert {one.verdict for one in arguments(action, expects, NOW)} == {"right"}
    assert score(action, expects, NOW).exact


SEVERAL = [{"tool": "show_job", "arguments": {"job_id": name}} for name in ("1", "2")]


@pytest.mark.parametrize(("ids", "free", "fixed"), [("12", True, True), ("21", True, False), ("13", False, False)])
def test_calls_that_do_not_depend_on_each_other_may_stand_in_any_order(ids: str, free: bool, fixed: bool) -> None:
    action = Action(calls=tuple(Call("show_job", {"job_id": name}) for name in ids))
    assert score(action, [{"tools": SEVERAL, "any_order": True}], NOW).exact is free
    assert score(action, [{"tools": SEVERAL}], NOW).exact is fixed
    assert not score(Action(calls=action.calls[:1]), [{"tools": SEVERAL, "any_order": True}], NOW).tool


def test_other_tools_leave_arguments_unjudged() -> None:
    assert arguments(Action(calls=(Call("show_job", {"job_id": "1"}),)), [{"action": "ask"}], NOW) == ()
    assert arguments(Action(ask="which?"), [{"tool": "show_job", "arguments": {}}], NOW) == ()


def manifest() -> Manifest:
    one = DatasetRecord(name="made", sha256="0" * 64, count=2)
    return Manifest(datasets=(one,), tools="t", prompts="p", model=ModelRecord(name="m", url="http://h"))


def test_records_survive_the_disk(tmp_path: Path) -> None:
    odd = record("b", request="line\u2028end \n \U0001f600 \x00", calls=(Call("show_job", {"job_id": "1"}),))
    lines = [lost("a"), odd, record("a", repeat=1), record("a")]
    write_manifest(tmp_path, manifest())
    (tmp_path / "results.jsonl").write_text("".join(map(line_of, lines)) + '{"id": "torn', encoding="utf-8")
    run = read_run(tmp_path)
    assert [one.key for one in run.records] == [("a", 0), ("a", 1), ("b", 0)]
    assert run.records[2] == odd and not run.errors and run.manifest == manifest()


def test_an_error_is_made_good_by_the_answer_after_it(tmp_path: Path) -> None:
    (tmp_path / "results.jsonl").write_text(line_of(lost("a")) + line_of(record("a")), encoding="utf-8")
    assert [one.error for one in read_records(tmp_path)] == [None]


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("manifest.json", "{", "manifest.json: line: "),
        ("manifest.json", "{}", "manifest.json: datasets: "),
        ("results.jsonl", "{}\n", "results.jsonl:1: id: "),
    ],
)
def test_a_broken_run_names_file_and_field(tmp_path: Path, name: str, text: str, complaint: str) -> None:
    write_manifest(tmp_path, manifest())
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=complaint):
        read_run(tmp_path)


def test_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no run"):
        read_run(tmp_path / "nowhere")


def test_the_summary_is_json_and_the_screen_has_the_figures(capsys: pytest.CaptureFixture[str]) -> None:
    from assistant.doors.render import console

    run = Run(manifest(), (*mixed(), judged("11", *[(f"a{n}", "right") for n in range(6)]), lost("12")))
    document = json.loads(json.dumps(metrics.summary(run)))
    assert document["headline"]["tool"]["value"] == pytest.approx(7 / 11)
    assert document["errors"] == {"timeout": 1} and document["passes"]["pass@1"]["cases"] == 11
    show(run, console(), misses=True)
    printed = capsys.readouterr().out
    assert "63.6 %" in printed and "calling nothing: precision" in printed and "TOOL 7 r" in printed
    assert "1 timeout" in printed and "args 10 r" in printed and "TOOL 1 r" not in printed
