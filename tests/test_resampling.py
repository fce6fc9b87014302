"""Do resamples vary as means do, whoever else is in the table, and stay silent where nothing can be said?"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as reference
from simulations.coverage import WORLDS, World, coverage, suites

from tlbench.report import stats
from tlbench.report.stats import robust
from tlbench.report.stats.resampling import interval, means, resamples, spread

NAMES = [f"dataset {d}" for d in range(12)]


def draw(*shape: int, seed: int = 7) -> np.ndarray:
    return np.random.Generator(np.random.PCG64(seed)).normal(size=shape)


def everywhere(datasets: int, seeds: int) -> np.ndarray:
    return np.ones((datasets, seeds), bool)


@pytest.mark.parametrize("kind", ["suite", "tasks"])
def test_percentiles_of_a_mean_are_those_of_students_t(kind: str) -> None:
    values = draw(12, 5)
    weights = getattr(resamples(NAMES, everywhere(12, 5)), kind)
    found = interval(means(weights, values), values.mean())
    expected = getattr(stats, kind)(values)
    assert found.high - found.low == pytest.approx(expected.high - expected.low, rel=0.06)


def test_each_resample_weighs_all_datasets_and_seeds_as_one() -> None:
    present = everywhere(12, 4)
    present[3, 1:] = present[5, 2:] = False
    weights = resamples(NAMES, present).tasks
    assert np.allclose(weights.sum((1, 2)), 1)
    assert np.allclose(weights.mean(0).sum(1), 1 / 12, atol=0.01)
    assert not weights[:, ~present].any()


def test_datasets_with_unequal_seeds_vary_as_their_own_number_lets_them() -> None:
    present = everywhere(2, 6)
    present[1, 2:] = False
    values = np.where(present, draw(2, 6), np.nan)
    drawn = means(resamples(NAMES[:2], present).suite, values)
    expected = sum(reference.sem(row[~np.isnan(row)]) ** 2 for row in values) / 4
    student = reference.t.ppf(0.975, 6) / reference.norm.ppf(0.975)
    assert drawn.var() == pytest.approx(expected * student**2, rel=0.05)


def test_one_seed_says_nothing_of_other_splits_and_one_dataset_nothing_of_others() -> None:
    one_seed, one_dataset = resamples(NAMES, everywhere(12, 1)), resamples(NAMES[:1], everywhere(1, 5))
    assert np.isnan(one_seed.suite).all() and np.isfinite(one_seed.tasks).all()
    assert np.isnan(one_dataset.tasks).all() and np.isfinite(one_dataset.suite).all()
    assert np.isnan(resamples(NAMES, ~everywhere(12, 5)).tasks).all()


def test_few_datasets_say_nothing_of_others() -> None:
    assert np.isnan(resamples(NAMES[:5], everywhere(5, 5), n=9).tasks).all()
    assert np.isfinite(resamples(NAMES[:6], everywhere(6, 5), n=9).tasks).all()


@pytest.mark.parametrize("world", [WORLDS[1], WORLDS[5]], ids=lambda world: world.name)
def test_intervals_hold_the_truth_as_often_as_they_say(world: World) -> None:
    found = coverage(suites(world, 400), draws=1_000)
    for kind, share in found.items():
        if "rejected" not in kind:
            assert 0.915 <= share <= (1.0 if "rank" in kind else 0.985), kind


def test_a_dataset_without_any_value_is_left_out() -> None:
    present = everywhere(12, 3)
    present[4] = False
    weights = resamples(NAMES, present)
    assert np.allclose(weights.tasks.sum((1, 2)), 1) and np.allclose(weights.suite.sum((1, 2)), 1)
    assert not weights.tasks[:, 4].any()


def test_a_row_that_lacks_a_value_has_no_resampled_mean() -> None:
    values = draw(3, 12, 4)
    values[1, 2, 3] = np.nan
    drawn = means(resamples(NAMES, everywhere(12, 4), n=50).tasks, values)
    assert np.isnan(drawn[:, 1]).all() and np.isfinite(drawn[:, [0, 2]]).all()


def test_draws_depend_on_names_and_counts_alone() -> None:
    one, again = (resamples(NAMES, everywhere(12, 3), n=20) for _ in range(2))
    other = resamples([*NAMES[:11], "another"], everywhere(12, 3), n=20)
    assert np.array_equal(one.tasks, again.tasks) and np.array_equal(one.suite, again.suite)
    assert not np.array_equal(one.tasks, other.tasks)


def test_company_changes_no_resampled_mean_and_equal_rows_stay_equal() -> None:
    values, weights = draw(7, 12, 5), resamples(NAMES, everywhere(12, 5), n=500).tasks
    alone, together = means(weights, values[[2]])[:, 0], means(weights, np.concatenate([values, values]))
    assert np.array_equal(together[:, 2], together[:, 9])
    assert np.allclose(alone, together[:, 2], rtol=0, atol=1e-11)


def test_spread_needs_two_values() -> None:
    assert np.isnan(spread(1, 0)) and spread(10**6, 10**6) == pytest.approx(1, abs=1e-5)
    assert spread(12, 11) == pytest.approx(np.sqrt(12 / 11) * 2.200985 / 1.959964, rel=1e-6)


def test_the_iqm_is_the_trimmed_mean_of_all_scores() -> None:
    values = draw(12, 5)
    assert robust.iqm(values) == pytest.approx(reference.trim_mean(values.ravel(), 0.25), rel=1e-12)
    assert robust.iqm(draw(3, 7, 5)).shape == (3,)


def test_the_iqm_lets_each_dataset_weigh_the_same() -> None:
    values = draw(4, 4)
    doubled = np.full((4, 8), np.nan)
    doubled[:, :4] = values
    doubled[2, 4:] = values[2]
    assert robust.iqm(doubled) == pytest.approx(robust.iqm(values), rel=1e-12)


def test_an_outlier_moves_the_mean_and_not_the_iqm() -> None:
    values = draw(12, 5)
    before = robust.iqm(values)
    values[np.unravel_index(values.argmax(), values.shape)] = 1e6
    assert robust.iqm(values) == pytest.approx(before, rel=1e-12)


def test_a_profile_falls_from_the_share_above_zero_and_lies_in_its_band() -> None:
    values = np.clip(0.5 + 0.2 * draw(2, 12, 5), -1, 1)
    found = robust.profile(resamples(NAMES, everywhere(12, 5), n=400).tasks, values)
    assert found.mean[0, 0] == pytest.approx(np.mean(values[0] > 0))
    assert np.all(np.diff(found.mean) <= 1e-12) and np.all(found.mean[:, -1] == 0)
    assert np.all((found.low <= found.mean + 1e-12) & (found.mean <= found.high + 1e-12))
    assert np.all((found.low >= 0) & (found.high <= 1))


@pytest.mark.filterwarnings("error")
def test_where_nothing_varies_the_statistics_say_so_without_a_warning() -> None:
    weights = resamples(NAMES[:1], everywhere(1, 1), n=50)
    values = draw(2, 1, 1)
    for kind in weights:
        assert np.isnan(robust.iqm_interval(kind, values).low).all()
        assert np.isfinite(robust.profile(kind, values).mean).all()
    assert np.isnan(robust.iqm(np.full((3, 2, 2), np.nan))).all()
