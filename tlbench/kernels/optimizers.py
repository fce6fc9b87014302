"""How does AdamW move many lanes on a CPU? In place, by torch's fused kernel: one pass over memory, not a dozen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tlbench.strategies.gradient import BETAS, EPSILON


class Rates(NamedTuple):
    """How a lane moves in one step."""

    lr: float
    weight_decay: float


class AdamW:
    """Lanes whose trained numbers move in place; algorithm 2 of Loshchilov and Hutter 2019."""

    def __init__(self, state: dict[str, Tensor], sizes: Sequence[int], multipliers: Sequence[float]) -> None:
        """`state`: theta, m and v [K, P]; of each of its pieces the size and the learning rate's multiplier."""
        self._lanes = [[vector.split(list(sizes)) for vector in vectors] for vectors in zip(
            *(state[name].unbind() for name in ("theta", "m", "v")), strict=True
        )]  # fmt: skip
        self._alike = {m: [i for i, own in enumerate(multipliers) if own == m] for m in multipliers}

    def move(self, gradients: Sequence[Tensor], rates: Sequence[Rates], *, step: int) -> None:
        """Along the gradient of each piece [K, ...]; `step` counts from 1."""
        clock = torch.tensor(float(step))
        slopes = zip(*(gradient.contiguous().flatten(1).unbind() for gradient in gradients), strict=True)
        for (theta, m, v), slope, rate in zip(self._lanes, slopes, rates, strict=True):
            for multiplier, pieces in self._alike.items():
                thetas, slopes_, ms, vs = ([each[i] for i in pieces] for each in (theta, slope, m, v))
                torch._fused_adamw_(
                    thetas, slopes_, ms, vs, [], [clock] * len(pieces), lr=rate.lr * multiplier, beta1=BETAS[0],
                    beta2=BETAS[1], weight_decay=rate.weight_decay, eps=EPSILON, amsgrad=False, maximize=False,
                )  # fmt: skip
