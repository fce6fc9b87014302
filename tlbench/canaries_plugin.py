"""Which strategies must the harness see through? A plug-in whose members each do one thing wrong, or the same twice."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from tlbench.datasets import base  # a plug-in has no business here: `tlbench check` must say so
from tlbench.registry import DATASETS, register
from tlbench.space import Float, Hyperparameters, Space
from tlbench.strategies.base import State
from tlbench.strategies.floors import NearestMean
from tlbench.strategies.gradient import GradientStrategy
from tlbench.strategies.modules import Classifier, features_dim
from tlbench.task import Task


@register.strategy
class Once(GradientStrategy):
    """A linear head, trained by gradients from drawn values: two runs of it differ by chance alone."""

    name = "canary_once"
    tap = "features"
    space: ClassVar[Space] = {"lr": Float(1e-4, 1e-1, log=True, default=1e-2)}

    def module(self, task: Task, hp: Hyperparameters) -> nn.Module:
        return Classifier(task.tail, features_dim(task.tail, task.x[:1]), task.num_classes)


@register.strategy
class Twice(Once):
    """The same under another name, and so with other seeds."""

    name = "canary_twice"


@register.strategy
class Neighbourly(NearestMean):
    """Looks at the other test inputs before it answers."""

    name = "canary_neighbourly"

    def predict(self, task: Task, hp: Hyperparameters, state: State, x: Tensor) -> Tensor:
        return super().predict(task, hp, state, x - x.mean(0))


@register.strategy
class Thief(NearestMean):
    """Tries to get at test labels, and says how often it could."""

    name = "canary_thief"
    fusible = False

    def init(self, task: Task, hp: Hyperparameters, key: Tensor) -> State:
        ways = list(_ways(Path(os.environ["TLBENCH_CACHE"])))
        stolen = sum(map(_works, ways))
        raise RuntimeError(f"labels were had in {stolen} of {len(ways)} ways")


def _ways(cache: Path) -> Iterator[Callable[[], Any]]:
    """Reading every file of labels, in two ways; loading a dataset, and making it anew."""
    for file in sorted(cache.rglob("*_y.npy")):
        yield file.read_bytes
        yield partial(os.open, file, os.O_RDONLY)
    yield partial(base.load, "digits", cache)
    yield partial(DATASETS["digits"].make, cache)


def _works(way: Callable[[], Any]) -> bool:
    try:
        way()
    except Exception:
        return False
    return True
