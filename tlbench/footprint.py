"""How much memory does a network's output take, layer by layer, for one example?"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree


class Footprint(NamedTuple):
    """Bytes for one example."""

    total: int  # of what all innermost layers put out
    largest: int  # of the largest output of any layer


def footprint(network: nn.Module, x: Tensor) -> Footprint:
    """Measured by sending one example x [1, ...] through the network."""
    innermost, outputs = [0], [x.nbytes]

    def see(module: nn.Module, _inputs: Any, output: Any) -> None:
        size = sum(leaf.nbytes for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor))
        outputs.append(size)
        if not list(module.children()):
            innermost.append(size)

    hooks = [module.register_forward_hook(see) for module in network.modules()]
    with torch.no_grad():
        network(x)
    for hook in hooks:
        hook.remove()
    return Footprint(sum(innermost), max(outputs))
