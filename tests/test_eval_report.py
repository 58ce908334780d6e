"""A run's report apart from how its page behaves: geometry, Markdown as a renderer reads it, JSON, the command."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer
from markdown_it import MarkdownIt
from typer.testing import CliRunner

from evals.records import ScoreRecord
from evals.reporting import charts
from evals.reporting.commands import register
from evals.reporting.compare import compare
from evals.reporting.failing import LONGEST, failing
from evals.reporting.html import page, stages
from evals.reporting.inspect_log import inspect_log
from evals.reporting.markdown import code, summary, table
from tests.report_bed import (
    SOME,
    invalid,
    record,
    repaired,
    run_of,
    unreachable,
    write,
    wrong_tool,
)

app = typer.Typer(pretty_exceptions_enable=False)
app.callback()(lambda: None)
register(app)
runner = CliRunner()


def test_the_funnel_counts_what_is_left_before_and_after_repair() -> None:
    found = {
        stage.rung: stage for stage in stages(run_of([record("a"), repaired("b"), invalid("c"), unreachable("d")]))
    }
    assert (found["http"].first.value, found["http"].last.value) == (0.75, 0.75)
    assert (found["schema"].first.value, found["schema"].last.value) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert found["schema"].fell == ("−33.3", "")
    assert found["exact"].first_piece is None and found["exact"].last.value == pytest.approx(2 / 3)


def test_what_fails_is_named_by_the_first_thing_that_is_wrong() -> None:
    stateful = record("s", score=ScoreRecord(tool=True, exact=True, forbidden=False, end_state=False))
    found = {one.record.id: one.rung for one in failing(run_of([*SOME, stateful]))}
    assert found == {"bad-3": "tool", "bad-2": "tool", "bad-1": "exact", "bad-4": "grounded", "s": "end_state"}


def test_a_long_message_is_cut_and_says_so() -> None:
    (one,) = failing(run_of([wrong_tool("a", transcript=({"role": "user", "content": "x" * (LONGEST + 5)},))]))
    assert (len(one.transcript[0].text), one.transcript[0].left) == (LONGEST, 5)
    assert "5 characters more in results.jsonl" in page(run_of([one.record]))


def test_the_latency_curve_climbs_to_all_within_its_axes() -> None:
    assert charts.latency([], []) is None
    assert [charts.nice_step(longest) for longest in (0.9, 1.0, 3.0, 47.0)] == pytest.approx([0.2, 0.2, 0.5, 10.0])
    for count in (1, 7, 1000):
        drawn = charts.latency([n + 1 for n in range(count)], [0.25])
        assert drawn and [curve.name for curve in drawn.curves] == ["whole answer", "first token"]
        heights = [float(y) for y in re.findall(r"V([\d.]+)", drawn.curves[0].points)]
        places = [float(x) for x in re.findall(r"H([\d.]+)", drawn.curves[0].points)]
        assert heights == sorted(heights, reverse=True) and heights[-1] == charts.TOP
        assert places == sorted(places) and places[-1] == charts.WIDTH - charts.RIGHT
        assert len(heights) <= charts.STEPS


@pytest.mark.parametrize(
    "text", ["a | b", "`x` ``y``", "@team <img src=x> [a](http://b)", "``", "\\", " lead", "line\nbreak"]
)
def test_words_of_a_case_stay_words_in_markdown(text: str) -> None:
    render = MarkdownIt("commonmark").enable("table").render
    for html in (render(f"- {code(text)}"), render(table(["case"], [[code(text)]]))):
        inner = re.search(r"<code>(.*)</code>", html)
        assert inner and "<a " not in html and "<img" not in html and html.count("<code>") == 1
        plain = inner[1].replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"')
        assert plain.strip() == " ".join(text.split())


def test_the_summary_for_a_pull_request() -> None:
    text = summary(run_of(SOME))
    assert "| exact call | **42.9 %** | 15.8 – 75.0 |" in text and "7 answers; 1 not scored" in text
    assert "What was wrong first: not grounded 1, wrong tool 2, wrong arguments 1." in text
    before, after = run_of([record("a"), record("b")]), run_of([record("a"), wrong_tool("b")])
    told = summary(after, compare(before, after), 0.02)
    assert "**Regression** beyond 2.0 %: right tool −50.0 points, exact call −50.0 points." in told
    assert '- `b` `what about job 7, b?` lost tool, exact: `diagnose_job {"job_id": "7"}`' in told
    assert "No case came out worse" in summary(before, compare(before, before), 0.02)
    assert summary(run_of([])).endswith("0 answers.\n")


def test_the_log_for_inspect_ai_has_every_answer_and_the_same_figures() -> None:
    log = inspect_log(run_of(SOME))
    assert (log["version"], log["status"], len(log["samples"])) == (2, "success", len(SOME))
    figures = {one["name"]: one["metrics"]["accuracy"]["value"] for one in log["results"]["scores"]}
    samples = {one["id"]: one for one in log["samples"]}
    scored = [one["scores"] for one in samples.values() if "scores" in one]
    assert set(samples) - {one["id"] for one in log["samples"] if "scores" in one} == {"gone"}
    for name, value in figures.items():
        assert value == pytest.approx(sum(scores[name]["value"] == "C" for scores in scored) / len(scored)), name
    assert samples["bad-3"]["scores"]["unharmed"]["value"] == "I" and figures["unharmed"] == pytest.approx(6 / 7)
    assert samples["gone"]["error"]["message"] == "unreachable: connection refused"
    assert samples["ok-1"]["target"] == ['show_job {"job_id": "7"}'] and samples["ok-1"]["epoch"] == 1
    assert inspect_log(run_of(SOME, finished=None))["status"] == "started"


def test_the_command_writes_what_it_is_asked_for(tmp_path: Path) -> None:
    directory = write(tmp_path / "run", SOME)
    assert runner.invoke(app, ["report", str(directory)]).exit_code == 0
    assert (directory / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    files = {name: str(tmp_path / f"r.{name}") for name in ("markdown", "json", "inspect")}
    asked = [word for name, path in files.items() for word in (f"--{name}", path)]
    assert runner.invoke(app, ["report", str(directory), *asked]).exit_code == 0
    assert json.loads((tmp_path / "r.inspect").read_text(encoding="utf-8"))["version"] == 2
    document = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert [one["id"] for one in document["failing"]] == ["bad-3", "bad-2", "bad-1", "bad-4"]
    assert document["manifest"]["model"]["name"] == "Some-Model-FP8" and document["headline"]["tool"]["cases"] == 7
    against = runner.invoke(app, ["report", str(directory), "--markdown", "-", "--against", str(directory)])
    assert (
        against.output.startswith("### `Some-Model-FP8` on `made` (4)") and "No case came out worse" in against.output
    )


def test_what_cannot_be_read_or_written_exits_2_and_says_why(tmp_path: Path) -> None:
    directory = write(tmp_path / "run", SOME)
    missing = runner.invoke(app, ["report", str(tmp_path / "none")])
    assert missing.exit_code == 2 and "holds no run" in missing.output and "Traceback" not in missing.output
    nowhere = runner.invoke(app, ["report", str(directory), "--html", str(tmp_path / "no" / "such" / "r.html")])
    assert nowhere.exit_code == 2 and "cannot be written" in nowhere.output
    other = write(tmp_path / "other", [record("else")])
    assert runner.invoke(app, ["report", str(directory), "--markdown", "-", "--against", str(other)]).exit_code == 2
