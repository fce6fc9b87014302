"""Strategies that solve a convex problem on frozen activations."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from tlbench.registry import register
from tlbench.space import Float, Hyperparameters, Space
from tlbench.strategies.base import State, Strategy
from tlbench.strategies.convex import logistic_regression, ridge_regression
from tlbench.task import Task


class LinearStrategy(Strategy):
    """A linear classifier of the flattened activations at the tap."""

    def predict(self, task: Task, hp: Hyperparameters, state: State, x: Tensor) -> Tensor:
        return x.flatten(1) @ state["weight"].T + state["bias"]

    def parameters(self, task: Task, hp: Hyperparameters) -> tuple[int, int]:
        head = task.num_classes * (task.x[0].numel() + 1)
        return head, head + sum(p.numel() for p in task.tail.parameters())


class LogisticStrategy(LinearStrategy):
    """Logistic regression on the flattened activations at the tap, `C` as scikit-learn has it."""

    version = 2
    space: ClassVar[Space] = {"C": Float(1e-4, 1e4, log=True, default=1.0)}

    def init(self, task: Task, hp: Hyperparameters, key: Tensor) -> State:
        return logistic_regression(task.x.flatten(1), task.y, task.weight, task.num_classes, hp["C"])._asdict()


@register.strategy
class LinearProbe(LogisticStrategy):
    """Logistic regression on frozen features, L2 tuned, as CLIP is evaluated (Radford et al. 2021, appendix A.3)."""

    name = "linear_probe"
    tap = "features"


@register.strategy
class RidgeProbe(LinearStrategy):
    """Least squares to one-hot targets on frozen features, L2 tuned: one decomposition for all penalties."""

    name = "ridge_probe"
    tap = "features"
    space: ClassVar[Space] = {"penalty": Float(1e-4, 1e4, log=True, default=1.0)}

    def init(self, task: Task, hp: Hyperparameters, key: Tensor) -> State:
        return ridge_regression(task.x.flatten(1), task.y, task.weight, task.num_classes, hp["penalty"])._asdict()
