"""The bridge to BFCL: cases of its package, with the verdicts of its own checker as they were recorded.

``recordings/bfcl_sample.jsonl`` has cases of bfcl-eval 2026.3.23 (Apache-2.0, UC Berkeley's Gorilla project), each with
answers that ``evals.bfcl.spoil`` makes of it and what ``ast_checker`` said to them.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evals.bfcl import bridge
from evals.bfcl.cases import CATEGORIES, Asked, expects, plain, read, schema_of, variants
from evals.bfcl.checker import PACKAGE, Calls
from evals.bfcl.spoil import SPOILERS, answers, right
from tests.chat_server import Reply, chat_server
from tests.eval_runs import sask_eval, without_settings

SAMPLE = Path(__file__).parent / "recordings" / "bfcl_sample.jsonl"
RECORDED = [json.loads(line) for line in SAMPLE.read_text(encoding="utf-8").splitlines()]
SIMPLE = [line for line in RECORDED if line["category"] == "simple_python"]


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without_settings(monkeypatch, tmp_path)


def asked(line: dict[str, Any]) -> Asked:
    return Asked(line["id"], line["category"], *(tuple(line[name]) for name in ("messages", "functions", "truth")))


def saying(verdict: str) -> bridge.Check:
    def check(case: Asked, calls: Calls) -> str:
        return verdict

    return check


def test_ours_agrees_with_what_bfcl_said() -> None:
    found = bridge.Agreement()
    for line in RECORDED:
        for one in line["answers"]:
            decision = bridge.asked(asked(line), bridge.Scripted(one["text"]))
            found.add(bridge.judged(asked(line), one["kind"], decision, saying(one["bfcl"])))
    assert [(one.case, one.kind, one.theirs) for one in found.apart] == []
    assert {category for category in CATEGORIES if not found.counts[category, "answers"]} == set()
    assert 0 < found.counts["all", "ours"] < found.counts["all", "answers"] == sum(len(r["answers"]) for r in RECORDED)
    assert found.counts["right", "ours"] == found.counts["right", "answers"]
    assert all(found.counts[kind, "answers"] for kind in SPOILERS), "the sample has every kind of answer"


@pytest.mark.parametrize("line", RECORDED, ids=lambda line: line["id"])
def test_the_answers_are_those_that_were_judged(line: dict[str, Any]) -> None:
    assert list(answers(asked(line))) == [(one["kind"], one["text"]) for one in line["answers"]]


def test_a_disagreement_is_kept_and_counted() -> None:
    case = asked(SIMPLE[0])
    decision = bridge.asked(case, bridge.Scripted(json.dumps(right(case)[0])))
    found = bridge.agreement([bridge.judged(case, "right", decision, saying("type_error:simple"))])
    assert found.share("all") == 0 and found.apart[0].ours and not found.apart[0].agreed


SPEC = {
    "type": "dict",
    "properties": {"n": {"type": "float"}, "who": {"type": "array", "items": {"type": "tuple"}}, "x": {"type": "any"}},
    "required": ["n", "gone"],
}


def test_its_types_become_json_schema() -> None:
    assert schema_of(SPEC) == {
        "type": "object",
        "properties": {"n": {"type": "number"}, "who": {"type": "array", "items": {"type": "array"}}, "x": {}},
        "required": ["n"],
    }
    assert schema_of({"type": "string", "default": None})["type"] == ["string", "null"]


@pytest.mark.parametrize(
    ("one", "other", "kind", "same"),
    [
        ("San Francisco, CA", "san francisco ca", "string", True), ("it's", 'it"s', "string", True),
        ("a", "b", "string", False), (5, 5.0, "float", True), (5, 5.0, "integer", False), (True, 1, "boolean", False),
        ([1, "A b"], [1.0, "ab"], "array", True), ([1, 2], [2, 1], "array", False),
        ({"a": "X", "b": 1}, {"b": 1, "a": "x"}, "dict", True),
    ],
)  # fmt: skip
def test_values_are_compared_as_bfcl_does(one: Any, other: Any, kind: str, same: bool) -> None:
    assert (plain(one, {"type": kind}) == plain(other, {"type": kind})) is same


def test_structured_values_are_spelt_out() -> None:
    assert list(variants({"a": ["x", "y"], "b": [1, ""]})) == [
        {"a": "x"},
        {"a": "x", "b": 1},
        {"a": "y"},
        {"a": "y", "b": 1},
    ]
    assert list(variants([{"a": ["x"]}, {"b": [1, 2]}])) == [[{"a": "x"}, {"b": 1}], [{"a": "x"}, {"b": 2}]]
    assert list(variants(["x", "y"])) == [["x", "y"]] and list(variants([])) == [[]]


def test_a_required_argument_is_never_optional() -> None:
    function = {"name": "f", "parameters": {"properties": {"a": {}, "b": {}}, "required": ["a"]}}
    case = Asked("c", "simple_python", (), (function,), ({"f": {"a": ["x", ""], "b": [1, ""]}},))
    ((outcome),) = expects(case)
    assert outcome["tools"][0]["optional"] == ["b"] and right(case) == [{"f": {"a": "x"}}]


def package(folder: Path, lines: list[dict[str, Any]]) -> Path:
    """As much of ``bfcl-eval`` as the command reads; its checker takes what is exactly the first right value."""
    root = folder / PACKAGE
    for name in ("constants", "eval_checker", "eval_checker/ast_eval", "data/possible_answer"):
        (root / name).mkdir(parents=True)
    for name in ("", "constants", "eval_checker", "eval_checker/ast_eval"):
        (root / name / "__init__.py").write_text("")
    (root / "constants" / "enums.py").write_text("class Language:\n    PYTHON = 'python'\n")
    (root / "constants" / "model_config.py").write_text("raise RuntimeError('every vendor, imported')\n")
    (root / "eval_checker" / "ast_eval" / "ast_checker.py").write_text(
        "from bfcl_eval.constants.model_config import MODEL_CONFIG_MAPPING\n"
        "def ast_checker(functions, calls, truth, language, category, model):\n"
        "    assert not MODEL_CONFIG_MAPPING[model].underscore_to_dot and language == 'python'\n"
        "    return {'valid': [list(c) for c in calls] == [list(t) for t in truth], 'error_type': 'names'}\n"
    )
    for category in {line["category"] for line in lines}:
        ours = [line for line in lines if line["category"] == category]
        questions = [{"id": one["id"], "question": [one["messages"]], "function": one["functions"]} for one in ours]
        truths = [{"id": one["id"], "ground_truth": one["truth"]} for one in ours]
        for place, rows in (("data", questions), ("data/possible_answer", truths)):
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (root / place / f"BFCL_v4_{category}.json").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def unloaded() -> Iterator[None]:
    """No module of the package is left from before, nor for afterwards."""

    def forget() -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
            del sys.modules[name]

    forget()
    yield
    forget()


def test_the_command_asks_a_model_and_says_where_verdicts_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unloaded: None
) -> None:
    monkeypatch.syspath_prepend(str(package(tmp_path, SIMPLE)))
    calls = {line["messages"][-1]["content"]: right(asked(line))[0] for line in SIMPLE}
    with chat_server(lambda request, count: Reply(json.dumps(calls[request]))) as server:
        words = ["bfcl", "--model", server.url, "--category", "simple_python", "--json", tmp_path / "b.json"]
        done = sask_eval(*words)
        assert done.exit_code == 0, done.output
        system = server.asked[0]["messages"][0]["content"]
        assert next(iter(calls[server.asked[0]["messages"][1]["content"]])) in system
        (name,) = calls[SIMPLE[0]["messages"][-1]["content"]]
        server.script = lambda request, count: Reply(
            json.dumps({name: {}} if name in calls[request] else calls[request])
        )
        apart = sask_eval(*words)
    document = json.loads((tmp_path / "b.json").read_text(encoding="utf-8"))
    assert apart.exit_code == 1 and SIMPLE[0]["id"] in apart.stdout
    assert document["groups"]["all"] == {"agreement": 0.5, "answers": 2, "ours": 1, "bfcl": 2, "agreed": 1}
    assert [one["case"] for one in document["apart"]] == [SIMPLE[0]["id"]]


def test_without_the_package_the_error_says_how_to_get_it(unloaded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    done = sask_eval("bfcl")
    assert done.exit_code == 2 and "pip install --no-deps" in done.stderr


def test_what_is_not_bfcls_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"BFCL_v4_multiple\.json"):
        read(tmp_path, "multiple")
