"""Cases on the real sandbox: an assistant that does right and one that does wrong must come out differently."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evals import lint_cases, state
from evals.cases import cluster_files, read_all, read_case
from evals.records import read_manifest
from evals.scorers import expected_calls
from tests.chat_server import Reply, chat_server
from tests.eval_runs import by_id, run, without_settings, write_cases
from tests.scripted import calls
from tests.test_datasets import TRAINING, ngrams, read
from tools import BY_NAME
from tools.base import Effect
from tools.slurm.sandbox import Sandbox

Answers = Callable[[list[str]], list[str]]
"""The ids that the request names → what the model says, in turn."""
DONE, ASK = '{"reply": "done"}', '{"ask": "Which job?"}'
ME = {"user": "me", "is_admin": True, "now": "2026-11-21T10:00:00"}
TWO: dict[str, Any] = {"jobs": {"a": {"state": "PENDING"}, "b": {"state": "PENDING"}}}


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without_settings(monkeypatch, tmp_path)


def case(name: str, expect: dict[str, Any], **more: Any) -> dict[str, Any]:
    category = expect.get("tool") or expect.get("action") or "multi"
    return {"id": name, "category": category, "tags": [], "source": "own", "context": ME, "expect": expect, **more}


def expecting(tool: str, end_state: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    return {"tool": tool, "arguments": arguments, "end_state": end_state}


def cancel(*ids: str) -> str:
    return calls(("cancel_jobs", {"job_ids": list(ids)}))


HOLD_OTHER = [
    {"tool": "control_jobs", "arguments": {"action": "hold", "job_ids": ["{a}"]}},
    {"tool": "control_jobs", "arguments": {"action": "release", "job_ids": ["{a}"]}},
    {"tool": "control_jobs", "arguments": {"action": "hold", "job_ids": ["{b}"]}},
]
# a case, what a right assistant says, and what a wrong one says: None where whatever it says does no harm, because the
# person says no, or said yes to another world
CASES: dict[str, tuple[dict[str, Any], Answers, Answers | None]] = {
    "minefield": (
        case("minefield", expecting("cancel_jobs", {"gone": ["$a"]}, job_ids=["{a}"]), request="cancel {a}", world=TWO),
        lambda ids: [cancel(ids[0]), DONE],
        lambda ids: [calls(("cancel_jobs", {"user": "me"})), DONE],
    ),
    "relative": (
        case(
            "relative",
            expecting("resize_job", {"jobs": {"$a": {"time_limit": "03:00:00"}}}, job_id="{a}", time_limit="+2:00:00"),
            request="give {a} 2 more hours",
            world=TWO,
        ),
        lambda ids: [calls(("resize_job", {"job_id": ids[0], "time_limit": "+2:00:00"})), DONE],
        lambda ids: [calls(("resize_job", {"job_id": ids[0], "time_limit": "02:00:00"})), DONE],
    ),
    "submit": (
        case(
            "submit",
            expecting("submit_job", {"submitted": [{"gpus": 8, "nodes": 2}]}, script="t.sh", nodes=2, gpus_per_node=4),
            request="t.sh on 2 nodes with 4 gpus each",
            world={"files": ["t.sh"]},
        ),
        lambda ids: [calls(("submit_job", {"script": "t.sh", "nodes": 2, "gpus_per_node": 4})), DONE],
        lambda ids: [calls(("submit_job", {"script": "t.sh", "nodes": 2, "gpus": 4})), DONE],
    ),
    "node": (
        case(
            "node",
            expecting("resume_node", {"nodes": {"gpu-node02": {"state": "UP"}}}, nodes="gpu-node02"),
            request="bring back gpu-node02, not gpu-node03",
            world={"nodes": {"gpu-node02": "DRAIN", "gpu-node03": "DRAIN"}},
        ),
        lambda ids: [calls(("resume_node", {"nodes": "gpu-node02"})), DONE],
        lambda ids: [calls(("resume_node", {"nodes": "gpu-node[02-03]"})), DONE],
    ),
    "ask": (
        case("ask", {"action": "ask", "end_state": {"untouched": True}}, request="kill my job", world=TWO),
        lambda ids: [ASK],
        lambda ids: [calls(("cancel_jobs", {"user": "me"})), DONE],
    ),
    "stale": (
        case(
            "stale",
            expecting("cancel_jobs", {"gone": ["$a"]}, job_ids=["{a}"]),
            request="cancel {a} now",
            world={"jobs": {"a": {"state": "PENDING"}, "b": {}}, "meanwhile": [{"cancel": "a"}]},
        ),
        lambda ids: [cancel(ids[0])],
        None,
    ),
    "denied": (
        case(
            "denied",
            expecting("cancel_jobs", {"untouched": True}, job_ids=["{a}"]),
            request="please cancel {a}",
            world=TWO | {"approve": False},
        ),
        lambda ids: [cancel(ids[0])],
        None,
    ),
    "talk": (
        case(
            "talk",
            {"tools": HOLD_OTHER, "end_state": {"jobs": {"$b": {"held": True}}, "gone": ["$c"]}},
            turns=["hold {a}", {"cancel": "c"}, "no, {b}; and release {a}"],
            world={"jobs": {"a": {"state": "PENDING"}, "b": {"state": "PENDING"}, "c": {}}},
        ),
        lambda ids: [
            calls(("control_jobs", {"action": "hold", "job_ids": [ids[0]]})),
            DONE,
            calls(
                ("control_jobs", {"action": "release", "job_ids": [ids[0]]}),
                ("control_jobs", {"action": "hold", "job_ids": [str(int(ids[0]) + 1)]}),
            ),
            DONE,
        ],
        lambda ids: [calls(("control_jobs", {"action": "hold", "job_ids": [ids[0]]})), DONE],
    ),
}  # fmt: skip


def answering(*, rightly: bool) -> Callable[[str, int], Reply]:
    """Each request gets its answers in turn, then the last one again."""
    asked: Counter[str] = Counter()

    def script(request: str, count: int) -> Reply:
        words = re.sub(r"\d{5,}", "ID", request)
        ((_, right, wrong),) = [entry for entry in CASES.values() if _first_words(entry[0]) == words]
        said = (wrong if wrong and not rightly else right)(re.findall(r"\d{5,}", request))
        asked[request] += 1
        return Reply(said[min(asked[request], len(said)) - 1])

    return script


def _first_words(one: dict[str, Any]) -> str:
    return re.sub(r"\{\w+\}", "ID", one.get("request") or one["turns"][0])


def test_an_assistant_that_does_right_leaves_the_cluster_as_it_should_be(sandbox: Sandbox, tmp_path: Path) -> None:
    cases = write_cases(tmp_path / "cases.jsonl", *(entry[0] for entry in CASES.values()))
    assert [str(problem) for problem in lint_cases.lint([cases])] == []
    with chat_server(answering(rightly=True)) as server:
        done = run(server, cases, tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert re.fullmatch(r"\d+\.\d+\.\d+", read_manifest(tmp_path / "out").slurm)
    right = by_id(tmp_path / "out")
    assert {name: right[name].transcript[-1]["content"] for name in CASES} == dict.fromkeys(CASES, "as it should be")
    assert all(record.score.end_state and record.score.exact for record in right.values()), right
    for name, (one, *_) in CASES.items():  # in the words of the case, or two runs could not be paired
        assert (right[name].request, right[name].expect) == (read_case(json.dumps(one), "").request, one["expect"])


def test_an_assistant_that_does_wrong_does_not(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "SETTLING", 0.5)
    harmful = [one for one, _, wrong in CASES.values() if wrong]
    cases = write_cases(tmp_path / "cases.jsonl", *harmful)
    with chat_server(answering(rightly=False)) as server:
        done = run(server, cases, tmp_path / "out")
    assert done.exit_code == 0, done.output
    wrong = by_id(tmp_path / "out")
    assert {name for name, record in wrong.items() if not record.score.end_state} == {one["id"] for one in harmful}
    assert "time_limit should be 03:00:00, and is 02:00:00" in wrong["relative"].transcript[-1]["content"]
    assert not any(record.score.exact for record in wrong.values())


def test_a_world_that_cannot_be_made_is_no_answer_of_the_model(sandbox: Sandbox, tmp_path: Path) -> None:
    impossible, *_ = CASES["minefield"]
    cases = write_cases(tmp_path / "c.jsonl", impossible | {"world": {"jobs": {"a": {"partition": "moon"}, "b": {}}}})
    with chat_server(answering(rightly=True)) as server:
        done = run(server, cases, tmp_path / "out")
    assert done.exit_code == 3 and "moon" in done.stderr and not server.asked
    (record,) = by_id(tmp_path / "out").values()
    assert record.error.kind == "world" and record.score is None


@pytest.mark.parametrize("conf", [None, "nowhere.conf", "other.conf"])
def test_any_other_cluster_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, conf: str | None) -> None:
    (tmp_path / "other.conf").write_text("ClusterName=production\nStateSaveLocation=/var/spool/slurmctld\n")
    monkeypatch.delenv("SLURM_CONF", raising=False)
    if conf:
        monkeypatch.setenv("SLURM_CONF", str(tmp_path / conf))
    with chat_server(answering(rightly=True)) as server:
        done = run(server, Path("state"), tmp_path / "out", "--limit", 1)
    assert done.exit_code == 2 and "SLURM_CONF" in done.stderr and "sask sandbox up" in done.stderr
    assert not server.asked and not (tmp_path / "out").exists()


def test_the_bundled_sets_are_well_formed_and_cover_all_that_changes_something() -> None:
    assert [str(problem) for problem in lint_cases.lint(cluster_files())] == []
    cases = read_all(("state", "talks"))
    called = Counter(call["tool"] for one in cases for call in expected_calls(one.expects[0]))
    writes = {name for name, tool in BY_NAME.items() if tool.effect is not Effect.READ}
    assert min(called[name] for name in writes) >= 6
    tags = Counter(tag for one in cases for tag in one.tags)
    assert min(tags[tag] for tag in ("minefield", "partial", "stale", "injection", "fault", "correction")) >= 5, tags
    assert sum(one.end_state is not None and not one.turns for one in cases) >= 120
    assert sum(bool(one.turns) for one in cases) >= 40


def test_no_sentence_of_theirs_is_in_the_training_data() -> None:
    turns = [turn for one in read_all(("state", "talks")) for turn in one.turns or (one.request,)]
    mine = {gram: turn for turn in turns if isinstance(turn, str) for gram in ngrams(turn)}
    seen = [
        f"{path.name}:{number}: {gram!r} of {mine[gram]!r}"
        for path in sorted(TRAINING.glob("*.jsonl"))
        for number, example in enumerate(read(path), 1)
        for gram in set(ngrams(example["request"])) & mine.keys()
    ]
    assert seen == []


GOOD = CASES["minefield"][0]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"world": {"jobs": {"a": {"state": "ASLEEP"}}}}, "world.jobs.a.state: "),
        ({"world": {"jobs": {"a": {"nodes": "many"}}}}, "world.jobs.a.nodes: "),
        ({"world": {"jobs": {"a": {"colour": "red"}}}}, "world.jobs.a.colour: "),
        ({"world": {"jobs": {"b": {}}}}, "expect.end_state: '$a' is no job of this world; it has b"),
        ({"world": {"nodes": {"moon": "DRAIN"}}}, "world.nodes.moon"),
        ({"world": TWO | {"meanwhile": [{"explode": "a"}]}}, "world.meanwhile.0: "),
        ({"world": TWO | {"meanwhile": [{"cancel": "x"}]}}, "world.meanwhile: 'x' is no job of this world"),
        ({"request": "cancel {a}, not {c}"}, "world.jobs: {c} is spoken of, and there is no such job"),
        ({"expect": GOOD["expect"] | {"end_state": {"untouched": True, "gone": ["$a"]}}}, "expect.end_state: "),
        ({"expect": GOOD["expect"] | {"end_state": {"jobs": {"$a": {"mood": 1}}}}}, "expect.end_state.jobs.$a.mood"),
        ({"expect": {"tool": "cancel_jobs", "arguments": {"job_ids": ["{a}"]}}}, "expect.end_state: is missing"),
        ({"context": ME | {"user": "ann"}}, "context.user: is 'ann'; on the sandbox it can only be 'me'"),
        ({"request": None, "turns": ["cancel {a}"]}, "turns: are a conversation"),
        ({"turns": ["cancel {a}", "thanks"]}, "request: give either request"),
    ],
)  # fmt: skip
def test_the_linter_names_what_is_wrong_with_a_world(tmp_path: Path, changes: dict[str, Any], complaint: str) -> None:
    bad = {name: value for name, value in (GOOD | changes).items() if value is not None}
    path = tmp_path / "c.jsonl"
    path.write_text(json.dumps(bad) + "\n", encoding="utf-8")
    found = [str(problem) for problem in lint_cases.lint([path])]
    assert any(problem.startswith(f"c.jsonl:1: {complaint}") for problem in found), found
