"""Who is worth its price? The rows that nothing cheaper beats, how surely, and the cheapest that is nearly the best."""

from __future__ import annotations

import numpy as np


def on_front(cost: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Is no other row at least as cheap and at least as good, and better in one of the two? Pareto's front.

    cost [R], score [..., R] -> bool [..., R]. Rows that are equal in both stand on it, or off it, together.
    """
    order = np.argsort(cost, kind="stable")
    ranked, sorted_score = cost[order], score[..., order]
    best = np.maximum.accumulate(sorted_score, axis=-1)
    best = np.concatenate([np.full((*score.shape[:-1], 1), -np.inf), best], axis=-1)  # [..., R + 1]
    cheaper = best[..., np.searchsorted(ranked, ranked, side="left")]
    priced_alike = best[..., np.searchsorted(ranked, ranked, side="right")]
    found = np.empty(score.shape, bool)
    found[..., order] = (sorted_score > cheaper) & (sorted_score >= priced_alike)
    return found


def within_one_error(score: np.ndarray, best: int) -> np.ndarray:
    """Which rows lie within one standard error of the best? [R, D] means of each dataset -> bool [R].

    The error is that of the paired difference to the best over datasets; the rule is Breiman, Friedman, Olshen and
    Stone's (1984, section 3.4.3). With one dataset only the best itself does.
    """
    behind = score[best] - score
    count = (~np.isnan(behind)).sum(-1)
    mean = np.where(count > 0, np.nansum(behind, -1) / np.maximum(count, 1), np.inf)
    squares = np.nansum((behind - mean[:, None]) ** 2, -1)
    with np.errstate(invalid="ignore"):
        error = np.sqrt(squares / np.maximum(count - 1, 1) / np.maximum(count, 1))
    found = (mean <= error) & (count > 1)
    found[best] = True
    return found
