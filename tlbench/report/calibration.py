"""Do probabilities mean what they say, and which classes are hard? From the bins and counts kept with every cell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from tlbench.report import stats
from tlbench.report.scores import CELL, Grid, area
from tlbench.report.stats import Interval

if TYPE_CHECKING:
    from tlbench.report.analysis import Analysis

ERRORS = ("nll", "brier", "ece")
OVER = "overconfidence"  # mean confidence minus accuracy
BINS = 10  # of a pooled diagram
HARDEST = 3  # classes named of a dataset


class Diagram(NamedTuple):
    """Bins of equal weight, from the least to the most confident; each cell of the row weighs the same."""

    confidence: np.ndarray  # [bins]
    accuracy: np.ndarray  # [bins]
    share: np.ndarray  # [bins] of all predictions


class HardClass(NamedTuple):
    """A class that is found seldom, with the largest budget."""

    dataset: str
    name: str
    examples: int  # in the test set
    recall: float  # mean over the rows that are ranked together and start from pretraining
    best: int  # the row that finds it most often
    best_recall: float


class Calibration(NamedTuple):
    suite: dict[str, Interval]  # [R] by name: ERRORS and OVER, over the label curve like the headline
    tasks: dict[str, Interval]  # [R]
    cells: np.ndarray  # [R] done cells that the numbers come from
    diagrams: tuple[Diagram | None, ...]  # [R]
    binned: int  # done cells with bins; the others were measured before bins were kept
    done: int
    hard: tuple[HardClass, ...]  # by dataset, the hardest first


def calibration(analysis: Analysis) -> Calibration | None:
    """None where no cell tells anything of probabilities. A failed cell has none, and is left out."""
    grid = analysis.grid
    frame = grid.frame.reindex(columns=[*CELL, "status", *ERRORS, "reliability", "classes"])
    done = frame.status.eq("done").to_numpy()
    if not frame.loc[done, [*ERRORS]].notna().any(axis=None):
        return None
    bins = [value if isinstance(value, dict) and value else None for value in frame.reliability]
    columns = {name: frame[name].to_numpy(float, na_value=np.nan) for name in ERRORS}
    columns[OVER] = np.array([np.nan if each is None else _overconfidence(each) for each in bins])
    curves = {name: _curves(grid, np.where(done, values, np.nan)) for name, values in columns.items()}
    rows = grid.place[0]
    of_row = [[bins[i] for i in np.flatnonzero(done & (rows == row))] for row in range(len(grid.rows))]
    return Calibration(
        suite={name: stats.suite(values) for name, values in curves.items()},
        tasks={name: stats.tasks(values) for name, values in curves.items()},
        cells=np.bincount(rows[done], minlength=len(grid.rows)),
        diagrams=tuple(pooled(each for each in cells if each is not None) for cells in of_row),
        binned=sum(each is not None and counts for each, counts in zip(bins, done.tolist(), strict=True)),
        done=int(done.sum()),
        hard=tuple(_hard(analysis, frame.assign(row=rows)[done])),
    )


def pooled(cells: Iterable[dict[str, Any]]) -> Diagram | None:
    """One diagram from the bins of several cells; None where there are none."""
    parts = [np.array([each["confidence"], each["hits"], each["examples"]], float) for each in cells]
    if not parts:
        return None
    confidence, hits, examples = np.concatenate(parts, axis=1)
    weight = np.concatenate([part[2] / part[2].sum() for part in parts]) / len(parts)
    order = np.argsort(confidence)
    ends = np.interp(np.arange(1, BINS) / BINS, np.cumsum(weight[order]), confidence[order])
    place = np.searchsorted(ends, confidence)  # equal confidences share a bin
    share, said, right = (np.bincount(place, weight * x, BINS) for x in (1.0, confidence, hits / examples))
    kept = share > 0
    return Diagram(said[kept] / share[kept], right[kept] / share[kept], share[kept])


def document(analysis: Analysis) -> dict[str, Any] | None:
    """For leaderboard.json."""
    found = analysis.calibration
    if found is None:
        return None
    grid = analysis.grid
    return {
        "cells_done": found.done,
        "cells_with_bins": found.binned,
        "rows": [{**grid.named(row), **_row(found, row)} for row in range(len(grid.rows)) if found.cells[row]],
        "hardest_classes": [{**each._asdict(), "best": grid.named(each.best)} for each in found.hard],
    }


def _row(found: Calibration, row: int) -> dict[str, Any]:
    kinds = {"suite": found.suite, "tasks": found.tasks}
    diagram = found.diagrams[row]
    return {
        "cells": found.cells[row],
        **{name: [intervals[name].spelled(kind, row) for kind, intervals in kinds.items()] for name in found.suite},
        "reliability": None if diagram is None else diagram._asdict(),
    }


def _curves(grid: Grid, values: np.ndarray) -> np.ndarray:
    """[R, D, S] from one value a cell: its mean over log2(budget), like the headline's."""
    dense = np.full(grid.z.shape, np.nan)
    dense[grid.place] = values
    return area(np.where(grid.applicable[..., None], dense, np.nan), grid.budgets)


def _overconfidence(bins: dict[str, Any]) -> float:
    examples = np.array(bins["examples"], float)
    return float((examples @ np.array(bins["confidence"], float) - sum(bins["hits"])) / examples.sum())


def _hard(analysis: Analysis, done: pd.DataFrame) -> Iterator[HardClass]:
    """The hardest classes of each dataset for the ranked rows that start from pretraining, at the largest budget."""
    main = analysis.main
    if main is None:
        return
    floors = analysis.meta.without_pretraining
    rows = [row for row in main.ranked if analysis.grid.rows[row][0] not in floors] or main.ranked
    asked = done[done.row.isin(rows) & done.budget.eq(max(analysis.grid.budgets))]
    for dataset, cells in asked.groupby("dataset", sort=True):
        counted = [(row, each) for row, each in zip(cells.row, cells.classes, strict=True) if isinstance(each, dict)]
        counted = [(row, each) for row, each in counted if each and each["support"] == counted[-1][1].get("support")]
        if counted:
            facts = analysis.meta.facts.get(str(dataset))
            yield from _hardest(str(dataset), counted, () if facts is None else tuple(facts.class_names))


def _hardest(dataset: str, counted: list[tuple[int, dict[str, Any]]], names: tuple[str, ...]) -> Iterator[HardClass]:
    support = np.array(counted[0][1]["support"])
    rows, which = np.unique([row for row, _ in counted], return_inverse=True)
    recall = np.array([each["hits"] for _, each in counted]) / np.maximum(support, 1)  # [cells, C]
    by_row = np.array([recall[which == i].mean(0) for i in range(len(rows))])
    mean = np.where(support > 0, by_row.mean(0), np.inf)
    for label in np.argsort(mean, kind="stable")[: min(HARDEST, len(support) - 1)].tolist():
        best = int(by_row[:, label].argmax())
        name = names[label] if len(names) == len(support) else f"class {label}"
        found = float(mean[label]), int(rows[best]), float(by_row[best, label])
        yield HardClass(dataset, name, int(support[label]), *found)
