"""The hand-written requests: well formed, covering every tool, unseen by the embedded model's training."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evals import lint_cases
from tools import BY_NAME

ROOT = Path(lint_cases.__file__).parents[1]
DATASETS = ROOT / "evals" / "datasets"
TRAINING = ROOT / "assistant" / "serving" / "embedded" / "data"
WORDS, CHARACTERS = 8, 12
CJK = r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"
# a line of a log, a table or a script: two people may well paste the same one
PASTED = re.compile(
    r"\S {2,}\S|^\s*#|\berror:|^\s*File |^\s*[\[>|]|\d\d:\d\d:\d\d|NODELIST|^\w+Error\b|^Traceback|\w=\w"
)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def own_words(request: str) -> str:
    """The request without pasted lines; a request of one line is always somebody's own words."""
    lines = request.splitlines()
    return request if len(lines) == 1 else "\n".join(line for line in lines if not PASTED.search(line))


def ngrams(request: str) -> Iterator[str]:
    for line in own_words(request).casefold().splitlines():
        words = re.findall(r"\w+", line)
        yield from (" ".join(words[i : i + WORDS]) for i in range(len(words) - WORDS + 1))
        if re.search(CJK, line):
            letters = re.sub(r"\s", "", line)
            yield from (letters[i : i + CHARACTERS] for i in range(len(letters) - CHARACTERS + 1))


def case(**changes: Any) -> str:
    good: dict[str, Any] = {
        "id": "x-001",
        "category": "resize_job",
        "tags": [],
        "source": "own",
        "request": "+6h for 7",
        "context": {"user": "a", "is_admin": False, "now": "2026-11-21T10:00:00"},
        "expect": {"tool": "resize_job", "arguments": {"job_id": "7", "time_limit": "+6:00:00"}},
    }
    return json.dumps({**good, **changes})


def complaints(folder: Path, *lines: str) -> list[str]:
    path = folder / "requests_x.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [str(problem) for problem in lint_cases.lint([path])]


def call(**arguments: Any) -> dict[str, Any]:
    return {"tool": "resize_job", "arguments": arguments}


def test_all_case_files_pass_the_linter() -> None:
    paths = lint_cases.default_files()
    assert {path.name for path in paths} >= {"requests_dev.jsonl", "requests_test.jsonl"}
    assert [str(problem) for problem in lint_cases.lint(paths)] == []


def test_a_good_case_has_no_complaint(tmp_path: Path) -> None:
    assert complaints(tmp_path, case()) == []


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "line: is not one JSON object"),
        (case(colour="red"), "colour: is no field"),
        (case(category="fly"), "category: 'fly' is unknown"),
        (case(category="ask"), "category: is 'ask', but expect says 'resize_job'"),
        (case(context={"user": "a", "is_admin": False, "now": "noon"}), "context.now: 'noon'"),
        (case(expect={"tool": "fly", "arguments": {}}), "expect.tool: 'fly' is no tool"),
        (case(expect=call(job_id="7", gpus=2)), "expect.arguments.gpus: is no argument of resize_job"),
        (case(expect=call(job_id="7", time_limit="+6h")), "expect.arguments.time_limit: '+6h' is not can"),
        (case(expect=call(job_id="8", nodes=1)), "expect.arguments.job_id: '8' is not in the request"),
        (case(expect={**call(job_id="7", nodes=1), "forbid": ["fly"]}), "expect.forbid: 'fly' is no tool"),
        (case(expect={**call(job_id="7", nodes=1), "optional": ["mem"]}), "expect.optional: 'mem' is no arg"),
        (
            case(category="drain_node", expect={"tool": "drain_node", "arguments": {"nodes": "n1"}}),
            "context.is_admin: is false",
        ),
    ],
)
def test_the_linter_names_file_line_and_field(tmp_path: Path, line: str, complaint: str) -> None:
    found = complaints(tmp_path, case(), line)
    assert any(problem.startswith(f"requests_x.jsonl:2: {complaint}") for problem in found), found


def test_repeated_ids_and_requests_are_found(tmp_path: Path) -> None:
    same, other = case(id="x-002", request="+6H  for 7"), case(request="+6h for job 7")
    found = complaints(tmp_path, case(), same, other)
    assert found == [
        "requests_x.jsonl:2: request: is the same as in requests_x.jsonl:1",
        "requests_x.jsonl:3: id: is the same as in requests_x.jsonl:1",
    ]


def test_a_missing_file_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lint_cases.main([str(tmp_path / "none.jsonl")]) == 2
    assert "none.jsonl" in capsys.readouterr().err


def test_the_halves_cover_every_tool_alike() -> None:
    dev, test = (read(DATASETS / f"requests_{half}.jsonl") for half in ("dev", "test"))
    counts = [Counter(case["category"] for case in half) for half in (dev, test)]
    assert counts[0] == counts[1]
    assert set(counts[0]) == {*BY_NAME, "ask", "reply", "multi"}
    assert len(dev) + len(test) >= 400
    assert min(counts[0].values()) >= 5
    assert {case["id"] for case in dev}.isdisjoint(case["id"] for case in test)


def test_about_a_tenth_is_in_other_languages() -> None:
    for half in ("dev", "test"):
        cases = read(DATASETS / f"requests_{half}.jsonl")
        languages = Counter(tag for case in cases for tag in case["tags"] if tag.startswith("lang-"))
        assert languages.keys() == {"lang-de", "lang-fr", "lang-es", "lang-ko", "lang-zh"}
        assert 0.08 <= languages.total() / len(cases) <= 0.14


def test_ngrams_find_a_shared_sentence() -> None:
    shared = set(ngrams("please could you give my poor old job six more hours")) & set(
        ngrams("Please, could you give my poor OLD job 48121 more")
    )
    assert shared == {"please could you give my poor old job"}
    assert set(ngrams("지금 대기 중인 내 작업 목록 보여줘")) & set(ngrams("지금 대기 중인 내 작업 목록 보기"))
    assert not set(ngrams("why?\nslurmstepd: error: Detected 1 oom_kill event in StepId of the very job"))


def test_no_sentence_is_in_the_training_data() -> None:
    cases = [case for path in lint_cases.default_files() for case in read(path)]
    mine = {gram: case["id"] for case in cases for gram in ngrams(case["request"])}
    seen = [
        f"{path.name}:{number}: {gram!r} of {mine[gram]}"
        for path in sorted(TRAINING.glob("*.jsonl"))
        for number, example in enumerate(read(path), 1)
        for gram in set(ngrams(example["request"])) & mine.keys()
    ]
    assert seen == []
