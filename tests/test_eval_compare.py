"""Two runs against each other, and many in a table: figures worked out by hand, and the commands' exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from evals.records import ModelRecord, Record
from evals.reporting.commands import register
from evals.reporting.compare import Comparison, Difference, NotComparable, compare, mcnemar
from evals.reporting.matrix import matrix
from evals.reporting.wording import quantisation
from tests.report_bed import (
    forbidden,
    invalid,
    record,
    repaired,
    run_of,
    unreachable,
    write,
    wrong_arguments,
    wrong_tool,
)

app = typer.Typer(pretty_exceptions_enable=False)
register(app)
runner = CliRunner()


def named(comparison: Comparison, name: str) -> Difference:
    return next(one for one in comparison.differences if one.measure.name == name)


def rights(names: range) -> list[Record]:
    return [record(f"case-{n:02}") for n in names]


@pytest.mark.parametrize(
    ("won", "lost", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 0.0625), (6, 0, 0.03125), (10, 2, 2 * (1 + 12 + 66) / 4096), (3, 3, 1.0)],
)
def test_mcnemar_is_the_exact_binomial_test(won: int, lost: int, p: float) -> None:
    assert mcnemar(won, lost) == mcnemar(lost, won) == pytest.approx(p)


def test_mcnemar_of_thousands_neither_overflows_nor_underflows_to_nonsense() -> None:
    assert 0.0 <= mcnemar(3000, 100) < 1e-9
    assert mcnemar(2000, 2000) == 1.0


def test_the_same_run_twice_is_the_same() -> None:
    run = run_of([record("a"), wrong_tool("b"), invalid("c")])
    found = compare(run, run)
    assert found.pairs == 3 and not found.changed and not found.regressions(0.0)
    assert {one.verdict for one in found.differences} == {"the same"}
    assert all(one.low == one.high == one.change == 0 for one in found.differences)


def test_shares_won_lost_and_the_verdict() -> None:
    before = run_of([*rights(range(12)), *(wrong_arguments(f"case-{n}") for n in range(12, 20))])
    after = run_of([*rights(range(4)), *(wrong_arguments(f"case-{n:02}") for n in range(4, 19)), record("case-19")])
    exact, tool = (named(compare(before, after), name) for name in ("exact", "tool"))
    assert (exact.a, exact.b, exact.won, exact.lost) == (0.6, 0.25, 1, 8)
    assert exact.p == pytest.approx(2 * (1 + 9) / 512)
    assert exact.verdict == "worse"
    assert exact.change == pytest.approx(-0.35)
    assert exact.low < exact.change < exact.high < 0
    assert tool.verdict == "the same"


def test_the_interval_is_the_same_every_time() -> None:
    before, after = (
        run_of([*rights(range(8)), wrong_tool("z")]),
        run_of([*(wrong_tool(f"case-{n:02}") for n in range(8)), record("z")]),
    )
    assert compare(before, after).differences == compare(before, after).differences


def test_more_of_what_is_forbidden_is_a_loss() -> None:
    found = compare(run_of([record("a"), record("b")]), run_of([forbidden("a"), record("b")]))
    harm = named(found, "forbidden")
    assert (harm.a, harm.b, harm.won, harm.lost) == (0.0, 0.5, 0, 1)
    assert [one.measure.name for one in found.regressions(0.4)] == ["tool", "exact", "forbidden"]
    assert found.regressions(0.5) == ()
    assert compare(run_of([forbidden("a")]), run_of([record("a")])).regressions(0.0) == ()


def test_valid_is_before_repair_and_accepted_after_it() -> None:
    found = compare(run_of([record("a"), record("b")]), run_of([repaired("a"), invalid("b")]))
    assert (named(found, "valid").b, named(found, "accepted").b) == (0.0, 0.5)


def test_a_case_counts_once_however_often_it_was_asked() -> None:
    before = run_of([record("a", repeat=n) for n in range(4)] + [record("b", repeat=n) for n in range(4)])
    after = run_of([wrong_tool("a", repeat=0), *(record("a", repeat=n) for n in (1, 2, 3)), *before.records[4:]])
    exact = named(compare(before, after), "exact")
    assert (exact.won, exact.lost, exact.b) == (0, 1, 0.875)
    (changed,) = compare(before, after).changed
    assert changed.b.repeat == 0 and changed.lost == ("tool", "exact")


def test_cases_that_the_server_failed_in_say_nothing() -> None:
    found = compare(run_of([record("a"), record("b")]), run_of([record("a"), unreachable("b")]))
    assert found.pairs == 1 and found.left_out == ("b",) and not found.changed
    some = run_of([record("a"), unreachable("b"), wrong_tool("b", repeat=1)])
    partly = compare(run_of([record("a"), record("b")]), some)
    assert (partly.pairs, partly.left_out, named(partly, "exact").b) == (2, (), 0.5)


def test_the_heaviest_losses_come_first() -> None:
    before = run_of([wrong_tool("a-won"), record("b-repaired"), record("c-exact"), record("d-harm")])
    after = run_of([record("a-won"), repaired("b-repaired"), wrong_arguments("c-exact"), forbidden("d-harm")])
    assert [one.a.id for one in compare(before, after).changed] == ["d-harm", "c-exact", "b-repaired", "a-won"]


def test_other_cases_are_named() -> None:
    with pytest.raises(NotComparable, match=r"1 missing in made: b; 1 with another request or expectation: c"):
        compare(run_of([record("a"), record("b"), record("c")]), run_of([record("a"), record("c", request="other")]))
    with pytest.raises(NotComparable, match=r"10 missing in made: case-00, .*case-07 and 2 more"):
        compare(run_of([*rights(range(10)), record("z")]), run_of([record("z")]))
    with pytest.raises(NotComparable, match="no case was answered in both"):
        compare(run_of([unreachable("a")]), run_of([record("a")]))


def test_a_regression_beyond_the_tolerance_exits_1(tmp_path: Path) -> None:
    a = write(tmp_path / "a", rights(range(50)))
    b = write(tmp_path / "b", [*rights(range(49)), wrong_arguments("case-49")])
    within = runner.invoke(app, ["compare", str(a), str(b)])
    assert within.exit_code == 0 and "No regression beyond 2.0 %" in within.output
    beyond = runner.invoke(app, ["compare", str(a), str(b), "--tolerance", "0.01"])
    assert beyond.exit_code == 1
    assert "Regression beyond 1.0 %: exact call −2.0 points; it may be chance" in beyond.output
    assert 'B        show_job {"job_id": "8"}' in beyond.output
    assert runner.invoke(app, ["compare", str(b), str(a), "--tolerance", "0"]).exit_code == 0


def test_compare_as_json(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", [record("x"), record("y")]), write(tmp_path / "b", [record("x"), forbidden("y")])
    result = runner.invoke(app, ["compare", str(a), str(b), "--json"])
    document = json.loads(result.output)
    assert result.exit_code == 1 and document["regressions"] == ["tool", "exact", "forbidden"]
    assert document["measures"]["exact"]["difference"] == -0.5
    assert document["changed"][0]["b"] == 'cancel_jobs {"job_ids": ["7"]}'


def test_what_cannot_be_compared_exits_2(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", rights(range(3))), write(tmp_path / "b", rights(range(2)), finished=None)
    result = runner.invoke(app, ["compare", str(a), str(b)])
    assert result.exit_code == 2 and "case-02" in result.output and f"sask eval resume {b}" in result.output
    assert runner.invoke(app, ["compare", str(a), str(tmp_path / "none")]).exit_code == 2
    (b / "results.jsonl").write_text('{"id": 1}\n', encoding="utf-8")
    broken = runner.invoke(app, ["compare", str(a), str(b)])
    assert broken.exit_code == 2 and "results.jsonl:1: id" in broken.output


def test_escape_codes_of_a_request_do_not_reach_the_terminal(tmp_path: Path) -> None:
    a = write(tmp_path / "a", [record("x", request="clear \x1b[2J me\u202e")])
    b = write(tmp_path / "b", [wrong_tool("x", request="clear \x1b[2J me\u202e")])
    shown = runner.invoke(app, ["compare", str(a), str(b)]).output
    assert "clear [2J me" in shown and "\x1b" not in shown and "\u202e" not in shown


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("nvidia/Nemotron-3-Nano-30B-A3B-FP8", "FP8"),
        ("Nemotron-NVFP4", "NVFP4"),
        ("x-Q4_K_M.gguf", "Q4_K_M"),
        ("Qwen3-8B", ""),
    ],
)
def test_how_weights_are_stored_is_read_from_the_name(name: str, weights: str) -> None:
    assert quantisation(ModelRecord(name=name, url="")) == weights


def test_matrix_has_a_row_a_run_and_says_how_they_differ(tmp_path: Path) -> None:
    fp8 = run_of([record("a"), wrong_tool("b")], model={"name": "M-FP8", "url": "", "memory": 9_500_000_000})
    free = run_of([record("a"), record("b")], model={"name": "M-BF16", "url": ""}, flags={"constrain": False})
    rows = matrix([fp8, free])
    assert [(row.quantisation, row.conditions, row.memory) for row in rows] == [
        ("BF16", "constrain False", None), ("FP8", "constrain True", 9_500_000_000)
    ]  # fmt: skip
    assert [row.figures["exact"].value for row in rows] == [1.0, 0.5]
    assert rows[0].median.value == 0.5


def test_matrix_prints_markdown_and_json(tmp_path: Path) -> None:
    a = write(tmp_path / "a", [record("x"), record("y")])
    b = write(tmp_path / "b", [record("x")], datasets=[{"name": "other", "sha256": "", "count": 1}])
    lines = runner.invoke(app, ["matrix", str(a), str(b)]).output.splitlines()
    assert lines[0].startswith("| model | weights | engine | sets | exact call |") and "first token" not in lines[0]
    assert "| `Some-Model-FP8` | FP8 | `vllm 0.27` | `made (4)` | 100.0 % (34.2 – 100.0) |" in lines[2]
    assert "4.0 GB" in lines[2] and "compare with care" in lines[-1]
    rows = json.loads(runner.invoke(app, ["matrix", str(a), str(b), "--json"]).output)
    assert [row["answers"] for row in rows] == [2, 1] and rows[0]["figures"]["tool"]["value"] == 1.0
    assert runner.invoke(app, ["matrix", str(tmp_path / "none")]).exit_code == 2
