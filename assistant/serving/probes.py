"""What an OpenAI-compatible server can do, found out by asking: each probe asks for what only a constraint yields.

A probe reports findings; its ``sign`` is a word of ``prompts/profiles/bugs.toml``. Nothing is believed that was not
seen: where a model did not play along, the verdict is ``unknown``.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from assistant.errors import ModelError, ModelRefused
from assistant.loop.model import OpenAIModel

NONCE = "quartz-7319"
"""Nothing that a model says of itself."""
_MARKUP = re.compile(r"<tool_call>|<function=|<TOOLCALL>|<\|tool_call")


@dataclass(frozen=True, slots=True)
class Finding:
    """``verdict``: yes, no, or unknown."""

    what: str
    verdict: str
    found: str
    sign: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """``error`` is the server's refusal; ``calls`` are names with their arguments as they came."""

    error: str = ""
    content: str = ""
    reasoning: str = ""
    reasoning_field: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    finish: str = ""
    tokens: int = 0


@dataclass
class Asker:
    """Asks that model; ``seen`` keeps every answer, so that what goes wrong anywhere is noticed."""

    model: OpenAIModel
    seen: list[Answer] = field(default_factory=list)

    def __call__(self, prompt: str, *, max_tokens: int = 256, **extra: Any) -> Answer:
        body = {**_body(self.model, prompt, max_tokens), **extra}
        try:
            answer = _read(self.model.ask("POST", "/v1/chat/completions", body))
        except ModelRefused as error:
            answer = Answer(error=error.message)
        self.seen.append(answer)
        return answer


def _body(model: OpenAIModel, prompt: str, max_tokens: int) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}]
    return {"model": model.model, "messages": messages, "max_tokens": max_tokens, "temperature": 0}


def _read(document: dict[str, Any]) -> Answer:
    choice = _object((_list(document.get("choices")) or [None])[0])
    message = _object(choice.get("message"))
    where = next((name for name in ("reasoning", "reasoning_content") if message.get(name)), "")
    functions = [_object(_object(call).get("function")) for call in _list(message.get("tool_calls"))]
    tokens = _object(document.get("usage")).get("completion_tokens")
    return Answer(
        content=str(message.get("content") or ""),
        reasoning=str(message.get(where) or ""),
        reasoning_field=where,
        calls=tuple((str(f.get("name") or ""), str(f.get("arguments") or "")) for f in functions),
        finish=str(choice.get("finish_reason") or ""),
        tokens=tokens if isinstance(tokens, int) else 0,
    )


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _tool(name: str, **properties: Any) -> dict[str, Any]:
    parameters = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    function = {"name": name, "description": f"{name} something", "strict": True, "parameters": parameters}
    return {"type": "function", "function": function}


PICK = _tool("pick", value={"enum": [NONCE]})
NOTE = _tool("note", text={"type": "string"})


def schema(ask: Asker) -> list[Finding]:
    """``response_format: json_schema`` is enforced where the one allowed word comes, which nobody asked for."""
    what = "structured outputs"
    wanted = {"name": "pick", "strict": True, "schema": PICK["function"]["parameters"]}
    answer = ask("Say hello in one sentence.", response_format={"type": "json_schema", "json_schema": wanted})
    if answer.error:
        return [Finding(what, "no", answer.error, "schema_refused")]
    if _json(answer.content) == {"value": NONCE}:
        return [Finding(what, "yes", "a JSON schema is enforced")]
    return [Finding(what, "no", f"the schema was ignored: {answer.content[:80]!r}", "schema_ignored")]


def strict(ask: Asker) -> list[Finding]:
    what = "strict tools"
    answer = ask("Call pick with the value apples.", tools=[PICK], tool_choice="auto")
    if answer.error:
        return [Finding(what, "no", answer.error, "tools_refused")]
    if not answer.calls:
        return [Finding(what, "unknown", "the model made no call")]
    if all(_json(arguments) == {"value": NONCE} for _, arguments in answer.calls):
        return [Finding(what, "yes", "arguments obey the tool's schema")]
    return [Finding(what, "no", f"arguments break the tool's schema: {answer.calls[0][1][:80]!r}", "strict_ignored")]


def required(ask: Asker) -> list[Finding]:
    answer = ask("Say hello.", tools=[NOTE], tool_choice="required")
    return [_choice("required choice", answer, bool(answer.calls), "required_ignored")]


def named(ask: Asker) -> list[Finding]:
    choice = {"type": "function", "function": {"name": "pick"}}
    answer = ask("Call note with the text hi.", tools=[NOTE, PICK], tool_choice=choice)
    obeyed = bool(answer.calls) and all(name == "pick" for name, _ in answer.calls)
    return [_choice("named choice", answer, obeyed, "named_ignored")]


def _choice(what: str, answer: Answer, obeyed: bool, sign: str) -> Finding:
    if answer.error:
        return Finding(what, "no", answer.error, sign)
    came = ", ".join(name for name, _ in answer.calls) or "no call"
    return Finding(what, "yes", "enforced") if obeyed else Finding(what, "no", f"ignored: {came}", sign)


