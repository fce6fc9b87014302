"""How would a statistic that is no mean vary? Bootstrap weights that all rows share.

A resample is a weight for every (dataset, seed), so that any mean over a resample is one matrix product. Suite
resamples redraw seeds within datasets; tasks resamples redraw datasets, then seeds within each drawn one (Davison and
Hinkley 1997, section 3.8). The draws depend on the names of the datasets and the number of seeds alone: rows, their
number and their order change nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tlbench.report.stats.intervals import LEVEL, Interval

RESAMPLES = 10_000


class Resamples(NamedTuple):
    """Weights [n, D, S] that sum to 1 over (D, S); 0 where there is no seed."""

    suite: np.ndarray
    tasks: np.ndarray


def resamples(datasets: Sequence[str], present: np.ndarray, n: int = RESAMPLES) -> Resamples:
    """Draws for the datasets of one group of rows; `present` [D, S] says which seeds exist, at least one a dataset."""
    digest = hashlib.sha256("\n".join(datasets).encode()).digest()
    rng = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
    suite, tasks = np.zeros((2, n, *present.shape))
    times = rng.multinomial(len(datasets), np.full(len(datasets), 1 / len(datasets)), size=n)  # [n, D]
    for d, seeds in enumerate(present):
        even = seeds / seeds.sum()
        suite[:, d] = rng.multinomial(seeds.sum(), even, size=n) / seeds.sum()
        tasks[:, d] = rng.multinomial(seeds.sum() * times[:, d], even) / seeds.sum()
    return Resamples(suite / len(datasets), tasks / len(datasets))


def widened(values: np.ndarray) -> np.ndarray:
    """[..., S] with deviations from their mean times sqrt(S / (S - 1)): resampling S values then varies as it should.

    Without it a bootstrap of S values is too narrow by that factor (Davison and Hinkley 1997, equation 2.21).
    """
    present = ~np.isnan(values)
    count = present.sum(-1, keepdims=True)
    mean = np.where(present, values, 0.0).sum(-1, keepdims=True) / np.maximum(count, 1)
    return mean + (values - mean) * np.sqrt(count / np.maximum(count - 1, 1))


def means(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """[n, D, S] weights, [..., D, S] values -> [n, ...]: the mean of each resample."""
    shape = values.shape[:-2]
    flat = np.nan_to_num(values).reshape(-1, weights.shape[1] * weights.shape[2])
    return (weights.reshape(len(weights), -1) @ flat.T).reshape(len(weights), *shape)


def interval(draws: np.ndarray, point: np.ndarray, level: float = LEVEL) -> Interval:
    """The percentile interval of [n, ...] resampled statistics around the statistic of the data itself."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Interval(point, low, high)
