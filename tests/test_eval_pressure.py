"""``sask eval pressure`` against a server that gives way step by step, and the ablations that it is made of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evals import pressure
from evals.cases import NOW, Case
from evals.crowd import decoys, talk
from evals.records import read_run
from evals.reporting.pressure import page
from evals.subject import offered
from tests.chat_server import Reply, chat_server
from tests.eval_runs import by_id, case, run, sask_eval, without_settings, write_cases
from tools import BY_NAME


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without_settings(monkeypatch, tmp_path)


@pytest.fixture
def four(tmp_path: Path) -> Path:
    return write_cases(tmp_path / "four.jsonl", *(case(n) for n in range(4)))


def job_of(body: dict[str, object]) -> str:
    said = [message["content"] for message in body["messages"] if "show job" in message["content"]]  # type: ignore
    return str(said[-1]).split()[-1]


def show(job: str) -> Reply:
    return Reply(json.dumps({"show_job": {"job_id": job}}))


def test_each_step_is_a_run_and_the_curves_are_of_the_runs(
    tmp_path: Path, four: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pressure, "AXES", {"concurrency": (1, 4), "tools": (4, 40), "temperature": (0.0, 1.5)})
    with chat_server(lambda request, count: Reply("")) as server:

        def script(request: str, count: int) -> Reply:
            body = server.asked[-1]
            hot, wide = body["temperature"] > 1, len(json.dumps(body["response_format"])) > 20_000
            return Reply("no JSON") if hot else show("9") if wide else show(request.split()[-1])

        server.script = script
        words = ["pressure", server.url, "--dataset", four, "--cases", 4, "--out", tmp_path / "out"]
        done = sask_eval(*words)
        assert done.exit_code == 0, done.output
        asked = len(server.asked)
        assert sask_eval(*words).exit_code == 0 and len(server.asked) == asked, "what is there is not asked again"
    found = {curve.axis: {step.value: step for step in curve.steps} for curve in pressure.curves(tmp_path / "out")}
    assert {axis: list(steps) for axis, steps in found.items()} == {
        "concurrency": [1, 4], "tools": [4, 40], "temperature": [0, 1.5],
    }  # fmt: skip
    assert found["temperature"][0].valid.value == 1 and found["temperature"][1.5].valid.value == 0
    assert found["tools"][4].exact.value == 1
    assert found["concurrency"][4].answers == 8, "twice as many questions as are in flight"
    assert found["concurrency"][4].per_second > 0 and found["concurrency"][1].median.value
    assert "Temperature" in done.stdout and (tmp_path / "out" / "report.html").is_file()


def test_a_step_that_the_server_cannot_bear_is_a_result(
    tmp_path: Path, four: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pressure, "AXES", {"context": (0, 500, 3_000)})
    with chat_server(lambda request, count: Reply("")) as server:

        def script(request: str, count: int) -> Reply:
            body = server.asked[-1]
            talked = sum(len(message["content"]) for message in body["messages"][1:])
            return show(job_of(body)) if talked < 8_000 else Reply(status=400)

        server.script = script
        words = ["pressure", server.url, "--dataset", four, "--cases", 4, "--axis", "context"]
        done = sask_eval(*words, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    (curve,) = pressure.curves(tmp_path / "out")
    exact = {step.value: (step.exact.value, step.lost) for step in curve.steps}
    assert exact[0] == exact[500] == (1.0, 0) and exact[3_000] == (None, 4)
    html = page(pressure.curves(tmp_path / "out"), pressure.first_manifest(tmp_path / "out"))
    assert html.count("<svg") == 2 and "nan" not in html.casefold() and "None" not in html


def test_the_prompts_grow_to_what_the_model_reads(tmp_path: Path, four: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pressure, "longest_context", lambda options, model: 4_000)
    with chat_server(lambda request, count: Reply("")) as server:
        server.script = lambda request, count: show(job_of(server.asked[-1]))
        words = ["pressure", server.url, "--dataset", four, "--cases", 1, "--axis", "context"]
        assert sask_eval(*words, "--out", tmp_path / "out").exit_code == 0
    (curve,) = pressure.curves(tmp_path / "out")
    most = 4_000 - 100 - server.asked[0]["max_tokens"]  # the server counts 100 tokens of every prompt
    assert [step.value for step in curve.steps][:3] == [0, 1_000, 2_000]
    assert curve.steps[-1].value == int(0.8 * most)


def test_an_unknown_axis_is_named_with_the_valid_ones(tmp_path: Path) -> None:
    done = sask_eval("pressure", "http://127.0.0.1:9", "--axis", "weather", "--out", tmp_path / "out")
    assert done.exit_code == 2 and "weather" in done.stderr and "concurrency" in done.stderr


def test_talk_stands_before_the_request_and_changes_nothing_else(tmp_path: Path, four: Path) -> None:
    with chat_server(lambda request, count: Reply("")) as server:
        server.script = lambda request, count: show(job_of(server.asked[-1]))
        run(server, four, tmp_path / "a", "--limit", 1)
        run(server, four, tmp_path / "b", "--limit", 1, "--context", 3_000)
    usual, long = (body["messages"] for body in server.asked)
    assert long[0] == usual[0] and long[len(long) - len(usual) + 1 :] == usual[1:]
    assert sum(len(one["content"]) for one in talk(3_000)[::2]) == 12_000
    assert server.asked[0]["response_format"] == server.asked[1]["response_format"]
    assert all(record.score.exact for record in read_run(tmp_path / "b").records if record.score)


def test_more_tools_than_there_are_means_decoys_and_calling_one_is_wrong(tmp_path: Path, four: Path) -> None:
    assert not decoys().keys() & BY_NAME.keys()
    one = Case("c", "show_job", "r", now=NOW, expects=({"tool": "show_job", "arguments": {"job_id": "1"}},))
    assert (
        len(offered(one, 40)) == 40 and set(BY_NAME) < set(offered(one, 40)) and set(offered(one, 17)) <= set(BY_NAME)
    )
    with chat_server(lambda request, count: Reply('{"list_files": {"path": "here"}}')) as server:
        done = run(server, four, tmp_path / "out", "--tools", 41, "--no-ground")
    assert done.exit_code == 0, done.output
    assert "list_files" in server.asked[0]["messages"][0]["content"]
    record = by_id(tmp_path / "out")["c000"]
    assert record.kind == "call" and record.rungs_last["schema"] and not record.score.tool
    assert "decoy" in sask_eval("show", tmp_path / "out").stdout
