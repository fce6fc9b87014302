"""What would a search of fewer trials have chosen in each cell? Expected scores for one trial, two, and so on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tlbench.report.scores import IMPUTED, STATUSES, Grid
from tlbench.report.stats.expected_max import chances


class Expected(NamedTuple):
    """For each cell and k = 1 ... K trials, the default always among them; flat where a cell had fewer than K.

    NaN where it cannot be said: no trials are told, or they stopped after different steps and cannot be compared.
    """

    validation: np.ndarray  # [R, D, B, S, K] z of the inner folds
    test: np.ndarray  # [R, D, B, S, K] z of the test set; needs the score of every trial that may be chosen
    trials: np.ndarray  # [R, D, B, S] how many there were; 0 where none are told
    halved: np.ndarray  # [R] did trials of a cell stop after different steps?
    refitted: np.ndarray  # [R, D, B, S] how many were trained on the whole budget and scored on the test set


class _Cell(NamedTuple):
    """The trials of one cell, best first."""

    default: int | None  # its place; None where it is not told
    validation: list[float]
    test: list[float]
    refitted: int
    comparable: bool


def expected(grid: Grid) -> Expected:
    """The curves of every cell. Ties are broken as the search does: likelihood, cost, number (PROTOCOL 3)."""
    cells = list(_cells(grid))
    most = max((len(cell.test) for cell in cells), default=0)
    sizes = _dense(grid, [len(cell.test) for cell in cells])
    validation, test = (
        _dense(grid, _curves([(cell.default, getattr(cell, side)) for cell in cells], max(most, 1)))
        for side in ("validation", "test")
    )
    comparable = np.array([cell.comparable for cell in cells], bool)
    apart = _dense(grid, ~comparable) == 1
    for curves in (validation, test):
        curves[apart] = np.nan
    failed = np.isin(grid.status, [STATUSES.index(status) for status in IMPUTED])
    judged = ~np.isnan(validation[..., 0]).all((1, 3), keepdims=True)  # with one label a class nothing is compared
    validation[failed & judged] = 0.0
    test[failed] = 0.0
    refitted = _dense(grid, [cell.refitted for cell in cells])
    return Expected(validation, test, np.nan_to_num(sizes).astype(int), apart.any((1, 2, 3)), refitted)


def _cells(grid: Grid) -> Iterable[_Cell]:
    frame = grid.frame
    blank = [None] * len(frame)
    columns = [frame.get(name, blank) for name in ("trials", "trial_scores", "score", "floor")]
    done = frame.status.eq("done")
    for known, trials, scores, score, floor in zip(done, *columns, strict=True):
        told = trials if known and isinstance(trials, Sequence) else ()
        yield _cell(told, scores if isinstance(scores, Mapping) else {}, score, floor)


def _cell(trials: Sequence[Mapping[str, Any]], scores: Mapping[str, float], score: float, floor: float) -> _Cell:
    ordered = sorted(trials, key=_rank)
    numbers = [trial["number"] for trial in ordered]
    values = [_z(trial["value"], floor, failed=trial["state"] == "failed") for trial in ordered]
    on_test = [score] if len(ordered) == 1 else [scores.get(str(number), np.nan) for number in numbers]
    refitted = sum(trial["state"] == "complete" or trial["number"] == 0 for trial in ordered)
    steps = {trial["steps"] for trial in ordered if trial["value"] is not None}
    return _Cell(numbers.index(0) if 0 in numbers else None, values, on_test, refitted, len(steps) <= 1)


def _rank(trial: Mapping[str, Any]) -> tuple[float, ...]:
    """Best first; one that failed is never chosen, but for the default where no other is left."""
    if trial["value"] is None:
        return np.inf, float(trial["number"] > 0)
    nll = np.inf if trial["nll"] is None else trial["nll"]
    return -trial["value"], nll, trial.get("cost", 0), trial["number"]


def _z(value: float | None, floor: float | None, *, failed: bool) -> float:
    if value is None or floor is None or floor >= 1:
        return 0.0 if failed else np.nan
    return (value - floor) / (1 - floor)


def _curves(cells: Sequence[tuple[int | None, list[float]]], most: int) -> np.ndarray:
    """[cells, most] from each cell's place of the default and its trials' values, best first."""
    made = np.full((len(cells), most), np.nan)
    shapes: dict[tuple[int, int | None], list[int]] = {}
    for i, (default, values) in enumerate(cells):
        shapes.setdefault((len(values), default), []).append(i)
    for (size, default), places in shapes.items():
        if not size:
            continue
        weights = chances(size, default).T
        told = np.array([cells[i][1] for i in places], float)
        unknown = np.isnan(told) @ (weights > 0)
        found = np.where(unknown, np.nan, np.nan_to_num(told) @ weights)
        made[places, :size], made[places, size:] = found, found[:, -1:]
    return made


def _dense(grid: Grid, values: Sequence[Any] | np.ndarray) -> np.ndarray:
    """[R, D, B, S, ...] from one value, or one curve, a cell of the frame."""
    array = np.asarray(values, float)
    dense = np.full((*grid.z.shape, *array.shape[1:]), np.nan)
    dense[grid.place] = array
    return dense
