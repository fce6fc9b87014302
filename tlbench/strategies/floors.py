"""Floors: baselines that cannot learn much, to which every other row is compared."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from tlbench.registry import register
from tlbench.space import Hyperparameters
from tlbench.strategies.base import State, Strategy
from tlbench.strategies.probes import LogisticStrategy
from tlbench.task import Task
from tlbench.types import TaskShape


@register.strategy
class Majority(Strategy):
    """Always the class with most labels; the first of them on a tie."""

    name = "majority"
    tap = "input"

    def init(self, task: Task, hp: Hyperparameters, key: Tensor) -> State:
        return {"logits": (_counts(task) + 1.0).log()}

    def predict(self, task: Task, hp: Hyperparameters, state: State, x: Tensor) -> Tensor:
        return state["logits"].expand(x.shape[0], -1)


@register.strategy
class NearestMean(Strategy):
    """The class whose mean feature vector is nearest (Mensink et al. 2013, equation 2; Snell et al. 2017)."""

    name = "nearest_mean"

    def init(self, task: Task, hp: Hyperparameters, key: Tensor) -> State:
        member = F.one_hot(task.y, task.num_classes).to(task.x.dtype) * task.weight[:, None]
        return {"means": member.T @ task.x.flatten(1) / member.sum(0).clamp_min(1)[:, None]}

    def predict(self, task: Task, hp: Hyperparameters, state: State, x: Tensor) -> Tensor:
        rows, means = x.flatten(1), state["means"]
        return 2 * rows @ means.T - (means**2).sum(1) - (rows**2).sum(1, keepdim=True)


@register.strategy
class PixelsLogistic(LogisticStrategy):
    """Logistic regression on raw pixels: what the labels give without any pretraining."""

    name = "pixels_logistic"
    tap = "input"

    def skip(self, shape: TaskShape) -> str | None:
        return None if shape.modality == "image" else f"{shape.modality}s have no pixels"


def _counts(task: Task) -> Tensor:
    """Labels of each class [C]."""
    return (F.one_hot(task.y, task.num_classes).to(task.weight.dtype) * task.weight[:, None]).sum(0)
