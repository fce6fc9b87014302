"""Do rankings keep the rules for missing and failed cells, and does nobody's number depend on others?"""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from report_simulation import STRATEGIES, mark, meta, simulate

from tlbench.report.ranking import Ranking, ranking
from tlbench.report.scores import Grid, area, grid
from tlbench.report.tables import leaderboard, to_csv
from tlbench.report.tables_markdown import to_markdown
from tlbench.report.transfer import HURTS, UNKNOWN, transfer, verdict
from tlbench.types import TlbenchError


@pytest.fixture(scope="module")
def whole() -> pd.DataFrame:
    return simulate(holes=False)


@pytest.fixture(scope="module")
def holed() -> pd.DataFrame:
    return simulate()


def board(frame: pd.DataFrame) -> pd.DataFrame:
    return leaderboard(ranking(grid(frame))).set_index("strategy")


def markdown(frame: pd.DataFrame) -> str:
    ranked = ranking(grid(frame))
    return to_markdown(leaderboard(ranked), ranked, meta())


def row_of(ranked: Ranking | Grid, strategy: str) -> int:
    rows = ranked.rows if isinstance(ranked, Grid) else ranked.grid.rows
    return [name for name, _ in rows].index(strategy)


def twin(frame: pd.DataFrame, strategy: str, name: str) -> pd.DataFrame:
    copy = frame[frame.strategy.eq(strategy)].copy()
    copy["strategy"], copy["key"] = name, copy.key + "twin"
    return copy


def test_the_majority_floor_scores_exactly_zero(holed: pd.DataFrame) -> None:
    row = board(holed).loc["majority"]
    assert row.score == row.score_suite_low == row.score_tasks_high == 0.0


def test_the_area_of_a_straight_line_is_its_middle() -> None:
    budgets = (1, 2, 4, 16)
    z = 0.1 * np.log2(budgets)[:, None]  # [B, 1]
    assert area(z, budgets) == pytest.approx(0.2)
    assert area(np.full((1, 1), 0.3), (5,)) == pytest.approx(0.3)


def test_the_headline_is_the_trapezoid_over_the_logarithm_of_the_budget(whole: pd.DataFrame) -> None:
    lora = whole[whole.strategy.eq("lora")].groupby("budget").score.mean()
    expected = np.trapezoid(lora.to_numpy(), np.log2(lora.index)) / np.log2(10 / 2)
    assert board(whole).loc["lora"].score == pytest.approx(expected, rel=1e-12)


def test_the_order_of_the_cells_changes_no_byte(holed: pd.DataFrame) -> None:
    shuffled = holed.sample(frac=1, random_state=np.random.Generator(np.random.PCG64(3)))
    one, other = (leaderboard(ranking(grid(frame))) for frame in (holed, shuffled))
    assert to_csv(one) == to_csv(other)
    assert markdown(holed) == markdown(shuffled)


def test_another_strategy_changes_no_others_numbers(whole: pd.DataFrame) -> None:
    before, after = board(whole), board(simulate(strategies=14, holes=False))
    places = ["row", "rank", "tier", "group"]
    shared = after.loc[before.index].drop(columns=places)
    pd.testing.assert_frame_equal(before.drop(columns=places), shared, check_exact=True)


def test_a_failed_cell_counts_as_the_floor_and_the_name_says_so(whole: pd.DataFrame) -> None:
    frame = whole.copy()
    where = frame.strategy.eq("lora") & frame.dataset.eq("digits") & frame.seed.eq(0)
    mark(frame, where, "diverged", "loss was not finite")
    zeroed = whole.copy()
    zeroed.loc[where, "score"] = 0.0
    assert board(frame).loc["lora"].score == board(zeroed).loc["lora"].score
    assert board(frame).loc["lora"].imputed == pytest.approx(3 / 108)
    assert "lora (3 % imputed)" in markdown(frame)


@pytest.mark.parametrize("status", ["failed", "diverged", "out_of_memory", "timed_out"])
def test_more_than_a_tenth_imputed_is_not_ranked(whole: pd.DataFrame, status: str) -> None:
    frame = whole.copy()
    mark(frame, frame.strategy.eq("lora") & frame.dataset.isin(["digits", "count"]), status, "it broke")
    row = board(frame).loc["lora"]
    assert row["rank"] == 0 and np.isfinite(row.score)
    assert "not ranked: 17 % of its cells failed" in markdown(frame)


def test_a_row_with_a_cell_not_run_has_no_aggregate(holed: pd.DataFrame) -> None:
    row = board(holed).loc["partial_freeze"]
    assert row["rank"] == 0 and np.isnan(row.score) and np.isnan(row.score_at_5)
    assert "not ranked: incomplete: 3 of 108 cells not run" in markdown(holed)


def test_a_cell_that_the_frame_lacks_is_not_run(whole: pd.DataFrame) -> None:
    frame = whole[~(whole.strategy.eq("lora") & whole.dataset.eq("digits") & whole.seed.eq(2))]
    assert board(frame).loc["lora"].why == "incomplete: 3 of 108 cells not run"


def test_a_failure_on_one_dataset_drops_that_dataset_for_nobody(whole: pd.DataFrame) -> None:
    frame = whole.copy()
    mark(frame, frame.strategy.eq("lora") & frame.dataset.eq("digits"), "failed", "it broke")
    assert board(frame).loc["adapter"].score == board(whole).loc["adapter"].score


def test_rows_that_skip_are_ranked_among_their_like(whole: pd.DataFrame) -> None:
    frame = whole.copy()
    mark(frame, frame.strategy.isin(["lora", "bitfit"]) & frame.dataset.eq("digits"), "skipped", "no")
    groups = ranking(grid(frame)).groups
    assert [len(group.ranked) for group in groups] == [8, 2]
    assert groups[1].title == "11 of 12 datasets, 2, 5, 10 labels a class; without digits"
    others = whole[whole.dataset.ne("digits")]
    assert board(frame).loc["lora"].score == pytest.approx(board(others).loc["lora"].score, rel=1e-12)


