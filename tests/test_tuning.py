"""Is the expected best of k trials what all ways to take k would give, and are gains those of the leaderboard?"""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from report_simulation import mark, meta, simulate
from tuned_simulation import tuned

from tlbench.report import document, document_costs, page_tuning, tuning
from tlbench.report.analysis import Analysis
from tlbench.report.plot_tuning import score_against_trials, tuning_gain
from tlbench.report.ranking import headline_of
from tlbench.report.scores import grid
from tlbench.report.stats.expected_max import chances
from tlbench.report.trials import expected
from tlbench.tune import Trial

DATASETS = ["digits", "count", "hebrew", "texture", "distance", "symmetry"]
KEEP = ["linear_probe", "lora", "nearest_mean", "from_scratch"]


@pytest.fixture(scope="module")
def whole() -> pd.DataFrame:
    frame = simulate(holes=False)
    return tuned(frame[frame.dataset.isin(DATASETS) & frame.strategy.isin(KEEP)])


def analysed(frame: pd.DataFrame, **changes: object) -> Analysis:
    return Analysis(frame, meta(**changes))


def row_of(analysis: Analysis, strategy: str) -> int:
    return [name for name, _ in analysis.grid.rows].index(strategy)


def changed(frame: pd.DataFrame, where: pd.Series, **values: object) -> pd.DataFrame:
    """The frame with some of its cells' trials changed: each value makes a new trial from an old one."""
    frame = frame.copy()
    frame["trials"] = [
        tuple({**trial, **{name: make(trial) for name, make in values.items()}} for trial in trials)  # type: ignore[operator]
        if here
        else trials
        for trials, here in zip(frame.trials, where, strict=True)
    ]
    return frame


@pytest.mark.parametrize("fixed", [None, 0, 2, 5])
def test_the_chance_to_be_chosen_is_counted_over_all_ways_to_take_k(fixed: int | None) -> None:
    for k in range(1, 7):
        ways = [way for way in itertools.combinations(range(6), k) if fixed is None or fixed in way]
        counted = [np.mean([min(way) == i for way in ways]) for i in range(6)]
        assert np.allclose(chances(6, fixed)[k - 1], counted, atol=1e-12)


def test_the_expected_best_of_k_is_unbiased() -> None:
    draws = -np.sort(-np.random.Generator(np.random.PCG64(2)).normal(size=(40_000, 8)), axis=1)
    found = (draws @ chances(8).T).mean(0)
    of_two, of_three = 1 / np.sqrt(np.pi), 1.5 / np.sqrt(np.pi)  # expected maxima of two and of three normals
    assert found[:3] == pytest.approx([0, of_two, of_three], abs=0.01)


def test_chances_of_a_thousand_trials_still_sum_to_one() -> None:
    assert np.allclose(chances(1000, 300).sum(1), 1, atol=1e-9) and (chances(1000, 300) >= 0).all()


def test_ties_are_broken_as_the_search_breaks_them() -> None:
    rng = np.random.Generator(np.random.PCG64(4))
    one = simulate(strategies=1, seeds=1).iloc[:1]
    for _ in range(30):
        values, nlls, costs = (rng.integers(0, 3, 7).astype(float) for _ in range(3))
        searched = [
            Trial(i, {}, float(values[i]), float(nlls[i]), int(costs[i]), 8, "complete", {8: float(values[i])})
            for i in range(7)
        ]
        scores = {str(i): i / 10 for i in range(7)}
        frame = one.assign(trials=[tuple(trial.row() for trial in searched)], trial_scores=[scores])
        winner = min(searched, key=lambda trial: trial.rank)
        assert expected(grid(frame)).test[0, 0, 0, 0, -1] == pytest.approx(winner.number / 10)


def test_the_curve_on_the_test_set_goes_from_the_default_to_the_headline(whole: pd.DataFrame) -> None:
    cells = grid(whole)
    found, headline = tuning.tuning(cells), Analysis(whole, meta()).ranking.suite
    assert np.allclose(found.curves.test.mean[:, 0], headline_of(cells, "default_score"), atol=1e-12)
    for curve, score in zip(found.curves.test, headline, strict=True):
        assert np.allclose(curve[:, -1], score, atol=1e-12)


def test_gain_and_peek_gap_are_paired_differences_of_the_leaderboard(whole: pd.DataFrame) -> None:
    cells = grid(whole)
    found, headline = tuning.tuning(cells), Analysis(whole, meta()).ranking.suite.mean
    assert np.allclose(found.suite.mean, headline - headline_of(cells, "default_score"), atol=1e-12)
    assert np.allclose(found.peek.mean, headline_of(cells, "peek_gap"), atol=1e-12)
    place = [name for name, _ in cells.rows].index("lora")
    assert found.suite.half[place] < Analysis(whole, meta()).ranking.suite.half[place]


