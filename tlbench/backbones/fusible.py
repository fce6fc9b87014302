"""What is changed in another library's network, its results aside, before lanes of it run side by side?"""

from __future__ import annotations

from typing import Any, TypeVar

from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


def fusible(network: M) -> M:
    """The network itself, with attention and average pooling written out and nothing computed in place.

    Dropout and stochastic depth need no change: a tail stays in eval mode while it trains.
    """
    module: Any
    for module in list(network.modules()):
        if hasattr(module, "fused_attn"):
            module.fused_attn = False  # the fused kernel has no batching rule
        if getattr(module, "inplace", False):
            module.inplace = False  # an activation at a tap must survive the tail
        for name, child in module.named_children():
            if type(child) is nn.AdaptiveAvgPool2d and child.output_size in (1, (1, 1)):
                setattr(module, name, Average())
    return network


class Average(nn.Module):
    """Maps [m, d, h, w] -> their means [m, d, 1, 1]; torch's own pooling has no batching rule."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((-2, -1), keepdim=True)


class ChannelsSecond(nn.Module):
    """A block that takes and gives maps [m, h, w, d], as one of maps [m, d, h, w] like all other blocks of maps."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ToChannelsLast(nn.Module):
    """Maps [m, d, h, w] -> [m, h, w, d]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1)


class ToChannelsSecond(nn.Module):
    """Maps [m, h, w, d] -> [m, d, h, w]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 3, 1, 2)
