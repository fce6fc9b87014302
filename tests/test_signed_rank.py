"""Are the signed-rank tests those of scipy, statsmodels and baycomp, and silent where nothing can be said?"""

from __future__ import annotations

import baycomp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats as reference
from statsmodels.stats.multitest import multipletests

from tlbench.report.stats.signed_rank import ROPE, holm, needed_datasets, posterior, wilcoxon


def draw(*shape: int, mean: float = 0.01, spread: float = 0.03) -> np.ndarray:
    return np.random.Generator(np.random.PCG64(7)).normal(mean, spread, shape)


@pytest.mark.parametrize("datasets", [1, 6, 12, 30])
def test_without_ties_p_is_scipys_exact_one(datasets: int) -> None:
    d = draw(40, datasets)
    assert np.allclose(wilcoxon(d), reference.wilcoxon(d, axis=-1, method="exact").pvalue, rtol=1e-12)


def test_with_ties_and_zeros_p_is_that_of_all_signs() -> None:
    d = np.round(draw(40, 9), 2)
    expected = [reference.wilcoxon(row, method=reference.PermutationMethod()).pvalue for row in d]
    assert (d == 0).any() and np.allclose(wilcoxon(d), expected, rtol=1e-12)


@pytest.mark.filterwarnings("error")
def test_no_difference_anywhere_gives_one() -> None:
    assert np.array_equal(wilcoxon(np.zeros((2, 12))), [1.0, 1.0])
    assert np.array_equal(wilcoxon(np.full((1, 12), 1e-17)), [1.0])  # what rounding leaves is no difference
    assert wilcoxon(np.zeros((0, 12))).shape == (0,)


@given(arrays(float, 8, elements=st.floats(-1, 1)))
def test_p_forgets_the_sign_and_the_order(d: np.ndarray) -> None:
    p = wilcoxon(d)
    assert p == wilcoxon(-d) == wilcoxon(d[::-1]) and 0 < p <= 1


def test_holm_multiplies_by_the_tests_that_are_left() -> None:
    p = np.array([0.02, 0.001, 0.04, 0.9, 0.021])
    assert np.allclose(holm(p), [0.08, 0.005, 0.08, 0.9, 0.08])
    assert np.array_equal(holm(draw(30) ** 2), multipletests(draw(30) ** 2, method="holm")[1])
    assert holm(p[:0]).size == 0


@pytest.mark.parametrize(("rows", "datasets"), [(2, 6), (3, 7), (5, 9), (10, 11), (20, 13), (30, 15)])
def test_all_pairs_can_speak_from_a_number_of_datasets_on(rows: int, datasets: int) -> None:
    pairs = rows * (rows - 1) // 2
    assert needed_datasets(rows) == datasets
    for count, speaks in ((datasets - 1, False), (datasets, True)):
        agreed = wilcoxon(np.arange(1.0, count + 1))  # all datasets say the same
        assert (holm(np.array([agreed, *np.ones(pairs - 1)]))[0] < 0.05) == speaks


def test_the_posterior_is_that_of_baycomp() -> None:
    """Both draw: at 10,000 draws each, 0.025 is 3.5 standard errors of a probability of one half."""
    for mean, spread, datasets in ((0.0, 0.005, 12), (0.005, 0.015, 12), (0.02, 0.03, 7), (-0.01, 0.02, 25)):
        d = draw(2, datasets, mean=mean, spread=spread)
        theirs = [baycomp.SignedRankTest.probs(0 * row, row, rope=ROPE, nsamples=10_000, random_state=1) for row in d]
        assert np.allclose(posterior(d), theirs, atol=0.025)


def test_the_posterior_of_a_pair_does_not_depend_on_its_company() -> None:
    d = draw(9, 12)
    alone = np.concatenate([posterior(row[None]) for row in d])
    assert np.array_equal(posterior(d), alone)
    assert np.array_equal(posterior(-d), alone[:, ::-1])
    assert np.allclose(alone.sum(-1), 1)


def test_rows_that_are_equal_are_equivalent_for_sure() -> None:
    assert np.array_equal(posterior(np.zeros((1, 12))), [[0.0, 1.0, 0.0]])
    assert posterior(np.full((1, 12), 0.05))[0, 2] > 0.99
