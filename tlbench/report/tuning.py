"""What did tuning buy, how many trials does it take, and what would choosing on the test set have added?"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tlbench.report import stats
from tlbench.report.scores import Grid, area
from tlbench.report.stats import Interval
from tlbench.report.trials import Expected, expected

if TYPE_CHECKING:
    pass

NEAR = 0.01  # enough trials: the expected score stays this close to that of all of them
UNFINISHED = "not every cell was run"
LEARNS = "its sampler learns from earlier trials, so that some of them say nothing of what fewer would have found"
HALVED = "some trials were stopped early, and what was stopped cannot be compared with what was not"
ALONE = "the results do not hold the test score of every trial"
UNTOLD = "the results do not hold its trials"


class Curves(NamedTuple):
    """Expected score of what a search of k trials chooses, the default always among them; area under the label curve.

    Unbiased for independent trials, as random search draws them.
    """

    validation: Interval  # [R, K] suite; on the inner folds, which is what the search sees
    test: Interval  # [R, K] suite; on the test set. Begins at the default's score and ends at the headline
    enough: np.ndarray  # [R] trials from which on the test score is within NEAR of that of all
    why: tuple[str, ...]  # [R] why a curve is missing, "" where both are there


class Tuning(NamedTuple):
    """Areas under the label curve; differences are paired over the same splits. NaN where the results do not tell."""

    default: Interval  # [R] suite; of trial 0
    suite: Interval  # [R] tuned - default
    tasks: Interval  # [R] tuned - default
    peek: Interval  # [R] suite; best refitted trial on the test set - tuned
    trials: np.ndarray  # [R] most trials of a cell; 0 where none are told
    refitted: np.ndarray  # [R] mean number of trials that were scored on the test set, over cells with several
    curves: Curves

    @property
    def tuned(self) -> np.ndarray:
        """[R] had the row anything to tune? Where its trials are not told, whether its score moved tells."""
        moved = np.nan_to_num(np.abs(self.suite.mean)) + np.nan_to_num(self.peek.mean) > 0
        return (self.trials > 1) | ((self.trials == 0) & moved)


def tuning(grid: Grid, sampler: str = "random") -> Tuning:
    """Every row's answers; none depends on another row. Curves need trials that were drawn at random."""
    default, peek = _area(grid, grid.values("default_score")), _area(grid, grid.values("peek_gap"))
    gain = _area(grid, grid.z) - default
    found = expected(grid)
    several = found.trials > 1
    refitted = np.where(several, found.refitted, 0).sum((1, 2, 3)) / np.maximum(several.sum((1, 2, 3)), 1)
    trials = found.trials.max((1, 2, 3))
    return Tuning(
        default=stats.suite(default),
        suite=stats.suite(gain),
        tasks=stats.tasks(gain),
        peek=stats.suite(peek),
        trials=trials,
        refitted=refitted,
        curves=_curves(grid, found, sampler),
    )


def _curves(grid: Grid, found: Expected, sampler: str) -> Curves:
    compared = ~np.isnan(found.validation[..., 0]).all((1, 3))  # [R, B]
    counted = np.where(compared[:, None, :, None], grid.z, np.nan)
    learns = sampler != "random"
    validation, test = (
        _expected(grid, np.where(learns, np.nan, values), of)
        for values, of in ((found.validation, counted), (found.test, grid.z))
    )
    reasons = [
        (found.trials.max((1, 2, 3)) == 0, UNTOLD),
        (grid.incomplete.any(1), UNFINISHED),
        (np.full(len(grid.rows), learns), LEARNS),
        (found.halved, HALVED),
        (np.isnan(test.mean[:, -1]), ALONE),
    ]
    why = np.select([where for where, _ in reasons], [reason for _, reason in reasons], "")
    return Curves(validation, test, enough(test.mean), tuple(map(str, why)))


def _area(grid: Grid, values: np.ndarray, of: np.ndarray | None = None) -> np.ndarray:
    """[R, D, S]; NaN for the whole row where a cell that counts (is a number in `of`) lacks its value."""
    unknown = (np.isnan(values) & ~np.isnan(grid.z if of is None else of)).any((1, 2, 3)) | grid.incomplete.any(1)
    return np.where(unknown[:, None, None], np.nan, area(values, grid.budgets))


def _expected(grid: Grid, values: np.ndarray, of: np.ndarray) -> Interval:
    """[R, D, B, S, K] -> [R, K]."""
    areas = [_area(grid, values[..., k], of) for k in range(values.shape[-1])]
    return stats.suite(np.stack(areas, 1))


def enough(mean: np.ndarray) -> np.ndarray:
    """[R, K] -> [R]: the number of trials after the last that is not NEAR the end."""
    far = np.abs(mean - mean[:, -1:]) > NEAR
    last = np.where(far.any(1), far.shape[1] - np.argmax(far[:, ::-1], axis=1), 0)
    return np.where(np.isnan(mean[:, -1]), np.nan, last + 1.0)
