"""How are lanes stacked? Those that share rows share them: what is computed of rows alone is computed once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils import _pytree as pytree

from tlbench.features import Bank


def rectangle(lanes: Sequence[int], rows: Mapping[int, Hashable], most: int) -> list[int]:
    """At most `most` of the lanes, the first among them: groups of one size, one after the other, each of equal rows.

    `rows` names the rows of each.
    """
    groups: dict[Hashable, list[int]] = {}
    for lane in lanes:
        groups.setdefault(rows[lane], []).append(lane)
    first, *others = (group[:most] for group in groups.values())
    alike = [first, *(group for group in others if len(group) == len(first))][: max(1, most // len(first))]
    return [lane for group in alike for lane in group]


def firsts(lanes: Sequence[int], rows: Mapping[int, Hashable]) -> list[int]:
    """The first lane of each group of a rectangle."""
    return list({rows[lane]: lane for lane in reversed(lanes)}.values())[::-1]


def named(*tensors: Tensor) -> Hashable:
    """Equal for equal integers."""
    return tuple(tensor.cpu().numpy().tobytes() for tensor in tensors)


def read(bank: Tensor | Bank, rows: Tensor) -> Tensor:
    """Activations [K, n, ...] of rows [K, n]; one that several lanes see is brought to the tap once."""
    if isinstance(bank, Tensor):
        return bank[rows]
    once, places = rows.unique(return_inverse=True)
    return bank[once][places]


def padded(sequences: Sequence[Tensor], length: int) -> Tensor:
    """Stacked, with zeros behind the shorter ones; [K, length]."""
    together = pad_sequence(list(sequences), batch_first=True)
    return F.pad(together, (0, length - together.shape[1]))


def by_rows(fused: Callable[..., Callable], function: Callable[..., Any], *, shared: int = 0) -> Callable[..., Any]:
    """`fused` in two stages: the first tree is stacked by groups [G, ...], the others by lanes [G * T, ...].

    The function sees lanes of one group side by side over rows that are not stacked, then groups side by side.
    """

    def call(data: Any, *trees: Any) -> Any:
        own, common = trees[: len(trees) - shared], trees[len(trees) - shared :]
        groups = len(pytree.tree_leaves(data)[0])
        nested = pytree.tree_map(lambda t: t.unflatten(0, (groups, -1)), own)
        out = fused(group, shared=shared)(data, *nested, *common)
        return pytree.tree_map(lambda t: t.flatten(0, 1), out)

    def group(data: Any, *trees: Any) -> Any:
        return fused(lambda *lane: function(data, *lane), shared=shared)(*trees)

    return call


def stacked(trees: Sequence[Any]) -> Any:
    """One tree of tensors [K, ...] from K trees; a view of it where K is 1."""
    if len(trees) == 1:
        return pytree.tree_map(lambda leaf: leaf[None], trees[0])
    return pytree.tree_map(lambda *leaves: torch.stack(leaves), *trees)


def unstacked(tree: Any) -> list:
    """K trees from one tree of tensors [K, ...]."""
    leaves, structure = pytree.tree_flatten(tree)
    lanes = zip(*(leaf.unbind() for leaf in leaves), strict=True)
    return [pytree.tree_unflatten(list(each), structure) for each in lanes]
