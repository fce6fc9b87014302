"""Which lanes share their rows? What is computed of rows alone is then computed once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree


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


def named(*tensors: Tensor) -> Hashable:
    """Equal for equal integers."""
    return tuple(tensor.cpu().numpy().tobytes() for tensor in tensors)


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
