"""How sure is a comparison by cross-validation? Intervals that know of overlapping training sets; numpy and scipy only.

Folds share most of their training examples, so the spread between them is smaller than between independent samples.
The corrected resampled t test (Nadeau and Bengio 2003, "Inference for the generalization error", section 3) takes
(1/K + n_test/n_train) s^2 for the variance of a mean over K folds, with K - 1 degrees of freedom. Read as a posterior
(Corani and Benavoli 2015, equation 7) the same t gives the probability that one way is better than another.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.95


class Estimate(NamedTuple):
    """A mean and what is known of it. Bounds are those of a 95 % interval."""

    mean: float
    low: float
    high: float
    error: float  # standard error
    freedom: float

    @property
    def half(self) -> float:
        return (self.high - self.low) / 2

    @property
    def above_zero(self) -> bool:
        return self.low > 0

    def above(self, threshold: float = 0.0) -> float:
        """Probability that the true value is above a threshold."""
        return float(stats.t.cdf((self.mean - threshold) / self.error, self.freedom))


class Design(NamedTuple):
    """How values came about, one a fold."""

    ratio: float  # test examples over training examples; 0 where all share one fit, which makes it plain Student's t
    examples: int  # tested in all


def corrected(values: np.ndarray, design: Design) -> Estimate:
    """The mean of values [K], one a fold.

    The error is at least that of a single example more or less, 1 / (n + 2), as in Agresti and Min (2005), who add half
    an example to each cell: that folds agree perfectly is no proof that the next example does.
    """
    count, freedom = len(values), len(values) - 1.0
    error = math.sqrt((1 / count + design.ratio) * float(np.var(values, ddof=1)))
    error = max(error, 1 / (design.examples + 2))
    half = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * error
    mean = float(np.mean(values))
    return Estimate(mean, mean - half, mean + half, error, freedom)


def share(values: np.ndarray, design: Design) -> Estimate:
    """A score between 0 and 1, with bounds in that range.

    Without a single error among n examples the error rate may still be 3/n (Hanley and Lippman-Hand 1983).
    """
    value = corrected(values, design)
    low = min(value.low, 1 - 3 / design.examples) if value.mean == 1.0 else value.low
    return value._replace(low=max(0.0, low), high=min(1.0, value.high))


def other_choice(values: np.ndarray) -> float:
    """What choosing the best row of values [R, K] is worth where it was not chosen.

    For each fold the row that is best on the others is scored on it: the mean over folds is free of the flattery that
    the best of many enjoys on the folds that it was chosen on.
    """
    count = values.shape[1]
    if count < 2:
        return float(values.mean(1).max())
    others = (values.sum(1, keepdims=True) - values) / (count - 1)
    return float(np.mean([values[np.argmax(others[:, k]), k] for k in range(count)]))


def needed(estimate: Estimate, labels: int, difference: float) -> float:
    """Labels at which a 95 % interval would exclude 0 if the true value is `difference`; inf where it is 0.

    Half-widths shrink with the root of the number of examples.
    """
    if difference == 0:
        return math.inf
    return labels * (estimate.half / abs(difference)) ** 2
