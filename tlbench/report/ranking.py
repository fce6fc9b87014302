"""Who is ranked with whom, in what order, and which strategies can the data not tell apart?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import numpy as np

from tlbench.report import stats
from tlbench.report.scores import ABSENT, NOT_RUN, STATUSES, Grid, area
from tlbench.report.stats import Interval
from tlbench.report.stats.pairs import BETTER, Pairs, compare
from tlbench.report.stats.signed_rank import needed_datasets

ENOUGH_DATASETS = needed_datasets(2)  # with fewer, not even two rows can be told apart
IMPUTED_LIMIT = 0.10  # a row with a larger share of failed cells is not ranked


class Group(NamedTuple):
    """Rows that may be ranked together: the same datasets and budgets apply to them, and they see the same inputs."""

    title: str
    ranked: tuple[int, ...]  # rows of the grid, best first
    tiers: tuple[int, ...]  # for each ranked row, 1 is the best; 0 where nothing can be said
    unranked: tuple[tuple[int, str], ...]  # rows and why they have no rank
    headline: Pairs  # of the ranked rows, in their order
    budgets: tuple[Pairs, ...]  # the same at each budget of the grid


class Choice(NamedTuple):
    """The answer to "what should I use with this many labels?" within the main group."""

    budget: int
    best: int
    tied: tuple[int, ...]  # rows that the best is not better than, best first
    sure: bool  # are there enough datasets to tell rows apart?
    mean: Interval  # [R] suite interval of the scores at this budget


@dataclass(frozen=True)
class Ranking:
    grid: Grid
    suite: Interval  # [R] of the headline
    tasks: Interval  # [R] of the headline
    budget_suite: Interval  # [R, B]
    budget_tasks: Interval  # [R, B]
    datasets: Interval  # [R, D] of the area, `cell`
    groups: tuple[Group, ...]  # the main one, with the most rows, first
    choices: tuple[Choice, ...]

    @property
    def order(self) -> tuple[int, ...]:
        """All rows as the leaderboard prints them: group after group, ranked before unranked."""
        return tuple(row for group in self.groups for row in (*group.ranked, *(r for r, _ in group.unranked)))


def ranking(grid: Grid) -> Ranking:
    """Aggregates and order of all rows; a row's own numbers never depend on the other rows."""
    unfinished = np.any(grid.incomplete, axis=1)[:, None, None]
    areas = np.where(unfinished, np.nan, grid.area)
    by_budget = np.where(unfinished[..., None], np.nan, grid.z).swapaxes(1, 2)  # [R, B, D, S]
    groups = tuple(_groups(grid, areas))
    return Ranking(
        grid=grid,
        suite=stats.suite(areas),
        tasks=stats.tasks(areas),
        budget_suite=stats.suite(by_budget),
        budget_tasks=stats.tasks(by_budget),
        datasets=stats.cell(grid.area),
        groups=groups,
        choices=tuple(_choices(grid, groups[0])) if groups else (),
    )


def _groups(grid: Grid, areas: np.ndarray) -> Iterator[Group]:
    apart = transductive(grid)
    size = grid.applicable.sum((1, 2))

    def kind(row: int) -> tuple[bool, int, bytes]:
        return bool(apart[row]), -int(size[row]), grid.applicable[row].tobytes()

    headline = np.nan_to_num(stats.suite(areas).mean, nan=-np.inf)
    alike = [(key, list(rows)) for key, rows in groupby(sorted(range(len(grid.rows)), key=kind), key=kind)]
    for _, members in sorted(alike, key=lambda group: (group[0][0], -len(group[1]), group[0])):
        rows = sorted(members, key=lambda row: (-headline[row], grid.rows[row]))
        why = {row: _why_unranked(grid, row) for row in rows}
        ranked = tuple(row for row in rows if not why[row])
        title = _title(grid, rows[0], bool(apart[rows[0]]))
        unranked = tuple((row, why[row]) for row in rows if why[row])
        pairs = compare(areas[list(ranked)])
        by_budget = tuple(compare(grid.z[list(ranked), :, b]) for b in range(len(grid.budgets)))
        yield Group(title, ranked, tiers(pairs), unranked, pairs, by_budget)


def transductive(grid: Grid) -> np.ndarray:
    if "transductive" not in grid.frame:
        return np.zeros(len(grid.rows), bool)
    marked = grid.frame.loc[grid.frame.transductive.eq(True), ["strategy", "backbone"]]
    names = set(marked.itertuples(index=False, name=None))
    return np.array([row in names for row in grid.rows])


def _why_unranked(grid: Grid, row: int) -> str:
    if not grid.applicable[row].any():
        return "skipped everywhere"
    if grid.incomplete[row].any():
        missing = int((grid.status[row] == STATUSES.index(NOT_RUN)).sum())
        return f"incomplete: {missing} of {int((grid.status[row] != STATUSES.index(ABSENT)).sum())} cells not run"
    if grid.imputed[row] > IMPUTED_LIMIT:
        return f"{100 * grid.imputed[row]:.0f} % of its cells failed; they count as 0"
    return ""


def _title(grid: Grid, row: int, transductive: bool) -> str:
    applicable = grid.applicable[row]
    datasets = [name for name, used in zip(grid.datasets, applicable.any(1), strict=True) if used]
    budgets = [str(size) for size, used in zip(grid.budgets, applicable.any(0), strict=True) if used]
    whole = applicable.sum() == len(datasets) * len(budgets)
    partial = len(datasets) < len(grid.datasets)
    where = f"{len(datasets)} of {len(grid.datasets)} datasets" if partial else "all datasets"
    title = f"{where}, {', '.join(budgets) or 'no'} labels a class" + ("" if whole else ", not every combination")
    if partial and datasets:
        title += f"; without {', '.join(sorted(set(grid.datasets) - set(datasets)))}"
    return f"transductive (a prediction depends on the other test inputs): {title}" if transductive else title


def tiers(pairs: Pairs) -> tuple[int, ...]:
    """A tier ends before the first row that its best row is better than; 0: nothing can be said."""
    rows = len(pairs.verdict)
    if not pairs.enough:
        return (0,) * rows
    best, tiers = 0, [1] * min(rows, 1)
    for place in range(1, rows):
        separate = pairs.verdict[best, place] == BETTER
        best = place if separate else best
        tiers.append(tiers[-1] + separate)
    return tuple(tiers)


def _choices(grid: Grid, group: Group) -> Iterator[Choice]:
    for b, (budget, pairs) in enumerate(zip(grid.budgets, group.budgets, strict=True)):
        mean = stats.suite(grid.z[:, :, b])
        if not group.ranked or not pairs.datasets:
            continue
        order = sorted(group.ranked, key=lambda row: (-mean.mean[row], grid.rows[row]))  # noqa: B023 - used at once
        against = pairs.verdict[group.ranked.index(order[0])]  # of the best, against each ranked row
        tied = tuple(row for row in order[1:] if against[group.ranked.index(row)] != BETTER)
        yield Choice(budget, order[0], tied if pairs.enough else (), pairs.enough, mean)


def headline_of(grid: Grid, column: str) -> np.ndarray:
    """[R]: another column (trial 0's score, the peek gap) aggregated like the headline; NaN where a cell lacks it."""
    values = grid.values(column)
    unknown = (np.isnan(values) & ~np.isnan(grid.z)).any((1, 2, 3)) | grid.incomplete.any(1)
    return np.where(unknown, np.nan, stats.suite(area(values, grid.budgets)).mean)
