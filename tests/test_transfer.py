"""Is harm called harm, how much of it may be chance, and is it said where nothing can be compared?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from report_simulation import mark, meta, simulate
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests

from tlbench.report import page_transfer, stats
from tlbench.report.analysis import Analysis
from tlbench.report.document_labels import transfer as document
from tlbench.report.transfer import HURTS, UNKNOWN, Transfer, holm, p_values, verdict


@pytest.fixture(scope="module")
def whole() -> pd.DataFrame:
    return simulate(holes=False)


def transfer_of(frame: pd.DataFrame) -> Transfer:
    return Analysis(frame, meta()).transfer


def paired(frame: pd.DataFrame, strategy: str, dataset: str) -> tuple[np.ndarray, np.ndarray]:
    grid = Analysis(frame, meta()).grid
    d = grid.datasets.index(dataset)
    rows = [[name for name, _ in grid.rows].index(one) for one in (strategy, "from_scratch")]
    return grid.area[rows[0], d], grid.area[rows[1], d]


def test_p_is_that_of_the_paired_t_test(whole: pd.DataFrame) -> None:
    one, other = paired(whole, "lora", "texture")
    expected = scipy_stats.ttest_rel(one, other).pvalue
    assert p_values(stats.cell(one - other), np.array(len(one) - 1)) == pytest.approx(expected)


@pytest.mark.filterwarnings("error")
def test_p_of_equal_differences_is_one_or_nought_and_of_one_seed_unknown() -> None:
    values = np.array([[0.0, 0.0, 0.0], [0.1, 0.1, 0.1], [0.1, np.nan, np.nan]])
    p = p_values(stats.cell(values), np.array([2, 2, 0]))
    assert p[0] == 1 and p[1] < 1e-12 and np.isnan(p[2])


def test_holm_counts_every_comparison_once_and_no_missing_one() -> None:
    p = np.array([[0.001, np.nan, 0.2], [0.012, 0.03, np.nan]])
    known = ~np.isnan(p)
    assert np.array_equal(holm(p)[known], multipletests(p[known], method="holm")[0])
    assert not holm(p)[~known].any() and not holm(np.full((2, 2), np.nan)).any()


def test_what_stands_after_the_correction_is_part_of_what_is_flagged(whole: pd.DataFrame) -> None:
    found = transfer_of(whole)
    flagged = found.datasets.below_zero | found.datasets.above_zero
    assert found.comparisons == found.datasets.mean.size == 7 * 12
    assert (found.stands <= flagged).all() and 0 < found.stands.sum() < flagged.sum()
    section = page_transfer.section(Analysis(whole, meta()))
    assert section["below"] == found.datasets.below_zero.sum() > len(section["stand"]) > 0


def test_a_row_more_makes_the_correction_stricter_and_changes_no_interval(whole: pd.DataFrame) -> None:
    few, all_ = transfer_of(whole[whole.strategy.isin(["lora", "from_scratch"])]), transfer_of(whole)
    grid = Analysis(whole, meta()).grid
    t = [grid.rows[row][0] for row in all_.rows].index("lora")
    assert np.array_equal(few.datasets.low[0], all_.datasets.low[t]) and (all_.stands[t] <= few.stands[0]).all()


def test_only_budgets_that_both_have_are_compared(whole: pd.DataFrame) -> None:
    """A curve over 2 to 10 labels and one over 5 to 10 have areas of different things."""
    frame = whole.copy()
    mark(frame, frame.strategy.eq("lora") & frame.budget.eq(2), "skipped", "needs more labels")
    found, analysis = transfer_of(frame), Analysis(frame, meta())
    t = [analysis.grid.rows[row][0] for row in found.rows].index("lora")
    common = transfer_of(whole[whole.budget.gt(2)])
    assert found.datasets.mean[t] == pytest.approx(common.datasets.mean[t]) and found.partial[t]
    assert page_transfer.section(analysis)["partial"] == ["lora"]


def test_cells_that_failed_or_are_missing_are_said(whole: pd.DataFrame) -> None:
    frame = whole.copy()
    mark(frame, frame.strategy.eq("lora") & frame.dataset.eq("digits"), "failed", "no")
    mark(frame, frame.strategy.eq("adapter") & frame.dataset.eq("digits") & frame.seed.eq(0), "not_run", "")
    section = page_transfer.section(Analysis(frame, meta()))
    assert any("digits" in one and "cells failed" in one for name, where in section["harmed"] for one in where)
    assert section["unfinished"] == ["adapter"]


def test_without_a_baseline_or_a_second_seed_nothing_is_claimed(whole: pd.DataFrame) -> None:
    alone = Analysis(whole[whole.strategy.ne("from_scratch")], meta())
    assert not page_transfer.section(alone)["gains"].rows and not alone.transfer.rows
    single = transfer_of(whole[whole.seed.eq(0)])
    assert single.comparisons == 0 and verdict(single.datasets, 0, 0) == UNKNOWN and not single.stands.any()


def test_a_program_reads_the_same_flags(whole: pd.DataFrame) -> None:
    analysis = Analysis(whole, meta())
    (against, floor) = document(analysis)
    assert (against["baseline"], floor["baseline"]) == ("from_scratch", "pixels_logistic")
    hurts = [one for row in against["rows"] for one in row["on"] if one["verdict"] == HURTS]
    assert len(hurts) == analysis.transfer.datasets.below_zero.sum()
    assert sum(one["stands_after_correction"] for one in hurts) == len(page_transfer.section(analysis)["stand"])
