"""How many operations does a block need, whoever does it, and how fast could this machine do them?

Needed are: every input that any fit sees, once, up to the deepest tap; every training step; every prediction.
Operations are those of matrix products and convolutions, counted for one lane alone, where torch sees all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import plain
import torch

from tlbench import registry, space
from tlbench.backbones.linear import PRESENT, Product
from tlbench.engine import Lane, Pack
from tlbench.fits import Bench, Block, Fit
from tlbench.operations import Operations

SIDE = 1024  # of the matrices


class Needed(NamedTuple):
    """Floating-point operations of a block."""

    prefix: int  # of every input once, up to the deepest tap
    fits: int  # of all steps, solutions and predictions above their taps
    below: int  # what the same fits cost more where each sends its inputs through the frozen part again

    @property
    def total(self) -> int:
        return self.prefix + self.fits

    @property
    def caching(self) -> float:
        """(prefix + suffix) / suffix: how many times fewer operations fits take where the frozen part is cached."""
        return (self.below + self.fits) / max(1, self.fits)


def needed(block: Block, trials: plain.Trials) -> Needed:
    """What the fits of all trials take; activations come from the block's cache, or are made there."""
    bench = Bench(block, registry.STRATEGIES[block.strategy]())
    fits = [fit for job in block.jobs for fit in plain.fits(job, trials[job.cell.key])]
    tests = len(bench.test("input"))
    above = below = 0
    costs: dict[tuple, tuple[int, int]] = {}
    for fit in fits:
        kind = (*sorted(space.static(bench.space, fit.trial.params).items()), len(fit.train))
        if kind not in costs:
            costs[kind] = _training(bench, fit)
        training, a_row = costs[kind]
        predicted = len(fit.held_out) or tests
        seen = predicted + _rows_trained(bench, fit)
        above += training + predicted * a_row
        below += seen * bench.prefix_flops(bench.tap(fit.trial.params))
    deepest = max(bench.prefix_flops(tap) for tap in {bench.tap(fit.trial.params) for fit in fits})
    inputs = len(np.unique(np.concatenate([job.rows for job in block.jobs]))) + tests
    return Needed(inputs * deepest, above, below)


def rates() -> dict[str, float]:
    """Floating-point operations a second of each library, in products of 1024 x 1024 float32 matrices, best of 7."""
    a, b = torch.rand(2, SIDE, SIDE)
    products: dict[str, Callable[[], object]] = {"torch": lambda: a @ b, "numpy": lambda: a.numpy() @ b.numpy()}
    if PRESENT:
        products["oneDNN"] = lambda: Product.apply(a, b)
    return {name: 2 * SIDE**3 / min(_seconds(product) for _ in range(7)) for name, product in products.items()}


def _training(bench: Bench, fit: Fit) -> tuple[int, int]:
    """Operations of all steps of a fit, and of its prediction of one row at the tap."""
    effort, network = fit.job.cell.effort, bench.network(bench.tap(fit.trial.params))
    rows, y = (torch.from_numpy(np.ascontiguousarray(each[fit.train])) for each in (fit.job.rows, fit.job.y))
    steps = bench.steps(effort)
    pack = Pack(
        bench.strategy, network, [Lane(fit.trial.params, rows, y, fit.seed)], steps=steps, batch_size=effort.batch_size
    )
    pack.start()
    pack.advance(1)
    with Operations() as counted:
        pack.predict(network.bank[:1])
    return pack.init_flops + steps * pack.step_flops, counted.total


def _rows_trained(bench: Bench, fit: Fit) -> int:
    """How many rows all steps of a fit see; a strategy that takes none sees each of its rows once."""
    if not bench.strategy.trains:
        return len(fit.train)
    effort = fit.job.cell.effort
    return bench.steps(effort) * min(effort.batch_size, len(fit.train))


def _seconds(action: Callable[[], object]) -> float:
    before = time.process_time()
    action()
    return time.process_time() - before
