"""A run that is cut short, taken up, asked for twice or asked for wrongly."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evals.records import RESULTS, read_run
from tests.chat_server import Reply, chat_server
from tests.eval_runs import case, right, run, sask_eval, without_settings, write_cases


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without_settings(monkeypatch, tmp_path)


@pytest.fixture
def ten(tmp_path: Path) -> Path:
    return write_cases(tmp_path / "ten.jsonl", *(case(n) for n in range(10)))


def test_an_endpoint_that_dies_half_way_leaves_a_run_that_can_be_resumed(tmp_path: Path, ten: Path) -> None:
    out = tmp_path / "a run"
    with chat_server(lambda request, count: right(request, count) if count < 4 else Reply(status=500)) as server:
        died = run(server, ten, out, "--concurrency", 1)
        assert died.exit_code == 3 and "4 of 10 answered" in died.stderr and "HTTP 500" in died.stderr
        assert f"sask eval resume '{out}'" in died.stderr and died.stdout == ""
        half = read_run(out)
        assert len(half.scored) == 4 and half.errors and half.manifest.finished is None
        assert {record.error.kind for record in half.errors if record.error} == {"refused"}
        assert all(record.score is None for record in half.errors)
        shown = sask_eval("show", out)
        assert shown.exit_code == 0 and "not finished" in shown.stdout and "not scored" in shown.stdout
        later: set[str] = set()

        def mended(request: str, count: int) -> Reply:
            later.add(request)
            return right(request, count)

        server.script = mended
        resumed = sask_eval("resume", out)
        assert resumed.exit_code == 0, resumed.output
        assert later == {f"show job {n}" for n in range(7004, 7010)}
    whole = read_run(out)
    assert len(whole.scored) == 10 and not whole.errors and whole.manifest.finished
    assert whole.manifest.started == half.manifest.started


def test_a_server_that_is_gone_is_not_asked_for_every_case(tmp_path: Path) -> None:
    cases = write_cases(tmp_path / "many.jsonl", *(case(n) for n in range(400)))
    with chat_server(lambda request, count: Reply(status=500)) as server:
        assert run(server, cases, tmp_path / "out", "--concurrency", 2).exit_code == 3
    assert len(server.asked) < 200


def test_errors_now_and_then_are_asked_again_and_never_scored(tmp_path: Path, ten: Path) -> None:
    stumbled: set[str] = set()

    def stumbling(request: str, count: int) -> Reply:
        if request in stumbled or request.endswith(("1", "5")) is False:
            return right(request, count)
        stumbled.add(request)
        return Reply(status=500) if request.endswith("1") else Reply("{}", hang_up=True)

    with chat_server(stumbling) as server:
        done = run(server, ten, tmp_path / "out", "--concurrency", 1)
    assert done.exit_code == 0 and len(server.asked) == 12
    assert len(read_run(tmp_path / "out").scored) == 10
    assert len((tmp_path / "out" / RESULTS).read_text().splitlines()) == 12


def test_no_server_at_all_is_said_at_once(tmp_path: Path, ten: Path) -> None:
    with chat_server(right) as server:
        pass
    done = run(server, ten, tmp_path / "out")
    assert done.exit_code == 4 and "no model answers" in done.stderr and not (tmp_path / "out").exists()


def test_the_cache_answers_the_same_question_and_no_other(tmp_path: Path, ten: Path) -> None:
    flags = ("--cache", tmp_path / "cache", "--concurrency", 2)

    def slow(request: str, count: int) -> Reply:
        time.sleep(0.05)
        return right(request, count)

    with chat_server(slow) as server:
        run(server, ten, tmp_path / "a", *flags)
        assert len(server.asked) == 10
        run(server, ten, tmp_path / "b", *flags)
        assert len(server.asked) == 10
        run(server, ten, tmp_path / "c", *flags, "--repeats", 2)
        assert len(server.asked) == 20
        run(server, ten, tmp_path / "d", *flags, "--max-tokens", 77)
        assert len(server.asked) == 30
    a, b = read_run(tmp_path / "a").records, read_run(tmp_path / "b").records
    assert [one.score for one in a] == [one.score for one in b]
    assert all(one.seconds >= 0.05 for one in b), "no answer seems faster for having been kept"


def test_a_directory_belongs_to_one_run(tmp_path: Path, ten: Path) -> None:
    with chat_server(right) as server:
        assert run(server, ten, tmp_path / "out").exit_code == 0
        other = run(server, ten, tmp_path / "out", "--no-ground")
        assert other.exit_code == 2 and "ground was True, would be False" in other.stderr
        ten.write_text(ten.read_text() + json.dumps(case(11)) + "\n")
        changed = run(server, ten, tmp_path / "out")
        assert changed.exit_code == 2 and "dataset ten" in changed.stderr
        assert len(server.asked) == 10


def test_more_repeats_ask_only_what_is_missing(tmp_path: Path, ten: Path) -> None:
    with chat_server(right) as server:
        run(server, ten, tmp_path / "out", "--limit", 4)
        run(server, ten, tmp_path / "out", "--repeats", 3)
    assert len(server.asked) == 30 and len(read_run(tmp_path / "out").records) == 30


def test_a_torn_last_line_is_asked_again(tmp_path: Path, ten: Path) -> None:
    with chat_server(right) as server:
        run(server, ten, tmp_path / "out", "--concurrency", 1)
        results = tmp_path / "out" / RESULTS
        results.write_bytes(results.read_bytes()[:-30])
        assert len(read_run(tmp_path / "out").records) == 9
        assert run(server, ten, tmp_path / "out").exit_code == 0
    assert len(server.asked) == 11 and len(read_run(tmp_path / "out").records) == 10


KILLED = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from evals.commands import app; app(sys.argv[1:])"
)


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_a_killed_run_is_taken_up(tmp_path: Path, sent: signal.Signals, code: int) -> None:
    cases = write_cases(tmp_path / "cases.jsonl", *(case(n) for n in range(30)))
    out = tmp_path / "out"
    victims: list[subprocess.Popen[str]] = []

    def deadly(request: str, count: int) -> Reply:
        if count == 12:
            victims[0].send_signal(sent)
        return right(request, count)

    with chat_server(deadly) as server:
        words = ["run", str(cases), "--model", server.url, "--out", str(out), "--concurrency", "2"]
        with server.lock:  # no request is answered before the victim is known
            victims.append(subprocess.Popen([sys.executable, "-c", KILLED, *words], stderr=subprocess.PIPE, text=True))
        _, told = victims[0].communicate(timeout=280)
        assert victims[0].returncode == code and "Traceback" not in told
        assert (f"sask eval resume {out}" in told) == (sent is signal.SIGINT)
    kept = {record.key for record in read_run(out).scored}
    assert 0 < len(kept) < 30
    with chat_server(right) as other:
        assert run(other, cases, out, "--concurrency", 2).exit_code == 0
    assert len(other.asked) == 30 - len(kept) and len(read_run(out).scored) == 30


BROKEN = [
    ('{"id": "a"', ":2: line: "),
    ("[1]", ":2: line: "),
    (json.dumps(case(2, request="")), ":2: request: "),
    (json.dumps({k: v for k, v in case(2).items() if k != "expect"}), ":2: expect: "),
    (json.dumps(case(2, expects={})), ":2: expects: "),
    (json.dumps(case(2, context={"now": "noon"})), ":2: context.now: "),
    (json.dumps(case(2, expect={"tool": "show_jobs"})), ":2: expect.tool: 'show_jobs' is no tool; valid: submit_job"),
    (json.dumps(case(2, expect={"action": "wait"})), ":2: expect.action: 'wait' is unknown; valid: ask, reply"),
    (json.dumps(case(2, expect={"action": "ask", "any_of": [{}]})), ":2: expect.any_of[0]: "),
    (json.dumps(case(2, expect={"action": "ask", "forbid": "cancel_jobs"})), ":2: expect.forbid: "),
    (json.dumps(case(0)), "'c000' is there twice"),
]


@pytest.mark.parametrize(("line", "complaint"), BROKEN)
def test_a_broken_case_names_file_line_and_field(tmp_path: Path, line: str, complaint: str) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text(json.dumps(case(0)) + "\n" + line + "\n", encoding="utf-8")
    done = sask_eval("run", path, "--model", "http://127.0.0.1:9", "--out", tmp_path / "out")
    assert done.exit_code == 2 and complaint in done.stderr, done.stderr
    assert str(path) in done.stderr and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["run", "no_such_set", "--out", "{out}"], "no_such_set cannot be read"),
        (["run", "--out", "{out}", "--model", "gpt"], "neither `embedded` nor a URL"),
        (["run", "--out", "{out}", "--repeats", "0"], "--repeats"),
        (["run"], "--out"),
        (["show", "{out}"], "holds no run"),
        (["resume", "{out}"], "holds no run"),
    ],
)
def test_bad_input_is_said_in_words(tmp_path: Path, words: list[str], complaint: str) -> None:
    done = sask_eval(*(word.format(out=tmp_path / "out") for word in words))
    assert done.exit_code == 2 and complaint in done.stderr and "Traceback" not in done.output


def test_a_broken_results_file_names_line_and_field(tmp_path: Path, ten: Path) -> None:
    with chat_server(right) as server:
        run(server, ten, tmp_path / "out", "--concurrency", 1)
    results = tmp_path / "out" / RESULTS
    lines = results.read_text().splitlines(keepends=True)
    results.write_text("".join([*lines[:3], lines[3].replace('"call"', '"shout"'), *lines[4:]]))
    shown = sask_eval("show", tmp_path / "out")
    assert shown.exit_code == 2 and f"{results}:4: kind" in shown.stderr


def test_two_runs_do_not_write_to_one_directory(tmp_path: Path, ten: Path) -> None:
    outcomes = []

    def meddling(request: str, count: int) -> Reply:
        if count == 0:
            outcomes.append(sask_eval("run", ten, "--model", server.url, "--out", tmp_path / "out"))
        return right(request, count)

    with chat_server(meddling) as server:
        assert run(server, ten, tmp_path / "out", "--concurrency", 1).exit_code == 0
    assert outcomes[0].exit_code == 2 and "another `sask eval run` is writing" in outcomes[0].stderr


def test_a_run_without_answers_can_be_shown(tmp_path: Path, ten: Path) -> None:
    with chat_server(lambda request, count: Reply(status=500)) as server:
        run(server, ten, tmp_path / "out")
    shown, document = sask_eval("show", tmp_path / "out"), sask_eval("show", tmp_path / "out", "--json")
    assert shown.exit_code == document.exit_code == 0 and json.loads(document.stdout)["answers"] == 0
