"""How strong is a row against all others? Rows that no test separates, and Bradley-Terry ratings.

A rating changes with the company, unlike a score: it belongs into an appendix.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from tlbench.report.stats import intervals, resampling
from tlbench.report.stats.intervals import Interval
from tlbench.report.stats.signed_rank import ALPHA, DIGITS

ELO = 400 / np.log(10)  # a rating 400 higher wins ten runs for each that it loses
GAMES = 1.0  # drawn games that the prior gives each row, shared out among its opponents
RESAMPLES = 2_000  # of the bootstrap's, for the intervals
LARGEST_STEP = 2.0
STEPS = 100


def alike(holm: np.ndarray) -> list[range]:
    """Runs of neighbours, as long as can be, in which no pair has a p-value [A, A] below 0.05; runs of one left out."""
    found: list[range] = []
    for start in range(len(holm)):
        end = start + 1
        while end < len(holm) and (holm[start:end, end] >= ALPHA).all():
            end += 1
        if end - start > 1 and (not found or end > found[-1].stop):
            found.append(range(start, end))
    return found


def bradley_terry(wins: np.ndarray, games: float) -> np.ndarray:
    """[..., A, A] games that the first won of `games` against the second -> [..., A] ratings on Elo's scale, mean 0.

    The mode of Bradley and Terry's (1952) likelihood times the conjugate prior of Davidson and Solomon (1973): as if
    each row had drawn GAMES more, so that a row that wins every game has a finite rating. By Newton's method.
    """
    rows = wins.shape[-1]
    if rows < 2:
        return np.zeros(wins.shape[:-1])
    others = ~np.eye(rows, dtype=bool)
    prior = GAMES / (rows - 1)
    won = np.where(others, np.clip(wins, 0, games) + prior / 2, 0.0)
    played = np.where(others, games + prior, 0.0)
    strength = np.zeros(wins.shape[:-1])
    for _ in range(STEPS):
        chance = special.expit(strength[..., :, None] - strength[..., None, :])
        slope = (won - played * chance).sum(-1)
        weight = played * chance * (1 - chance)
        curvature = np.einsum("...i,ij->...ij", weight.sum(-1), np.eye(rows)) - weight + 1 / rows
        step = np.linalg.solve(curvature, slope[..., None])[..., 0]
        strength += np.clip(step, -LARGEST_STEP, LARGEST_STEP)
        if np.abs(step).max(initial=0.0) < 1e-9:
            break
    return ELO * (strength - strength.mean(-1, keepdims=True))


def ratings(values: np.ndarray, weights: np.ndarray) -> Interval:
    """Each row's rating from all paired runs, a dataset one game. [A, D, S], [n, D, S] tasks resamples -> [A]."""
    rows, datasets = values.shape[:2]
    if not datasets:
        return Interval(*np.full((3, rows), np.nan))
    shares = intervals.cell(np.heaviside(np.round(values[:, None] - values, DIGITS), 0.5)).mean  # [A, A, D]
    point = bradley_terry(shares.sum(-1), datasets)
    drawn = resampling.means(weights[:RESAMPLES].sum(-1, keepdims=True), shares[..., None])  # [n, A, A]
    if np.isnan(drawn).any():
        return Interval(point, *np.full((2, rows), np.nan))
    return resampling.interval(bradley_terry(datasets * drawn, datasets), point)
