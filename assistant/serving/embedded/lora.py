"""The low-rank adapter: one flat parameter vector, seen as an A (rank, in) and a B (out, rank) per linear map."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from assistant.serving.embedded.llama import FUSED, Shape


@dataclass(frozen=True, slots=True)
class Part:
    """One linear map inside a fused matrix that starts at row ``start``; gradients are views like the parameters."""

    name: str
    start: int
    a: Tensor
    b: Tensor
    a_grad: Tensor
    b_grad: Tensor


class Adapter:
    """``W + (alpha / rank) B A`` for every linear map; B starts at zero, so the first step sees the stock model.

    ``values["a"]`` and ``values["b"]`` hold all parameters, ``grads`` their gradients, flat.
    """

    def __init__(self, shape: Shape, rank: int, alpha: float, seed: int = 0, device: str = "cpu") -> None:
        self.rank, self.alpha = rank, alpha
        self.scale = alpha / rank
        linears = shape.linears()
        totals = {
            "a": shape.layers * rank * sum(inputs for _, inputs in linears.values()),
            "b": shape.layers * rank * sum(outputs for outputs, _ in linears.values()),
        }
        self.values = {key: torch.zeros(total, device=device) for key, total in totals.items()}
        self.grads = {key: torch.zeros(total, device=device) for key, total in totals.items()}
        self._used = {"a": 0, "b": 0}
        self.fused: list[list[list[Part]]] = []
        for _ in range(shape.layers):
            block = []
            for group in FUSED:
                parts, start = [], 0
                for name in group:
                    parts.append(self._part(name, start, *linears[name]))
                    start += linears[name][0]
                block.append(parts)
            self.fused.append(block)
        self._initialise(seed)

    def _part(self, name: str, start: int, outputs: int, inputs: int) -> Part:
        a, a_grad = self._views("a", (self.rank, inputs))
        b, b_grad = self._views("b", (outputs, self.rank))
        return Part(name, start, a, b, a_grad, b_grad)

    def _views(self, key: str, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        begin = self._used[key]
        self._used[key] = end = begin + size[0] * size[1]
        return self.values[key][begin:end].view(size), self.grads[key][begin:end].view(size)

    def _initialise(self, seed: int) -> None:
        """Kaiming-uniform A as in the LoRA paper's code: bound 1/sqrt(inputs)."""
        generator = torch.Generator().manual_seed(seed)
        for _, part in self.parts():
            bound = part.a.shape[1] ** -0.5
            part.a.copy_(torch.empty(part.a.shape).uniform_(-bound, bound, generator=generator))

    def parts(self) -> Iterator[tuple[int, Part]]:
        """(block, part) in the GGUF's order of blocks."""
        for i, block in enumerate(self.fused):
            for parts in block:
                for part in parts:
                    yield i, part

    def accumulate(self, block: int, group: int, x: Tensor, grad: Tensor) -> None:
        """Add the gradients of one fused map with input ``x`` (T, in) and output gradient ``grad`` (T, out)."""
        for part in self.fused[block][group]:
            own = grad[:, part.start : part.start + part.b.shape[0]]
            part.b_grad.addmm_(own.T, x @ part.a.T, alpha=self.scale)
            part.a_grad.addmm_((own @ part.b).T, x, alpha=self.scale)
