"""Strategies that leave the network as it is and train small parts added to it."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from tlbench.registry import register
from tlbench.space import Choice, Float, Hyperparameters, Space
from tlbench.strategies.gradient import GradientStrategy
from tlbench.strategies.modules import (
    Bottleneck,
    Classifier,
    LowRank,
    block_dims,
    blocks_of,
    features_dim,
    frozen,
    layers,
)
from tlbench.task import Task


@register.strategy
class Lora(GradientStrategy):
    """Low-rank side branches on every linear layer and ungrouped convolution of the blocks (Hu et al. 2021).

    Rank 8 and alpha 16, on all layers rather than on queries and values alone, as Dettmers et al. 2023 (figure 2)
    found best; the branch form x W + (x A) B is never merged while training. The default rate of large networks
    is theirs: for all-MiniLM-L6-v2 on dev_docstrings_library 1e-4 and 1e-3 did alike, and 3e-3 worse.
    """

    name = "lora"
    share = 0.5
    tap = "blocks.0"
    space: ClassVar[Space] = {
        "lr": Float(1e-4, 1e-1, log=True, default=3e-3, large=Float(1e-5, 1e-2, log=True, default=2e-4)),
        "weight_decay": Float(1e-4, 1e-1, log=True, default=1e-2),
        "rank": Choice(4, 8, default=8),
    }

    def module(self, task: Task, hp: Hyperparameters) -> nn.Module:
        tail = frozen(task.tail)
        for parent, name, layer in layers(blocks_of(tail)):
            setattr(parent, name, LowRank(layer, hp["rank"], alpha=2.0 * hp["rank"]))
        return Classifier(tail, features_dim(task.tail, task.x[:1]), task.num_classes)


@register.strategy
class Adapter(GradientStrategy):
    """A residual bottleneck after every block (Houlsby et al. 2019; one a block, as Pfeiffer et al. 2021)."""

    name = "adapter"
    share = 0.5
    tap = "blocks.0"
    space: ClassVar[Space] = {
        "lr": Float(1e-4, 1e-1, log=True, default=3e-3, large=Float(1e-5, 1e-2, log=True, default=1e-3)),
        "weight_decay": Float(1e-4, 1e-1, log=True, default=1e-2),
        "width": Choice(8, 16, default=16),
    }

    def module(self, task: Task, hp: Hyperparameters) -> nn.Module:
        tail = frozen(task.tail)
        blocks = blocks_of(tail)
        for i, dim in enumerate(block_dims(task.tail, task.x[:1])):
            blocks[i] = Bottleneck(blocks[i], dim, hp["width"])
        return Classifier(tail, features_dim(task.tail, task.x[:1]), task.num_classes)
