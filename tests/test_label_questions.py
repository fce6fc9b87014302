"""Are questions about labels answered as the protocol says, and is it said where they cannot be?"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from report_simulation import mark, meta, simulate

from tlbench.report import page_labels, stats
from tlbench.report.analysis import Analysis
from tlbench.report.document import plain
from tlbench.report.document_labels import label_questions
from tlbench.report.label_questions import Labels, unasked
from tlbench.report.label_words import labels_span, labels_text, times_span, times_text
from tlbench.report.page_floor import floors
from tlbench.report.plot_ink import looks
from tlbench.report.plot_labels import PANELS, crossovers, label_equivalence
from tlbench.report.stats.curves import Place

BUDGETS = (2, 5, 10)


@pytest.fixture(scope="module")
def whole() -> pd.DataFrame:
    return simulate(holes=False)


@pytest.fixture(scope="module")
def asked(whole: pd.DataFrame) -> Labels:
    return labels_of(whole)


def labels_of(frame: pd.DataFrame) -> Labels:
    found = Analysis(frame, meta()).labels
    assert found is not None
    return found


def at(asked: Labels, *strategies: str) -> tuple[int, ...]:
    names = [asked.grid.rows[row][0] for row in asked.rows]
    return tuple(names.index(strategy) for strategy in strategies)


def shaped(frame: pd.DataFrame, **values: dict[int, float]) -> pd.DataFrame:
    """These strategies, with exactly these mean curves and a little noise, and two that others are compared with."""
    frame = frame[frame.strategy.isin(["from_scratch", "majority", *values])].reset_index(drop=True)
    noise = pd.Series(np.random.Generator(np.random.PCG64(3)).normal(0, 0.004, len(frame)))
    noise -= noise.groupby([frame.strategy, frame.budget]).transform("mean")
    for strategy, curve in values.items():
        mine = frame.strategy.eq(strategy)
        frame.loc[mine, "score"] = frame[mine].budget.map(curve) + noise[mine]
    return frame


def test_a_crossing_that_was_put_there_is_found_with_its_interval(whole: pd.DataFrame) -> None:
    curves = {"lora": {2: 0.3, 5: 0.4, 10: 0.5}, "adapter": {2: 0.35, 5: 0.4, 10: 0.45}}
    asked = labels_of(shaped(whole, **curves))
    i, j = at(asked, "lora", "adapter")
    for kind in (asked.tasks, asked.suite):
        assert kind.ahead.labels[i, j] == pytest.approx(5)
        assert 3.5 < kind.ahead.low[i, j] < 5 < kind.ahead.high[i, j] < 7
        assert kind.crossed[i, j] == 1 and kind.ahead.labels[j, i] == np.inf


def test_a_strategy_that_does_with_half_the_labels_is_worth_twice_as_many(whole: pd.DataFrame) -> None:
    curves = {"linear_probe": {2: 0.2, 5: 0.4, 10: 0.55}, "lora": {2: 0.34, 5: 0.55, 10: 0.6}}
    asked = labels_of(shaped(whole, **curves))
    i, j = at(asked, "lora", "linear_probe")
    place = asked.tasks.needed
    assert place.labels[i, j, 0] == pytest.approx(2 * 2.5**0.7, rel=1e-6)
    assert place.low[i, j, 0] < place.labels[i, j, 0] < place.high[i, j, 0] < 5
    assert 9 < place.low[i, j, 1] < 10 and place.high[i, j, 1] == np.inf  # reaches the last budget: open above
    assert place.labels[i, j, 2] == place.low[i, j, 2] == np.inf  # nowhere in range: said, not extrapolated
    assert place.high[j, i, 0] == 0  # better at the smallest budget: "at most"


def test_a_row_needs_its_own_labels_to_match_itself(asked: Labels) -> None:
    diagonal = asked.tasks.needed.labels[np.arange(len(asked.rows)), np.arange(len(asked.rows))]
    rising = (np.diff(asked.curves, axis=0) > 0).all(0)
    assert rising.sum() > 5
    assert diagonal[rising] == pytest.approx(np.tile(asked.budgets, (rising.sum(), 1)))


def test_other_rows_and_the_order_of_cells_change_no_answer_about_a_pair(whole: pd.DataFrame) -> None:
    few = whole[whole.strategy.isin(["lora", "full_finetune", "linear_probe"])]
    some, all_ = labels_of(few.sample(frac=1, random_state=1)), labels_of(whole)
    for kind in ("tasks", "suite"):
        for name in ("ahead", "needed"):
            for one, other in zip(getattr(getattr(some, kind), name), getattr(getattr(all_, kind), name), strict=True):
                pair, same = (at(where, "full_finetune", "linear_probe") for where in (some, all_))
                assert np.array_equal(one[pair], other[same])


def test_the_interval_of_a_crossover_says_what_the_paired_interval_says(asked: Labels) -> None:
    """Ahead at the last budget in 97.5 % of the resamples is an upper bound in range, up to what resampling rounds."""
    z = asked.grid.z[list(asked.rows)][:, list(asked.datasets)]
    low = stats.tasks(z[:, None, :, -1] - z[None, :, :, -1]).low
    clear = np.abs(low) > 0.005
    assert clear.sum() > 50
    assert np.array_equal((low > 0)[clear], np.isfinite(asked.tasks.ahead.high)[clear])


def test_without_a_choice_of_labels_nothing_is_asked(whole: pd.DataFrame) -> None:
    assert "one budget" in unasked(Analysis(whole[whole.budget.eq(5)], meta()))
    assert "takes two" in unasked(Analysis(whole[whole.strategy.eq("lora")], meta()))
    nothing = whole[whole.strategy.isin(["lora", "adapter"])].copy()
    mark(nothing, nothing.seed.eq(0) & nothing.dataset.eq("digits"), "not_run", "")
    analysis = Analysis(nothing, meta())
    assert analysis.labels is None and "no rows" in unasked(analysis)
    assert "no rows" in page_labels.section(analysis)["why"] and "cannot" in label_questions(analysis)


def test_datasets_that_lack_a_budget_are_left_out_of_the_curves(whole: pd.DataFrame) -> None:
    asked = labels_of(whole[~(whole.dataset.eq("digits") & whole.budget.eq(10))])
    assert [asked.grid.datasets[d] for d in asked.datasets] == sorted(set(whole.dataset) - {"digits"})
    lacking = whole.dataset.ne("digits") & whole.budget.eq(10) | whole.dataset.eq("digits") & whole.budget.eq(2)
    assert "every budget" in unasked(Analysis(whole[whole.budget.isin([2, 10]) & lacking], meta()))


@pytest.mark.filterwarnings("error")
def test_one_dataset_or_one_seed_gives_no_interval_of_its_kind(whole: pd.DataFrame) -> None:
    one = labels_of(whole[whole.dataset.eq("digits")])
    assert np.isnan(one.tasks.ahead.low).all() and not np.isnan(one.suite.needed.low[0, 1]).any()
    assert one.said[1] == "suite"
    single = labels_of(whole[whole.seed.eq(0)])
    assert np.isnan(single.suite.crossed).all() and single.said[1] == "tasks"
    neither = labels_of(whole[whole.seed.eq(0) & whole.dataset.eq("digits")])
    assert neither.said[1] == "" and np.isfinite(neither.curves).all()


def test_the_reference_is_a_probe_of_the_same_network_or_else_the_row_in_the_middle(whole: pd.DataFrame) -> None:
    two = labels_of(simulate(strategies=8, backbones=("glyph_vit", "glyph_cnn"), holes=False))
    for i, j in enumerate(two.references):
        (_, network), (strategy, other) = (two.grid.rows[two.rows[k]] for k in (i, j))
        assert (strategy, network) == ("linear_probe", other)
    assert two.counted_in == "linear_probe on the same network"
    without = labels_of(whole[whole.strategy.ne("linear_probe")])
    assert set(without.references) == {len(without.rows) // 2}


def test_the_advice_weighs_labels_against_strategies(whole: pd.DataFrame) -> None:
    better = {"linear_probe": {2: 0.2, 5: 0.25, 10: 0.5}, "lora": {2: 0.4, 5: 0.42, 10: 0.52}}
    first, second, last = page_labels.section(Analysis(shaped(whole, **better), meta()))["advice"]
    assert first.head == "Use lora" and "linear_probe needs 7.6 (7.5 to 7.6) labels" in first.why
    assert second.head == "Label more: up to 10" and "+25.0 ±" in second.why
    assert last.head == "No larger budget was run"
    flat = {"linear_probe": {2: 0.4, 5: 0.4, 10: 0.39}, "lora": {2: 0.3, 5: 0.35, 10: 0.36}}
    first, second, last = page_labels.section(Analysis(shaped(whole, **flat), meta()))["advice"]
    assert first.head == second.head.replace("10", "5") == "Label up to 5: it cannot be told whether that helps"
    one = shaped(whole[whole.dataset.eq("digits")], **better)
    assert page_labels.section(Analysis(one, meta()))["advice"][0].head == "Use lora"  # for new splits of digits


def test_the_page_says_up_to_how_many_labels_a_raw_input_floor_is_beaten(whole: pd.DataFrame) -> None:
    caught_up = whole.strategy.eq("pixels_logistic") & whole.budget.eq(10)
    (floor,) = floors(Analysis(whole.assign(score=whole.score.where(~caught_up, 0.99)), meta()))
    said = {name: sentence for names, sentence in floor.sentences for name in names.split(", ")}
    assert floor.name == "pixels_logistic" and "majority" not in said
    assert said["lora"].startswith("up to 6.") and "labels a class (" in said["lora"]
    assert said["lora"].endswith("; better at 2 and 5 labels a class, worse at 10")


def test_labels_that_transfer_is_worth_are_those_that_the_network_needs_from_scratch(whole: pd.DataFrame) -> None:
    curves = {"from_scratch": {2: 0.1, 5: 0.2, 10: 0.4}, "lora": {2: 0.2, 5: 0.41, 10: 0.5}}
    worth = page_labels.section(Analysis(shaped(whole, **curves), meta()))["worth"]
    said = {name: sentence for names, sentence in worth["sentences"] for name in names.split(", ")}
    assert (
        said["lora"].startswith("2 labels a class are worth 5 (") and "5 or more are worth more than 10" in said["lora"]
    )
    assert not {"from_scratch", "majority", "pixels_logistic"} & set(said)


def test_curves_that_cross_often_say_so(whole: pd.DataFrame) -> None:
    curves = {"lora": {2: 0.3, 5: 0.2, 10: 0.5}, "linear_probe": {2: 0.25, 5: 0.3, 10: 0.35}}
    section = page_labels.section(Analysis(shaped(whole, **curves), meta()))
    sentence = next(said for name, said in section["crossings"] if name == "lora" and "linear_probe" in said)
    assert sentence.endswith("the curves cross 2 times, here for the last time")


@pytest.mark.parametrize(
    ("labels", "said", "times"),
    [
        (0.0, "at most 2", "at most 0.4×"),
        (np.inf, "more than 10", "more than 2×"),
        (5.0000000001, "5", "1×"),
        (6.28, "6.3", "1.3×"),
        (np.nan, "–", "–"),
    ],
)
def test_numbers_of_labels_are_words_outside_the_budgets(labels: float, said: str, times: str) -> None:
    assert (labels_text(labels, BUDGETS), times_text(labels, BUDGETS, 5)) == (said, times)


def test_an_interval_may_be_open() -> None:
    place = Place(*(np.array([value]) for value in (4.2, 2.6, np.inf)))
    assert times_span(place, BUDGETS, 2, 0) == "2.1× (1.3× to more than 5×)"
    beyond = Place(*(np.array([value]) for value in (np.inf, np.inf, np.inf)))
    assert labels_span(beyond, BUDGETS, 0) == "more than 10"
    unknown = Place(*(np.array([value]) for value in (4.2, np.nan, np.nan)))
    assert labels_span(unknown, BUDGETS, 0) == "4.2"


def test_a_program_reads_every_pair_and_no_infinity(whole: pd.DataFrame) -> None:
    analysis = Analysis(whole, meta())
    read = json.loads(json.dumps(plain(label_questions(analysis)), allow_nan=False))
    rows = len(whole.strategy.unique())
    assert len(read["crossovers"]) == rows * (rows - 1) / 2 and len(read["labels_needed"]) == rows * (rows - 1)
    assert {text for pair in read["labels_needed"] for text in pair["labels"] if isinstance(text, str)} <= {
        "at most 2",
        "more than 10",
    }


@pytest.mark.filterwarnings("error")
def test_pictures_hold_the_best_rows_and_every_contest(whole: pd.DataFrame) -> None:
    many = Analysis(simulate(strategies=30), meta())
    look = looks(many.ranking, many.meta)
    panels = [axes for axes in label_equivalence(many, look).axes if axes.get_visible()]
    assert len(panels) == PANELS and panels[0].get_title(loc="left") == "bitfit"
    chart = crossovers(many, look)
    titles = [axes.get_title(loc="left") for axes in chart.axes]
    assert titles == ["ahead of linear_probe from", "ahead of from_scratch up to", "ahead of pixels_logistic up to"]
    assert [text.get_text() for text in chart.axes[0].get_yticklabels()][:2] == ["bitfit", "linear_probe"]
    one = Analysis(whole[whole.budget.eq(5)], meta())
    assert label_equivalence(one, looks(one.ranking, one.meta)) is None is crossovers(one, looks(one.ranking, one.meta))
