"""Where does transfer help, and where does it hurt? Each strategy against the same network trained from scratch."""

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

    rows: tuple[int, ...]
    datasets: Interval  # [T, D] of the area, `cell`
    suite: Interval  # [T] of the area
    tasks: Interval  # [T] of the area
    budgets: Interval  # [T, B], `tasks`


def transfer(grid: Grid, meta: Meta) -> Transfer:
    """Gains of every row that starts from pretrained weights and has a baseline of the same backbone."""
    place = {row: index for index, row in enumerate(grid.rows)}
    pairs = [
        (index, place[meta.baseline, backbone])
        for index, (strategy, backbone) in enumerate(grid.rows)
        if strategy not in meta.without_pretraining and (meta.baseline, backbone) in place
    ]
    ours, theirs = (np.array([pair[side] for pair in pairs], int) for side in (0, 1))
    gain = grid.area[ours] - grid.area[theirs]  # [T, D, S]
    unfinished = (grid.incomplete[ours] | grid.incomplete[theirs]).any(1)[:, None, None]
    whole = np.where(unfinished, np.nan, gain)
    by_budget = np.where(unfinished[..., None], np.nan, grid.z[ours] - grid.z[theirs]).swapaxes(1, 2)
    rows = tuple(ours.tolist())
    return Transfer(rows, stats.cell(gain), stats.suite(whole), stats.tasks(whole), stats.tasks(by_budget))


def verdict(interval: Interval, *index: int) -> str:
    """What the interval of one gain allows to say."""
    one = interval.at(*index)
    if np.isnan(one.low):
        return UNKNOWN
    return HELPS if one.above_zero else HURTS if one.below_zero else UNDECIDED
