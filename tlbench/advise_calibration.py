"""How far can the probabilities of a way be trusted? A temperature from examples that it had not seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar

from tlbench.metrics import all_metrics

Heldout = Sequence[tuple[np.ndarray, np.ndarray]]  # logits [m, C] and labels [m], a fold each
RANGE = math.log(1e-3), math.log(1e6)  # of temperatures: distances of features are hundreds, cosines below one


class Calibration(NamedTuple):
    """Logits over the temperature become probabilities."""

    temperature: float
    error: float  # expected calibration error with the temperature of the other folds
    raw_error: float  # of plain softmax


def calibrated(heldout: Heldout) -> Calibration:
    """The temperature at which held-out examples are most likely (Guo et al. 2017, section 4.2), and what it is worth.

    The error is found on each fold with the temperature of the others. Of a single part there are no others: half of
    it gives the temperature for the other half.
    """
    parts = [(logits[i::2], y[i::2]) for logits, y in heldout for i in (0, 1)] if len(heldout) == 1 else heldout
    scaled = []
    for i, (logits, _) in enumerate(parts):
        scaled.append(logits / temperature([part for j, part in enumerate(parts) if j != i]))
    y = np.concatenate([labels for _, labels in parts])
    raw = np.concatenate([logits for logits, _ in parts])
    error, raw_error = (all_metrics(each, y)["ece"] for each in (np.concatenate(scaled), raw))
    return Calibration(temperature(parts), error, raw_error)


def temperature(heldout: Heldout) -> float:
    """The temperature of least negative log-likelihood.

    Each target is 1 - 1 / (n + 2), as Platt (1999, section 2.2) has it: that all examples were right does not make the
    next one certain.
    """
    logits = np.concatenate([each for each, _ in heldout]).astype(np.float64)
    y = np.concatenate([labels for _, labels in heldout])
    doubt = 1 / (len(y) + 2)
    target = np.full(logits.shape, doubt / (logits.shape[1] - 1))
    target[np.arange(len(y)), y] = 1 - doubt

    def loss(log_temperature: float) -> float:
        z = logits / math.exp(log_temperature)
        z -= z.max(1, keepdims=True)
        return float(-(target * (z - np.log(np.exp(z).sum(1, keepdims=True)))).sum(1).mean())

    return math.exp(minimize_scalar(loss, bounds=RANGE, method="bounded").x)
