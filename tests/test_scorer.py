"""Laws of the scorer: sealed first, looked at once, and what went wrong has a status instead of a number."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tlbench.scorer import Scorer, seal
from tlbench.types import Measurement, Status, TlbenchError

Y = np.array([0, 0, 1, 1, 2, 2])
SELECTION = {"trial": 1, "hyperparameters": {"lr": 0.1}}
PERFECT = np.eye(3, dtype=np.float32)[Y]
CONSTANT = np.tile(np.array([1, 0, 0], np.float32), (6, 1))
HALF = np.where(np.arange(6)[:, None] % 2 == 0, PERFECT, CONSTANT)


@pytest.fixture
def scorer() -> Scorer:
    return Scorer(lambda: Y, num_classes=3, metric="balanced_accuracy")


def evaluate(scorer: Scorer, logits: dict[int, np.ndarray], *, chosen: int = 1, key: str = "cell") -> Measurement:
    return scorer.evaluate(key, logits, chosen=chosen, selection=SELECTION, sealed=seal(SELECTION))


def test_perfect_predictions_score_one_and_constant_ones_exactly_zero(scorer: Scorer) -> None:
    assert evaluate(scorer, {1: PERFECT}).score == pytest.approx(1)
    constant = evaluate(scorer, {1: CONSTANT}, key="other")
    assert (constant.score, constant.floor, constant.status) == (0.0, 1 / 3, Status.DONE)


def test_classes_and_calibration_are_kept_of_the_chosen_trial(scorer: Scorer) -> None:
    found = evaluate(scorer, {0: PERFECT, 1: CONSTANT})
    assert found.classes == {"support": (2, 2, 2), "predicted": (6, 0, 0), "hits": (2, 0, 0)}
    confidence = np.e / (np.e + 2)
    assert found.reliability == {"examples": (6,), "hits": (2,), "confidence": (pytest.approx(confidence),)}
    assert found.metrics["ece"] == pytest.approx(abs(confidence - 1 / 3))


def test_the_default_and_the_peek_gap_are_reported_beside_the_score(scorer: Scorer) -> None:
    found = evaluate(scorer, {0: CONSTANT, 1: HALF, 2: PERFECT})
    assert found.default_score == 0.0
    assert found.peek_gap == pytest.approx(1 - found.score) and 0 < found.score < 1
    assert found.metrics["accuracy"] == pytest.approx(4 / 6)


def test_every_trial_that_was_handed_in_has_its_score_on_test(scorer: Scorer) -> None:
    found = evaluate(scorer, {2: PERFECT, 0: CONSTANT, 1: HALF, 3: PERFECT * np.nan})
    assert found.trial_scores == {"0": 0.0, "1": found.score, "2": pytest.approx(1), "3": 0.0}
    assert found.peek_gap == max(found.trial_scores.values()) - found.score


def test_a_trial_alone_leaves_nothing_to_peek_at(scorer: Scorer) -> None:
    found = evaluate(scorer, {1: HALF})
    assert found.peek_gap == 0.0 and found.default_score is None


def test_labels_are_not_touched_before_the_seal_is_checked() -> None:
    def labels() -> np.ndarray:
        raise AssertionError("looked at labels")

    scorer = Scorer(labels, num_classes=3, metric="accuracy")
    with pytest.raises(TlbenchError, match="not the one that was sealed"):
        scorer.evaluate("cell", {1: PERFECT}, chosen=1, selection={"trial": 2}, sealed=seal(SELECTION))


def test_a_cell_is_evaluated_once(scorer: Scorer) -> None:
    evaluate(scorer, {1: HALF})
    with pytest.raises(TlbenchError, match="evaluated before"):
        evaluate(scorer, {1: PERFECT})


def test_equal_selections_have_equal_seals_in_any_order() -> None:
    assert seal(dict(reversed(SELECTION.items()))) == seal(SELECTION) != seal({"trial": 1})


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
    assert found.status == status and found.score is None
    assert re.search(reason, found.reason)


def test_missing_predictions_are_a_failure(scorer: Scorer) -> None:
    assert evaluate(scorer, {0: HALF}).status == Status.FAILED


def test_a_trial_that_diverged_scores_as_the_floor(scorer: Scorer) -> None:
    found = evaluate(scorer, {0: PERFECT * np.nan, 1: HALF})
    assert (found.status, found.default_score, found.peek_gap) == (Status.DONE, 0.0, 0.0)
