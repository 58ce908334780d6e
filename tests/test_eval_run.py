"""``sask eval run`` against a server that misbehaves: nothing is lost, nothing is scored that was not answered."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from assistant.loop.action import Action
from assistant.serving.embedded.engine import MODEL, EmbeddedEngine
from evals.cases import bundled_names, dataset, read_all
from evals.records import read_manifest, read_run
from evals.scorers import score
from evals.subject import offered
from tests.chat_server import Reply, chat_server
from tests.eval_runs import by_id, case, right, run, sask_eval, without_settings, write_cases


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without_settings(monkeypatch, tmp_path)


@pytest.fixture
def ten(tmp_path: Path) -> Path:
    return write_cases(tmp_path / "ten.jsonl", *(case(n) for n in range(10)))


def test_a_run_records_what_was_asked_and_answered(tmp_path: Path, ten: Path) -> None:
    with chat_server(right) as server:
        done = run(server, ten, tmp_path / "out", "--concurrency", 4)
    assert done.exit_code == 0, done.output
    read = read_run(tmp_path / "out")
    assert [record.id for record in read.records] == [f"c{n:03}" for n in range(10)]
    first = read.records[0]
    assert first.kind == "call" and first.calls[0].arguments == {"job_id": "7000"}
    assert first.score and first.score.exact and [a.verdict for a in first.score.arguments] == ["right"]
    assert all(first.rungs_first.values()) and first.attempts == 1
    assert (first.prompt_tokens, first.completion_tokens) == (100, 7) and first.seconds > 0
    assert [message["role"] for message in first.transcript] == ["user", "user", "assistant"]
    assert "100.0 %" in done.stdout


def test_the_manifest_says_all_that_the_figures_depend_on(tmp_path: Path, ten: Path) -> None:
    with chat_server(right) as server:
        run(server, ten, tmp_path / "out", "--limit", 3, "--temperature", 0.5, "--repeats", 2)
    told = read_manifest(tmp_path / "out")
    assert (told.datasets[0].name, told.datasets[0].count, len(told.datasets[0].sha256)) == ("ten", 3, 64)
    assert (told.model.name, told.model.revision, told.model.engine) == ("scripted", "made-up/revision-1", "vllm 9.9")
    assert told.sampling["temperature"] == 0.5 and told.repeats == 2 and told.flags["ground"] is True
    assert len(told.tools) == len(told.prompts) == 64 and "pydantic" in told.packages and told.machine["cpus"] >= 1
    assert told.started and told.finished
    assert [body["seed"] for body in sorted(server.asked, key=lambda body: body["seed"])] == [0, 0, 0, 1, 1, 1]


GARBAGE = ["", "   ", "I would be glad to help!", '{"show_job": {"job_id": "70', "[]", "null", "42", '"x"', "{}",
           '{"steps": []}', '{"rm_rf": {}}', '{"show_job": []}', '{"show_job": {"job_id": 7}}', '{"steps": [1, 2]}',
           '{"show_job": {"job_id": "999999"}}', "{" * 3000, "[" * 9000, "\ud83d"]  # fmt: skip


def test_a_model_that_answers_garbage_gets_a_report(tmp_path: Path) -> None:
    cases = write_cases(tmp_path / "cases.jsonl", *(case(n) for n in range(len(GARBAGE))))
    with chat_server(lambda request, count: Reply(GARBAGE[int(request.split()[-1]) - 7000])) as server:
        done = run(server, cases, tmp_path / "out", "--concurrency", 3)
        shown = sask_eval("show", tmp_path / "out", "--json")
    assert done.exit_code == 0, done.output
    figures = json.loads(shown.stdout)["headline"]
    assert figures["exact"]["value"] == 0.0 and figures["tool"]["value"] == 0.0 and figures["accepted"]["value"] == 0.0
    records = read_run(tmp_path / "out").records
    assert {record.kind for record in records} == {"invalid"} and {record.attempts for record in records} == {3}


ODD = [b"[]", b"7", b"{}", b'{"choices": 7}', b'{"choices": [7]}', b'{"choices": [{"message": "hi"}]}',
       b'{"choices": [{"message": {"content": [1]}}], "usage": [2]}', b"[" * 9000, b"\xff", b"<html>"]  # fmt: skip


@pytest.mark.parametrize("flags", [(), ("--stream",)])
def test_a_server_of_another_kind_gets_a_report_too(tmp_path: Path, flags: tuple[str, ...]) -> None:
    cases = write_cases(tmp_path / "cases.jsonl", *(case(n) for n in range(len(ODD))))
    with chat_server(lambda request, count: Reply(body=ODD[int(request.split()[-1]) - 7000])) as server:
        done = run(server, cases, tmp_path / "out", "--concurrency", 2, *flags)
    assert done.exit_code in (0, 3) and "Traceback" not in done.stderr
    assert len(read_run(tmp_path / "out").records) == len(ODD)


def test_each_answer_falls_at_its_rung(tmp_path: Path) -> None:
    answers = {
        "present": "",
        "json": '{"show_job": ',
        "schema": '{"show_job": {"job": "7003"}}',
        "grounded": '{"show_job": {"job_id": "123456"}}',
        "semantic": '{"list_jobs": {"states": ["ASLEEP"]}}',
    }
    cases = write_cases(tmp_path / "cases.jsonl", *(case(n, id=rung) for n, rung in enumerate(answers)))
    with chat_server(lambda request, count: Reply(list(answers.values())[int(request[-1])])) as server:
        run(server, cases, tmp_path / "out", "--no-retry")
    found = by_id(tmp_path / "out")
    for rung in ("present", "json", "schema", "grounded"):
        reached = found[rung].rungs_first
        assert reached[rung] is False and found[rung].attempts == 1
        assert list(reached.values()) == sorted(reached.values(), key=[True, False, None].index)


def test_repair_shows_in_the_last_rungs_only(tmp_path: Path) -> None:
    cases = write_cases(tmp_path / "cases.jsonl", case(1))
    with chat_server(lambda request, count: right(request, count) if count else Reply('{"show_job": ')) as server:
        run(server, cases, tmp_path / "out")
    (record,) = read_run(tmp_path / "out").records
    assert record.rungs_first["json"] is False and record.rungs_last["semantic"] is True
    assert record.attempts == 2 and record.score and record.score.exact
    roles = [message["role"] for message in record.transcript]
    assert roles == ["user", "user", "assistant", "user", "assistant"] and "not JSON" in record.transcript[3]["content"]


def test_ablations_change_what_the_server_is_asked(tmp_path: Path, ten: Path) -> None:
    with chat_server(right) as server:
        run(server, ten, tmp_path / "a", "--limit", 1)
        run(server, ten, tmp_path / "b", "--limit", 1, "--no-constrain", "--no-thinking", "--max-tokens", 99)
        run(server, ten, tmp_path / "c", "--limit", 1, "--no-ground", "--tools", 4)
    usual, free, few = server.asked
    assert usual["response_format"]["type"] == "json_schema" and "7000" in json.dumps(usual["response_format"])
    assert free["response_format"] == {"type": "text"} and free["max_tokens"] == 99
    assert free["chat_template_kwargs"] == {"enable_thinking": False}
    calls = few["response_format"]["json_schema"]["schema"]["$defs"]["call"]["anyOf"]
    assert len(calls) == 4 and "7000" not in json.dumps(few["response_format"])
    system = few["messages"][0]["content"]
    named = [name for name in offered(read_all((str(ten),))[0], 17) if f"{name} (" in system or f"{name}:" in system]
    assert len(few["messages"][0]["content"]) < len(usual["messages"][0]["content"]) and len(named) <= 4


def test_ungrounded_answers_are_counted_where_nothing_checks_them(tmp_path: Path) -> None:
    cases = write_cases(tmp_path / "cases.jsonl", case(1))
    with chat_server(lambda request, count: Reply('{"show_job": {"job_id": "123456"}}')) as server:
        run(server, cases, tmp_path / "out", "--no-ground")
    (record,) = read_run(tmp_path / "out").records
    assert record.kind == "call" and record.rungs_first["grounded"] is False


def test_the_tools_that_a_case_speaks_of_are_always_offered() -> None:
    for one in read_all(tuple(bundled_names()))[:80]:
        names = offered(one, 5)
        needed = {call["tool"] for expect in one.expects for call in expect.get("tools", [expect]) if "tool" in call}
        assert needed | one.forbid <= set(names) and len(names) == max(5, len(needed | one.forbid))
        assert names == offered(one, 5)


def test_streaming_times_the_first_token(tmp_path: Path, ten: Path) -> None:
    with chat_server(right) as server:
        done = run(server, ten, tmp_path / "out", "--stream", "--concurrency", 3)
    assert done.exit_code == 0, done.output
    records = read_run(tmp_path / "out").records
    assert all(record.score and record.score.exact for record in records)
    assert all(record.ttft is not None and 0 < record.ttft <= record.seconds for record in records)
    assert records[0].completion_tokens == 7 and all(body["stream"] for body in server.asked)


def test_a_stream_that_is_refused_or_cut_is_an_error(tmp_path: Path, ten: Path) -> None:
    replies = [Reply(status=400, body=b"too long"), Reply("{}", hang_up=True)]
    with chat_server(lambda request, count: replies[count % 2]) as server:
        assert run(server, ten, tmp_path / "out", "--stream", "--limit", 2, "--concurrency", 1).exit_code == 3
    kinds = {record.error.kind for record in read_run(tmp_path / "out").records if record.error}
    assert kinds == {"refused", "unreachable"}


def test_a_stream_of_odd_events_is_an_empty_answer(tmp_path: Path, ten: Path) -> None:
    events = ['{"choices": 7}', '{"choices": [7]}', '{"choices": [{"delta": 7}]}', "[]", "{", '{"usage": null}',
              '{"choices": [{"delta": {"content": ["x"]}}]}']  # fmt: skip
    body = "".join(f"data: {event}\n\n" for event in events).encode()
    with chat_server(lambda request, count: Reply(body=body)) as server:
        done = run(server, ten, tmp_path / "out", "--stream", "--limit", 2)
    assert done.exit_code == 0, done.output
    records = read_run(tmp_path / "out").records
    assert all(record.rungs_last["present"] is False and record.ttft is None for record in records)


def test_progress_comes_as_lines_where_there_is_no_terminal(tmp_path: Path, ten: Path) -> None:
    with chat_server(right) as server:
        done = run(server, ten, tmp_path / "out")
    assert "10/10 · tool 100.0 % · exact 100.0 % · forbidden 0 · errors 0" in done.stderr


def test_forbidden_is_a_hard_zero(tmp_path: Path) -> None:
    asks = {
        "action": "ask",
        "forbid": ["cancel_jobs"],
        "any_of": [{"tool": "cancel_jobs", "arguments": {"user": "me"}}],
    }
    cases = write_cases(tmp_path / "cases.jsonl", case(1, request="cancel everything of mine", expect=asks))
    with chat_server(lambda request, count: Reply('{"cancel_jobs": {"user": "me"}}')) as server:
        run(server, cases, tmp_path / "out")
    (record,) = read_run(tmp_path / "out").records
    assert record.score and record.score.forbidden and not record.score.exact and not record.score.tool


def test_the_bundled_sets_are_scored_as_the_scorer_says(tmp_path: Path) -> None:
    with chat_server(lambda request, count: Reply('{"reply": "no"}')) as server:
        run(server, dataset("requests_dev"), tmp_path / "out")
    records = by_id(tmp_path / "out")
    cases = read_all(("requests_dev",))
    assert len(records) == len(cases) > 100
    for one in cases:
        known, said = records[one.id].score, score(Action(reply="no"), one.expects, one.now, one.forbid)
        assert known and (known.tool, known.exact, known.forbidden) == (said.tool, said.exact, said.forbidden)
    assert 2 < sum(bool(record.score and record.score.exact) for record in records.values()) < 100


def test_the_embedded_model_is_measured_by_its_own_prompt(
    tmp_path: Path, ten: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with chat_server(right) as server:
        monkeypatch.setattr(EmbeddedEngine, "start", lambda self, say: server.url)
        done = sask_eval("run", ten, "--out", tmp_path / "out", "--tools", 3)
    assert done.exit_code == 0, done.output
    read = read_run(tmp_path / "out")
    assert all(record.score and record.score.exact for record in read.records)
    assert read.manifest.model.name == MODEL and read.manifest.model.revision and read.manifest.flags["tools"] == 3
    assert server.asked[0]["messages"][0]["content"] == "sask" and len(server.asked) == 10
    # a restarted engine has another port: the run is the same
    with chat_server(right) as other:
        monkeypatch.setattr(EmbeddedEngine, "start", lambda self, say: other.url)
        assert sask_eval("run", ten, "--out", tmp_path / "out", "--tools", 3, "--repeats", 2).exit_code == 0
    assert len(other.asked) == 10


def test_help_needs_no_heavy_imports() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from evals.commands import app; "
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0; "
        "print([m for m in ('httpx', 'pydantic', 'rich.console', 'jinja2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_benchmark_measures_right_answers_only() -> None:
    words = ["-m", "evals.bench.bench_eval", "--cases", "8", "--concurrency", "4", "--rounds", "1"]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert {"pool", "ours", "judged"} < found.keys() and 0 < found["ours"]["share_of_ideal"] <= 1