def test_a_row_that_skips_one_budget_is_measured_over_the_others(whole: pd.DataFrame) -> None:
    frame = whole.copy()
    mark(frame, frame.strategy.eq("lora") & frame.budget.eq(2), "skipped", "needs five")
    rest = board(whole[whole.budget.ne(2)]).loc["lora"].score
    assert board(frame).loc["lora"].score == pytest.approx(rest, rel=1e-12)
    assert board(frame).loc["lora"].group == 1


def test_transductive_rows_are_ranked_apart(whole: pd.DataFrame) -> None:
    frame = whole.copy()
    frame.loc[frame.strategy.eq("lora") & frame.dataset.eq("digits"), "transductive"] = True
    groups = ranking(grid(frame)).groups
    assert groups[-1].title.startswith("transductive") and len(groups[-1].ranked) == 1


def test_a_twin_shares_its_tier_and_a_floor_does_not(whole: pd.DataFrame) -> None:
    table = board(pd.concat([whole, twin(whole, "lora", "lora_again")]))
    assert table.loc["lora"].tier == table.loc["lora_again"].tier
    assert table.loc["majority"].tier > table.loc["lora"].tier


def test_one_seed_gives_no_interval_instead_of_a_number() -> None:
    frame = simulate(seeds=1, holes=False)
    assert np.isnan(board(frame).loc["lora"].score_suite_low)
    line = next(line for line in markdown(frame).splitlines() if " lora " in line)
    assert "no interval" in line
    assert "no interval for new splits: fewer than 2 split seeds" in markdown(frame)
    ranked = grid(frame)
    assert verdict(transfer(ranked, meta(), meta().baseline).datasets, 0, 0) == UNKNOWN


def test_few_datasets_give_no_tiers(whole: pd.DataFrame) -> None:
    few = whole[whole.dataset.isin(["digits", "count", "hebrew", "texture", "distance"])]
    assert (board(few).tier == 0).all()
    assert "no tiers: to tell 10 rows apart takes 11 datasets, and there are 5" in markdown(few)
    assert not any(choice.sure or choice.tied for choice in ranking(grid(few)).choices)
    assert np.isnan(board(whole[whole.dataset.eq("digits")]).score_tasks_low).all()


def test_leaderboards_do_not_know_when_and_where_they_ran(holed: pd.DataFrame) -> None:
    elsewhere = holed.assign(
        width=64, device="cuda", started="2031", finished="2032", commit="f" * 40, dirty=True, tune_seconds=1e6,
        fit_seconds=1e6, predict_ms_1=1e6, peak_memory_mb=1e6,
    )  # fmt: skip
    assert markdown(holed) == markdown(elsewhere)
    one, other = (to_csv(leaderboard(ranking(grid(frame)))) for frame in (holed, elsewhere))
    assert one == other


def test_a_value_often_on_the_edge_of_its_range_is_said(holed: pd.DataFrame) -> None:
    table = board(holed)
    assert table.loc["full_finetune"].at_edge > 0.2 > table.loc["lora"].at_edge
    assert "lr on the edge of its range in" in next(x for x in markdown(holed).splitlines() if " full_finetune " in x)


def test_negative_transfer_is_where_the_paired_interval_lies_below_zero(whole: pd.DataFrame) -> None:
    cells = grid(whole)
    gained = transfer(cells, meta(), meta().baseline)
    names = [cells.rows[row][0] for row in gained.rows]
    place = names.index("linear_probe"), cells.datasets.index("symmetry")
    paired = cells.area[row_of(cells, "linear_probe")] - cells.area[row_of(cells, "from_scratch")]
    assert gained.datasets.mean[place] == pytest.approx(paired[place[1]].mean())
    assert verdict(gained.datasets, *place) == HURTS
    assert not set(names) & {"from_scratch", "majority", "pixels_logistic"}


def test_choices_name_the_best_and_those_that_cannot_be_told_from_it(whole: pd.DataFrame) -> None:
    frame = pd.concat([whole, twin(whole, "full_finetune", "zwilling")])
    ranked = ranking(grid(frame))
    choice = next(choice for choice in ranked.choices if choice.budget == 10)
    names = {ranked.grid.rows[row][0] for row in (choice.best, *choice.tied)}
    assert {"full_finetune", "zwilling"} <= names and "majority" not in names


def test_the_csv_reads_back_as_numbers(holed: pd.DataFrame) -> None:
    table = pd.read_csv(io.StringIO(to_csv(leaderboard(ranking(grid(holed))))))
    assert set(table.strategy) == set(STRATEGIES)
    assert table.score.dtype == float and table.labels_at_5.eq(50).all()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: f.drop(columns="score"), "needs the columns score"),
        (lambda f: f.iloc[:0], "0 cells"),
        (lambda f: pd.concat([f, f.iloc[:1]]), "is there twice"),
        (lambda f: f.assign(status="perhaps"), "has a status that is none of done"),
        (lambda f: f.assign(score=np.nan), "is done and has no score"),
    ],
)
def test_a_frame_that_is_no_result_is_refused(whole: pd.DataFrame, spoil: object, said: str) -> None:
    with pytest.raises(TlbenchError, match=said):
        grid(spoil(whole))  # type: ignore[operator]


def test_nothing_run_yet_is_a_report_too(whole: pd.DataFrame) -> None:
    frame = whole.copy()
    mark(frame, frame.strategy.ne(""), "not_run", "")
    assert "1080 not run" in markdown(frame)
    assert ranking(grid(frame)).choices == ()
