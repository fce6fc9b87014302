"""How many labels is it worth? Crossovers of label curves, and labels that one strategy needs to match another.

Asked among the ranked rows of the main group, of their mean curves over the datasets that have every budget. Places
of rows below are places in `Labels.rows`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tlbench.report import stats
from tlbench.report.scores import Grid
from tlbench.report.stats import Interval
from tlbench.report.stats.curves import Place, bounds, meeting, reach
from tlbench.report.stats.resampling import means, resamples

if TYPE_CHECKING:
    from tlbench.report.analysis import Analysis


class Answers(NamedTuple):
    """What one kind of resamples says of A rows and B budgets."""

    ahead: Place  # [A, A] labels from which on row i is ahead of row j to the last budget
    needed: Place  # [A, A, B] labels with which row j is as good as row i is at a budget
    crossed: np.ndarray  # [A, A] share of the resamples in which the two cross; NaN where nothing can be said


class Step(NamedTuple):
    """Label more, or change the strategy? At one budget, on one network."""

    covers: str  # what the intervals cover: `tasks`, or `suite` where there is one dataset
    budget: int
    best: int  # place of the row that does best at this budget on the reference's network
    switch: Interval  # what the best row gives at this budget over the reference
    more: Interval | None  # what the next budget gives the reference; None at the last budget
    rather: Interval | None  # `more` less `switch`: above 0, labels give more


@dataclass(frozen=True)
class Labels:
    grid: Grid
    rows: tuple[int, ...]  # best first
    datasets: tuple[int, ...]
    budgets: tuple[int, ...]
    curves: np.ndarray  # [B, A]
    times: np.ndarray  # [A, A] how often two curves cross
    tasks: Answers
    suite: Answers
    references: tuple[int, ...]  # for each row the place of the row whose labels it is counted in
    steps: tuple[Step, ...]

    @property
    def said(self) -> tuple[Answers, str]:
        """The answers with the widest interval that there is, and what it covers."""
        kinds = (self.tasks, "tasks"), (self.suite, "suite")
        return next((kind for kind in kinds if not np.isnan(kind[0].crossed).all()), (self.tasks, ""))

    @property
    def counted_in(self) -> str:
        """The strategy whose labels all others are counted in, in words."""
        names = {self.grid.rows[self.rows[j]] for j in self.references}
        if len(names) == 1:
            return " · ".join(next(iter(names))) if len({b for _, b in self.grid.rows}) > 1 else next(iter(names))[0]
        strategies = {strategy for strategy, _ in names}
        return f"{strategies.pop()} on the same network" if len(strategies) == 1 else "the reference"


def unasked(analysis: Analysis) -> str:
    """Why no question about labels can be asked of these results; empty where it can."""
    if analysis.main is None:
        return "no rows can be ranked together"
    if len(analysis.main.ranked) < 2:
        return "only one strategy is ranked, and it takes two to compare"
    if len(_budgets(analysis)) < 2:
        return "only one budget was run, and one point is no curve"
    return "" if _datasets(analysis) else "no dataset has every budget"


def labels(analysis: Analysis) -> Labels | None:
    """None where nothing can be asked: see `unasked`."""
    if unasked(analysis) or analysis.main is None:
        return None
    grid, rows = analysis.grid, analysis.main.ranked
    places, datasets = _budgets(analysis), _datasets(analysis)
    budgets = tuple(grid.budgets[b] for b in places)
    z = grid.z[np.ix_(rows, datasets, places)].transpose(2, 0, 1, 3)  # [B, A, D, S]
    curves = stats.suite(z).mean
    references = _references([grid.rows[row] for row in rows], analysis.meta.reference)
    times, (tasks, suite) = _crossings(curves, budgets), _both(analysis, datasets, z, budgets)
    return Labels(
        grid, rows, tuple(datasets), budgets, curves, times, tasks, suite, references,
        tuple(_steps(z, budgets, _same_network(grid, rows, references[0]), references[0])),
    )  # fmt: skip


def _budgets(analysis: Analysis) -> list[int]:
    """Places of the budgets that the main group's rows were asked for."""
    return np.flatnonzero(_applicable(analysis).any(0)).tolist()


def _datasets(analysis: Analysis) -> list[int]:
    """Places of the datasets that have all those budgets: a mean curve is over the same datasets all along."""
    return np.flatnonzero(_applicable(analysis)[:, _budgets(analysis)].all(1)).tolist()


