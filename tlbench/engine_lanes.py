"""How is a function of one lane run over many? As an ordinary call for one, through vmap and its kernels for more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from tlbench.kernels import Kernels


def fused(function: Callable[..., Any], *, shared: int = 0) -> Callable[..., Any]:
    """A one-lane function over stacked trees [K, ...]; the last `shared` arguments are the same for all lanes.

    One lane alone is an ordinary call: the naive implementation, which defines the right answer.
    """

    def call(*trees: Any) -> Any:
        own = trees[: len(trees) - shared]
        common = trees[len(trees) - shared :]
        if len(pytree.tree_leaves(own)[0]) == 1:
            return pytree.tree_map(lambda t: t[None], function(*pytree.tree_map(lambda t: t[0], own), *common))
        with Kernels():
            return torch.func.vmap(function, in_dims=(0,) * len(own) + (None,) * shared)(*trees)

    return call


def over(function: Callable[[Tensor], Any], values: Tensor) -> Any:
    """What the function returns for each of these values [T], stacked."""
    return torch.func.vmap(function)(values)
