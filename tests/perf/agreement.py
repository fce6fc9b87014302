"""Do two contestants compute the same? States after ten steps, the value of a solved problem, and test accuracies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import plain
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

from tlbench import slopes, space
from tlbench.engine import Lane, Pack
from tlbench.fits import Bench, Block, Fit
from tlbench.strategies.gradient import GradientStrategy
from tlbench.strategies.probes import LogisticStrategy
from tlbench.types import Cell
from tlbench.width import width

FIRST_STEPS, CLOSE = 10, 1e-5
ALIKE = 3  # times as far apart as rounding alone takes them
COMPARED = 5  # fits, at most

Accuracies = Mapping[Cell, float]  # share of right test answers, mean over the trials of a cell


class States(NamedTuple):
    """How far tlbench's trained values are from those of `plain`, relative to their norm; NaN where nothing is.

    Medians over fits of the default configuration: a few fits, and more at larger learning rates, part by rounding
    alone, as where a rectifier opens in one program and not in the other; `rounding` shows how far.
    Of a solved problem: how much its value lies above that of plain's solution, as a part of it.
    """

    alone: float
    together: float  # with fits of other trials, `lanes` in all
    lanes: int  # as many as tlbench would run at once
    rounding: float  # the largest of plain against itself with the rows of its batches reversed

    @property
    def close(self) -> bool:
        """Are they as close as asked, or as rounding lets plain be to itself?"""
        limit = max(CLOSE, ALIKE * self.rounding) if self.lanes else CLOSE
        return not (self.alone > limit or self.together > limit)


class Points(NamedTuple):
    """How test accuracies differ, in points: the mean over cells of ours less theirs, and its standard error."""

    difference: float
    error: float
    seeds: float  # the standard error that seeds alone give a mean over these cells
    cells: int

    @property
    def close(self) -> bool:
        """Does its 95 % interval hold 0, or is the difference within what seeds leave open anyway?"""
        interval = self.error * stats.t.ppf(0.975, self.cells - 1)
        return abs(self.difference) <= np.nanmax([interval, self.seeds, 0.0])


def states(block: Block, trials: plain.Trials) -> States:
    """Of the first fits that train side by side, against the same trained by `plain`."""
    given = plain.setting(block)
    if not isinstance(given.strategy, GradientStrategy | LogisticStrategy):
        return States(float("nan"), float("nan"), 0, float("nan"))
    bench = Bench(block, given.strategy)
    alike = _alike(bench, [fit for job in block.jobs for fit in plain.fits(job, trials[job.cell.key])])
    lanes = min(len(alike), width(given.strategy, _pack(bench, alike), block.plan))
    together = _begun(bench, alike[:lanes])
    compared = [i for i in range(lanes) if alike[i].trial.number == 0][:COMPARED]
    found = []
    for i in compared:
        theirs = _plain(given, alike[i])
        others = _begun(bench, [alike[i]])[0], together[i], _plain(given, alike[i], backwards=True)
        found.append([_distance(given, alike[i], theirs, other) for other in others])
    (alone, among, _), rounding = np.median(found, axis=0), np.max(found, axis=0)[2]
    return States(float(alone), float(among), lanes, float(rounding))


def accuracies(logits: plain.Logits, block: Block, y: np.ndarray) -> Accuracies:
    """Of each cell of a block; y [m] are the test labels."""
    found: dict[str, list[float]] = {job.cell.key: [] for job in block.jobs}
    for (key, _), each in logits.items():
        found[key].append(float(np.mean(each.argmax(1) == y)))
    return {job.cell: float(np.mean(found[job.cell.key])) for job in block.jobs}


def points(ours: Accuracies, theirs: Accuracies) -> Points:
    """Over the cells of theirs. `error` is NaN for one cell alone, `seeds` where ours are of one seed."""
    differences = [100 * (ours[cell] - theirs[cell]) for cell in theirs]
    by_budget: dict[tuple[str, int], list[float]] = {}
    for cell, accuracy in ours.items():
        by_budget.setdefault((cell.dataset, cell.budget), []).append(100 * accuracy)
    variances = [_variance(by_budget[cell.dataset, cell.budget]) for cell in theirs]
    error = (_variance(differences) / len(differences)) ** 0.5
    return Points(
        float(np.mean(differences)), error, float(np.mean(variances) / len(variances)) ** 0.5, len(differences)
    )


def _alike(bench: Bench, fits: Sequence[Fit]) -> list[Fit]:
    """Those that may share a pack with the first."""

    def kind(fit: Fit) -> tuple:
        return space.static(bench.space, fit.trial.params), len(fit.train), len(fit.held_out)

    return [fit for fit in fits if kind(fit) == kind(fits[0])]


def _pack(bench: Bench, fits: Sequence[Fit]) -> Pack:
    def lane(fit: Fit) -> Lane:
        rows, y = (torch.from_numpy(np.ascontiguousarray(each[fit.train])) for each in (fit.job.rows, fit.job.y))
        return Lane(fit.trial.params, rows, y, fit.seed)

    effort, network = fits[0].job.cell.effort, bench.network(bench.tap(fits[0].trial.params))
    steps, size = bench.steps(effort), effort.batch_size
    return Pack(bench.strategy, network, [lane(fit) for fit in fits], steps=steps, batch_size=size)


def _begun(bench: Bench, fits: Sequence[Fit]) -> list[Tensor]:
    """What is trained or solved of each fit, as one vector, after its first steps beside the others."""
    slopes.LEAST = 2  # the few steps here are recorded and played, as many are in a run
    pack = _pack(bench, fits)
    pack.width = len(fits)
    pack.start()
    pack.advance(min(FIRST_STEPS, pack.steps))
    return [
        state["theta"] if "theta" in state else torch.cat([state["weight"], state["bias"][:, None]], dim=1)
        for state in pack.states
    ]


def _plain(given: plain.Setting, fit: Fit, *, backwards: bool = False) -> Tensor:
    """The same of `plain`, which solves no problem backwards."""
    if isinstance(given.strategy, GradientStrategy):
        model = plain.trained(given, fit, until=FIRST_STEPS, backwards=backwards)
        return torch.nn.utils.parameters_to_vector([p for p in model.parameters() if p.requires_grad]).detach()
    return plain.head(given, fit)


def _distance(given: plain.Setting, fit: Fit, theirs: Tensor, other: Tensor) -> float:
    if isinstance(given.strategy, GradientStrategy):
        return float((other - theirs).norm() / theirs.norm())
    x, y, strength = *plain.features(given, fit), fit.trial.params["C"]
    return _value(other, x, y, strength) / _value(theirs, x, y, strength) - 1


def _value(head: Tensor, x: Tensor, y: Tensor, strength: float) -> float:
    """The objective of scikit-learn's LogisticRegression at a head [C, d + 1] whose last column is the bias."""
    weight, bias = head[:, :-1].double(), head[:, -1].double()
    return float(strength * F.cross_entropy(x.double() @ weight.T + bias, y, reduction="sum") + (weight**2).sum() / 2)


def _variance(values: Sequence[float]) -> float:
    return float(np.var(values, ddof=1)) if len(values) > 1 else float("nan")
