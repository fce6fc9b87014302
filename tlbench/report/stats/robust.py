"""What does a typical run reach? Statistics that a few extreme scores cannot move (Agarwal et al. 2021).

Scores are those of all (dataset, seed); each dataset weighs the same, however many seeds it has.
"""

from __future__ import annotations

import math

import numpy as np

from tlbench.report.stats.intervals import LEVEL, Interval
from tlbench.report.stats.resampling import DIGITS, interval, means

TAUS = np.linspace(0, 1, 51)  # thresholds of a profile; fixed, so that a row's profile is its own


def iqm(values: np.ndarray) -> np.ndarray:
    """[..., D, S] -> [...]: the mean of the middle half of the scores, the outer quarters cut off."""
    flat = values.reshape(math.prod(values.shape[:-2]), *values.shape[-2:])
    return np.array([_trimmed(_even(row)[None], row)[0] for row in flat]).reshape(values.shape[:-2])


def iqm_interval(weights: np.ndarray, values: np.ndarray, level: float = LEVEL) -> Interval:
    """[n, D, S] resamples, [R, D, S] values -> [R]."""
    draws = np.stack([_trimmed(weights, row) for row in values], axis=1) if len(values) else np.empty((len(weights), 0))
    return interval(draws, iqm(values), level)


def profile(weights: np.ndarray, values: np.ndarray, level: float = LEVEL) -> Interval:
    """[n, D, S] resamples, [R, D, S] values -> [R, T]: the share of scores above each of TAUS, with its band."""
    rows = np.array([_profile(weights, row, level) for row in values]).reshape(len(values), 3, len(TAUS))
    return Interval(*rows.swapaxes(0, 1))


def _profile(weights: np.ndarray, values: np.ndarray, level: float) -> Interval:
    above = np.where(np.isnan(values), np.nan, values > TAUS[:, None, None])  # [T, D, S]
    share = np.nansum(above * _even(values), axis=(1, 2))
    band = interval(means(weights, above), share, level)
    return Interval(share, np.clip(band.low, 0, 1), np.clip(band.high, 0, 1))


def _trimmed(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """[n, D, S] weights, [D, S] scores -> [n]: the mean of what lies between the quartiles of the weighted scores.

    A weight below 0 (see `resampling`) lets the distribution fall for a stretch; clipping it at the quartiles is then
    still a difference of two integrals over it, so that the result moves smoothly with the weights.
    """
    known = ~np.isnan(values)
    if not known.any() or weights[:, ~known].any():  # a score is missing that has a weight
        return np.full(len(weights), np.nan)
    order = np.argsort(values[known], kind="stable")
    cumulative = np.cumsum(weights[:, known][:, order], axis=1)
    middle = np.diff(np.clip(cumulative, 0.25, 0.75), axis=1, prepend=0.25)
    return np.round(2 * middle @ values[known][order], DIGITS)


def _even(values: np.ndarray) -> np.ndarray:
    """[D, S] weights that sum to 1, the same for each dataset."""
    known = ~np.isnan(values)
    count = known.sum(-1, keepdims=True)
    return known / np.maximum(count, 1) / max(int((count > 0).sum()), 1)
