"""``sask doctor`` against a server that misbehaves in every listed way, and the client that talks to such servers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import stamina

from assistant.errors import ConfigError, ModelError, ModelRefused, ModelUnreachable
from assistant.loop.model import OpenAIModel
from assistant.serving.doctor import Diagnosis, examine
from assistant.serving.embedded.engine import MODEL, EmbeddedEngine
from tests.endpoint import endpoint, tls_endpoint
from tests.shell import Shell


def diagnosed(*faults: str, engine: str = "vllm", key: str = "") -> Diagnosis:
    with endpoint(*faults, engine=engine, key=key) as server:
        return examine(OpenAIModel(server.url, "scripted", key), lambda text: None)


def verdicts(diagnosis: Diagnosis) -> dict[str, str]:
    return {finding.what: finding.verdict for finding in diagnosis.findings}


def test_a_server_that_does_everything() -> None:
    diagnosis = diagnosed()
    assert set(verdicts(diagnosis).values()) == {"yes"}
    assert not any(finding.sign for finding in diagnosis.findings)
    assert (diagnosis.engine, diagnosis.version, diagnosis.context) == ("vllm", "0.33.0", 4096)
    assert (diagnosis.models, diagnosis.mode) == (("scripted",), "schema")
    assert diagnosis.speed.first is not None and diagnosis.speed.first >= 0
    assert diagnosis.speed.tokens_per_second is None or diagnosis.speed.tokens_per_second > 0


@pytest.mark.parametrize(
    ("fault", "what", "sign", "bug"),
    [
        ("schema_ignored", "structured outputs", "schema_ignored", "--structured-outputs-config"),
        ("schema_refused", "structured outputs", "schema_refused", "--structured-outputs-config"),
        ("strict_ignored", "strict tools", "strict_ignored", ""),
        ("required_ignored", "required choice", "required_ignored", "vllm #54808"),
        ("named_ignored", "named choice", "named_ignored", "vllm #54808"),
        ("parallel_ignored", "parallel calls off", "parallel_ignored", ""),
        ("reasoning_in_content", "thinking", "reasoning_in_content", "--reasoning-parser"),
        ("content_empty", "thinking", "content_empty", "vllm #39103"),
        ("thinking_stuck", "thinking off", "thinking_stuck", ""),
        ("truncation_hidden", "truncation", "truncation_hidden", "vllm #58228"),
        ("call_truncation_hidden", "truncation", "truncation_hidden", "vllm #58228"),
        ("empty_calls", "calls are read", "empty_calls", "vllm #53255"),
        ("no_arguments", "calls are read", "empty_calls", "vllm #53255"),
        ("call_in_content", "calls are read", "call_in_content", "vllm #39056"),
        ("call_in_reasoning", "calls are read", "call_in_reasoning", "vllm #39056"),
    ],
)
def test_each_misbehaviour_is_found_and_named(fault: str, what: str, sign: str, bug: str) -> None:
    diagnosis = diagnosed(fault)
    found = [finding for finding in diagnosis.findings if finding.sign == sign]
    assert [(finding.what, finding.verdict) for finding in found] == [(what, "no")]
    known = [f"{bug.number} {bug.flag}" for bug in diagnosis.advice(found[0])]
    assert bool(known) is bool(bug)
    assert not bug or any(bug in text for text in known)


def test_a_model_that_does_not_play_along_is_unknown_not_wrong() -> None:
    assert verdicts(diagnosed("call_in_content"))["strict tools"] == "unknown"
    thinking = next(f for f in diagnosed("no_thoughts").findings if f.what == "thinking")
    assert (thinking.verdict, thinking.sign) == ("no", "")


def test_where_the_thoughts_come_back() -> None:
    told = {f.what: f.found for f in diagnosed("old_field").findings}
    assert told["thinking"] == "the thoughts come apart, in message.reasoning_content"


def test_the_mode_follows_what_is_enforced() -> None:
    assert diagnosed("schema_ignored").mode == "tools"
    assert diagnosed("schema_ignored", "required_ignored", "named_ignored").mode == ""


def test_engines_are_told_apart_and_so_are_their_bugs() -> None:
    llama = diagnosed("required_ignored", engine="llama.cpp")
    assert (llama.engine, llama.version, llama.context) == ("llama.cpp", "b9000", 1024)
    finding = next(f for f in llama.findings if f.sign == "required_ignored")
    assert [bug.number for bug in llama.advice(finding)] == ["measured with xllamacpp 2026.10"]
    other = diagnosed(engine="other")
    assert (other.engine, other.version) == ("other", "unknown")


def test_sask_doctor(tmp_path: Path) -> None:
    sask = Shell(tmp_path)
    key = tmp_path / "key"
    key.write_text("s3cret-of-the-server\n")
    with endpoint("required_ignored", key="s3cret-of-the-server") as server:
        shown = sask("doctor", server.url, SASK_API_KEY_FILE=str(key))
        document = json.loads(sask("doctor", server.url, "--json", SASK_API_KEY_FILE=str(key)).stdout)
    assert shown.returncode == 0
    assert "vllm 0.33.0, scripted, 4096 tokens of context" in shown.stdout
    assert "no  required choice: ignored: no call" in shown.stdout
    assert "vllm #54808" in shown.stdout and "--tool-call-parser" in shown.stdout
    assert shown.stdout.rstrip().endswith("mode: schema")
    assert "s3cret" not in shown.stdout + shown.stderr
    assert document["mode"] == "schema"
    assert [f["bugs"][0]["number"] for f in document["findings"] if f["sign"] == "required_ignored"] == ["vllm #54808"]
    with endpoint("schema_ignored", "required_ignored", "named_ignored") as server:
        assert sask("doctor", server.url).returncode == 1
    nobody = sask("doctor", "http://127.0.0.1:9")
    assert nobody.returncode == 4 and "no model answers" in nobody.stderr
    assert sask("doctor", "nonsense").returncode == 2


def test_a_server_that_fails_half_way_is_unknown_for_the_rest() -> None:
    class Failing(OpenAIModel):
        def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
            if body and "tools" in body:
                raise ModelUnreachable("gone")
            return super().ask(method, path, body)

    with endpoint() as server:
        diagnosis = examine(Failing(server.url, "scripted"), lambda text: None)
    assert verdicts(diagnosis)["structured outputs"] == "yes"
    assert verdicts(diagnosis)["required"] == "unknown"


def test_the_embedded_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was measured of it by hand is found out: a schema is enforced, required and named choice are not."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    engine = EmbeddedEngine()
    try:
        diagnosis = examine(OpenAIModel(engine.start(), MODEL), lambda text: None)
    finally:
        engine.stop()
    assert (diagnosis.engine, diagnosis.mode) == ("llama.cpp", "schema")
    assert verdicts(diagnosis)["structured outputs"] == "yes"
    assert verdicts(diagnosis)["required choice"] == "no"
    assert diagnosis.speed.first is not None and (diagnosis.speed.tokens_per_second or 0) > 1


# ---- the client


@pytest.fixture
def waits() -> Iterator[list[float]]:
    """Seconds that were waited before each retry."""
    told: list[float] = []

    def keep(details: stamina.instrumentation.RetryDetails) -> None:
        told.append(details.wait_for)

    before = stamina.instrumentation.get_on_retry_hooks()
    stamina.instrumentation.set_on_retry_hooks([keep])
    yield told
    stamina.instrumentation.set_on_retry_hooks(before)


def served(*answers: httpx.Response) -> OpenAIModel:
    left = list(answers)
    url, transport = "http://model.example", httpx.MockTransport(lambda request: left.pop(0))
    return OpenAIModel(url, "m", _client=httpx.Client(transport=transport, base_url=url))


def refused(status: int, after: str | None = None) -> httpx.Response:
    return httpx.Response(status, text="busy", headers={"Retry-After": after} if after else {})


def answered(**message: Any) -> httpx.Response:
    document = {"choices": [{"message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 11, "completion_tokens": 5}}  # fmt: skip
    return httpx.Response(200, json=document)


def test_a_busy_server_is_left_alone_as_long_as_it_asks(waits: list[float]) -> None:
    model = served(refused(429, "0"), refused(503, "1"), answered(content="x"))
    assert model.complete([], {}).text == "x"
    assert waits == [0, 1]


def test_a_server_that_asks_for_an_hour_is_told_of_at_once(waits: list[float]) -> None:
    with pytest.raises(ModelRefused, match="HTTP 429") as caught:
        served(refused(429, "3600")).complete([], {})
    assert caught.value.status == 429 and waits == []


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_thoughts_and_usage_are_kept_apart_from_the_answer(field: str) -> None:
    done = served(answered(content='{"reply": "x"}', **{field: "hm"})).complete([], {})
    assert (done.text, done.reasoning) == ('{"reply": "x"}', "hm")
    assert (done.prompt_tokens, done.completion_tokens) == (11, 5) and done.seconds > 0


def test_what_is_extra_and_the_key_go_to_the_server() -> None:
    with endpoint(key="k3y") as server:
        model = OpenAIModel(server.url, "m", "k3y", extra={"chat_template_kwargs": {"enable_thinking": False}})
        schema = {"properties": {"value": {"enum": ["a"]}}}
        assert model.complete([{"role": "user", "content": "x"}], schema).text == '{"value": "a"}'
        assert server.bodies[0]["chat_template_kwargs"] == {"enable_thinking": False}
        with pytest.raises(ModelRefused, match="HTTP 401"):
            replace(model, api_key="other", _client=None).complete([{"role": "user", "content": "x"}], schema)


def test_an_authority_of_the_sites_own(tmp_path: Path) -> None:
    with tls_endpoint(tmp_path) as (url, certificate):
        with pytest.raises(ModelError, match="certificate"):
            OpenAIModel(url, "m").first_model()
        assert OpenAIModel(url, "m", ca_file=str(certificate)).first_model() == "scripted"
    with pytest.raises(ConfigError, match=r"absent\.pem"):
        OpenAIModel(url, "m", ca_file=str(tmp_path / "absent.pem")).first_model()
