"""What a strategy is: a small pure state machine written for one lane."""

from __future__ import annotations

import abc
from typing import Any, ClassVar

from torch import Tensor

from tlbench.space import Hyperparameters, Space
from tlbench.task import Clock, Task
from tlbench.types import TaskShape

State = dict[str, Any]  # nested dict of tensors


class Strategy(abc.ABC):
    """`init`, `step` and `predict` are pure: ordinary single-model PyTorch, no randomness but from keys.

    The engine runs them alone or fused over many lanes (vmap); the result is the same up to rounding.
    `Float` hyperparameters arrive as 0-d tensors, `Int` and `Choice` as Python values.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1  # raised when its results change; part of a cell's identity
    tap: ClassVar[str] = "features"  # where the frozen prefix ends: "input" | "blocks.6" | "blocks.-1" | "features"
    space: ClassVar[Space] = {}
    fusible: ClassVar[bool] = True  # False: cannot be traced by vmap (scikit-learn and the like)
    share: ClassVar[float] = 1.0  # of the suite's steps that it uses; less where more no longer help
    trains: ClassVar[bool] = False  # True: `step` changes the state, so lanes are stepped to the end of their clock

    def tap_for(self, hp: Hyperparameters) -> str:
        """The tap at these static hyperparameters; a negative block counts from the end."""
        return self.tap

    def skip(self, shape: TaskShape) -> str | None:
        """A reason not to run on tasks of this shape, or None."""
        return None

    def prepare(self, task: Task, hp: Hyperparameters) -> None:
        """Called once, unfused, before lanes of one task shape and equal static values run: a place for set-up."""  # noqa: B027

    @abc.abstractmethod
    def init(self, task: Task, hp: Hyperparameters, key: Tensor) -> State:
        """The state before the first step; every random draw comes from `key`."""

    def step(self, task: Task, hp: Hyperparameters, state: State, clock: Clock) -> State:
        """The state after one optimiser step."""
        return state

    @abc.abstractmethod
    def predict(self, task: Task, hp: Hyperparameters, state: State, x: Tensor) -> Tensor:
        """Logits [m, num_classes] for activations x [m, ...] at the tap; each row's depend on that row alone."""

    def parameters(self, task: Task, hp: Hyperparameters) -> tuple[int, int]:
        """(trainable, total) parameters of the fitted predictor."""
        return 0, sum(p.numel() for p in task.tail.parameters())
