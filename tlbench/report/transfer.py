"""Where does transfer help, and where does it hurt? Each strategy against one that starts without pretraining."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tlbench.report import stats
from tlbench.report.meta import Meta
from tlbench.report.scores import Grid
from tlbench.report.stats import Interval

HELPS, HURTS, UNDECIDED, UNKNOWN = "helps", "hurts", "undecided", "no interval"


class Transfer(NamedTuple):
    """Paired differences (strategy - baseline) over the same splits, for T rows of the grid."""

    baseline: str
    rows: tuple[int, ...]
    datasets: Interval  # [T, D] of the area, `cell`
    suite: Interval  # [T] of the area
    tasks: Interval  # [T] of the area
    budgets: Interval  # [T, B], `tasks`
    splits: Interval  # [T, B], `suite`


def transfer(grid: Grid, meta: Meta, baseline: str) -> Transfer:
    """Gains of every row that starts from pretrained weights over the baseline's row of the same backbone."""
    place = {row: index for index, row in enumerate(grid.rows)}
    pairs = [
        (index, place[baseline, backbone])
        for index, (strategy, backbone) in enumerate(grid.rows)
        if strategy not in meta.without_pretraining and (baseline, backbone) in place
    ]
    ours, theirs = (np.array([pair[side] for pair in pairs], int) for side in (0, 1))
    gain = grid.area[ours] - grid.area[theirs]  # [T, D, S]
    unfinished = (grid.incomplete[ours] | grid.incomplete[theirs]).any(1)[:, None, None]
    whole = np.where(unfinished, np.nan, gain)
    by_budget = np.where(unfinished[..., None], np.nan, grid.z[ours] - grid.z[theirs]).swapaxes(1, 2)
    return Transfer(
        baseline,
        tuple(ours.tolist()),
        datasets=stats.cell(gain),
        suite=stats.suite(whole),
        tasks=stats.tasks(whole),
        budgets=stats.tasks(by_budget),
        splits=stats.suite(by_budget),
    )


def verdict(interval: Interval, *index: int) -> str:
    """What the interval of one gain allows to say."""
    one = interval.at(*index)
    if np.isnan(one.low):
        return UNKNOWN
    return HELPS if one.above_zero else HURTS if one.below_zero else UNDECIDED
