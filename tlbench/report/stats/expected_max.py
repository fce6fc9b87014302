"""What would fewer trials have found? The expected choice among k of n trials, without bias."""

from __future__ import annotations

import functools

import numpy as np
from scipy.special import gammaln


@functools.cache
def chances(trials: int, fixed: int | None = None) -> np.ndarray:
    """[n, n]: row k - 1 holds, for the trials from best to worst, the chance that each is the best of k of the n.

    The k are drawn without replacement, so that the mean over any values is unbiased for every k up to n (Tang, Lee,
    Xin, Liu, Yu and Lin 2020, section 3; with replacement, as Dodge, Gururangan, Card, Schwartz and Smith 2019 have
    it, it is too low). `fixed` is the place of a trial that is always among them, as the default is.
    """
    n = trials if fixed is None else trials - 1
    drawn = np.arange(1, trials + 1)[:, None] - (fixed is not None)  # [n, 1] how many of the others
    worse = n - 1 - np.arange(n)  # [n] others that are worse than each
    wins = np.exp(_log_choose(worse, drawn - 1) - _log_choose(n, drawn))
    if fixed is None:
        return wins
    found = np.zeros((trials, trials))
    found[:, :fixed] = wins[:, :fixed]
    found[:, [fixed]] = np.exp(_log_choose(n - fixed, drawn) - _log_choose(n, drawn))  # all others are worse
    return found


def _log_choose(n: np.ndarray | int, k: np.ndarray) -> np.ndarray:
    """Logarithm of the binomial coefficient; minus infinity where nothing can be chosen."""
    possible = (k >= 0) & (k <= n)
    n, k = np.where(possible, n, 0), np.where(possible, k, 0)
    return np.where(possible, gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1), -np.inf)
