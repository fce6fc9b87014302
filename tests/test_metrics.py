"""Laws of the metrics: they agree with scikit-learn, and the floor scores exactly zero."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference
from sklearn.calibration import calibration_curve

from tlbench.metrics import ECE_BINS, METRICS, PRIMARY, all_metrics, classes, floor, reliability, z
from tlbench.types import TlbenchError


def sample(seed: int, m: int = 200, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(m, classes)).astype(np.float32) * 3, rng.integers(0, classes, size=m)


def probabilities(logits: np.ndarray) -> np.ndarray:
    p = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True).astype(np.float64))
    return p / p.sum(1, keepdims=True)


anything = given(seed=st.integers(0, 10_000), m=st.integers(8, 80), num_classes=st.integers(2, 7))


@anything
@settings(max_examples=40, deadline=None)
@pytest.mark.filterwarnings("ignore")
def test_metrics_agree_with_scikit_learn(seed: int, m: int, num_classes: int) -> None:
    logits, y = sample(seed, m, num_classes)
    found, predicted, p = all_metrics(logits, y), logits.argmax(1), probabilities(logits)
    macro = {"average": "macro", "zero_division": 0}
    expected = {
        "accuracy": reference.accuracy_score(y, predicted),
        "balanced_accuracy": reference.balanced_accuracy_score(y, predicted),
        "macro_precision": reference.precision_score(y, predicted, **macro),
        "macro_recall": reference.recall_score(y, predicted, **macro),
        "macro_f1": reference.f1_score(y, predicted, **macro),
        "mcc": reference.matthews_corrcoef(y, predicted),
        "nll": reference.log_loss(y, p, labels=range(num_classes)),
        "brier": reference.brier_score_loss(y, p, labels=range(num_classes), scale_by_half=False),
        "worst_class_recall": reference.recall_score(y, predicted, average=None, labels=np.unique(y)).min(),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-9), name


@anything
@settings(max_examples=40, deadline=None)
def test_every_class_has_the_support_precision_recall_and_f1_of_scikit_learn(
    seed: int, m: int, num_classes: int
) -> None:
    logits, y = sample(seed, m, num_classes)
    predicted = np.minimum(logits.argmax(1), num_classes - 2)  # the last class is never predicted
    found = classes(predicted, y, num_classes)
    expected = reference.precision_recall_fscore_support(y, predicted, labels=range(num_classes), zero_division=0)
    for ours, theirs in zip((found.precision, found.recall, found.f1, found.support), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-9)


@anything
@settings(max_examples=40, deadline=None)
def test_the_bins_of_reliability_are_those_of_scikit_learn(seed: int, m: int, num_classes: int) -> None:
    assume(math.gcd(m - 1, ECE_BINS) == 1)  # else an example is a quantile, and rounding decides there
    logits, y = sample(seed, m, num_classes)
    found, p = reliability(logits, y), probabilities(logits)
    right = p.argmax(1) == y
    accuracy, confidence = calibration_curve(right, p.max(1), n_bins=ECE_BINS, strategy="quantile")
    np.testing.assert_allclose(found.hits / found.examples, accuracy, atol=1e-9)
    np.testing.assert_allclose(found.confidence, confidence, atol=1e-9)
    assert found.examples.sum() == m and found.error == all_metrics(logits, y)["ece"]


@pytest.mark.parametrize("seed", range(20))
def test_an_example_that_is_a_quantile_belongs_to_the_lower_bin(seed: int) -> None:
    assert reliability(*sample(seed, m=16)).examples.tolist() == [2, *[1] * 14]
    assert reliability(*sample(seed, m=76)).examples.tolist() == [6, *[5] * 14]


def test_every_named_metric_is_computed() -> None:
    assert all_metrics(*sample(0)).keys() == METRICS.keys()


@pytest.mark.parametrize("metric", PRIMARY)
def test_predicting_the_majority_scores_exactly_zero(metric: str) -> None:
    y = np.array([0, 2, 2, 2, 1, 1])
    constant = np.tile(np.array([0.0, 0.0, 1.0]), (6, 1))
    assert z(all_metrics(constant, y)[metric], floor(metric, y, 3)) == 0.0


@pytest.mark.parametrize("metric", PRIMARY)
def test_perfect_predictions_score_one(metric: str) -> None:
    y = np.array([0, 2, 2, 2, 1, 1])
    assert z(all_metrics(np.eye(3)[y] * 9, y)[metric], floor(metric, y, 3)) == pytest.approx(1.0)


def test_calibration_error_of_a_constant_confidence_is_its_distance_from_the_accuracy() -> None:
    y = np.array([0] * 30 + [1] * 10)
    logits = np.tile(np.log([0.6, 0.4]), (40, 1))
    assert all_metrics(logits, y)["ece"] == pytest.approx(abs(0.75 - 0.6))


def test_calibration_error_agrees_with_equal_mass_bins_by_sorting() -> None:
    logits, y = sample(3, m=1500)
    p = np.exp(logits - logits.max(1, keepdims=True)).astype(np.float64)
    p /= p.sum(1, keepdims=True)
    order = np.argsort(p.max(1))
    gap = (p.argmax(1) == y).astype(float)[order] - p.max(1)[order]
    by_sorting = sum(abs(part.sum()) for part in np.split(gap, 15)) / 1500
    assert all_metrics(logits, y)["ece"] == pytest.approx(by_sorting, abs=1e-6)


def test_metrics_do_not_depend_on_the_order_of_examples() -> None:
    logits, y = sample(1)
    order = np.random.default_rng(5).permutation(len(y))
    again = all_metrics(logits[order], y[order])
    assert all(again[name] == pytest.approx(value, abs=1e-12) for name, value in all_metrics(logits, y).items())


def test_huge_logits_stay_finite() -> None:
    y = np.array([0, 1])
    assert all(np.isfinite(v) for v in all_metrics(np.array([[1e30, -1e30], [1e30, -1e30]]), y).values())


def test_shapes_that_do_not_fit_are_refused_with_both_shapes() -> None:
    with pytest.raises(TlbenchError, match=r"\(3, 2\) for 4 labels"):
        all_metrics(np.zeros((3, 2)), np.zeros(4, dtype=int))


def test_a_metric_where_lower_is_better_is_no_primary_metric() -> None:
    with pytest.raises(TlbenchError, match="balanced_accuracy"):
        floor("nll", np.array([0, 1]), 2)
