"""How sure is a mean? Student-t intervals of three kinds, vectorised over everything but the last axes.

An interval says what it covers (PROTOCOL section 6): `cell` another split of the same dataset, `suite` new splits of
the same datasets, `tasks` new datasets like these. NaN marks a value that does not exist (a skipped cell); a bound is
NaN where nothing can be said: one seed has no spread, one dataset says nothing about others.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import special

LEVEL = 0.95


class Interval(NamedTuple):
    """A mean and its bounds, arrays of one shape."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def half(self) -> np.ndarray:
        return (self.high - self.low) / 2

    @property
    def above_zero(self) -> np.ndarray:
        return self.low > 0

    @property
    def below_zero(self) -> np.ndarray:
        return self.high < 0

    @property
    def holds_zero(self) -> np.ndarray:
        return (self.low <= 0) & (self.high >= 0)

    def at(self, *index: int) -> Interval:
        return Interval(self.mean[index], self.low[index], self.high[index])

    def spelled(self, covers: str, *index: int) -> dict[str, Any]:
        """One of them as leaderboard.json has it, with what it covers."""
        return {**self.at(*index)._asdict(), "covers": covers}


def cell(values: np.ndarray, level: float = LEVEL) -> Interval:
    """Student's t over the last axis. [..., S] -> [...]; no bounds below two seeds."""
    mean, variance, count = _moments(values)
    return _student(mean, variance / np.maximum(count, 1), count - 1.0, level)


def suite(values: np.ndarray, level: float = LEVEL) -> Interval:
    """Mean of dataset means, for new splits of the same datasets. [..., D, S] -> [...].

    The variance is the sum over datasets of s_d^2 / n_d, divided by D^2; its degrees of freedom are those of Welch
    (1947) and Satterthwaite (1946). No bounds where any dataset has fewer than two seeds.
    """
    means, variance, count = _moments(values)
    present = count > 0
    datasets = present.sum(-1)
    share = np.where(present, variance / np.maximum(count, 1), 0.0)
    total = share.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = total**2 / (share**2 / np.maximum(count - 1.0, 1.0)).sum(-1)
    freedom = np.where(total == 0, 1.0, freedom)  # without spread the half-width is 0 whatever the quantile
    return _student(_mean(means, present), total / np.maximum(datasets, 1) ** 2, freedom, level)


def tasks(values: np.ndarray, level: float = LEVEL) -> Interval:
    """Mean of dataset means, for new datasets like these: t over those means. [..., D, S] -> [...]."""
    return cell(_moments(values)[0], level)


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, unbiased variance (NaN below two values) and count of what is not NaN on the last axis."""
    present = ~np.isnan(values)
    count = present.sum(-1)
    mean = _mean(values, present)
    squares = np.where(present, values - mean[..., None], 0.0) ** 2
    variance = np.where(count > 1, squares.sum(-1) / np.maximum(count - 1, 1), np.nan)
    return mean, variance, count


def _mean(values: np.ndarray, present: np.ndarray) -> np.ndarray:
    count = present.sum(-1)
    total = np.where(present, values, 0.0).sum(-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _student(mean: np.ndarray, variance: np.ndarray, freedom: np.ndarray, level: float) -> Interval:
    known = (freedom >= 1) & ~np.isnan(variance)
    quantile = special.stdtrit(np.where(known, freedom, 1.0), (1 + level) / 2)
    half = np.where(known, quantile * np.sqrt(variance), np.nan)
    return Interval(mean, mean - half, mean + half)
