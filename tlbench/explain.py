"""How would each block of a suite be done, and why so? Found out without training anything."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tlbench import backbones, features, precision, space
from tlbench.backbones.base import Backbone
from tlbench.backbones.linear import Linear
from tlbench.datasets import base
from tlbench.engine import Lane, Network, Pack
from tlbench.fits import Block, Job, Part, place
from tlbench.operations import Operations
from tlbench.precision import mixed
from tlbench.registry import STRATEGIES
from tlbench.strategies.base import Strategy
from tlbench.strategies.gradient import GradientStrategy
from tlbench.width import Lanes, MachinePlan, limited

OPTIMIZERS = {"adamw": "AdamW", "sgd": "SGD"}


class Files(NamedTuple):
    """What is kept of a network's activations at a tap, for the pools and tests of the datasets."""

    bytes: int
    there: int
    total: int  # 0: they are read, or computed, whenever they are needed


class Way(NamedTuple):
    """How the blocks of one strategy on one network are done, as far as their tap is the same."""

    strategy: str
    backbone: str
    values: str  # static hyperparameters that lead to this tap, where others lead to another
    skipped: str  # why it does not run at all; what follows is empty then
    solver: str = ""
    tap: str = ""
    below: float = 0.0  # share of a forward pass's operations that are done once, below the tap
    lanes: Lanes = Lanes(1, "the plan")
    products: str = ""
    files: Files = Files(0, 0, 0)


def ways(blocks: Sequence[Block]) -> Iterator[Way]:
    """A row for each strategy, network and tap of blocks, one for each dataset; lanes are those of the first of them.

    Activations of one example are computed for each tap, and weights are read, which a run would do as well.
    """
    by_network: dict[str, dict[str, list[Block]]] = defaultdict(lambda: defaultdict(list))
    for block in blocks:
        by_network[block.backbone][block.strategy].append(block)
    for by_strategy in by_network.values():
        cut = _Cut(next(iter(by_strategy.values())))
        for group in by_strategy.values():
            yield from _of_strategy(cut, STRATEGIES[group[0].strategy](), group)


def _of_strategy(cut: _Cut, strategy: Strategy, group: Sequence[Block]) -> Iterator[Way]:
    name, network, reason = strategy.name, group[0].jobs[0].cell.backbone, strategy.skip(group[0].shape)
    if reason is not None:
        yield Way(name, network, "", reason)
        return
    own = space.on(cut.backbone.parameters, strategy.space)
    taps = _taps(strategy, own, cut.backbone)
    for tap, values in taps.items():
        pack = cut.pack(strategy, {**space.defaults(own), **values[0]}, tap, group[0])
        lanes = limited(strategy, pack, group[0].plan)
        yield Way(
            name,
            network,
            _said(values) if len(taps) > 1 else "",
            "",
            solver=_solver(strategy, pack),
            tap=tap,
            below=cut.operations(tap) / max(1, cut.operations("features")),
            lanes=lanes,
            products=_products(pack, lanes, group[0].plan),
            files=cut.files(tap, group),
        )