def test_more_trials_never_lower_the_expected_validation(whole: pd.DataFrame) -> None:
    curves = tuning.tuning(grid(whole)).curves.validation.mean
    assert (np.diff(curves, axis=1) >= -1e-12).all()


def test_one_trial_is_a_flat_line(whole: pd.DataFrame) -> None:
    analysis = analysed(whole)
    row = row_of(analysis, "nearest_mean")
    found = analysis.tuning
    assert np.ptp(found.curves.test.mean[row]) == 0 and found.curves.enough[row] == 1 and found.suite.mean[row] == 0


def test_a_failed_trial_is_never_chosen_and_a_failed_default_only_alone(whole: pd.DataFrame) -> None:
    lora = whole.strategy.eq("lora")
    default_failed = changed(
        whole, lora, value=lambda t: None if t["number"] == 0 else t["value"],
        nll=lambda t: None if t["number"] == 0 else t["nll"],
        state=lambda t: "failed" if t["number"] == 0 else t["state"],
    )  # fmt: skip
    cells = grid(default_failed)
    place = [name for name, _ in cells.rows].index("lora")
    found = expected(cells)
    assert np.allclose(found.test[place, ..., 0], cells.values("default_score")[place])
    one = next(iter(default_failed[lora].itertuples()))
    others = [one.trial_scores[str(i)] for i in range(1, 16)]
    at = tuple(axis[list(cells.frame.key).index(one.key)] for axis in cells.place)
    assert found.test[(*at, 1)] == pytest.approx(np.mean(others))  # the default and one other: the other is chosen


def test_trials_that_stopped_at_different_steps_are_not_compared(whole: pd.DataFrame) -> None:
    lora = whole.strategy.eq("lora")
    cut = changed(
        whole, lora, steps=lambda t: 128 if t["number"] % 2 else 32,
        state=lambda t: "complete" if t["number"] % 2 else "pruned",
    )  # fmt: skip
    analysis = analysed(cut)
    row = row_of(analysis, "lora")
    curves = analysis.tuning.curves
    assert np.isnan(curves.test.mean[row]).all() and np.isnan(curves.validation.mean[row]).all()
    assert curves.why[row] == tuning.HALVED and curves.why[row_of(analysis, "linear_probe")] == ""


def test_trials_cut_at_one_and_the_same_step_are_compared_on_validation_alone(whole: pd.DataFrame) -> None:
    cut = changed(whole, whole.strategy.eq("lora"), state=lambda t: "pruned" if t["number"] else "complete")
    kept = ["0"]
    cut["trial_scores"] = [
        {n: score for n, score in scores.items() if strategy != "lora" or n in kept}
        for scores, strategy in zip(cut.trial_scores, cut.strategy, strict=True)
    ]
    analysis = analysed(cut)
    row = row_of(analysis, "lora")
    curves = analysis.tuning.curves
    assert np.isfinite(curves.validation.mean[row]).all() and np.isnan(curves.test.mean[row, -1])
    assert curves.why[row] == tuning.ALONE
    assert page_tuning.section(analysis).halved  # type: ignore[union-attr]


def test_a_sampler_that_learns_gives_no_curve_and_the_page_says_why(whole: pd.DataFrame) -> None:
    analysis = analysed(whole, sampler="tpe")
    assert set(analysis.tuning.curves.why) == {tuning.LEARNS}
    assert score_against_trials(analysis, {}) is None
    section = page_tuning.section(analysis)
    assert section and section.no_curve[0][0] == tuning.LEARNS
    assert np.isfinite(analysis.tuning.suite.mean).all()  # what tuning bought is known all the same


def test_where_nothing_is_compared_the_default_stands_for_every_number_of_trials(whole: pd.DataFrame) -> None:
    one = whole.budget.eq(2)
    frame = changed(whole, one, value=lambda _: None, nll=lambda _: None, state=lambda _: "asked")
    frame["trials"] = [t[:1] if here else t for t, here in zip(frame.trials, one, strict=True)]
    frame["score"] = frame.score.where(~one, frame.default_score)
    cells = grid(frame)
    found = expected(cells)
    assert np.allclose(found.test[:, :, 0], cells.z[:, :, 0, :, None])
    assert np.isnan(found.validation[:, :, 0]).all()
    assert np.isfinite(tuning.tuning(cells).curves.validation.mean).all()


