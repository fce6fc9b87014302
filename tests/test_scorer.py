"""Laws of the scorer: sealed first, looked at once, and what went wrong has a status instead of a number."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tlbench.scorer import Scorer
from tlbench.types import Cell, Status, TlbenchError

CELL = Cell("digits", "glyph_vit", "lora", 5, 0)
TASK: Any = SimpleNamespace(class_names=("a", "b", "c"))
Y = np.array([0, 0, 1, 1, 2, 2])
SELECTION = {"chosen": 1, "params": {"lr": 0.1}}
PERFECT = np.eye(3, dtype=np.float32)[Y]
CONSTANT = np.tile(np.array([1, 0, 0], np.float32), (6, 1))
HALF = np.where(np.arange(6)[:, None] % 2 == 0, PERFECT, CONSTANT)


@pytest.fixture
def scorer() -> Scorer:
    return Scorer(TASK, lambda: Y)


def evaluate(scorer: Scorer, logits: dict[int, np.ndarray]) -> dict[str, Any]:
    return scorer.evaluate(CELL, scorer.seal(SELECTION), SELECTION, logits)


def test_perfect_predictions_score_one(scorer: Scorer) -> None:
    assert evaluate(scorer, {1: PERFECT})["score"] == pytest.approx(1)


def test_a_constant_prediction_scores_exactly_zero(scorer: Scorer) -> None:
    found = evaluate(scorer, {1: CONSTANT})
    assert (found["score"], found["floor"], found["status"]) == (0.0, 1 / 3, Status.DONE)


def test_the_default_and_the_peek_gap_are_reported_beside_the_score(scorer: Scorer) -> None:
    found = evaluate(scorer, {0: CONSTANT, 1: HALF, 2: PERFECT})
    assert found["default_score"] == 0.0 and 0 < found["score"] < 1
    assert found["peek_gap"] == pytest.approx(1 - found["score"])
    assert found["metrics"]["accuracy"] == pytest.approx(4 / 6)


def test_a_trial_alone_leaves_nothing_to_peek_at(scorer: Scorer) -> None:
    found = evaluate(scorer, {1: HALF})
    assert found["peek_gap"] == 0.0 and found["default_score"] is None


def test_labels_are_not_touched_before_the_seal_is_checked() -> None:
    def labels() -> np.ndarray:
        raise AssertionError("looked at labels")

    scorer = Scorer(TASK, labels)
    with pytest.raises(TlbenchError, match="not the one that was sealed"):
        scorer.evaluate(CELL, scorer.seal(SELECTION), {"chosen": 2}, {2: PERFECT})


def test_a_cell_is_evaluated_once(scorer: Scorer) -> None:
    evaluate(scorer, {1: HALF})
    with pytest.raises(TlbenchError, match="evaluated before"):
        evaluate(scorer, {1: PERFECT})


def test_equal_selections_have_equal_seals_in_any_order(scorer: Scorer) -> None:
    seal = scorer.seal(SELECTION)
    assert scorer.seal(dict(reversed(SELECTION.items()))) == seal != scorer.seal({"chosen": 1})


@pytest.mark.parametrize(
    ("logits", "status", "reason"),
    [
        (PERFECT[:, :2], Status.FAILED, r"\[6, 2\].*need floats \[6, 3\]"),
        (PERFECT[:5], Status.FAILED, r"\[5, 3\]"),
        (Y, Status.FAILED, "int64"),
        (np.where(PERFECT > 0, np.nan, PERFECT), Status.DIVERGED, "6 of 6"),
        (np.where(PERFECT > 0, np.inf, PERFECT), Status.DIVERGED, "not finite"),
    ],
)
def test_unusable_predictions_get_a_status_and_a_reason(
    scorer: Scorer, logits: np.ndarray, status: Status, reason: str
) -> None:
    found = evaluate(scorer, {1: logits})
    assert found["status"] == status and "score" not in found
    assert re.search(reason, found["reason"])


def test_missing_predictions_are_a_failure(scorer: Scorer) -> None:
    assert evaluate(scorer, {0: HALF})["status"] == Status.FAILED


def test_a_trial_that_diverged_scores_as_the_floor(scorer: Scorer) -> None:
    found = evaluate(scorer, {0: PERFECT * np.nan, 1: HALF})
    assert (found["status"], found["default_score"], found["peek_gap"]) == (Status.DONE, 0.0, 0.0)
