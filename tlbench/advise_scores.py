"""What did each way score on each fold, and which classes does it take for which?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from tlbench.advise_calibration import Heldout
from tlbench.advise_findings import Name, Scores
from tlbench.advise_runs import Contest
from tlbench.datasets import base
from tlbench.metrics import all_metrics
from tlbench.store import Store

PARTS = 10  # disjoint parts of a single hold-out, whose spread stands in for that between folds


class Confused(NamedTuple):
    """A class that is often missed."""

    name: str
    found: float  # share of its examples
    examples: int
    taken_for: str  # the class most of the others are taken for


def scores(contest: Contest, frame: pd.DataFrame, results: Path, root: Path) -> Scores:
    """The primary metric [K] of each (strategy, network, budget) that was done on every fold.

    A single hold-out is read in ten stratified parts of its test examples, from stored logits and after scoring.
    """
    order = {fold.dataset: i for i, fold in enumerate(contest.folds)}
    metric, found = contest.data.card.metric, {}
    for name, rows in frame[frame.status == "done"].groupby(["strategy", "backbone", "budget"]):
        if len(rows) != len(order):
            continue
        rows = rows.iloc[np.argsort(rows.dataset.map(order).to_numpy())]
        found[name] = rows[metric].to_numpy(float)
        if len(order) == 1:
            found[name] = _in_parts(_predicted(contest, rows, results)[0], _labels(contest, root)[0], metric)
    return found


def held_out(contest: Contest, frame: pd.DataFrame, name: Name, results: Path, root: Path) -> Heldout:
    """What the way with all labels said of the examples of each fold, and what they are."""
    rows = frame[(frame.strategy == name[0]) & (frame.backbone == name[1]) & (frame.budget == contest.budgets[-1])]
    order = {fold.dataset: i for i, fold in enumerate(contest.folds)}
    rows = rows.iloc[np.argsort(rows.dataset.map(order).to_numpy())]
    return list(zip(_predicted(contest, rows, results), _labels(contest, root), strict=True))


def confused(heldout: Heldout, classes: Sequence[str]) -> list[Confused]:
    """The classes of which least is found, worst first; those that are always found are left out."""
    table = np.zeros((len(classes), len(classes)), np.int64)
    for logits, y in heldout:
        np.add.at(table, (y, logits.argmax(1)), 1)
    found = []
    for label, counts in enumerate(table):
        hits, total = int(counts[label]), int(counts.sum())
        if total > hits:
            others = counts.copy()
            others[label] = -1
            found.append(Confused(classes[label], hits / total, total, classes[int(others.argmax())]))
    return sorted(found, key=lambda each: (each.found, -each.examples))


def _predicted(contest: Contest, rows: pd.DataFrame, results: Path) -> list[np.ndarray]:
    """Test logits [m, C] of the chosen configuration, in the order of the rows."""
    found = []
    with Store.open(results / contest.name, create=False) as store:
        for key in rows.key:
            record = store.get(key)
            assert record is not None
            arrays = store.logits(record.measurement.logits)
            chosen = record.measurement.hyperparameters
            trial = next(each["number"] for each in record.measurement.trials if each["params"] == chosen)
            found.append(arrays[str(trial)])
    return found


def _labels(contest: Contest, root: Path) -> list[np.ndarray]:
    """Test labels of each fold, once all is scored; they are the user's own."""
    return [base.sealed_labels(base.load(fold.dataset, root)) for fold in contest.folds]


def _in_parts(logits: np.ndarray, y: np.ndarray, metric: str) -> np.ndarray:
    """The metric on each stratified part of the test examples."""
    part = np.empty(len(y), np.int64)
    for label in np.unique(y):
        rows = np.flatnonzero(y == label)
        part[rows] = np.arange(len(rows)) % PARTS
    return np.array([all_metrics(logits[part == i], y[part == i])[metric] for i in range(PARTS)])