def test_a_cell_that_failed_counts_as_nothing_found_and_nothing_gained(whole: pd.DataFrame) -> None:
    frame = whole.copy()
    mark(frame, frame.strategy.eq("lora") & frame.dataset.eq("digits") & frame.seed.eq(0), "diverged", "not finite")
    frame["trials"] = [
        trials if done else () for trials, done in zip(frame.trials, frame.status.eq("done"), strict=True)
    ]
    cells = grid(frame)
    found = tuning.tuning(cells)
    headline = Analysis(frame, meta()).ranking.suite.mean
    place = [name for name, _ in cells.rows].index("lora")
    assert found.curves.test.mean[place, -1] == pytest.approx(headline[place])
    assert np.isfinite(found.curves.validation.mean[place]).all()


def test_a_row_that_is_not_finished_has_no_tuning(whole: pd.DataFrame) -> None:
    analysis = analysed(whole.drop(whole.index[whole.strategy.eq("lora")][0]))
    row = row_of(analysis, "lora")
    assert np.isnan(analysis.tuning.suite.mean[row]) and analysis.tuning.curves.why[row] == tuning.UNFINISHED


def test_enough_trials_are_those_after_which_the_score_moves_less_than_a_point() -> None:
    mean = np.array([[0.1, 0.3, 0.395, 0.38, 0.395, 0.4], [0.4, 0.4, 0.4, 0.4, 0.4, 0.4], [np.nan] * 6])
    assert np.array_equal(tuning.enough(mean), [5, 1, np.nan], equal_nan=True)


def test_another_row_and_another_order_change_no_others_tuning(whole: pd.DataFrame) -> None:
    def told(frame: pd.DataFrame) -> dict[str, dict]:
        return {row["strategy"]: row for row in document.plain(document_costs.tuning(analysed(frame)))}

    shuffled = whole.sample(frac=1, random_state=np.random.Generator(np.random.PCG64(3)))
    everything = told(whole)
    assert everything == told(shuffled)
    assert told(whole[whole.strategy.isin(["nearest_mean", "lora"])]).items() <= everything.items()
    assert told(whole[whole.strategy.eq("nearest_mean")]).items() <= everything.items()
    assert len(everything["lora"]["expected_test"]["mean"]) == 16
    assert everything["lora"]["expected_test"]["covers"] == "suite"


def test_the_page_says_whom_tuning_helped_and_whom_it_hurt(whole: pd.DataFrame) -> None:
    frame = whole.copy()
    worse = frame.strategy.eq("from_scratch")
    frame["default_score"] = frame.default_score.where(~worse, frame.score + 0.02)
    section = page_tuning.section(analysed(frame))
    assert section
    said = {words: " ".join(whom) for words, whom in section.sentences}
    assert "lora (+" in said["Tuning helped"]
    assert said["The defaults were better than what tuning chose"] == "from_scratch (-2.0)"
    assert section.untuned == ["nearest_mean"]


def test_a_row_that_is_ranked_apart_is_told_of_too(whole: pd.DataFrame) -> None:
    frame = whole.assign(transductive=whole.strategy.eq("lora"))
    section = page_tuning.section(analysed(frame))
    assert section and "lora" in {row[0].text for row in section.table.rows}
    assert section.untuned == ["nearest_mean"]


def test_a_gain_that_one_row_in_many_has_by_chance_is_not_said(whole: pd.DataFrame) -> None:
    rng = np.random.Generator(np.random.PCG64(2))
    copies = []
    for i in range(20):  # rows whose default differs from what tuning chose by noise alone
        moved = whole[whole.strategy.eq("lora")].assign(strategy=f"noise_{i:02d}", trials=[()] * 54)
        noise = dict(zip(DATASETS, rng.normal(0, 0.01, len(DATASETS)), strict=True))
        copies.append(moved.assign(default_score=moved.score - moved.dataset.map(noise), key=moved.key + str(i)))
    analysis = analysed(pd.concat(copies))
    section = page_tuning.section(analysis)
    assert (~analysis.tuning.tasks.holds_zero).any()
    assert section and [words for words, _ in section.sentences] == [page_tuning.SAID["undecided"]]


def test_one_dataset_does_not_say_whether_tuning_helps(whole: pd.DataFrame) -> None:
    section = page_tuning.section(analysed(whole[whole.dataset.eq("digits")]))
    assert section and [words for words, _ in section.sentences] == [page_tuning.SAID["no interval"]]


def test_results_without_defaults_have_no_section_and_no_pictures(whole: pd.DataFrame) -> None:
    bare = whole.drop(columns=["default_score", "peek_gap", "trials", "trial_scores"])
    analysis = analysed(bare)
    assert page_tuning.section(analysis) is None
    assert score_against_trials(analysis, {}) is None and tuning_gain(analysis, {}) is None
    assert set(analysis.tuning.curves.why) == {tuning.UNTOLD}
