"""Are the intervals Student's and Welch's, and silent where nothing can be said?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as reference
from statsmodels.stats.weightstats import DescrStatsW

from tlbench.report import stats


def draw(*shape: int) -> np.ndarray:
    return np.random.Generator(np.random.PCG64(7)).normal(size=shape)


def test_a_cell_interval_is_that_of_scipy_and_statsmodels() -> None:
    values = draw(5)
    found = stats.cell(values)
    expected = reference.t.interval(0.95, 4, values.mean(), reference.sem(values))
    assert np.allclose((found.low, found.high), expected, rtol=1e-12)
    assert np.allclose((found.low, found.high), DescrStatsW(values).tconfint_mean(), rtol=1e-12)


def test_a_suite_interval_of_two_datasets_is_welchs() -> None:
    values = draw(2, 6) * [[1.0], [5.0]]
    welch = reference.ttest_ind(values[0], -values[1], equal_var=False).confidence_interval()  # of the sum of means
    found = stats.suite(values)
    assert np.allclose((2 * found.low, 2 * found.high), (welch.low, welch.high), rtol=1e-9)


def test_a_tasks_interval_is_over_dataset_means() -> None:
    values = draw(6, 3)
    found = stats.tasks(values)
    expected = reference.t.interval(0.95, 5, values.mean(), reference.sem(values.mean(1)))
    assert np.allclose((found.low, found.high), expected, rtol=1e-12)


def test_intervals_cover_what_they_say() -> None:
    hits = [np.mean(stats.cell(draw(4000, seeds)).holds_zero) for seeds in (3, 5, 10)]
    suites = np.mean(stats.suite(draw(2000, 8, 3) * np.linspace(0.5, 2, 8)[:, None]).holds_zero)
    assert np.allclose(hits, 0.95, atol=0.012)
    assert suites == pytest.approx(0.95, abs=0.02)


def test_one_seed_gives_a_mean_and_no_interval() -> None:
    for kind in (stats.cell, stats.suite):
        found = kind(draw(4, 1))
        assert np.isfinite(found.mean).all()
        assert np.isnan(found.low).all() and np.isnan(found.high).all()


def test_one_dataset_says_nothing_about_others() -> None:
    assert np.isnan(stats.tasks(draw(1, 5)).low)
    assert np.isfinite(stats.suite(draw(1, 5)).low)


def test_a_suite_interval_needs_two_seeds_on_every_dataset() -> None:
    values = draw(3, 4)
    values[1, 1:] = np.nan
    assert np.isnan(stats.suite(values).low) and np.isfinite(stats.suite(values).mean)


def test_a_dataset_that_does_not_apply_is_left_out() -> None:
    values = draw(4, 3)
    holed = np.insert(values, 2, np.nan, axis=0)
    for kind in (stats.suite, stats.tasks):
        assert np.allclose(kind(values), kind(holed), rtol=1e-12)


def test_without_spread_the_interval_is_a_point() -> None:
    for kind in (stats.suite, stats.tasks):
        assert np.array_equal(np.array(kind(np.zeros((3, 4)))), np.zeros(3))


def test_nothing_at_all_has_no_mean() -> None:
    found = stats.suite(np.full((3, 4), np.nan))
    assert np.isnan(found).all()


@given(st.floats(-5, 5), st.floats(0.1, 10))
def test_an_interval_moves_and_scales_with_its_values(shift: float, scale: float) -> None:
    values = draw(4, 3)
    for kind in (stats.suite, stats.tasks):
        before, after = np.array(kind(values)), np.array(kind(scale * values + shift))
        assert np.allclose(scale * before + shift, after, atol=1e-9)