def parallel(ask: Asker) -> list[Finding]:
    what = "parallel calls off"
    prompt = "Call note with the text a and call note with the text b, both in this answer."
    answer = ask(prompt, tools=[NOTE], tool_choice="auto", parallel_tool_calls=False)
    if answer.error or not answer.calls:
        return [Finding(what, "unknown", answer.error or "the model made no call")]
    if len(answer.calls) == 1:
        return [Finding(what, "yes", "one call came")]
    return [Finding(what, "no", f"{len(answer.calls)} calls came", "parallel_ignored")]


def thinking(ask: Asker) -> list[Finding]:
    """Where the thoughts come back with thinking on, and whether it can be turned off."""
    prompt = "What is 17 times 3? Answer with the number."
    on = ask(prompt, max_tokens=1024, chat_template_kwargs={"enable_thinking": True})
    off = ask(prompt, max_tokens=1024, chat_template_kwargs={"enable_thinking": False})
    return [_thinking_on(on), _thinking_off(off)]


def _thinking_on(answer: Answer) -> Finding:
    what = "thinking"
    if answer.error:
        return Finding(what, "unknown", answer.error)
    if "<think>" in answer.content or "</think>" in answer.content:
        return Finding(what, "no", "the thoughts come inside the answer", "reasoning_in_content")
    if answer.reasoning and not answer.content and answer.finish == "stop":
        return Finding(what, "no", f"all of it comes in {answer.reasoning_field}, the answer is empty", "content_empty")
    if answer.reasoning:
        return Finding(what, "yes", f"the thoughts come apart, in message.{answer.reasoning_field}")
    return Finding(what, "no", "this model does not think, or cannot be told to")


def _thinking_off(answer: Answer) -> Finding:
    what = "thinking off"
    if answer.error:
        return Finding(what, "unknown", answer.error)
    if answer.reasoning or "</think>" in answer.content:
        return Finding(what, "no", "chat_template_kwargs enable_thinking false changes nothing", "thinking_stuck")
    return Finding(what, "yes", "no thoughts came")


def truncation(ask: Asker) -> list[Finding]:
    """Whether an answer, and a call, that max_tokens cut off say so (``finish_reason: length``)."""
    what, most = "truncation", 16
    text = ask("Count from 1 to 200, in words.", max_tokens=most)
    call = ask("Call note with a text of two hundred words.", max_tokens=most, tools=[NOTE], tool_choice="auto")
    broken = [arguments for _, arguments in call.calls if _json(arguments) is None]
    if broken and call.finish != "length":
        said = f"a call cut off in the middle is reported as {call.finish!r}"
        return [Finding(what, "no", said, "truncation_hidden")]
    if text.error or text.finish != "length":
        return [Finding(what, "no", text.error or f"reported as {text.finish!r}", "truncation_hidden")]
    return [Finding(what, "yes", "reported as length")]


def strays(ask: Asker) -> list[Finding]:
    """What went wrong with calls in any answer so far: empty, without arguments, or left in the text."""
    what, found = "calls are read", []
    for answer in ask.seen:
        if answer.finish == "tool_calls" and not answer.calls:
            found.append(Finding(what, "no", "finish_reason tool_calls, and no call", "empty_calls"))
        if any(not name or _json(arguments) == {} for name, arguments in answer.calls):
            found.append(Finding(what, "no", "a call without name or arguments", "empty_calls"))
        if _MARKUP.search(answer.reasoning):
            found.append(Finding(what, "no", "a call stayed in the reasoning", "call_in_reasoning"))
        if _MARKUP.search(answer.content):
            found.append(Finding(what, "no", "a call stayed in the text", "call_in_content"))
    return list(dict.fromkeys(found)) or [Finding(what, "yes", "none was empty or left in the text")]


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds to the first piece of the answer, and tokens a second after it; None where it cannot be told."""

    first: float | None
    tokens_per_second: float | None


def speed(model: OpenAIModel) -> Speed:
    """One streamed answer, timed here; tokens as the server counts them. Raises httpx's errors."""
    body = _body(model, "Count from 1 to 200, in words.", 128)
    body |= {"stream": True, "stream_options": {"include_usage": True}}
    started, first, tokens = time.perf_counter(), None, 0
    with model.client.stream("POST", "/v1/chat/completions", json=body) as response:
        for line in response.iter_lines():
            event = _object(_json(line.removeprefix("data:"))) if line.startswith("data:") else {}
            tokens = _object(event.get("usage")).get("completion_tokens") or tokens
            delta = _object(_object((_list(event.get("choices")) or [None])[0]).get("delta"))
            if first is None and any(delta.get(name) for name in ("content", "reasoning", "reasoning_content")):
                first = time.perf_counter()
    if first is None:
        return Speed(None, None)
    took = time.perf_counter() - first
    return Speed(first - started, (tokens - 1) / took if tokens > 1 and took > 0 else None)


def _json(text: str) -> Any:
    """None for what is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


PROBES: tuple[Callable[[Asker], list[Finding]], ...] = (
    schema, strict, required, named, parallel, thinking, truncation, strays,
)  # fmt: skip


def run(ask: Asker, say: Callable[[str], None]) -> list[Finding]:
    """All of them; one that is not answered is unknown, and the next is asked all the same."""
    found: list[Finding] = []
    for probe in PROBES:
        say(f"probing {probe.__name__}")
        try:
            found += probe(ask)
        except ModelError as error:
            found.append(Finding(probe.__name__, "unknown", error.message))
    return found