def _applicable(analysis: Analysis) -> np.ndarray:
    assert analysis.main is not None
    return analysis.grid.applicable[analysis.main.ranked[0]]  # [D, B]


def _references(names: Sequence[tuple[str, str]], reference: str) -> tuple[int, ...]:
    """The reference strategy on the row's own network; else on the best one's; without any, the row in the middle."""
    probes = [i for i, (strategy, _) in enumerate(names) if strategy == reference]
    own = {names[i][1]: i for i in probes}
    other = next(iter(probes), len(names) // 2)
    return tuple(own.get(backbone, other) for _, backbone in names)


def _same_network(grid: Grid, rows: Sequence[int], place: int) -> list[int]:
    return [i for i, row in enumerate(rows) if grid.rows[row][1] == grid.rows[rows[place]][1]]


def _steps(z: np.ndarray, budgets: Sequence[int], candidates: list[int], reference: int) -> Iterator[Step]:
    """`z` is [B, A, D, S]; `candidates` are the places of rows that may be switched to, best first."""
    means_at = stats.suite(z).mean
    covers, interval = ("tasks", stats.tasks) if z.shape[2] > 1 else ("suite", stats.suite)
    for b, budget in enumerate(budgets):
        best = max(candidates, key=lambda i: means_at[b, i])  # noqa: B023 - used within this turn
        switch = interval(z[b, best] - z[b, reference])
        if b + 1 == len(budgets):
            yield Step(covers, budget, best, switch, None, None)
        else:
            more, rather = (interval(z[b + 1, reference] - z[b, row]) for row in (reference, best))
            yield Step(covers, budget, best, switch, more, rather)


def _crossings(curves: np.ndarray, budgets: Sequence[int]) -> np.ndarray:
    return meeting(curves[:, :, None] - curves[:, None], budgets).times


def _both(analysis: Analysis, datasets: list[int], z: np.ndarray, budgets: Sequence[int]) -> tuple[Answers, Answers]:
    """Of the tasks and of the suite resamples."""
    filled = np.where(np.isnan(z), stats.cell(z).mean[..., None], z)  # a seed that one budget lacks has their mean
    weights = analysis.resamples[0]
    if datasets != analysis.datasets_of(analysis.ranking.groups[0]):
        weights = resamples([analysis.grid.datasets[d] for d in datasets], ~np.isnan(z).all((0, 1)))
    curves = stats.suite(z).mean
    tasks, suite = (answers(curves, _draws(kind, filled), budgets) for kind in (weights.tasks, weights.suite))
    return tasks, suite


def _draws(weights: np.ndarray, z: np.ndarray) -> np.ndarray | None:
    """[B, A, n] mean curves of each resample."""
    if np.isnan(weights).any():
        return None
    return np.ascontiguousarray(np.moveaxis(means(weights, z), 0, -1))


def answers(curves: np.ndarray, draws: np.ndarray | None, budgets: Sequence[int]) -> Answers:
    """`curves` [B, A] of the data, `draws` [B, A, n] of its resamples or None where they would say nothing."""
    met = meeting(curves[:, :, None] - curves[:, None], budgets)
    needed = reach(curves[:, :, None], curves.T[:, None], budgets)  # [A, A, B]
    unknown = [np.full(shape, np.nan) for shape in (met.ahead.shape, needed.shape)]
    made = Answers(
        Place(met.ahead, unknown[0].copy(), unknown[0].copy()),
        Place(needed, unknown[1].copy(), unknown[1].copy()),
        unknown[0].copy(),
    )
    if draws is not None:
        for i, j in combinations(range(curves.shape[1]), 2):
            _resampled(made, (i, j), draws, budgets)
    return made


def _resampled(made: Answers, pair: tuple[int, int], draws: np.ndarray, budgets: Sequence[int]) -> None:
    """Fills in what the resamples say of one pair, both ways; pair by pair, the draws stay in the processor's cache."""
    i, j = pair
    met = meeting(draws[:, i] - draws[:, j], budgets)
    made.crossed[i, j] = made.crossed[j, i] = (met.times > 0).mean()
    for one, other, ahead in ((i, j, met.ahead), (j, i, met.behind)):
        made.ahead.low[one, other], made.ahead.high[one, other] = bounds(ahead)
        low, high = bounds(reach(draws[:, other], draws[:, one], budgets))
        made.needed.low[one, other], made.needed.high[one, other] = low, high
