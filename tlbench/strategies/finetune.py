"""Strategies that train some or all of the network itself."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from tlbench.registry import register
from tlbench.space import Choice, Float, Hyperparameters, Space
from tlbench.strategies.augment import shifted_and_turned
from tlbench.strategies.gradient import GradientStrategy
from tlbench.strategies.modules import Classifier, features_dim, fresh, thawed
from tlbench.task import Task


@register.strategy
class FullFinetune(GradientStrategy):
    """Every weight trains, from the pretrained values.

    AdamW (Loshchilov and Hutter 2019) over three decades of learning rate. The default rate did best of 1e-3, 2e-3 and
    3e-3 on the `dev` suite at 64 steps, that of large networks of 1e-4, 3e-4 and
    1e-3 for all-MiniLM-L6-v2 on dev_docstrings_library at 32.
    """

    name = "full_finetune"
    share = 0.5
    tap = "input"
    space: ClassVar[Space] = {
        "lr": Float(1e-5, 1e-2, log=True, default=2e-3, large=Float(1e-6, 1e-3, log=True, default=1e-4)),
        "weight_decay": Float(1e-4, 1e-1, log=True, default=1e-2),
    }

    def module(self, task: Task, hp: Hyperparameters) -> nn.Module:
        return Classifier(thawed(task.tail), features_dim(task.tail, task.x[:1]), task.num_classes)

    def augment(self, task: Task, hp: Hyperparameters, x: Tensor, keys: Tensor) -> Tensor:
        return shifted_and_turned(x, keys, flips=task.flips)


@register.strategy
class PartialFreeze(GradientStrategy):
    """The last k blocks and what stands above them train; the rest stays (Yosinski et al. 2014, section 3).

    For all-MiniLM-L6-v2 on dev_docstrings_library rates of 3e-4 to 1e-3 did better than 1e-4 and 3e-3: one default.
    """

    name = "partial_freeze"
    share = 0.5
    space: ClassVar[Space] = {
        "lr": Float(1e-5, 1e-2, log=True, default=1e-3),
        "weight_decay": Float(1e-4, 1e-1, log=True, default=1e-2),
        "blocks": Choice(1, 2, default=1),
    }

    def tap_for(self, hp: Hyperparameters) -> str:
        return f"blocks.-{hp['blocks']}"

    def module(self, task: Task, hp: Hyperparameters) -> nn.Module:
        return Classifier(thawed(task.tail), features_dim(task.tail, task.x[:1]), task.num_classes)


@register.strategy
class BitFit(GradientStrategy):
    """The biases of the blocks and of what stands above them train (Ben Zaken et al. 2022, section 3).

    The paper tunes learning rates from 1e-4 to 1e-3 on BERT; biases of small networks bear more (on
    dev_docstrings_library 4e-3 did better than 1e-3).
    """

    name = "bitfit"
    share = 0.5
    tap = "blocks.0"
    space: ClassVar[Space] = {
        "lr": Float(1e-4, 1e-1, log=True, default=1e-2, large=Float(3e-5, 3e-2, log=True, default=3e-3)),
        "weight_decay": Float(1e-4, 1e-1, log=True, default=1e-2),
    }

    def module(self, task: Task, hp: Hyperparameters) -> nn.Module:
        tail = thawed(task.tail)
        for name, parameter in tail.named_parameters():
            parameter.requires_grad_(name.rpartition(".")[2] == "bias")
        return Classifier(tail, features_dim(task.tail, task.x[:1]), task.num_classes)


@register.strategy
class FromScratch(GradientStrategy):
    """The same network from fresh weights: what the pretraining is measured against.

    Six layers with the norm behind each did not learn texts at 1e-3; 1e-4 and 2e-4 did alike (dev_docstrings_library).
    """

    name = "from_scratch"
    tap = "input"
    statistics = "batch"
    space: ClassVar[Space] = {
        "lr": Float(1e-4, 1e-1, log=True, default=3e-3, large=Float(3e-6, 3e-3, log=True, default=2e-4)),
        "weight_decay": Float(1e-4, 1e-1, log=True, default=1e-2),
    }

    def module(self, task: Task, hp: Hyperparameters) -> nn.Module:
        return Classifier(fresh(task.scratch), features_dim(task.tail, task.x[:1]), task.num_classes)

    def augment(self, task: Task, hp: Hyperparameters, x: Tensor, keys: Tensor) -> Tensor:
        return shifted_and_turned(x, keys, flips=task.flips)
