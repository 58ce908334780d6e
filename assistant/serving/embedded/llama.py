"""SmolLM2 (a plain Llama) with hand-written forward and backward passes, for tuning on a few CPU cores.

The weights are those of the GGUF file, dequantised and left in its layout (rotary pairs side by side), so that an
adapter trained here is an adapter for that very file. Compared with a general autograd this saves: the gradients of
frozen weights, the padding (all examples of a step lie in one flat row of tokens), the prompt prefix that every
example shares (computed once a step), the output head on all but the completion tokens, the thin LoRA products of
the forward pass (the low-rank update is added to the weights once a step), and the backward pass of examples that
the model already knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from assistant.serving.embedded.packing import Packed

if TYPE_CHECKING:
    from assistant.serving.embedded.lora import Adapter


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the network, read from the GGUF header."""

    layers: int
    width: int
    inner: int
    heads: int
    kv_heads: int
    head: int
    rope_base: float
    epsilon: float

    def linears(self) -> dict[str, tuple[int, int]]:
        """GGUF name of each linear map of a block -> (outputs, inputs)."""
        kv, q = self.kv_heads * self.head, self.heads * self.head
        return {
            "attn_q": (q, self.width),
            "attn_k": (kv, self.width),
            "attn_v": (kv, self.width),
            "attn_output": (self.width, q),
            "ffn_gate": (self.inner, self.width),
            "ffn_up": (self.inner, self.width),
            "ffn_down": (self.width, self.inner),
        }


FUSED: tuple[tuple[str, ...], ...] = (
    ("attn_q", "attn_k", "attn_v"),
    ("attn_output",),
    ("ffn_gate", "ffn_up"),
    ("ffn_down",),
)
"""Linear maps that read the same input are one matrix product."""


@dataclass(frozen=True, slots=True)
class Model:
    """``blocks[i][j]``: the frozen fused matrix j of block i, (outputs, inputs); ``norms[i]``: its two norm weights."""

    shape: Shape
    embedding: Tensor
    blocks: list[list[Tensor]]
    norms: list[tuple[Tensor, Tensor]]
    last_norm: Tensor

    @property
    def device(self) -> torch.device:
        return self.embedding.device


def load(path: Path, device: str = "cpu") -> Model:
    """Dequantise a Llama GGUF to float32 on ``device``; raises ``ValueError`` for another architecture."""
    from gguf import GGUFReader
    from gguf.quants import dequantize

    reader = GGUFReader(path)
    shape = _shape(reader)
    tensors = {
        tensor.name: torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).astype("float32")).to(device)
        for tensor in reader.tensors
    }
    blocks, norms = [], []
    for i in range(shape.layers):
        blocks.append([torch.cat([tensors[f"blk.{i}.{name}.weight"] for name in group]) for group in FUSED])
        norms.append((tensors[f"blk.{i}.attn_norm.weight"], tensors[f"blk.{i}.ffn_norm.weight"]))
    return Model(shape, tensors["token_embd.weight"], blocks, norms, tensors["output_norm.weight"])


def _shape(reader: object) -> Shape:
    def value(key: str) -> float:
        field = reader.get_field(f"llama.{key}")  # type: ignore[attr-defined]
        if field is None:
            raise ValueError(f"the GGUF file has no llama.{key}: not a Llama model")
        return float(field.contents())

    width, heads = int(value("embedding_length")), int(value("attention.head_count"))
    return Shape(
        layers=int(value("block_count")),
        width=width,
        inner=int(value("feed_forward_length")),
        heads=heads,
        kv_heads=int(value("attention.head_count_kv")),
        head=width // heads,
        rope_base=value("rope.freq_base"),
        epsilon=value("attention.layer_norm_rms_epsilon"),
    )


@dataclass(slots=True)
class Trace:
    """What the backward pass of one block needs; each is (T, ·), so that rows can be dropped together."""

    x: Tensor
    normed: Tensor
    qkv: Tensor
    mixed: Tensor
    middle: Tensor
    normed_middle: Tensor
    gate_up: Tensor

    def rows(self, keep: Tensor) -> Trace:
        return Trace(*(getattr(self, name)[keep] for name in self.__slots__))


