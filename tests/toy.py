"""Toy networks and tasks that several tests train on; nothing here knows a file or a device."""

from __future__ import annotations

import torch
from torch import Tensor

from tlbench import rng, space
from tlbench.backbones.base import Backbone
from tlbench.engine import Lane, Network, Pack
from tlbench.strategies.base import Strategy

CLASSES = 4


def network(
    strategy: Strategy, backbone: Backbone, hp: space.Hyperparameters, *, rows: int = 48
) -> tuple[Network, Tensor]:
    """A bank of separable images at the strategy's tap, and their labels."""
    y = torch.arange(rows) % CLASSES
    shade = 255 * rng.uniform(rng.key(0), (rows, 32, 32, 3))
    for c in range(CLASSES):
        shade[y == c, 8 * c : 8 * (c + 1)] *= 0.15
    tap = backbone.resolve(strategy.tap_for(space.static(strategy.space, hp)))
    with torch.no_grad():
        bank = backbone.prefix(tap)(shade.to(torch.uint8)).clone()
    return Network(bank, backbone.tail(tap), backbone.scratch().tail(tap), CLASSES), y


def lanes(strategy: Strategy, y: Tensor, *, count: int, rows: int) -> list[Lane]:
    """Lanes that differ in rows, key and every dynamic hyperparameter, all within a factor of two of the default.

    Far larger learning rates amplify rounding until two correct programs disagree, which no law can forbid.
    """
    found = []
    for i in range(count):
        hp = space.defaults(strategy.space)
        for name, parameter in strategy.space.items():
            if isinstance(parameter, space.Float):
                hp[name] = parameter.default * 2 ** (2 * i / count - 1)
        order = torch.argsort(rng.bits(rng.key(100 + i), (len(y),)))[:rows]
        found.append(Lane(hp, order, y[order], seed=i))
    return found


def pack(strategy: Strategy, net: Network, of: list[Lane], *, width: int = 64, steps: int = 10, batch: int = 8) -> Pack:
    made = Pack(strategy, net, of, steps=steps, batch_size=batch)
    made.width = width if strategy.fusible else 1
    return made
