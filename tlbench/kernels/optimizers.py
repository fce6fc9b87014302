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
        self._alike = {m: [i for i, own in enumerate(multipliers) if own == m] for m in multipliers}
        vectors = zip(*(self._pieces(state[name].split(list(sizes), 1)) for name in ("theta", "m", "v")), strict=True)
        self._lanes = [list(zip(*lane, strict=True)) for lane in vectors]  # theta, m, v of each multiplier
        self._gradients: Sequence[Tensor] = ()
        self._slopes: list[list[list[Tensor]]] = []

    def move(self, gradients: Sequence[Tensor], rates: Sequence[Rates], *, step: int) -> None:
        """Along the gradient of each piece [K, ...], contiguous; `step` counts from 1."""
        if gradients is not self._gradients:
            self._gradients, self._slopes = gradients, self._pieces([each.flatten(1) for each in gradients])
        clock = torch.tensor(float(step))
        for lane, slopes, rate in zip(self._lanes, self._slopes, rates, strict=True):
            for multiplier, (theta, m, v), slope in zip(self._alike, lane, slopes, strict=True):
                torch._fused_adamw_(
                    theta, slope, m, v, [], [clock] * len(slope), lr=rate.lr * multiplier, beta1=BETAS[0],
                    beta2=BETAS[1], weight_decay=rate.weight_decay, eps=EPSILON, amsgrad=False, maximize=False,
                )  # fmt: skip

    def _pieces(self, stacks: Sequence[Tensor]) -> list[list[list[Tensor]]]:
        """Of each lane, of each multiplier: its pieces of what is stacked [K, ...]."""
        lanes = zip(*(stack.unbind() for stack in stacks), strict=True)
        return [[[lane[i] for i in places] for places in self._alike.values()] for lane in lanes]
