"""Training: the hand-written passes against autograd, a run that is broken off, and the served result against torch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from assistant.serving.embedded import adapter as adapters
from assistant.serving.embedded import engine, llama, weights
from assistant.serving.embedded.dataset import Sample
from assistant.serving.embedded.lora import Adapter
from assistant.serving.embedded.packing import pack
from assistant.serving.embedded.prompt import messages
from assistant.serving.embedded.tokens import Tokens
from assistant.serving.embedded.train import Recipe, Trainer

SHAPE = llama.Shape(layers=2, width=24, inner=32, heads=6, kv_heads=2, head=4, rope_base=1e4, epsilon=1e-5)
VOCABULARY, PREFIX = 50, 2


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other make tiny products slower on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiny_model() -> llama.Model:
    generator = torch.Generator().manual_seed(1)

    def random(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator) * 0.3

    sizes = SHAPE.linears()
    blocks = [
        [random(sum(sizes[name][0] for name in group), sizes[group[0]][1]) for group in llama.FUSED]
        for _ in range(SHAPE.layers)
    ]
    norms = [(1 + random(SHAPE.width), 1 + random(SHAPE.width)) for _ in range(SHAPE.layers)]
    return llama.Model(SHAPE, random(VOCABULARY, SHAPE.width), blocks, norms, 1 + random(SHAPE.width))


def random_adapter(shape: llama.Shape, rank: int, size: float) -> Adapter:
    adapter = Adapter(shape, rank, 2.0 * rank, seed=3)
    adapter.values["b"].copy_(torch.randn(adapter.values["b"].shape, generator=torch.Generator().manual_seed(2)) * size)
    return adapter


def plain_hidden(model: llama.Model, weights: list[list[Tensor]], tokens: list[int]) -> Tensor:
    """One example, as a textbook writes it, under autograd."""
    shape = model.shape
    x = model.embedding[torch.tensor(tokens)]
    frequency = shape.rope_base ** (-torch.arange(0, shape.head, 2) / shape.head)
    angle = torch.arange(len(tokens))[:, None] * frequency
    causal = torch.ones(len(tokens), len(tokens)).triu(1).bool()

    def rotate(part: Tensor) -> Tensor:
        even, odd = part[..., 0::2], part[..., 1::2]
        turned = (even * angle.cos() - odd * angle.sin(), even * angle.sin() + odd * angle.cos())
        return torch.stack(turned, -1).flatten(-2)

    for (into, out, expand, shrink), (first, second) in zip(weights, model.norms, strict=True):
        h = functional.rms_norm(x, (shape.width,), first, shape.epsilon) @ into.T
        heads = h.view(len(tokens), -1, shape.head).transpose(0, 1)
        q, k, v = torch.split(heads, [shape.heads, shape.kv_heads, shape.kv_heads])
        k, v = (part.repeat_interleave(shape.heads // shape.kv_heads, 0) for part in (rotate(k), v))
        score = (rotate(q) @ k.transpose(1, 2) / shape.head**0.5).masked_fill(causal, float("-inf"))
        x = x + (score.softmax(-1) @ v).transpose(0, 1).flatten(1) @ out.T
        gate, up = (functional.rms_norm(x, (shape.width,), second, shape.epsilon) @ expand.T).chunk(2, 1)
        x = x + (functional.silu(gate) * up) @ shrink.T
    return x


def merged_under_autograd(model: llama.Model, adapter: Adapter) -> tuple[list[list[Tensor]], list[Tensor]]:
    """The merged weights as functions of leaves a, b (in the order of ``adapter.parts()``)."""
    leaves, merged = [], []
    for block, groups in zip(model.blocks, adapter.fused, strict=True):
        row = []
        for matrix, parts in zip(block, groups, strict=True):
            updates = []
            for part in parts:
                a, b = part.a.clone().requires_grad_(), part.b.clone().requires_grad_()
                leaves += [a, b]
                updates.append(adapter.scale * b @ a)
            row.append(matrix + torch.cat(updates))
        merged.append(row)
    return merged, leaves


def test_packed_passes_equal_autograd_on_single_examples() -> None:
    model, adapter = tiny_model(), random_adapter(SHAPE, 3, 0.1)
    examples = [[1, 2, *range(5, 5 + n)] for n in (3, 9, 4, 4, 7, 12)]
    weights_, leaves = merged_under_autograd(model, adapter)
    expected = [plain_hidden(model, weights_, tokens) for tokens in examples]
    own = torch.cat([one[PREFIX:] for one in expected])
    network = llama.Network(model)
    network.merge(adapter)
    packed = pack(examples, PREFIX)
    with torch.no_grad():
        hidden, traces = network.forward(packed)
        torch.testing.assert_close(hidden[PREFIX:], own.detach(), rtol=1e-4, atol=1e-5)
        outer = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(4))
        outer[:PREFIX] = 0
        network.backward(outer, traces, packed, adapter)
    wanted = torch.autograd.grad(own, leaves, outer[PREFIX:])
    found = [grad for _, part in adapter.parts() for grad in (part.a_grad, part.b_grad)]
    for mine, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)


def tiny_samples(count: int = 40) -> list[Sample]:
    return [Sample([1, 2, 3 + n % 7, 20, 10 + n % 7, 11 + n % 7, 0], 4) for n in range(count)]


def worst_loss(trainer: Trainer) -> float:
    """Of any answer token of any sample, by the textbook pass."""
    merged, _ = merged_under_autograd(trainer.network.model, trainer.adapter)
    worst = 0.0
    for sample in trainer.samples:
        hidden = plain_hidden(trainer.network.model, merged, sample.tokens)
        normed = functional.rms_norm(hidden, (SHAPE.width,), trainer.network.model.last_norm, SHAPE.epsilon)
        logits = (normed @ trainer.network.model.embedding.T)[sample.start - 1 : -1]
        labels = torch.tensor(sample.tokens[sample.start :])
        worst = max(worst, float(functional.cross_entropy(logits, labels, reduction="none").max().detach()))
    return worst


def test_a_batch_of_known_answers_is_passed_over() -> None:
    trainer = Trainer(tiny_model(), tiny_samples(), Recipe(rank=4, lr=2e-2, batch=8, tokens=7 * 8 * 60))
    trainer._worth_it = lambda losses: []  # type: ignore[method-assign]
    before = trainer.adapter.values["b"].clone()
    trainer.step(tiny_samples()[:8])
    assert trainer.state.examples == 8 and torch.equal(trainer.adapter.values["b"], before)


def test_training_learns_and_continues_exactly_where_it_stopped(tmp_path: Path) -> None:
    recipe = Recipe(rank=4, lr=2e-2, batch=8, tokens=7 * 8 * 100)
    whole, first, second = (Trainer(tiny_model(), tiny_samples(), recipe) for _ in range(3))
    whole.run(tmp_path / "unused", lambda state, done: None)
    assert worst_loss(whole) < 0.6 < 1.5 < worst_loss(Trainer(tiny_model(), tiny_samples(), recipe))

    def stop_half_way(state: object, done: float) -> None:
        if done >= 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        first.run(tmp_path / "unused", stop_half_way)
    first.save(tmp_path / "checkpoint.pt")
    second.restore(tmp_path / "checkpoint.pt")
    second.run(tmp_path / "unused", lambda state, done: None)
    for key, values in whole.adapter.values.items():
        torch.testing.assert_close(second.adapter.values[key], values)


def test_a_run_can_start_from_an_adapter(tmp_path: Path) -> None:
    made = random_adapter(SHAPE, 4, 0.1)
    adapters.write(tmp_path, made, {"base_sha256": "", "tools_sha256": "", "data_sha256": "", "recipe": {}})
    read = Adapter(SHAPE, 4, 8.0, seed=9)
    adapters.load(tmp_path, read)
    for key in ("a", "b"):
        assert torch.equal(read.values[key], made.values[key].half().float())
    with pytest.raises(ValueError, match="rank 4, this run has rank 2"):
        adapters.load(tmp_path, Adapter(SHAPE, 2, 4.0))


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    Trainer(tiny_model(), tiny_samples(), Recipe(rank=4)).save(tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match="'rank': 4"):
        Trainer(tiny_model(), tiny_samples(), Recipe(rank=2)).restore(tmp_path / "checkpoint.pt")


# ---- the whole chain with the real weights


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[engine.EmbeddedEngine, llama.Network]]:
    """A random adapter, large enough to change every answer: exported and served, and merged in torch."""
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
    directory = tmp_path_factory.mktemp("adapter")
    model = llama.load(weights.weights())
    adapter = random_adapter(model.shape, 4, 0.3)
    made = {"base_sha256": weights.SHA256, "tools_sha256": adapters.tools_hash(), "data_sha256": "", "recipe": {}}
    adapters.write(directory, adapter, made)
    network = llama.Network(model)
    network.merge(adapter)
    running = engine.EmbeddedEngine(directory)
    running.start()
    yield running, network
    running.stop()
    patch.undo()


def next_log_probabilities(network: llama.Network, tokens: list[int]) -> Tensor:
    model = network.model
    with torch.no_grad():
        hidden, _ = network.forward(pack([tokens], 1), keep_traces=False)
        last = functional.rms_norm(hidden[-1], (model.shape.width,), model.last_norm, model.shape.epsilon)
        return (last @ model.embedding.T).log_softmax(0)


def test_the_served_adapter_gives_torchs_probabilities(served: tuple[engine.EmbeddedEngine, llama.Network]) -> None:
    running, network = served
    tokens = Tokens(weights.weights())
    stock = llama.Network(network.model)
    for request in ("free gpus?", "cancel 4411 and hold 4412", "wie viele h100 sind frei"):
        prompt = tokens.encode(tokens.render(messages(request)))
        body = {"prompt": prompt, "n_predict": 1, "n_probs": 10, "temperature": 0, "cache_prompt": False}
        call = urllib.request.Request(f"{running.url}/completion", json.dumps(body).encode())
        with urllib.request.urlopen(call, timeout=120) as answer:
            top = json.load(answer)["completion_probabilities"][0]["top_logprobs"]
        ours, plain = next_log_probabilities(network, prompt), next_log_probabilities(stock, prompt)
        ids = torch.tensor([one["id"] for one in top])
        said = torch.tensor([one["logprob"] for one in top])
        assert (ours[ids] - said).abs().max() < 0.8, "the server quantises activations to 8 bits, no more"
        assert (plain[ids] - said).abs().max() > 3, "the adapter must matter, or this test proves nothing"


def test_an_interrupted_run_still_exports_a_usable_adapter(tmp_path: Path) -> None:
    data, out = tmp_path / "data.jsonl", tmp_path / "out"
    lines = [
        {"request": f"show me {n}", "calls": [{"tool": "show_job", "arguments": {"job_id": str(n)}}]} for n in range(40)
    ]
    data.write_text("\n".join(map(json.dumps, lines)))
    command = [sys.executable, "-m", "assistant.serving.embedded.tune", "--data", str(data), "--out", str(out)]
    child = subprocess.Popen([*command, "--batch", "2"], stderr=subprocess.PIPE, text=True, env={**os.environ})
    assert child.stderr is not None
    said = ""
    while "tokens/s" not in said:
        said = child.stderr.readline()
        assert said, "the run ended by itself"
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=120)
    assert child.returncode == 0
    manifest = adapters.check(out, weights.SHA256)
    assert manifest.recipe["steps"] >= 1 and (out / "checkpoint.pt").is_file()
