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


class Classes(NamedTuple):
    """What became of each class: counts [C] int64 from which every metric of classes follows.

    Precision, recall and F1 [C] are 0 where they are not defined: no prediction, no example, neither.
    """

    support: np.ndarray  # examples of the class
    predicted: np.ndarray  # examples that were given to it
    hits: np.ndarray  # examples that are both

    @property
    def precision(self) -> np.ndarray:
        return _ratio(self.hits, self.predicted)

    @property
    def recall(self) -> np.ndarray:
        return _ratio(self.hits, self.support)

    @property
    def f1(self) -> np.ndarray:
        return _ratio(2 * self.hits, self.support + self.predicted)


class Reliability(NamedTuple):
    """How often is a prediction of some confidence right? At most 15 bins of equally many examples, none of them empty.

    Confidence is the probability of the predicted class.
    """

    examples: np.ndarray  # [bins] int64
    hits: np.ndarray  # [bins] int64, examples predicted rightly
    confidence: np.ndarray  # [bins] float64, mean

    @property
    def error(self) -> float:
        """The expected calibration error (Naeini, Cooper and Hauskrecht 2015, on equal-mass bins)."""
        return float(np.abs(self.hits - self.examples * self.confidence).sum() / self.examples.sum())


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
        **_of_classes(classes(predicted, y, logits.shape[1])),
        "nll": float(-log_p[np.arange(len(y)), y].mean()),
        "brier": float(((p - np.eye(logits.shape[1])[y]) ** 2).sum(axis=1).mean()),
        "ece": _reliability(p.max(axis=1), predicted == y).error,
    }


def classes(predicted: np.ndarray, y: np.ndarray, num_classes: int) -> Classes:
    """Counts by class of predicted and true classes, both [m]."""
    hit = y[predicted == y]
    return Classes(*(np.bincount(each, minlength=num_classes) for each in (y, predicted, hit)))


def reliability(logits: np.ndarray, y: np.ndarray) -> Reliability:
    """The bins of the calibration error of finite logits [m, C] for classes y [m]."""
    confidence = np.exp(_log_softmax(logits.astype(np.float64)).max(axis=1))
    return _reliability(confidence, logits.argmax(axis=1) == y)


def floor(metric: str, y: np.ndarray, num_classes: int) -> float:
    """The value of `metric` on `y` for the constant prediction of y's most frequent class (the lowest of several).

    Raises TlbenchError for a metric that no score can be made of.
    """
    if metric not in PRIMARY:
        raise TlbenchError(f"{metric!r} cannot be a primary metric; choose one of {', '.join(PRIMARY)}")
    majority = np.full(len(y), np.bincount(y, minlength=num_classes).argmax())
    return _of_classes(classes(majority, y, num_classes))[metric]


def z(value: float, floor: float) -> float:
    """The score (PROTOCOL 5): 0 is the majority class, 1 is perfect, below zero is worse than guessing."""
    return (value - floor) / (1.0 - floor)


def _of_classes(counts: Classes) -> dict[str, float]:
    occurs = counts.support > 0
    seen = occurs | (counts.predicted > 0)
    recall = counts.recall
    return {
        "accuracy": float(counts.hits.sum() / counts.support.sum()),
        "balanced_accuracy": float(recall[occurs].mean()),
        "macro_precision": float(counts.precision[seen].mean()),
        "macro_recall": float(recall[seen].mean()),
        "macro_f1": float(counts.f1[seen].mean()),
        "mcc": _matthews(counts),
        "worst_class_recall": float(recall[occurs].min()),
    }


def _matthews(counts: Classes) -> float:
    true, predicted, hits = (each.astype(np.float64) for each in counts)
    m = true.sum()
    covariance = hits.sum() * m - true @ predicted
    spread = (m * m - true @ true) * (m * m - predicted @ predicted)
    return float(covariance / np.sqrt(spread)) if spread > 0 else 0.0


def _reliability(confidence: np.ndarray, right: np.ndarray) -> Reliability:
    """Bins end at quantiles, so equal confidences share a bin and the order of examples does not matter.

    Ranks are whole numbers and fifteenths: where a quantile is an example, rounding would choose its bin by chance.
    """
    ranked, last = np.sort(confidence), len(confidence) - 1
    rank, part = np.divmod(np.arange(1, ECE_BINS) * last, ECE_BINS)
    ends = ranked[rank] + part / ECE_BINS * (ranked[np.minimum(rank + 1, last)] - ranked[rank])
    bins = np.searchsorted(ends, confidence)
    count, hits, total = (np.bincount(bins, weights=w, minlength=ECE_BINS) for w in (None, right, confidence))
    kept = count > 0
    return Reliability(count[kept], hits[kept].astype(np.int64), total[kept] / count[kept])


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.divide(a, b, out=np.zeros(len(a)), where=b > 0)
