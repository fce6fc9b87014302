"""How many labels is a difference worth? Crossings and reaches of label curves, in labels.

A curve is linear in log2(budget) between its budgets and unknown outside them. Arrays have the budgets first, [B, ...],
so that all resamples of all rows are read at once. What lies outside the budgets is not extrapolated: 0 stands for "the
smallest budget or fewer", inf for "more than the largest".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tlbench.report.stats.intervals import LEVEL

TINY = 1e-200  # a rise that is none; no difference of scores divided by it overflows


class Place(NamedTuple):
    """Numbers of labels and their bounds, arrays of one shape; a bound is NaN where nothing can be said."""

    labels: np.ndarray
    low: np.ndarray
    high: np.ndarray


class Meeting(NamedTuple):
    """How two curves meet, arrays [...]."""

    ahead: np.ndarray  # labels from which on the first is ahead: 0 throughout, inf where it is not at the last budget
    behind: np.ndarray  # labels from which on the second is
    times: np.ndarray  # how often they cross


def meeting(difference: np.ndarray, budgets: Sequence[int]) -> Meeting:
    """Where a curve crosses another, from their difference [B, ...].

    A crossing is a change of sign; curves that touch, or run together and part as they were, do not cross. Of several
    crossings all are counted and the last one is the crossover: from there on one curve is ahead to the end. Where
    curves run together before they cross, the crossover is where they part.
    """
    x = np.log2(budgets)
    side = np.sign(difference[0])
    place, times = np.full(side.shape, -np.inf), np.zeros(side.shape, int)
    for b in range(1, len(x)):
        before, now = difference[b - 1], difference[b]
        crosses = side * now < 0
        share = np.divide(before, before - now, out=np.zeros(side.shape), where=crosses)
        place = np.where(crosses, x[b - 1] + (x[b] - x[b - 1]) * share, place)
        times += crosses
        side = np.where(now == 0, side, np.sign(now))
    labels = np.exp2(place)
    return Meeting(np.where(side > 0, labels, np.inf), np.where(side < 0, labels, np.inf), times)


def reach(curve: np.ndarray, value: np.ndarray, budgets: Sequence[int]) -> np.ndarray:
    """The smallest number of labels at which a curve [B, ...] is as high as a value [..., ...].

    0 where it is higher at the smallest budget already, inf where it is nowhere.
    """
    x = np.log2(budgets)
    risen = np.maximum.accumulate(curve)
    needed = np.full(np.broadcast_shapes(curve.shape[1:], value.shape), x[0])
    for b, gap in enumerate(np.diff(x)):
        per = gap / np.maximum(curve[b + 1] - curve[b], TINY)  # a stretch that does not rise is crossed whole
        part = (value - curve[b]) * per
        np.clip(part, 0.0, gap, out=part)
        needed += np.multiply(part, value > risen[b], out=part)
    labels = np.exp2(needed, out=needed)
    labels[value < risen[0]] = 0.0
    labels[value > risen[-1]] = np.inf
    return labels


def bounds(draws: np.ndarray, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """The percentile interval over the last axis of draws [..., n] that may be infinite.

    Bounds are draws themselves, the next ones outwards: between a number and infinity there is nothing to interpolate.
    """
    last = draws.shape[-1] - 1
    low, high = int(np.floor((1 - level) / 2 * last)), int(np.ceil((1 + level) / 2 * last))
    ordered = np.sort(draws, axis=-1)  # in numpy faster than a partition
    return ordered[..., low], ordered[..., high]
