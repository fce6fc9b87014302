"""Would more seeds decide a pair that is undecided, or does it take more datasets? By simulation.

The paired differences of a pair are taken as normal: a mean, a spread between datasets, and the noise of a split around
each dataset's own difference, all as observed. The noise that dataset means hold is taken out of the spread between
datasets, and each dataset's difference is shrunk accordingly (Morris 1983). New seeds are then drawn, the means are
updated, and the verdict's own rules applied; the other pairs of the family stay as they are.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import special

from tlbench.report.stats import intervals
from tlbench.report.stats.pairs import BEATS, UNDECIDED, WITHIN, Pairs
from tlbench.report.stats.signed_rank import ALPHA, ROPE, posterior, wilcoxon

LIKELY = 0.8
SEEDS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 100)  # more
DATASETS = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0)  # times as many
SIMULATIONS = 500


class Outlook(NamedTuple):
    """What would decide one pair."""

    first: int
    second: int
    seeds: int | None  # the fewest of SEEDS that likely decide it; None: not even the most do
    chance: float  # that it is decided with seeds without end
    datasets: int | None  # the fewest datasets in all that likely decide it, with the seeds there are


class Spread(NamedTuple):
    """Of the paired differences of one pair."""

    means: np.ndarray  # [D]
    wins: np.ndarray  # [D] share of seeds that the first wins
    between: float  # variance of the true differences over datasets
    noise: float  # variance of a single seed around its dataset's difference
    seeds: int


def outlooks(values: np.ndarray, pairs: Pairs) -> list[Outlook]:
    """The undecided pair that the fewest more seeds decide; then the best two rows, should these be undecided.

    [A, D, S] scores, the best row first, and what `compare` says of them. To find the first, two pairs are tried: the
    one of the smallest p, and the one that is most likely equivalent. Nothing where the noise of a seed is not known.
    """
    first, second = np.triu_indices(len(values), 1)
    undecided = np.flatnonzero(pairs.verdict[first, second] == UNDECIDED)
    if not len(undecided) or values.shape[2] < 2 or np.isnan(values).any():
        return []
    order = pairs.p[first, second][undecided], -pairs.posterior[first, second, 1][undecided]
    tried = dict.fromkeys(int(undecided[np.argmin(by)]) for by in order)
    found = [of_pair(values, pairs, (int(first[k]), int(second[k]))) for k in tried]
    closest = min(found, key=lambda one: (one.seeds or np.inf, -one.chance))
    leaders = (
        [of_pair(values, pairs, (0, 1))] if undecided[0] == 0 and (closest.first, closest.second) != (0, 1) else []
    )
    return [closest, *leaders]


def of_pair(values: np.ndarray, pairs: Pairs, pair: tuple[int, int]) -> Outlook:
    """What would decide this pair, which is undecided; [A, D, S] with two seeds at least."""
    spread = _spread(values[pair[0]] - values[pair[1]])
    p_needed = _threshold(pairs, pair)
    draws = np.random.Generator(np.random.PCG64(len(spread.means))).normal(size=(3, SIMULATIONS, len(spread.means)))
    chance = _decided(*_resown(spread, np.inf, draws), p_needed)
    tried = SEEDS if chance >= LIKELY else ()
    seeds = next((more for more in tried if _decided(*_resown(spread, more, draws), p_needed) >= LIKELY), None)
    counts = (int(np.ceil(times * len(spread.means))) for times in DATASETS)
    datasets = next((count for count in counts if _separated(spread, count, p_needed) >= LIKELY), None)
    return Outlook(*pair, seeds, chance, datasets)


def _spread(differences: np.ndarray) -> Spread:
    seeds = differences.shape[1]
    noise = float(differences.var(axis=1, ddof=1).mean())
    means = differences.mean(1)
    between = max(float(means.var(ddof=1)) - noise / seeds, 0.0)
    return Spread(means, np.heaviside(differences, 0.5).mean(1), between, noise, seeds)


def _threshold(pairs: Pairs, pair: tuple[int, int]) -> float:
    """The p-value below which Holm would reject this pair too, the others being what they are."""
    rejected = np.triu(pairs.holm < ALPHA, 1)
    rejected[min(pair), max(pair)] = False
    tests = len(pairs.p) * (len(pairs.p) - 1) // 2
    return ALPHA / (tests - int(rejected.sum()))


def _resown(spread: Spread, more: float, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Dataset means and shares of wins [n, D] after so many more seeds, given the means that there are."""
    held = spread.noise / spread.seeds  # what a dataset's mean holds of noise
    centre = spread.means.mean() + np.sqrt((spread.between + held) / len(spread.means)) * draws[0, :, :1]
    kept = spread.between / (spread.between + held) if spread.between + held > 0 else 1.0
    true = centre + kept * (spread.means - centre) + np.sqrt(kept * held) * draws[1]
    deviation = np.sqrt(spread.noise)
    wins = special.ndtr(true / deviation) if deviation > 0 else np.heaviside(true, 0.5)
    if np.isinf(more):
        return true, wins
    share = spread.seeds / (spread.seeds + more)
    new = true + deviation / np.sqrt(more) * draws[2]
    return share * spread.means + (1 - share) * new, share * spread.wins + (1 - share) * wins


def _decided(means: np.ndarray, wins: np.ndarray, p_needed: float) -> float:
    """The share of simulations [n, D] in which the verdict would be better, worse or equivalent."""
    apart = _apart(means, wins, p_needed)
    first, second = np.triu_indices(means.shape[1])
    within = np.abs(means[:, first] + means[:, second]) <= 2 * ROPE
    close = ~apart & (within.mean(1) > 0.5)  # of the others none is equivalent, and the posterior takes its time
    return float((apart.sum() + (posterior(means[close])[:, 1] >= WITHIN).sum()) / len(means))


def _separated(spread: Spread, datasets: int, p_needed: float) -> float:
    """The share of simulations in which so many datasets tell the two apart, with as many seeds as now."""
    draws = np.random.Generator(np.random.PCG64(datasets)).normal(size=(3, SIMULATIONS, datasets))
    held = spread.noise / spread.seeds
    centre = spread.means.mean() + np.sqrt((spread.between + held) / len(spread.means)) * draws[0, :, :1]
    true = centre + np.sqrt(spread.between) * draws[1]
    deviation = np.sqrt(spread.noise)
    wins = special.ndtr(true / deviation) if deviation > 0 else np.heaviside(true, 0.5)
    return float(_apart(true + np.sqrt(held) * draws[2], wins, p_needed).mean())


def _apart(means: np.ndarray, wins: np.ndarray, p_needed: float) -> np.ndarray:
    """[n]: better or worse by all three rules."""
    tasks, share = intervals.cell(means), wins.mean(1)
    better, worse = tasks.above_zero & (share >= BEATS), tasks.below_zero & (share <= 1 - BEATS)
    return (wilcoxon(means) < p_needed) & (better | worse)
