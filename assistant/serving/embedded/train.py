"""The training loop: one flat row of tokens a step, loss on the answers alone, cosine schedule, resumable."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from assistant.serving.embedded.dataset import Sample, shared_prefix
from assistant.serving.embedded.llama import Model, Network
from assistant.serving.embedded.lora import Adapter
from assistant.serving.embedded.packing import Packed, pack

KNOWN = 0.05
"""An answer whose worst token has at most this loss (p > 0.95) is known: its backward pass is mostly skipped."""
LEAST_KEPT = 0.1
CHECKPOINT_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """``tokens``: how many tokens to see, over as many passes as that takes; ``minutes``: stop by then (0: never)."""

    rank: int = 16
    lr: float = 1e-3
    batch: int = 16
    warmup: float = 0.03
    tokens: int = 1_500_000
    minutes: float = 0.0
    seed: int = 0


@dataclass(slots=True)
class State:
    """Where a run stands; ``loss`` is a running mean over answer tokens, ``seconds`` what was spent so far."""

    step: int = 0
    seen: int = 0
    examples: int = 0
    loss: float = 0.0
    seconds: float = 0.0


class Trainer:
    """Raises ``ValueError`` for samples that do not begin alike (another prompt)."""

    def __init__(self, model: Model, found: list[Sample], recipe: Recipe) -> None:
        self.recipe, self.samples, self.state = recipe, found, State()
        self.adapter = Adapter(model.shape, recipe.rank, 2.0 * recipe.rank, recipe.seed, str(model.device))
        self.network = Network(model)
        self.prefix = shared_prefix(found)
        if self.prefix < 1:
            raise ValueError("the samples share no beginning; were they made with different prompts?")
        groups = [{"params": [self.adapter.values[key]], "lr": recipe.lr} for key in ("a", "b")]
        self.optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99), weight_decay=0.0)
        self._vocabulary = self._known_vocabulary()
        self._head = model.embedding[self._vocabulary]
        self._order: list[int] = []

    def _known_vocabulary(self) -> Tensor:
        """Tokens that occur anywhere in the data: the output head is computed over these alone. The others keep
        the stock model's logits, and the server's grammar keeps them out of all but copied text."""
        return torch.tensor(sorted({t for s in self.samples for t in s.tokens}), device=self.network.model.device)

    @property
    def done(self) -> float:
        """Share of the run that is over, by tokens or by the clock."""
        shares = [self.state.seen / self.recipe.tokens]
        if self.recipe.minutes:
            shares.append(self.state.seconds / 60 / self.recipe.minutes)
        return min(1.0, max(shares))

    def run(self, checkpoint: Path, report: Callable[[State, float], None]) -> None:
        """Train to the end of the budget, or to an interrupt; either way the adapter is usable."""
        saved = time.monotonic()
        while self.done < 1.0:
            started = time.monotonic()
            self.step(self._next_batch())
            now = time.monotonic()
            self.state.seconds += now - started
            report(self.state, self.done)
            if now - saved > CHECKPOINT_SECONDS:
                self.save(checkpoint)
                saved = now

    def _next_batch(self) -> list[Sample]:
        """The next samples of an endless stream of shuffled passes, a function of the seed and the position."""
        size, total = self.recipe.batch, len(self.samples)
        batch = []
        for position in range(self.state.examples, self.state.examples + size):
            turn, at = divmod(position, total)
            if at == 0 or not self._order:
                self._order = self._shuffled(turn)
            batch.append(self.samples[self._order[at]])
        return sorted(batch, key=lambda sample: len(sample.tokens))

    def _rate(self) -> float:
        done, warmup = self.done, self.recipe.warmup
        if done < warmup:
            return (done + 0.1 * warmup) / (1.1 * warmup)
        return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))

    @torch.no_grad()
    def step(self, batch: list[Sample]) -> None:
        """One forward, backward and update; the learning rate follows the share of the budget that is spent."""
        adapter, state = self.adapter, self.state
        self.network.merge(adapter)
        packed = pack([sample.tokens for sample in batch], self.prefix, self.network.model.device)
        hidden, traces = self.network.forward(packed)
        losses, grad = self._loss(hidden, packed, batch)
        kept = self._worth_it(losses)
        if kept and len(kept) < len(batch):
            rows = torch.isin(packed.owner, torch.tensor([-1, *kept], device=packed.owner.device))
            packed = pack([batch[i].tokens for i in kept], self.prefix, self.network.model.device)
            grad, traces = grad[rows], [trace.rows(rows) for trace in traces]
        if kept:
            for gradient in adapter.grads.values():
                gradient.zero_()
            self.network.backward(grad, traces, packed, adapter)
            self._update()
        state.step += 1
        state.examples += len(batch)
        state.seen += sum(len(sample.tokens) for sample in batch)
        mean = sum(float(loss.sum()) for loss in losses) / sum(len(loss) for loss in losses)
        state.loss += (mean - state.loss) * max(0.02, 1 / state.step)

    def _loss(self, hidden: Tensor, packed: Packed, batch: list[Sample]) -> tuple[list[Tensor], Tensor]:
        """Cross-entropy of every answer token, per sample, and the gradient of their mean by ``hidden``."""
        model, device = self.network.model, hidden.device
        rows: list[int] = []
        labels: list[int] = []
        offset = 0
        for sample in batch:
            start = offset + sample.start - 1
            offset += len(sample.tokens) - self.prefix
            rows += range(start, start + len(sample.tokens) - sample.start)
            labels += sample.tokens[sample.start :]
        wanted = torch.searchsorted(self._vocabulary, torch.tensor(labels, device=device))
        picked = torch.tensor(rows, device=device)
        states = hidden[picked].requires_grad_()
        with torch.enable_grad():
            normed = functional.rms_norm(states, (states.shape[1],), model.last_norm, model.shape.epsilon)
            each = functional.cross_entropy(normed @ self._head.T, wanted, reduction="none")
            (back,) = torch.autograd.grad(each.mean(), states)
        grad = torch.zeros_like(hidden).index_copy_(0, picked, back)
        return list(torch.split(each.detach(), [len(s.tokens) - s.start for s in batch])), grad

    def _worth_it(self, losses: list[Tensor]) -> list[int]:
        """Samples to learn from: all that are not known yet, and a random few of the others, so that none rusts."""
        rng = random.Random(f"{self.recipe.seed}/{self.state.examples}")
        return [i for i, loss in enumerate(losses) if float(loss.max()) > KNOWN or rng.random() < LEAST_KEPT]

    def _update(self) -> None:
        norm = math.sqrt(sum(float(grad.square().sum()) for grad in self.adapter.grads.values()))
        for group, key in zip(self.optimizer.param_groups, self.adapter.values, strict=True):
            group["lr"] = self.recipe.lr * self._rate()
            self.adapter.values[key].grad = self.adapter.grads[key].mul_(min(1.0, 1.0 / max(norm, 1e-9)))
        self.optimizer.step()

    def save(self, path: Path) -> None:
        """A checkpoint, whole or not at all."""
        whole: dict[str, Any] = {"recipe": asdict(self.recipe), "state": asdict(self.state)}
        whole |= {"values": self.adapter.values, "optimizer": self.optimizer.state_dict()}
        partial = path.with_suffix(".partial")
        torch.save(whole, partial)
        partial.replace(path)

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint; raises ``ValueError`` when it is another run's."""
        whole = torch.load(path, map_location=self.network.model.device, weights_only=True)
        fixed = ("rank", "batch", "seed")
        mine = {key: getattr(self.recipe, key) for key in fixed}
        theirs = {key: whole["recipe"][key] for key in fixed}
        if mine != theirs:
            raise ValueError(f"{path} belongs to a run with {theirs}, this one has {mine}")
        for key, value in whole["values"].items():
            self.adapter.values[key].detach().copy_(value)
        self.optimizer.load_state_dict(whole["optimizer"])
        self.state = State(**whole["state"])
        self._order = self._shuffled(self.state.examples // len(self.samples))

    def _shuffled(self, turn: int) -> list[int]:
        order = list(range(len(self.samples)))
        random.Random(f"{self.recipe.seed}/{turn}").shuffle(order)
        return order
