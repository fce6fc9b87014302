"""What does a score cost? Rows that nothing cheaper beats, and the cheapest that is as good as one standard error says.

Asked of the rows of the main group, for every kind of cost that the results tell. A cost is a median over cells and
taken as known; what varies is the score.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from tlbench.report import stats
from tlbench.report.ranking import ENOUGH_DATASETS
from tlbench.report.scores import Grid
from tlbench.report.stats.fronts import on_front, within_one_error
from tlbench.report.stats.resampling import means

if TYPE_CHECKING:
    from tlbench.report.analysis import Analysis

# One question for each line: the first column that the results have is asked about.
FAMILIES = (
    ("train_flops",),
    ("tune_flops", "tune_seconds", "tune_steps", "tune_steps_whole"),
    ("stored_parameters", "trainable_parameters", "total_parameters"),
    ("predict_ms_64", "predict_ms_64_p95", "predict_ms_1", "predict_ms_1_p95"),
    ("fit_seconds", "peek_seconds"),
    ("peak_memory_mb",),
)
LABELS = {
    "train_flops": "training FLOP of one fit",
    "tune_flops": "FLOP of choosing hyperparameters",
    "tune_seconds": "seconds of choosing hyperparameters",
    "tune_steps": "steps of choosing hyperparameters",
    "tune_steps_whole": "steps of choosing hyperparameters with every trial to the end",
    "stored_parameters": "parameters to store a task",
    "trainable_parameters": "parameters that training changes",
    "total_parameters": "parameters of the network",
    "predict_ms_64": "ms to predict 64 examples",
    "predict_ms_64_p95": "ms to predict 64 examples, 95th percentile",
    "predict_ms_1": "ms to predict one example",
    "predict_ms_1_p95": "ms to predict one example, 95th percentile",
    "fit_seconds": "seconds of one fit",
    "peek_seconds": "seconds of fitting the other finalists",
    "peak_memory_mb": "MiB of memory at the peak",
}
ALIKE = 1.25  # where the dearest row costs less than this times the cheapest, there is no question
FOREIGN = "cost_"  # columns of a foreign table that begin so are costs
MEASURED = {"seconds", "second", "sec", "ms", "mb", "mib", "gb", "energy", "joule", "joules", "kwh", "wh", "watt"}


class Cheapest(NamedTuple):
    """The cheapest row within one standard error of the best, for the headline of several budgets or at one."""

    budget: int | None  # None: the headline
    best: int
    row: int
    costs: tuple[float, float]  # of the best (NaN where unknown), of the cheapest
    behind: float  # mean of the paired difference to the best, on the scale of z


class Costs(NamedTuple):
    """The answers for one kind of cost."""

    column: str
    label: str  # such as "training FLOP of one fit"
    repeatable: bool  # the same on every machine
    cost: np.ndarray  # [R]
    rows: tuple[int, ...]  # rows of the main group whose cost is known, best first
    front: np.ndarray  # [R] is it on the front?
    chance: np.ndarray  # [R] share of the resamples of the datasets in which it is; NaN with one dataset
    cheapest: tuple[Cheapest, ...]  # the headline first where there are several budgets; none below ENOUGH_DATASETS


def costs(analysis: Analysis) -> tuple[Costs, ...]:
    """One answer for each kind of cost that the main group's ranked rows tell; none where nothing is ranked."""
    main = analysis.main
    if main is None:
        return ()
    datasets, ranked = analysis.datasets_of(main), list(main.ranked)
    draws = np.full((len(analysis.resamples[0].tasks), len(analysis.grid.rows)), np.nan)
    draws[:, ranked] = means(analysis.resamples[0].tasks, analysis.grid.area[ranked][:, datasets])
    asked = ((column, medians(analysis.grid, column)) for column in kinds(analysis.grid.frame))
    return tuple(_costs(analysis, column, cost, draws) for column, cost in asked if _differs(cost[ranked]))


def kinds(frame: pd.DataFrame) -> list[str]:
    """The columns to ask about: one of each family, then those that a foreign table brings."""
    known = [next((name for name in family if name in frame and frame[name].notna().any()), "") for family in FAMILIES]
    foreign = [str(name) for name in frame if str(name).startswith(FOREIGN)]
    foreign.sort(key=lambda name: (not repeatable(name), name))
    return [name for name in (*known, *foreign) if name]


def medians(grid: Grid, column: str, budget: int | None = None) -> np.ndarray:
    """[R]: the median of a cost over the done cells, or those of one budget; NaN where it is not known."""
    done = grid.frame.status.eq("done") & (grid.frame.budget.eq(budget) if budget is not None else True)
    known = grid.frame[done].groupby(["strategy", "backbone"])[column].median()
    return known.reindex(pd.MultiIndex.from_tuples(grid.rows)).to_numpy(float)


def repeatable(column: str) -> bool:
    """Is it the same on every machine? What is not never enters a leaderboard file."""
    return not MEASURED & set(column.lower().split("_"))


def enough_datasets(analysis: Analysis) -> bool:
    """Are there enough to say which rows are nearly as good as the best?"""
    return analysis.main is not None and len(analysis.datasets_of(analysis.main)) >= ENOUGH_DATASETS


def _differs(cost: np.ndarray) -> bool:
    known = cost[~np.isnan(cost)]
    return len(known) > 0 and (len(known) == 1 or bool(known.max() > ALIKE * known.min()))


def _costs(analysis: Analysis, column: str, cost: np.ndarray, draws: np.ndarray) -> Costs:
    """`draws` [n, R]: headlines of resampled datasets."""
    grid, main = analysis.grid, analysis.main
    assert main is not None
    rows = [row for row in main.ranked if not np.isnan(cost[row])]
    front, chance = np.zeros(len(grid.rows), bool), np.full(len(grid.rows), np.nan)
    front[rows] = on_front(cost[rows], analysis.ranking.suite.mean[rows])
    if not np.isnan(draws[:, rows]).any():
        chance[rows] = on_front(cost[rows], draws[:, rows]).mean(0)
    cheapest = tuple(_cheapest(analysis, column)) if enough_datasets(analysis) else ()
    label = LABELS.get(column, column.removeprefix(FOREIGN).replace("_", " "))
    return Costs(column, label, repeatable(column), cost, tuple(rows), front, chance, cheapest)


def _cheapest(analysis: Analysis, column: str) -> Iterator[Cheapest]:
    grid, main = analysis.grid, analysis.main
    assert main is not None
    if len(grid.budgets) > 1:
        yield from _pick(main.ranked, stats.cell(grid.area).mean, medians(grid, column), (None, main.ranked[0]))
    for choice in analysis.ranking.choices:
        at = grid.z[:, :, grid.budgets.index(choice.budget)]
        yield from _pick(main.ranked, stats.cell(at).mean, medians(grid, column, choice.budget), choice[:2])


def _pick(
    ranked: tuple[int, ...], score: np.ndarray, cost: np.ndarray, asked: tuple[int | None, int]
) -> Iterator[Cheapest]:
    """`score` [R, D], `cost` [R], `asked` a budget and its best row."""
    rows = np.array(ranked)
    budget, best = asked
    near = rows[within_one_error(score[rows], ranked.index(best)) & ~np.isnan(cost[rows])]
    if len(near):
        behind = np.nanmean(score[best] - score[near], axis=1)
        first = np.lexsort((behind, cost[near]))[0]
        row = int(near[first])
        yield Cheapest(budget, best, row, (float(cost[best]), float(cost[row])), float(behind[first]))
