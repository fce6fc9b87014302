"""Does the report tell probabilities and classes as they were measured?"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_simulation import mark, meta, simulate

from tlbench.report import html, plot_calibration, tables
from tlbench.report.analysis import Analysis
from tlbench.report.calibration import ERRORS, OVER, Calibration, document, pooled
from tlbench.types import DataFacts


def small(strategies: int = 3) -> pd.DataFrame:
    return simulate(strategies=strategies, holes=False).query("dataset in ['digits', 'count'] and budget < 10")


def found(frame: pd.DataFrame, **changes: Any) -> Calibration:
    made = Analysis(frame, meta(**changes)).calibration
    assert made is not None
    return made


def page_of(frame: pd.DataFrame, **changes: Any) -> str:
    """The page without its figures."""
    analysis = Analysis(frame, meta(**changes))
    return html.page(tables.leaderboard(analysis.ranking), analysis, [])


def bins(confidence: list[float], hits: list[int], examples: int = 10) -> dict[str, Any]:
    return {"confidence": tuple(confidence), "hits": tuple(hits), "examples": (examples,) * len(hits)}


def test_a_pooled_diagram_keeps_the_mean_confidence_and_the_accuracy_of_its_cells() -> None:
    rng = np.random.default_rng(0)
    cells = [bins(np.sort(rng.random(15)).tolist(), rng.integers(0, 11, 15).tolist()) for _ in range(7)]
    made = pooled(cells)
    assert made is not None and made.share.sum() == pytest.approx(1)
    assert made.share @ made.confidence == pytest.approx(np.mean([cell["confidence"] for cell in cells]))
    assert made.share @ made.accuracy == pytest.approx(np.mean([cell["hits"] for cell in cells]) / 10)
    assert (np.diff(made.confidence) > 0).all()


def test_each_cell_weighs_the_same_in_a_pooled_diagram() -> None:
    made = pooled([bins([0.5], [10], examples=10), bins([0.5], [0], examples=10_000)])
    assert made is not None and made.accuracy.tolist() == [0.5]


def test_predictions_of_one_confidence_stand_in_one_bin() -> None:
    made = pooled([bins([0.3], [hits]) for hits in range(11)])
    assert made is not None and made.confidence == pytest.approx([0.3]) and made.accuracy == pytest.approx([0.5])
    assert pooled([]) is None


def test_another_row_changes_no_row() -> None:
    few, many = (Analysis(simulate(strategies=n), meta()) for n in (4, 7))
    assert few.calibration is not None and many.calibration is not None
    for row, name in enumerate(few.grid.rows):
        there = many.grid.rows.index(name)
        np.testing.assert_equal(few.calibration.diagrams[row], many.calibration.diagrams[there])
        for quantity in (*ERRORS, OVER):
            ours, theirs = few.calibration.suite[quantity], many.calibration.suite[quantity]
            np.testing.assert_equal(ours.at(row), theirs.at(there))


def test_a_failed_cell_has_no_probabilities_and_is_left_out() -> None:
    frame = small().assign(nll=2.0)
    whole = found(frame)
    mark(frame, frame.strategy.eq("majority") & frame.dataset.eq("digits") & frame.seed.eq(0), "failed", "no")
    part = found(frame)
    assert part.suite["nll"].mean.tolist() == whole.suite["nll"].mean.tolist() == [2.0] * 3
    assert (whole.cells[0], part.cells[0]) == (12, 10)


def test_over_confidence_is_confidence_minus_accuracy() -> None:
    frame = simulate(strategies=2, holes=False)
    frame["reliability"] = [bins([0.6, 0.8], [3, 5])] * len(frame)
    made = found(frame)
    assert made.suite[OVER].mean == pytest.approx([0.3, 0.3])


def test_the_hardest_classes_are_those_found_least_with_the_largest_budget() -> None:
    frame = simulate(strategies=4, holes=False)
    counts = {"support": (100,) * 4, "predicted": (100,) * 4}
    at_end = frame.budget.eq(frame.budget.max())
    best = frame.strategy.eq("linear_probe")
    hits = [(40, 10, 30, 20) if here else (1, 99, 99, 99) for here in at_end]
    hits = [(50, 20, 30, 20) if here and top else each for here, top, each in zip(at_end, best, hits, strict=True)]
    frame["classes"] = [{**counts, "hits": each} for each in hits]
    facts = DataFacts(10, 400, 4, True, 0, {}, class_names=("a", "b", "c", "d"))
    made = found(frame, facts={"digits": facts})
    digits = [each for each in made.hard if each.dataset == "digits"]
    assert [each.name for each in digits] == ["b", "d", "c"]
    assert [each.recall for each in digits] == pytest.approx([0.15, 0.2, 0.3])
    assert Analysis(frame, meta()).grid.rows[digits[0].best][0] == "linear_probe" and digits[
        0
    ].best_recall == pytest.approx(0.2)
    assert {each.name for each in made.hard if each.dataset == "count"} == {"class 1", "class 2", "class 3"}


def test_results_that_tell_nothing_of_probabilities_have_no_such_section() -> None:
    frame = small().drop(columns=[*ERRORS, "reliability", "classes"])
    assert Analysis(frame, meta()).calibration is None and document(Analysis(frame, meta())) is None
    assert 'id="calibration"' not in page_of(frame)


def test_cells_from_before_bins_were_kept_are_counted_and_named() -> None:
    frame = small()
    frame["reliability"], frame["classes"] = [{}] * len(frame), [{}] * len(frame)
    page = page_of(frame)
    assert "36 cells were measured before" in page and "tlbench retry few_shot_vision --preset lite --all" in page
    assert "The hardest classes" not in page and plot_calibration.reliability(Analysis(frame, meta())) is None


def test_names_of_classes_are_text_and_nothing_else() -> None:
    evil = "<script>alert(1)</script>"
    facts = {name: DataFacts(10, 400, 4, True, 0, {}, class_names=(evil,) * 4) for name in ("digits", "count")}
    page = page_of(small(), facts=facts)
    assert evil not in page and len(re.findall("&lt;script&gt;alert", page)) >= 3
