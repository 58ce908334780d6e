"""Examples of a training step in one flat row of tokens: no padding but in attention, the shared prefix only once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

GROUP = 2
"""Examples that are padded to one length for attention; sort a batch by length to make that cheap."""


@dataclass(frozen=True, slots=True)
class Group:
    """``table`` (B, L): rows of every example (prefix first; padded at the end with row 0, which causality hides);
    ``place`` (rows of the group): where each stands in the flattened table."""

    table: Tensor
    place: Tensor


@dataclass(frozen=True, slots=True)
class Packed:
    """Examples in one row of tokens: the shared prefix first, then each example's own tokens.

    ``tokens`` (T), ``positions`` (T), ``owner`` (T) the example of each row (-1: prefix), ``groups`` in row order
    (the first has the prefix rows too), ``prefix`` its length.
    """

    tokens: Tensor
    positions: Tensor
    owner: Tensor
    groups: list[Group]
    prefix: int


def pack(examples: list[list[int]], prefix: int, device: torch.device | str = "cpu") -> Packed:
    """Pack token lists that all begin with the same ``prefix`` tokens."""
    tokens, positions, owner = list(examples[0][:prefix]), list(range(prefix)), [-1] * prefix
    groups = []
    for first in range(0, len(examples), GROUP):
        members = examples[first : first + GROUP]
        groups.append(_group(members, prefix, len(tokens), device, with_prefix=first == 0))
        for row, example in enumerate(members, first):
            tokens += example[prefix:]
            positions += range(prefix, len(example))
            owner += [row] * (len(example) - prefix)
    row_of, position_of, owner_of = (torch.tensor(part, device=device) for part in (tokens, positions, owner))
    return Packed(row_of, position_of, owner_of, groups, prefix)


def _group(
    members: list[list[int]], prefix: int, start: int, device: torch.device | str, *, with_prefix: bool
) -> Group:
    longest = max(map(len, members))
    table = torch.zeros(len(members), longest, dtype=torch.long)
    place = list(range(prefix)) if with_prefix else []
    for row, example in enumerate(members):
        length = len(example)
        table[row, :prefix] = torch.arange(prefix)
        table[row, prefix:length] = torch.arange(start, start + length - prefix)
        place += range(row * longest + prefix, row * longest + length)
        start += length - prefix
    return Group(table.to(device), torch.tensor(place, device=device))
