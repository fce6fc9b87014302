"""Is a verdict what PROTOCOL section 6 says, whoever else competes and in whatever order?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scikit_posthocs
from scipy import stats as reference

from tlbench.report import stats
from tlbench.report.stats.more_seeds import DATASETS, outlooks
from tlbench.report.stats.pairs import BETTER, EQUIVALENT, NOT_ENOUGH, UNDECIDED, WORSE, Pairs, beats_interval, compare
from tlbench.report.stats.ratings import GAMES, alike, bradley_terry, ratings
from tlbench.report.stats.resampling import resamples

NAMES = [f"data_{d}" for d in range(30)]


def scores(*gaps: float, datasets: int = 12, seeds: int = 5, noise: float = 0.02, taste: float = 0.0) -> np.ndarray:
    """[A, D, S]: rows that lie below each other by gaps, on datasets that differ."""
    rng = np.random.Generator(np.random.PCG64(11))
    shape = len(gaps), datasets, seeds
    hard = rng.normal(0.5, 0.1, (1, datasets, 1))
    return (
        hard - np.array(gaps)[:, None, None] + taste * rng.normal(size=(*shape[:2], 1)) + noise * rng.normal(size=shape)
    )


def weights(datasets: int, seeds: int) -> np.ndarray:
    return resamples(NAMES[:datasets], np.ones((datasets, seeds), bool)).tasks


def test_every_verdict_is_the_rule_of_the_protocol() -> None:
    made = compare(scores(0.0, 0.001, 0.012, 0.03, 0.034, 0.04, noise=0.006, taste=0.008))
    better = (made.holm < 0.05) & (made.tasks.low > 0) & (made.beats >= 0.6)
    worse = (made.holm < 0.05) & (made.tasks.high < 0) & (made.beats <= 0.4)
    same = (made.posterior[..., 1] >= 0.95) & ~better & ~worse & ~np.eye(6, dtype=bool)
    assert np.array_equal(made.verdict == BETTER, better) and np.array_equal(made.verdict == WORSE, worse)
    assert np.array_equal(made.verdict == EQUIVALENT, same)
    assert {BETTER, WORSE, EQUIVALENT, UNDECIDED, ""} == set(made.verdict.ravel().tolist())


def test_the_first_against_the_second_mirrors_the_second_against_the_first() -> None:
    made = compare(scores(0.0, 0.01, 0.05, taste=0.02))
    assert np.array_equal(made.tasks.low, -made.tasks.high.T) and np.array_equal(made.suite.mean, -made.suite.mean.T)
    assert np.array_equal(made.posterior, made.posterior.swapaxes(0, 1)[..., ::-1])
    assert np.allclose(made.beats, 1 - made.beats.T) and np.array_equal(made.p, made.p.T)
    assert np.array_equal(made.verdict == BETTER, (made.verdict == WORSE).T)


def test_each_number_of_a_pair_is_that_of_its_paired_differences() -> None:
    values = scores(0.0, 0.02, taste=0.02)
    made, gap = compare(values), values[0] - values[1]
    assert made.suite.at(0, 1) == tuple(stats.suite(gap)) and made.tasks.at(0, 1) == tuple(stats.tasks(gap))
    assert made.p[0, 1] == made.holm[0, 1] == pytest.approx(reference.wilcoxon(gap.mean(1)).pvalue)
    assert made.beats[0, 1] == pytest.approx((gap > 0).mean())


def test_the_matrix_of_corrected_tests_is_that_of_scikit_posthocs() -> None:
    values = scores(0.0, 0.02, 0.05, 0.06, taste=0.02)
    runs = pd.DataFrame(values.mean(2).T).melt(var_name="row", value_name="score")
    theirs = scikit_posthocs.posthoc_wilcoxon(runs, val_col="score", group_col="row", p_adjust="holm")
    assert np.allclose(compare(values).holm, theirs)


def test_another_row_changes_no_number_of_a_pair_but_its_correction() -> None:
    values = scores(0.0, 0.02, 0.05, 0.06, taste=0.02)
    few, many = compare(values[:3]), compare(values)
    for name in ("p", "beats", "posterior"):
        assert np.array_equal(getattr(few, name), getattr(many, name)[:3, :3])
    assert np.array_equal(few.tasks, np.array(many.tasks)[:, :3, :3])
    assert (many.holm[:3, :3] >= few.holm).all() and (many.holm[:3, :3] > few.holm).any()


def test_the_order_of_the_rows_changes_nothing() -> None:
    values, order = scores(0.0, 0.02, 0.05, 0.06, taste=0.02), np.array([2, 0, 3, 1])
    made, other = compare(values), compare(values[order])
    assert np.array_equal(made.verdict[np.ix_(order, order)], other.verdict)
    assert np.allclose(made.posterior[np.ix_(order, order)], other.posterior)
    assert np.allclose(made.holm[np.ix_(order, order)], other.holm)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("shape", [(0, 3, 2), (1, 9, 2), (3, 0, 2), (3, 1, 1), (3, 6, 3), (2, 5, 1)])
def test_where_nothing_can_be_said_nothing_is(shape: tuple[int, ...]) -> None:
    made = compare(scores(*np.linspace(0, 1, shape[0]), datasets=shape[1], seeds=shape[2]))
    others = ~np.eye(shape[0], dtype=bool)
    assert (made.verdict[others] == NOT_ENOUGH).all() and not made.verdict[~others].any()
    assert outlooks(np.zeros(shape), made) == []


def test_from_the_needed_number_of_datasets_on_there_is_a_verdict() -> None:
    for count, said in ((6, NOT_ENOUGH), (7, BETTER)):
        assert compare(scores(0.0, 0.2, 0.4, datasets=count)).verdict[0, 1] == said


def test_datasets_that_do_not_apply_are_left_out() -> None:
    values = scores(0.0, 0.02, 0.05)
    assert_same(compare(np.insert(values, 4, np.nan, axis=1)), compare(values))


def test_copies_of_one_strategy_are_seldom_called_different() -> None:
    """At most 5 % of leaderboards; 22 of 300 are two standard errors more. See tests/simulations/a_a.md."""
    rng = np.random.Generator(np.random.PCG64(19))
    called = [compare(rng.normal(size=(5, 12, 5)), equivalence=False).verdict == BETTER for _ in range(300)]
    assert np.any(called, axis=(1, 2)).sum() <= 22


@pytest.mark.filterwarnings("error")
def test_equal_rows_are_equivalent() -> None:
    values = np.repeat(scores(0.0), 3, axis=0)
    made = compare(values)
    assert (made.verdict[0, 1:] == EQUIVALENT).all() and (made.p == 1).all() and (made.beats == 0.5).all()


def test_small_gains_on_all_datasets_are_better_and_not_only_equivalent() -> None:
    made = compare(scores(0.0, 0.004, noise=0.0005))
    assert made.verdict[0, 1] == BETTER and made.posterior[0, 1, 1] > 0.95


def test_the_interval_of_winning_covers_what_it_says() -> None:
    values = scores(0.0, 0.02, 1.0, taste=0.03)
    found = beats_interval(values, weights(12, 5))
    assert np.allclose(found.mean, compare(values).beats)
    assert found.low[0, 1] < found.mean[0, 1] < found.high[0, 1] and found.low[0, 2] == found.high[0, 2] == 1.0
    assert np.allclose(found.low, 1 - found.high.T)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("shape", [(0, 0, 2), (0, 3, 2), (1, 3, 2), (2, 1, 1)])
def test_where_there_is_nothing_to_rate_there_is_no_interval(shape: tuple[int, ...]) -> None:
    found = ratings(scores(*np.zeros(shape[0]), datasets=shape[1], seeds=shape[2]), weights(*shape[1:]))
    assert found.mean.shape == shape[:1] and not (found.high > found.low).any()


@pytest.mark.filterwarnings("error")
def test_one_dataset_gives_winning_no_interval() -> None:
    found = beats_interval(scores(0.0, 0.02, datasets=1), weights(1, 5))
    assert np.isnan(found.low[0, 1]) and np.isfinite(found.mean[0, 1])


def test_bars_join_neighbours_of_which_no_pair_is_apart() -> None:
    p = np.ones((5, 5))
    p[0, 3:] = p[1, 4] = p[3:, 0] = p[4, 1] = 0.01
    assert alike(p) == [range(3), range(1, 4), range(2, 5)]
    assert alike(np.full((3, 3), 0.01)) == [] and alike(np.ones((3, 3))) == [range(3)]


def test_a_row_that_wins_everything_has_a_finite_rating() -> None:
    wins = np.triu(np.full((4, 4), 12.0), 1)
    rating = bradley_terry(wins, 12)
    assert np.isfinite(rating).all() and (np.diff(rating) < 0).all() and rating.sum() == pytest.approx(0, abs=1e-9)


def test_a_rating_is_the_mode_of_its_posterior() -> None:
    """At the mode a row's wins, the prior's drawn games with them, are those that its rating expects."""
    wins = 10 * compare(scores(0.0, 0.01, 0.02, 0.05, noise=0.05, datasets=10)).beats
    strength = bradley_terry(wins, 10) * np.log(10) / 400
    chance = 1 / (1 + np.exp(strength - strength[:, None]))
    others, prior = ~np.eye(4, dtype=bool), GAMES / 3
    assert np.allclose(((wins + prior / 2) * others).sum(1), ((10 + prior) * chance * others).sum(1))


def test_two_rows_are_rated_by_their_odds() -> None:
    rating = bradley_terry(np.array([[0.0, 10.0], [0.0, 0.0]]), 10)
    assert rating[0] - rating[1] == pytest.approx(400 * np.log10(10.5 / 0.5))


def test_ratings_have_intervals_of_tasks() -> None:
    found = ratings(scores(0.0, 0.02, 0.05, taste=0.05), weights(12, 5))
    assert (found.low <= found.mean).all() and (found.mean <= found.high).all() and (found.high > found.low).all()
    assert np.isnan(ratings(scores(0.0, 0.1, datasets=1), weights(1, 5)).low).all()


def test_where_seeds_are_the_noise_more_seeds_decide() -> None:
    values = scores(0.0, 0.03, noise=0.05, seeds=2)
    (found,) = outlooks(values, compare(values))
    assert found.seeds == 15 and found.chance > 0.8


def test_where_datasets_disagree_more_seeds_do_not_decide() -> None:
    values = scores(0.0, 0.02, noise=0.002, taste=0.04, seeds=3)
    (found,) = outlooks(values, compare(values))
    assert found.seeds is None and found.chance < 0.2
    assert found.datasets in [int(np.ceil(12 * times)) for times in DATASETS]


def test_the_best_two_have_an_outlook_of_their_own() -> None:
    values = scores(0.0, 0.001, 0.03, 0.031, taste=0.03, seeds=3)
    found = outlooks(values, compare(values))
    assert len(found) == 2 and (found[1].first, found[1].second) == (0, 1)


def assert_same(one: Pairs, other: Pairs) -> None:
    for mine, theirs in zip(one, other, strict=True):
        assert np.array_equal(mine, theirs)
