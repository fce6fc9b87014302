"""One lane's view of the world: training rows at the tap, the network above it, and its clock."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn


class Task(NamedTuple):
    """What a strategy may look at. There is no field for test data."""

    x: Tensor  # [n, ...] activations at the tap
    y: Tensor  # [n] int64 class indices
    weight: Tensor  # [n] float32; 0 marks padding
    num_classes: int
    tail: nn.Module  # the backbone above the tap: pretrained, frozen, eval mode
    scratch: nn.Module  # the same network freshly initialised: a template for `fresh`
    flips: bool = False  # may an image be mirrored without changing its class?


class Clock(NamedTuple):
    """Where a lane is in its own training."""

    step: Tensor  # 0-d int64, 0 at the first step
    steps: int  # optimiser steps of the whole fit
    batch_size: int  # examples a step, at most
    pieces: int = 1  # a minibatch is taken in so many, one after the other, where memory is short
