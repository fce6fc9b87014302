"""How would a statistic that is no mean vary? Bootstrap weights that all rows share.

A resample is a weight for every (dataset, seed), so that a mean over a resample is one matrix product. Suite resamples
redraw the seeds within each dataset. Tasks resamples redraw the datasets and keep the seeds of a drawn one: the means
that are redrawn hold the noise of their seeds already, and to redraw the seeds as well would count it twice (Davison
and Hinkley 1997, section 3.8).

Redrawing n values varies too little by sqrt((n - 1) / n), and percentiles take a normal's quantile where few values
call for Student's: with 12 datasets a nominal 95 % is 91 %. Each weight's deviation from an even one is therefore
multiplied by `spread`, which for a mean makes the percentiles those of the t interval (Hesterberg 2015 widens the
percentiles instead). A weight may so be below 0: it is no probability. What this covers: tests/simulations/coverage.md.

The draws depend on the names of the datasets and the number of seeds alone: rows, their number and order change
nothing.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from tlbench.report.stats.intervals import LEVEL, Interval

RESAMPLES = 10_000
LEAST_DATASETS = 6  # with 3 a nominal 95 % interval of a rank covers 89 %, of an IQM 85 %; with 6 both cover 95 %
DIGITS = 12  # sums in another order differ behind these; rows that are equal stay equal


class Resamples(NamedTuple):
    """Weights [n, D, S] that sum to 1 over (D, S), 0 where there is no seed.

    All NaN where nothing can be said: `suite` with a dataset of one seed, `tasks` below LEAST_DATASETS.
    """

    suite: np.ndarray
    tasks: np.ndarray


def resamples(datasets: Sequence[str], present: np.ndarray, n: int = RESAMPLES) -> Resamples:
    """Draws for the datasets of one group of rows; `present` [D, S] says which seeds exist."""
    digest = hashlib.sha256("\n".join(datasets).encode()).digest()
    rng = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
    counts = present.sum(1)  # [D]
    known = np.flatnonzero(counts)
    suite, tasks = np.zeros((2, n, *present.shape))
    if not len(known):
        return Resamples(suite * np.nan, tasks * np.nan)
    times = rng.multinomial(len(known), np.full(len(known), 1 / len(known)), size=n)  # [n, known]
    by_seed, by_dataset = spread(counts[known], (counts[known] - 1).sum()), spread(len(known), len(known) - 1)
    for place, d in enumerate(known):
        even = present[d] / counts[d]  # [S]
        redrawn = rng.multinomial(counts[d], even, size=n) / counts[d]
        suite[:, d] = even + by_seed[place] * (redrawn - even)
        tasks[:, d] = even * (1 + by_dataset * (times[:, [place]] - 1))
    suite *= np.nan if np.isnan(by_seed).any() else 1 / len(known)
    tasks *= np.nan if len(known) < LEAST_DATASETS else 1 / len(known)
    return Resamples(suite, tasks)


def spread(count: np.ndarray | int, freedom: int) -> np.ndarray:
    """By what the bootstrap of `count` values varies too little at LEVEL; NaN below two values, which tell nothing."""
    count = np.asarray(count, float)
    known = (count > 1) & (freedom > 0)
    student = special.stdtrit(max(freedom, 1), (1 + LEVEL) / 2) / special.ndtri((1 + LEVEL) / 2)
    return np.where(known, np.sqrt(count / np.where(known, count - 1, 1)) * student, np.nan)


def means(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """[n, D, S] weights, [..., D, S] values -> [n, ...]: the mean of each resample.

    NaN where a value is missing that has a weight.
    """
    needed = (weights != 0).any(0)
    flat = values.reshape(math.prod(values.shape[:-2]), needed.size)
    missing = (np.isnan(flat) & needed.ravel()).any(1)
    drawn = weights.reshape(len(weights), needed.size) @ np.nan_to_num(flat).T
    return np.where(missing, np.nan, np.round(drawn, DIGITS)).reshape(len(weights), *values.shape[:-2])


def interval(draws: np.ndarray, point: np.ndarray, level: float = LEVEL) -> Interval:
    """The percentile interval of [n, ...] resampled statistics around the statistic of the data itself."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Interval(point, low, high)
