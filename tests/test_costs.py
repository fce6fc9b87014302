"""Is a row on the front exactly when nothing is as cheap and as good, and do machines stay out of the leaderboards?"""

from __future__ import annotations

import itertools
import json

import matplotlib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from report_simulation import meta, simulate

from tlbench.report import document, document_costs, page_costs
from tlbench.report.analysis import Analysis
from tlbench.report.cost_questions import FAMILIES, LABELS, Costs, repeatable
from tlbench.report.plot_cost import score_against_cost
from tlbench.report.plot_ink import STYLE, looks
from tlbench.report.stats.fronts import on_front, within_one_error
from tlbench.types import COSTS

ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def whole() -> pd.DataFrame:
    return simulate(holes=False)


def analysed(frame: pd.DataFrame) -> Analysis:
    return Analysis(frame, meta())


def asked(analysis: Analysis, column: str = "train_flops") -> Costs:
    return next(each for each in analysis.costs if each.column == column)


def row_of(analysis: Analysis, strategy: str) -> int:
    return [name for name, _ in analysis.grid.rows].index(strategy)


def part(frame: pd.DataFrame) -> list[dict]:
    return document.plain(document_costs.costs(analysed(frame)))


@given(ROWS)
def test_a_row_is_on_the_front_when_no_row_beats_it_in_one_and_matches_it_in_the_other(rows: list) -> None:
    found = on_front(np.array([cost for cost, _ in rows]), np.array([score for _, score in rows], float))
    for i, (cost, score) in enumerate(rows):
        beaten = any(c <= cost and s >= score and (c, s) != (cost, score) for c, s in rows)
        assert found[i] == (not beaten)


@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_moves_nobody_off_the_front(rows: list, random: object) -> None:
    order = list(range(len(rows)))
    random.shuffle(order)  # type: ignore[attr-defined]
    cost, score = (np.array(side, float) for side in zip(*rows, strict=True))
    assert np.array_equal(on_front(cost, score)[order], on_front(cost[order], score[order]))


def test_fronts_of_many_resamples_are_those_of_each() -> None:
    rng = np.random.Generator(np.random.PCG64(1))
    cost, scores = rng.integers(0, 4, 9).astype(float), rng.normal(size=(50, 9))
    assert np.array_equal(on_front(cost, scores), [on_front(cost, score) for score in scores])


def test_one_standard_error_is_that_of_the_paired_difference() -> None:
    best = np.array([0.5, 0.6, 0.7, 0.8])
    gaps = np.array([[0, 0, 0, 0], [0.1, -0.1, 0.1, 0.0], [0.02, 0.03, 0.02, 0.03]])  # means 0, 0.025, 0.025
    errors = np.std(gaps, axis=1, ddof=1) / 2
    assert errors[1] > 0.025 > errors[2]
    assert within_one_error(best - gaps, 0).tolist() == [True, True, False]


def test_with_one_dataset_only_the_best_is_as_good_as_the_best() -> None:
    assert within_one_error(np.array([[0.5], [0.5]]), 0).tolist() == [True, False]


def test_the_cheapest_and_the_best_are_on_the_front_and_a_dear_floor_is_not(whole: pd.DataFrame) -> None:
    analysis = analysed(whole)
    found, main = asked(analysis), analysis.main
    assert main is not None
    assert found.front[row_of(analysis, "majority")] and found.front[main.ranked[0]]
    assert found.chance[row_of(analysis, "majority")] == 1
    assert found.chance[row_of(analysis, "from_scratch")] == 0 and not found.front[row_of(analysis, "from_scratch")]
    unsure = found.chance[(found.chance > 0.05) & (found.chance < 0.95)]
    assert len(unsure)


def test_a_dearer_twin_leaves_the_front_and_an_equal_one_shares_it(whole: pd.DataFrame) -> None:
    twin = whole[whole.strategy.eq("linear_probe")].assign(strategy="twin", key=lambda f: f.key + "twin")
    same = analysed(pd.concat([whole, twin]))
    dearer = analysed(pd.concat([whole, twin.assign(train_flops=twin.train_flops * 1.01)]))
    for analysis, alone in ((same, False), (dearer, True)):
        probe, copy = (asked(analysis).chance[row_of(analysis, name)] for name in ("linear_probe", "twin"))
        assert probe > 0.5 and copy == (0 if alone else probe)


def test_the_cheapest_within_one_standard_error_is_named_at_every_budget(whole: pd.DataFrame) -> None:
    analysis = analysed(whole)
    found = asked(analysis).cheapest
    assert [each.budget for each in found] == [None, *analysis.grid.budgets]
    for each in found:
        best, cheapest = each.costs
        assert cheapest <= best and each.behind >= 0
    at_two = next(each for each in found if each.budget == 2)
    lines = whole[whole.budget.eq(2) & whole.strategy.eq(analysis.grid.rows[at_two.row][0])]
    assert at_two.costs[1] == lines.train_flops.median()


