"""How good are these predictions? Every metric of a cell, computed from its logits and the true classes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tlbench.types import TlbenchError

METRICS = {
    "accuracy": "share of examples whose class is predicted",
    "balanced_accuracy": "mean over classes of the share of a class's examples that is found",
    "macro_precision": "mean over classes of the share of a class's predictions that is right; 0 where none is made",
    "macro_recall": "mean over true and predicted classes of the share found; balanced accuracy if all classes occur",
    "macro_f1": "mean over classes of the harmonic mean of precision and recall",
    "mcc": "Matthews correlation of true and predicted classes (Gorodkin 2004), 0 for a constant prediction",
    "nll": "mean negative log-likelihood of the true class, in nats; lower is better",
    "brier": "mean over examples of the squared error summed over class probabilities, 0 to 2; lower is better",
    "ece": "expected calibration error over 15 equal-mass bins of confidence; lower is better",
    "worst_class_recall": "the share found of the class that is found least",
}
LOWER_IS_BETTER = frozenset({"nll", "brier", "ece"})
PRIMARY = tuple(name for name in METRICS if name not in LOWER_IS_BETTER)  # those that a score can be made of

ECE_BINS = 15


def all_metrics(logits: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Every metric of METRICS, as plain floats.

    `logits` is [m, C] and finite, `y` is [m] of class indices. Ties go to the lower class. Raises TlbenchError when the
    shapes do not fit or there is no example. Conventions of scikit-learn, zero_division=0.
    """
    if logits.ndim != 2 or logits.shape[0] != len(y) or len(y) == 0:
        raise TlbenchError(f"metrics need logits [m, C] for m >= 1 labels, got {logits.shape} for {len(y)} labels")
    log_p = _log_softmax(logits.astype(np.float64))
    predicted = logits.argmax(axis=1)
    p = np.exp(log_p)
    return {
        **_of_classes(predicted, y, logits.shape[1]),
        "nll": float(-log_p[np.arange(len(y)), y].mean()),
        "brier": float(((p - np.eye(logits.shape[1])[y]) ** 2).sum(axis=1).mean()),
        "ece": _calibration_error(p.max(axis=1), predicted == y),
    }


def floor(metric: str, y: np.ndarray, num_classes: int) -> float:
    """The value of `metric` on `y` for the constant prediction of y's most frequent class (the lowest of several).

    Raises TlbenchError for a metric that no score can be made of.
    """
    if metric not in PRIMARY:
        raise TlbenchError(f"{metric!r} cannot be a primary metric; choose one of {', '.join(PRIMARY)}")
    majority = np.full(len(y), np.bincount(y, minlength=num_classes).argmax())
    return _of_classes(majority, y, num_classes)[metric]


def z(value: float, floor: float) -> float:
    """The score (PROTOCOL 5): 0 is the majority class, 1 is perfect, below zero is worse than guessing."""
    return (value - floor) / (1.0 - floor)


class _Counts(NamedTuple):
    """Per class: examples, predictions and hits, all [C] float64."""

    true: np.ndarray
    predicted: np.ndarray
    hits: np.ndarray


def _of_classes(predicted: np.ndarray, y: np.ndarray, num_classes: int) -> dict[str, float]:
    counts = _Counts(
        np.bincount(y, minlength=num_classes).astype(np.float64),
        np.bincount(predicted, minlength=num_classes).astype(np.float64),
        np.bincount(y[predicted == y], minlength=num_classes).astype(np.float64),
    )
    occurs = counts.true > 0
    seen = occurs | (counts.predicted > 0)
    recall = _ratio(counts.hits, counts.true)
    return {
        "accuracy": float(counts.hits.sum() / len(y)),
        "balanced_accuracy": float(recall[occurs].mean()),
        "macro_precision": float(_ratio(counts.hits, counts.predicted)[seen].mean()),
        "macro_recall": float(recall[seen].mean()),
        "macro_f1": float(_ratio(2 * counts.hits, counts.true + counts.predicted)[seen].mean()),
        "mcc": _matthews(counts, len(y)),
        "worst_class_recall": float(recall[occurs].min()),
    }


def _matthews(counts: _Counts, m: int) -> float:
    covariance = counts.hits.sum() * m - counts.true @ counts.predicted
    spread = (m * m - counts.true @ counts.true) * (m * m - counts.predicted @ counts.predicted)
    return float(covariance / np.sqrt(spread)) if spread > 0 else 0.0


def _calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Bins end at quantiles, so equal confidences share a bin and the order of examples does not matter."""
    ends = np.quantile(confidence, np.linspace(0, 1, ECE_BINS + 1)[1:-1])
    bins = np.searchsorted(ends, confidence)
    gaps = np.bincount(bins, weights=right - confidence, minlength=ECE_BINS)
    return float(np.abs(gaps).sum() / len(right))


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0)
