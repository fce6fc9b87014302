"""On what is a strategy checked? A small separable task made in memory, and lanes of the strategy on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tlbench import contract_text, rng, space
from tlbench.backbones.base import Backbone
from tlbench.engine import Lane, Network, Pack
from tlbench.space import Choice, Float, Hyperparameters, Parameter
from tlbench.strategies.base import State, Strategy
from tlbench.task import Clock, Task
from tlbench.types import TaskShape

CLASSES, ROWS, TRAIN_ROWS, SIDE = 4, 64, 20, 32
BATCH, STEPS = 8, 10
CORNERS = 8


class Single(NamedTuple):
    """One lane of a strategy, called directly: the naive implementation."""

    strategy: Strategy
    task: Task
    hp: dict[str, Any]  # static values, and dynamic ones as 0-d tensors
    key: Tensor

    def init(self) -> State:
        return self.strategy.init(self.task, self.hp, self.key)

    def step(self, state: State, number: int) -> State:
        return self.strategy.step(self.task, self.hp, state, Clock(torch.tensor(number), STEPS, BATCH))

    def predict(self, state: State, x: Tensor) -> Tensor:
        return self.strategy.predict(self.task, self.hp, state, x)

    def trained(self, steps: int) -> State:
        state = self.init()
        for number in range(steps if self.strategy.trains else 0):
            state = self.step(state, number)
        return state

    def padded(self, rows: int) -> Single:
        """The same lane with rows of weight 0 behind its own."""
        x, y, weight = self.task.x, self.task.y, self.task.weight
        task = self.task._replace(
            x=torch.cat([x, 7 + torch.zeros_like(x[:rows])]),
            y=torch.cat([y, torch.zeros_like(y[:rows])]),
            weight=torch.cat([weight, torch.zeros_like(weight[:rows])]),
        )
        return self._replace(task=task)


class Toy:
    """A strategy's class on a backbone, and the lanes that laws are tried on; each pack has an instance of its own."""

    def __init__(self, make: type[Strategy], backbone: Backbone) -> None:
        self.make, self.backbone = make, backbone
        self.shape = TaskShape(ROWS, CLASSES, backbone.modality)
        self.space = space.on(backbone.parameters, make.space)
        self.y = torch.arange(ROWS) % CLASSES
        raw = images(self.y) if backbone.modality == "image" else contract_text.texts(self.y)
        self.encoded = torch.from_numpy(backbone.encoded(raw))
        self._networks: dict[str, Network] = {}

    @property
    def defaults(self) -> dict[str, Any]:
        return space.defaults(self.space)

    def network(self, hp: Hyperparameters) -> Network:
        """What lanes at these values share; all rows of the toy task at their tap."""
        tap = self.backbone.resolve(self.make().tap_for(space.static(self.space, hp)))
        if tap not in self._networks:
            with torch.no_grad():
                bank = self.backbone.prefix(tap)(self.encoded).clone()
            tail, scratch = self.backbone.tail(tap), self.backbone.scratch().tail(tap)
            self._networks[tap] = Network(bank, tail, scratch, CLASSES)
        return self._networks[tap]

    @property
    def x(self) -> Tensor:
        """Activations of rows that no lane trains on, at the default's tap."""
        return self.network(self.defaults).bank[ROWS - 16 :]

    def single(self, hp: Hyperparameters | None = None, *, seed: int = 0) -> Single:
        """One lane on the first rows, at the defaults unless told otherwise."""
        values = dict(hp or self.defaults)
        net, strategy = self.network(values), self.make()
        x, y = net.bank[:TRAIN_ROWS].clone(), self.y[:TRAIN_ROWS].clone()
        task = Task(x, y, torch.ones(len(y)), CLASSES, net.tail, net.scratch)
        static = space.static(self.space, values)
        strategy.prepare(task, static)
        dynamic = {name: torch.tensor(value) for name, value in space.dynamic(self.space, values).items()}
        return Single(strategy, task, {**static, **dynamic}, rng.key(seed))

    def lanes(self, count: int = 4) -> list[Lane]:
        """Lanes that differ in rows, key and dynamic values, all within a factor of two of the default.

        Far larger learning rates amplify rounding until two correct programs disagree, which no law can forbid.
        """
        found = []
        for i in range(count):
            hp = {name: _near(p, 2 ** (2 * i / count - 1)) for name, p in self.space.items()}
            rows = torch.argsort(rng.bits(rng.key(100 + i), (ROWS - 16,)))[:TRAIN_ROWS]
            found.append(Lane(hp, rows, self.y[rows], seed=i))
        return found

    def pack(self, lanes: Sequence[Lane], *, width: int = 64, steps: int = STEPS, batch: int = BATCH) -> Pack:
        """Lanes side by side, not yet started, on an instance of their own."""
        strategy = self.make()
        made = Pack(strategy, self.network(lanes[0].hp), lanes, steps=steps, batch_size=batch)
        made.width = width if strategy.fusible else 1
        return made

    def corners(self) -> Iterator[dict[str, Any]]:
        """The ends of every range, combined; of many combinations a few in which each end still occurs."""
        ends = [_ends(p) for p in self.space.values()]
        last = 2 ** len(ends) - 1
        count = min(CORNERS, last + 1)
        for number in dict.fromkeys(i * last // max(1, count - 1) for i in range(count)):
            chosen = (pair[number >> i & 1] for i, pair in enumerate(ends))
            yield dict(zip(self.space, chosen, strict=True))


def images(y: Tensor) -> np.ndarray:
    """Noise [n, 32, 32, 3] uint8 with one dark band, whose height is the class."""
    shade = 255 * rng.uniform(rng.key(0), (len(y), SIDE, SIDE, 3))
    band = SIDE // CLASSES
    for c in range(CLASSES):
        shade[y == c, band * c : band * (c + 1)] *= 0.15
    return shade.to(torch.uint8).numpy()


def _near(p: Parameter, factor: float) -> Any:
    return min(max(p.default * factor, p.low), p.high) if isinstance(p, Float) else p.default


def _ends(p: Parameter) -> tuple[Any, Any]:
    return (p.values[0], p.values[-1]) if isinstance(p, Choice) else (p.low, p.high)