class Network:
    """Forward and backward through all blocks, with an adapter's update merged into ``weights``."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.weights = [[matrix.clone() for matrix in block] for block in model.blocks]
        half = torch.arange(0, model.shape.head, 2, dtype=torch.float32, device=model.device)
        self._frequency = model.shape.rope_base ** (-half / model.shape.head)

    def merge(self, adapter: Adapter) -> None:
        """weights = frozen + scale * B A, once a step instead of two thin products a token."""
        for i, block in enumerate(self.model.blocks):
            for matrix, merged, parts in zip(block, self.weights[i], adapter.fused[i], strict=True):
                for part in parts:
                    rows = slice(part.start, part.start + part.b.shape[0])
                    torch.addmm(matrix[rows], part.b, part.a, alpha=adapter.scale, out=merged[rows])

    def forward(self, packed: Packed, keep_traces: bool = True) -> tuple[Tensor, list[Trace]]:
        """Hidden states (T, width) before the last norm, and one trace a block."""
        x = self.model.embedding[packed.tokens]
        turn = self._turn(packed)
        traces = []
        for i in range(self.model.shape.layers):
            x, trace = self._block(i, x, packed, turn)
            if keep_traces:
                traces.append(trace)
        return x, traces

    def backward(self, grad: Tensor, traces: list[Trace], packed: Packed, adapter: Adapter) -> None:
        """Add the gradients of ``adapter``, given that of the hidden states."""
        turn = self._turn(packed).conj()
        for i in reversed(range(self.model.shape.layers)):
            grad = self._block_backward(i, grad, traces[i], packed, turn, adapter)

    def _turn(self, packed: Packed) -> Tensor:
        angle = packed.positions[:, None, None] * self._frequency
        return torch.polar(torch.ones_like(angle), angle)

    def _rotate(self, qkv: Tensor, turn: Tensor) -> None:
        """Rotary embedding of the queries and keys, in place (neighbouring pairs: the GGUF layout)."""
        shape = self.model.shape
        heads = shape.heads + shape.kv_heads
        part = qkv[:, : heads * shape.head].view(len(qkv), heads, shape.head // 2, 2)
        torch.view_as_complex(part).mul_(turn)

    def _split(self, padded: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        shape = self.model.shape
        heads = padded.view(*padded.shape[:2], -1, shape.head).transpose(1, 2)
        q, k, v = torch.split(heads, [shape.heads, shape.kv_heads, shape.kv_heads], dim=1)
        return q, k, v

    def _attend(self, padded: Tensor) -> Tensor:
        """(B, L, q+k+v) -> (B, L, q): causal attention, queries share key heads."""
        q, k, v = self._split(padded)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return mixed.transpose(1, 2).flatten(2)

    def _norm(self, x: Tensor, weight: Tensor) -> Tensor:
        return functional.rms_norm(x, (x.shape[-1],), weight, self.model.shape.epsilon)

    def _norm_backward(self, grad: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        scale = torch.rsqrt(x.square().mean(-1, keepdim=True) + self.model.shape.epsilon)
        grad = grad * weight
        inner = (grad * x).mean(-1, keepdim=True)
        return grad.mul_(scale).addcmul_(x, inner * scale**3, value=-1)

    def _block(self, i: int, x: Tensor, packed: Packed, turn: Tensor) -> tuple[Tensor, Trace]:
        into, out, expand, shrink = self.weights[i]
        first, second = self.model.norms[i]
        normed = self._norm(x, first)
        qkv = normed @ into.T
        self._rotate(qkv, turn)
        mixed = torch.cat([self._attend(qkv[g.table]).flatten(0, 1)[g.place] for g in packed.groups])
        middle = torch.addmm(x, mixed, out.T)
        normed_middle = self._norm(middle, second)
        gate_up = normed_middle @ expand.T
        gate, up = gate_up.chunk(2, dim=1)
        y = torch.addmm(middle, functional.silu(gate).mul_(up), shrink.T)
        return y, Trace(x, normed, qkv, mixed, middle, normed_middle, gate_up)

    def _block_backward(
        self, i: int, grad: Tensor, trace: Trace, packed: Packed, turn: Tensor, adapter: Adapter
    ) -> Tensor:
        into, out, expand, shrink = self.weights[i]
        first, second = self.model.norms[i]
        gate, up = trace.gate_up.chunk(2, dim=1)
        squash = torch.sigmoid(gate)
        swish = gate * squash
        adapter.accumulate(i, 3, swish * up, grad)
        inner = grad @ shrink
        up_gate = torch.empty_like(trace.gate_up)
        grad_gate, grad_up = up_gate.chunk(2, dim=1)
        torch.mul(inner, swish, out=grad_up)
        torch.mul(inner.mul_(up), squash.mul_(1 + gate - swish), out=grad_gate)
        adapter.accumulate(i, 2, trace.normed_middle, up_gate)
        grad = self._norm_backward(up_gate @ expand, trace.middle, second).add_(grad)
        adapter.accumulate(i, 1, trace.mixed, grad)
        into_grad = self._attend_backward(grad @ out, trace.qkv, packed)
        self._rotate(into_grad, turn)
        adapter.accumulate(i, 0, trace.normed, into_grad)
        if i == 0:
            return grad
        return self._norm_backward(into_grad @ into, trace.x, first).add_(grad)

    def _attend_backward(self, grad: Tensor, qkv: Tensor, packed: Packed) -> Tensor:
        """Recomputed under autograd: attention over such short rows is a few per cent of the work."""
        parts, start = [], 0
        shared = grad.new_zeros(packed.prefix, qkv.shape[1])
        for group in packed.groups:
            own = grad[start : start + len(group.place)]
            start += len(group.place)
            padded = qkv[group.table].requires_grad_()
            outer = grad.new_zeros(group.table.numel(), grad.shape[1]).index_copy_(0, group.place, own)
            with torch.enable_grad():
                mixed = self._attend(padded)
            (back,) = torch.autograd.grad(mixed, padded, outer.view_as(mixed))
            parts.append(back.flatten(0, 1)[group.place])
            shared += back[:, : packed.prefix].sum(0)
        flat = torch.cat(parts)
        flat[: packed.prefix] = shared
        return flat