@dataclass
class _Cut:
    """A network, and what one example of a dataset is at its taps."""

    blocks: Sequence[Block]

    def __post_init__(self) -> None:
        self.backbone = backbones.get(self.blocks[0].backbone)
        self.scratch = self.backbone.scratch()
        self.device = torch.device(self.blocks[0].device)
        raw = self.backbone.encoded(np.array(base.read_inputs(self.blocks[0].data, "test")[:1]))
        self.encoded = torch.from_numpy(raw).to(self.device)
        self._seen: dict[str, tuple[Tensor, int]] = {}
        self._weights = self.backbone.fingerprint

    def operations(self, tap: str) -> int:
        """Floating-point operations from one example to the tap."""
        return self._at(tap)[1]

    def pack(self, strategy: Strategy, hp: space.Hyperparameters, tap: str, block: Block) -> Pack:
        """Lanes as they would be tuned on the largest budget: they share one example, again and again."""
        job = max(block.jobs, key=lambda job: len(job.rows))
        effort, rows = job.cell.effort, torch.zeros(_rows(job), dtype=torch.int64)
        tail, scratch = (each.tail(tap).to(self.device) for each in (self.backbone, self.scratch))
        network = Network(self._at(tap)[0], tail, scratch, block.shape.num_classes, block.flips)
        steps = max(1, round(strategy.share * effort.steps))
        lanes = [Lane(hp, rows, rows, 0)] * max(2, effort.trials)
        return Pack(strategy, network, lanes, steps=steps, batch_size=effort.batch_size)

    def files(self, tap: str, group: Iterable[Block]) -> Files:
        """Of all datasets together; those of networks of the same name, weights and tap are the same files."""
        one, encoded = self._at(tap)[0].numel() * (2 if self.device.type in precision.MIXED else 4), self.encoded.nbytes
        rounding, size, there, total = features.rounding(self.device), 0, 0, 0
        for block in group:
            parts: dict[Part, int] = {"pool": len(block.pool_rows), "test": len(base.read_inputs(block.data, "test"))}
            for part, rows in parts.items():
                if features.worth_keeping(tap, rows * self._at(tap)[0].nbytes, rows * encoded):
                    path = place(block, part, self.backbone.name, self._weights).at(tap, rounding)
                    size, there, total = size + rows * one, there + path.is_dir(), total + 1
        return Files(size, there, total)

    def _at(self, tap: str) -> tuple[Tensor, int]:
        if tap not in self._seen:
            below = precision.laid_out(self.backbone.prefix(tap), self.device)
            with torch.no_grad(), Operations() as counted, mixed(self.device):
                found = below(self.encoded)
            self._seen[tap] = found.float() if found.is_floating_point() else found, counted.total
        return self._seen[tap]


def _rows(job: Job) -> int:
    """That a lane trains on while it is tuned."""
    return len(job.folds[0][0]) if job.folds else len(job.rows)


def _taps(strategy: Strategy, own: space.Space, backbone: Backbone) -> dict[str, list[dict[str, Any]]]:
    """Static values by the tap that they lead to; integers at their default."""
    choices = {name: p.values for name, p in own.items() if isinstance(p, space.Choice)}
    others = space.static(own, space.defaults(own))
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for values in itertools.product(*choices.values()):
        named = dict(zip(choices, values, strict=True))
        found[backbone.resolve(strategy.tap_for({**others, **named}))].append(named)
    return found


def _said(values: Sequence[dict[str, Any]]) -> str:
    return " or ".join(", ".join(f"{name}={value}" for name, value in each.items()) for each in values)


def _solver(strategy: Strategy, pack: Pack) -> str:
    if isinstance(strategy, GradientStrategy):
        return f"{OPTIMIZERS[strategy.optimizer]}, {pack.steps} steps"
    if strategy.trains:
        return f"{pack.steps} steps of its own"
    dynamic = [name for name, p in strategy.space.items() if isinstance(p, space.Float)]
    if not strategy.fusible:
        return "solved lane by lane"
    return f"solved as a path of {', '.join(dynamic)}" if dynamic else "closed form"


def _products(pack: Pack, lanes: Lanes, plan: MachinePlan) -> str:
    """Which library multiplies above the tap, and in which precision where that is not float32."""
    tail, device = pack.network.tail, pack.network.bank.device
    if device.type != "cpu":
        large = device.type in precision.MIXED and precision.parameters(tail) >= precision.LARGE
        return "torch, bfloat16" if large else "torch"
    if not pack.strategy.trains:
        return plan.products
    layers = [module for module in tail.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    by = [
        "oneDNN" if isinstance(layer, Linear) else plan.products if lanes.together > 1 else "torch" for layer in layers
    ]
    return " and ".join(sorted(set(by))) or plan.products  # no layer at all: the head alone
