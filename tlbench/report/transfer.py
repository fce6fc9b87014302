"""Where does transfer help, and where does it hurt? Each strategy against one that starts without pretraining."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import special

from tlbench.report import stats
from tlbench.report.meta import Meta
from tlbench.report.scores import IMPUTED, STATUSES, Grid, area
from tlbench.report.stats import LEVEL, Interval, signed_rank

HELPS, HURTS, UNDECIDED, UNKNOWN = "helps", "hurts", "undecided", "no interval"


class Transfer(NamedTuple):
    """Paired differences (strategy - baseline) over the same splits, for T rows of the grid.

    An area is that under the difference of the two curves, over the budgets that both have.
    """

    baseline: str
    rows: tuple[int, ...]
    datasets: Interval  # [T, D] of the area, `cell`
    suite: Interval  # [T] of the area
    tasks: Interval  # [T] of the area
    budgets: Interval  # [T, B], `tasks`
    splits: Interval  # [T, B], `suite`
    stands: np.ndarray  # [T, D] does the difference on a dataset stand after Holm's correction for all of them?
    stands_overall: np.ndarray  # [T] does `tasks`, after the correction for all rows?
    comparisons: int  # on datasets; those that have an interval
    failed: np.ndarray  # [T, D] did a cell of either fail, so that a 0 is compared?
    partial: np.ndarray  # [T] are there cells that only one of the two was asked for?


def transfer(grid: Grid, meta: Meta, baseline: str) -> Transfer:
    """Gains of every row that starts from pretrained weights over the baseline's row of the same backbone."""
    place = {row: index for index, row in enumerate(grid.rows)}
    pairs = [
        (index, place[baseline, backbone])
        for index, (strategy, backbone) in enumerate(grid.rows)
        if strategy not in meta.without_pretraining and (baseline, backbone) in place
    ]
    ours, theirs = (np.array([pair[side] for pair in pairs], int) for side in (0, 1))
    unfinished = grid.incomplete[ours] | grid.incomplete[theirs]  # [T, D]
    difference = grid.z[ours] - grid.z[theirs]  # [T, D, B, S]
    gain = np.where(unfinished[..., None], np.nan, area(difference, grid.budgets))  # [T, D, S]
    missing = unfinished.any(1)[:, None, None]
    whole = np.where(missing, np.nan, gain)
    by_budget = np.where(missing[..., None], np.nan, difference).swapaxes(1, 2)
    datasets, tasks = stats.cell(gain), stats.tasks(whole)
    known = (~np.isnan(gain)).any(-1)  # [T, D]
    p = p_values(datasets, (~np.isnan(gain)).sum(-1) - 1)
    failures = np.any(np.isin(grid.status, [STATUSES.index(status) for status in IMPUTED]), axis=(2, 3))  # [R, D]
    return Transfer(
        baseline,
        tuple(ours.tolist()),
        datasets=datasets,
        suite=stats.suite(whole),
        tasks=tasks,
        budgets=stats.tasks(by_budget),
        splits=stats.suite(by_budget),
        stands=holm(p),
        stands_overall=holm(p_values(tasks, known.sum(1) - 1)),
        comparisons=int((~np.isnan(p)).sum()),
        failed=failures[ours] | failures[theirs],
        partial=(grid.applicable[ours] != grid.applicable[theirs]).any((1, 2)),
    )


def verdict(interval: Interval, *index: int) -> str:
    """What the interval of one gain allows to say."""
    one = interval.at(*index)
    if np.isnan(one.low):
        return UNKNOWN
    return HELPS if one.above_zero else HURTS if one.below_zero else UNDECIDED


def p_values(interval: Interval, freedom: np.ndarray) -> np.ndarray:
    """Two-sided p of the t test that belongs to a Student interval with these degrees of freedom; NaN without one."""
    known = ~np.isnan(interval.half)
    freedom = np.where(known, freedom, 1)
    error = np.where(known, interval.half, 1.0) / special.stdtrit(freedom, (1 + LEVEL) / 2)
    exact = np.where(interval.mean == 0, 0.0, np.inf)  # the same difference on every split
    t = np.divide(np.abs(interval.mean), error, out=np.broadcast_to(exact, error.shape).copy(), where=error > 0)
    return np.where(known, 2 * special.stdtr(freedom, -t), np.nan)


def holm(p: np.ndarray, level: float = 1 - LEVEL) -> np.ndarray:
    """Which of these tests stand when Holm (1979) corrects for all of them; NaN is no test and does not count."""
    stands = np.zeros(p.shape, bool)
    tested = ~np.isnan(p)
    stands[tested] = signed_rank.holm(p[tested]) <= level
    return stands
