"""Is one row above another on most datasets, and by enough to matter? Signed-rank tests over dataset means.

Two of them: Wilcoxon's (1945), which asks whether the differences could be chance, and its Bayesian form, which also
says when two rows are as good as the same. Both see one difference a dataset.
"""

from __future__ import annotations

from functools import cache, lru_cache

import numpy as np
from scipy import stats as reference

ALPHA = 0.05
ROPE = 0.01  # the region of practical equivalence: differences within 1 point either way
PRIOR = 0.5  # weight of one more dataset on which the two are equal
DRAWS = 10_000
DIGITS = 12  # differences that agree to so many decimals are ties: rounding is no evidence
CHUNK = 1_000


def wilcoxon(differences: np.ndarray) -> np.ndarray:
    """Two-sided p of each row of differences, [..., D] -> [...]; 1 where all are zero.

    Exact at every D, with ties too: the distribution is that of the ranks at hand under all 2^D signs (Hollander, Wolfe
    and Chicken 2014, section 3.1). Differences of zero are left out, as Wilcoxon did.
    """
    d = np.round(differences, DIGITS)
    d = d.reshape(-1, d.shape[-1])
    size = np.where(d == 0, np.nan, np.abs(d))
    twice = np.nan_to_num(2 * reference.rankdata(size, axis=-1, nan_policy="omit")).astype(np.int64)  # [P, D], whole
    smaller = np.minimum(np.where(d > 0, twice, 0).sum(-1), np.where(d < 0, twice, 0).sum(-1))
    patterns, which = np.unique(np.sort(twice, axis=-1), axis=0, return_inverse=True)
    below = [_below(tuple(pattern[pattern > 0].tolist())) for pattern in patterns]
    p = [2 * below[k][s] for k, s in zip(which.ravel().tolist(), smaller.tolist(), strict=True)]
    return np.minimum(np.array(p, float), 1.0).reshape(differences.shape[:-1])


def holm(p: np.ndarray) -> np.ndarray:
    """[P] -> [P]: p-values as if each were the only test, for the family that they are (Holm 1979).

    What statsmodels' `multipletests` returns, which collects garbage at every call: 0.1 s beside a large frame.
    """
    order = np.argsort(p, kind="stable")
    corrected = np.empty(p.shape)
    corrected[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.minimum(corrected, 1.0)


@cache
def needed_datasets(rows: int) -> int:
    """The fewest datasets at which any pair of so many rows could be told apart, were all datasets to agree.

    The smallest p of D datasets is 2 / 2^D, and Holm multiplies it by the number of pairs.
    """
    pairs = max(rows * (rows - 1) // 2, 1)
    return next(count for count in range(1, 200) if pairs * 2.0 ** (1 - count) < ALPHA)


def posterior(differences: np.ndarray) -> np.ndarray:
    """[..., D] -> [..., 3]: probability that the difference is below, within and above the region of equivalence.

    Bayesian signed-rank test (Benavoli et al. 2014; 2017, section 4.3): dataset weights are drawn from a Dirichlet
    process whose prior is one dataset without a difference, and the largest of the three weights counts. The draws
    depend on the number of datasets alone.
    """
    d = differences.reshape(-1, differences.shape[-1])
    d = np.concatenate([np.zeros((len(d), 1)), d], axis=1)
    first, second = np.triu_indices(d.shape[1])
    sums = np.round(d[:, first] + d[:, second], DIGITS)  # [P, T]
    below, above = _step(-sums - 2 * ROPE), _step(sums - 2 * ROPE)
    counts = np.zeros((3, len(d)))
    for products in _products(d.shape[1] - 1):  # [n, T]
        low, high = products @ below.T, products @ above.T  # [n, P]
        within = 1 - low - high
        is_low = (low >= within) & (low >= high)
        is_high = (high > within) & (high > low)
        counts += is_low.sum(0), (~is_low & ~is_high).sum(0), is_high.sum(0)
    return (counts / DRAWS).T.reshape(*differences.shape[:-1], 3)


@cache
def _below(twice: tuple[int, ...]) -> np.ndarray:
    """[sums + 1]: probability that the positive ranks, doubled, sum to at most this when every sign is a coin's."""
    chance = np.zeros(sum(twice) + 1)
    chance[0] = 1.0
    for rank in twice:
        chance[rank:] = (chance[rank:] + chance[: len(chance) - rank]) / 2
        chance[:rank] /= 2
    return np.cumsum(chance)


def _step(x: np.ndarray) -> np.ndarray:
    return np.heaviside(np.round(x, DIGITS), 0.5)


@lru_cache(maxsize=1)  # many megabytes for many datasets
def _products(datasets: int) -> list[np.ndarray]:
    """DRAWS products of the weights of each two datasets, the prior's first, in chunks [CHUNK, T] that fit a cache."""
    rng = np.random.Generator(np.random.PCG64(datasets))
    weights = rng.dirichlet(np.concatenate([[PRIOR], np.ones(datasets)]), size=DRAWS)
    first, second = np.triu_indices(datasets + 1)
    products = weights[:, first] * weights[:, second] * np.where(first == second, 1.0, 2.0)
    return np.split(products, DRAWS // CHUNK)