def test_nobody_is_as_good_as_another_on_five_datasets(whole: pd.DataFrame) -> None:
    few = analysed(whole[whole.dataset.isin(["digits", "count", "hebrew", "texture", "distance"])])
    assert not any(each.cheapest for each in few.costs) and not page_costs.section(few).enough
    one = analysed(whole[whole.dataset.eq("digits")])
    assert np.isnan(asked(one).chance).all() and asked(one).front.any()


def test_the_document_tells_costs_and_tuning(whole: pd.DataFrame) -> None:
    written = json.loads(document.to_json(analysed(whole)))
    assert {each["cost"] for each in written["costs"]} == {each["cost"] for each in part(whole)}
    assert {row["strategy"] for row in written["tuning"]} == set(whole.strategy)


def test_machines_stay_out_of_the_document_and_are_on_the_page(whole: pd.DataFrame) -> None:
    paid = whole.train_flops
    foreign = whole.assign(cost_cloud_energy=paid, cost_cloud_dollars=paid, fit_seconds=paid / 1e9)
    columns = {each["cost"] for each in part(foreign)}
    assert {"train_flops", "tune_flops", "stored_parameters", "cost_cloud_dollars"} <= columns
    assert all(repeatable(column) for column in columns)
    shown = {price.label for price in page_costs.section(analysed(foreign)).prices}
    assert {"seconds of one fit", "cloud energy", "cloud dollars"} <= shown
    assert not any(map(repeatable, ("fit_seconds", "predict_ms_64", "peak_memory_mb", "cost_Energy")))


def test_every_stored_cost_can_be_asked_about() -> None:
    assert set(itertools.chain(*FAMILIES)) == set(LABELS) == set(COSTS)


def test_the_steps_that_halving_spared_are_shown_where_they_are_told(whole: pd.DataFrame) -> None:
    lora = whole.strategy.eq("lora")
    told = whole.assign(tune_steps=np.where(lora, 30.0, 0.0), tune_steps_whole=np.where(lora, 120.0, 0.0))
    for frame, shown in ((told, "75 %"), (whole, "–")):
        table = page_costs.costs(analysed(frame).ranking)
        place = table.columns.index(page_costs.SPARED)
        assert {row[0].text: row[place].text for row in table.rows}["lora"] == shown
        assert {row[0].text: row[place].text for row in table.rows}["majority"] == "–"


def test_rows_that_all_cost_the_same_raise_no_question(whole: pd.DataFrame) -> None:
    assert "peak_memory_mb" not in {each.column for each in analysed(whole).costs}


def test_another_row_changes_no_others_cost_and_the_order_changes_nothing(whole: pd.DataFrame) -> None:
    shuffled = whole.sample(frac=1, random_state=np.random.Generator(np.random.PCG64(3)))
    found = part(whole)
    assert found == part(shuffled)
    before, after = (
        {row["strategy"]: row["cost"] for row in told[0]["rows"]}
        for told in (found, part(simulate(strategies=12, holes=False)))
    )
    assert before.items() <= after.items()


@pytest.mark.parametrize("strategies", [3, 30])
def test_no_name_in_the_picture_covers_another(strategies: int) -> None:
    frame = simulate(strategies=strategies, holes=False).assign(**{f"cost_{'$<x>' * 80}": lambda f: f.train_flops})
    analysis = analysed(frame)
    for each in analysis.costs:
        with matplotlib.rc_context(STYLE):
            figure = score_against_cost(analysis.ranking, each, looks(analysis.ranking, meta()))
            figure.draw_without_rendering()
        boxes = [Text.get_window_extent(text) for text in figure.axes[0].texts]
        assert len(boxes) == strategies
        width = figure.bbox.width
        assert all(box.x0 >= 0 and box.x1 <= width for box in (*boxes, figure.axes[0].xaxis.label.get_window_extent()))
        covered = [Bbox.intersection(a, b) for a, b in itertools.combinations(boxes, 2)]
        assert not any(shared is not None and shared.width > 1 and shared.height > 1 for shared in covered)


@pytest.mark.parametrize(
    ("best", "cheapest", "said"),
    [
        (60.0, 1.0, "1/60 of what"),
        (1.0, 0.9, "90 % of what"),
        (5.0, 0.0, "nothing of what"),
        (np.nan, 3e9, "3 G; it is not known what"),
    ],
)
def test_ratios_are_said_as_people_say_them(best: float, cheapest: float, said: str) -> None:
    assert page_costs.ratio(best, cheapest) == said


def test_answers_that_agree_are_said_once(whole: pd.DataFrame) -> None:
    frame = whole.assign(score=whole.score + 0.3 * whole.strategy.eq("full_finetune"))
    price = page_costs.section(analysed(frame)).prices[0]
    (sentence,) = price.sentences
    assert sentence[:2] == ("over all budgets, and at 2, 5, 10 labels a class", "full_finetune")
    assert sentence[2].startswith("the best itself")


def test_results_without_costs_say_so(whole: pd.DataFrame) -> None:
    bill = page_costs.section(analysed(whole.drop(columns=list(COSTS), errors="ignore")))
    assert not bill.prices and bill.measured is None
