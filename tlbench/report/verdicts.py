"""Who is better than whom, from how many labels on, and at what price? One verdict for each pair, in words.

Pairs are those of one group's ranked rows, so that both saw the same cells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tlbench.report import stats
from tlbench.report.cost_questions import LABELS, kinds, medians, repeatable
from tlbench.report.numbers import points
from tlbench.report.plot_ink import name_of
from tlbench.report.ranking import Group
from tlbench.report.scores import Grid, area
from tlbench.report.stats import Interval
from tlbench.report.stats.more_seeds import Outlook, outlooks
from tlbench.report.stats.pairs import BETTER, EQUIVALENT, NOT_ENOUGH, UNDECIDED, WORSE, beats_interval
from tlbench.report.stats.ratings import ratings
from tlbench.report.stats.resampling import resamples

if TYPE_CHECKING:
    from tlbench.report.analysis import Analysis

DECIDED = (BETTER, WORSE, EQUIVALENT)
SAID = {
    BETTER: "{first} is better than {second}",
    WORSE: "{first} is worse than {second}",
    EQUIVALENT: "{first} and {second} are equivalent",
    UNDECIDED: "{first} and {second} cannot be told apart",
}
SAME = 1.05  # a ratio of costs below this is no ratio to speak of


class Run(NamedTuple):
    """The budgets at which one verdict holds."""

    verdict: str
    budgets: tuple[int, ...]
    difference: Interval  # tasks, of the area under the curves over these budgets


class Verdict(NamedTuple):
    """One pair; every word is about the first, which is ranked above the second."""

    first: int  # row of the grid
    second: int
    overall: str  # of the headline
    runs: tuple[Run, ...]
    cost: float  # of the first in that of the second; NaN where either is unknown, or the second costs nothing
    words: str


class Verdicts(NamedTuple):
    """Of one group; `pairs` in the order of the ranks: the best against all others first."""

    group: Group
    cost: str  # the kind of cost, such as "training FLOP of one fit"; "" where none is known
    pairs: tuple[Verdict, ...]
    beats: Interval  # [A, A] tasks, of the probability that the first wins: the headline
    beats_at: tuple[Interval, ...]  # the same at each budget of the grid
    ratings: Interval  # [A] tasks, Bradley-Terry on Elo's scale: the headline
    outlooks: tuple[Outlook, ...]  # of the undecided pair closest to a verdict, then of the best two

    def of(self, row: int, other: int) -> Verdict:
        """The verdict on two rows of the grid, whichever is ranked first."""
        return next(v for v in self.pairs if {v.first, v.second} == {row, other})


def verdicts(analysis: Analysis) -> tuple[Verdicts, ...]:
    """One for each group of rows that may be ranked together."""
    grid = analysis.grid
    column = next((name for name in kinds(grid.frame) if repeatable(name)), "")
    cost = medians(grid, column) if column else np.full(len(grid.rows), np.nan)
    label = LABELS.get(column, column.removeprefix("cost_").replace("_", " "))
    made = []
    for number, group in enumerate(analysis.ranking.groups):
        headline, *budgets = _beats(analysis, number, group)
        areas = grid.area[list(group.ranked)][:, analysis.datasets_of(group)]
        rated = ratings(areas, analysis.resamples[number].tasks)
        pairs = tuple(_pairs(grid, group, cost))
        made.append(
            Verdicts(group, label, pairs, headline, tuple(budgets), rated, tuple(outlooks(areas, group.headline)))
        )
    return tuple(made)


def _beats(analysis: Analysis, number: int, group: Group) -> Iterator[Interval]:
    """The headline's, then those of each budget; a budget that skips datasets needs its own resamples."""
    grid, datasets, rows = analysis.grid, analysis.datasets_of(group), list(group.ranked)
    for values in (grid.area[rows], *np.moveaxis(grid.z[rows], 2, 0)):
        present = ~np.isnan(values).all(0)  # [D, S]
        used = np.flatnonzero(present.any(1)).tolist()
        whole = used == datasets
        weights = analysis.resamples[number] if whole else resamples([grid.datasets[d] for d in used], present[used])
        yield beats_interval(values[:, used], weights.tasks)


def _pairs(grid: Grid, group: Group, cost: np.ndarray) -> Iterator[Verdict]:
    for i, first in enumerate(group.ranked):
        for j, second in enumerate(group.ranked[i + 1 :], i + 1):
            runs = tuple(_runs(grid, group, (i, j)))
            overall = str(group.headline.verdict[i, j])
            ratio = cost[first] / cost[second] if cost[second] > 0 else np.nan
            made = Verdict(first, second, overall, runs, float(ratio), "")
            yield made._replace(words=_words(grid, group, made, _price(float(ratio))))


def _runs(grid: Grid, group: Group, pair: tuple[int, int]) -> Iterator[Run]:
    first, second = (group.ranked[place] for place in pair)
    said_at = {b: str(pairs.verdict[pair]) for b, pairs in enumerate(group.budgets) if pairs.datasets}
    for said in dict.fromkeys(said_at.values()):
        places = [b for b in said_at if said_at[b] == said]
        budgets = tuple(grid.budgets[b] for b in places)
        gap = area(grid.z[first][:, places] - grid.z[second][:, places], budgets)
        yield Run(said, budgets, stats.tasks(gap))


def _words(grid: Grid, group: Group, found: Verdict, price: str) -> str:
    names = {"first": name_of(grid, found.first), "second": name_of(grid, found.second)}
    if all(run.verdict == NOT_ENOUGH for run in found.runs):
        pairs = group.headline
        number = f"{pairs.datasets} dataset{'' if pairs.datasets == 1 else 's'}"
        return "{first} and {second}: {number} are not enough to tell, it takes {needed}".format(
            **names, number=number, needed=pairs.needed
        )
    main, compared = _main(found), len(group.ranked) * (len(group.ranked) - 1) // 2
    if main is None:
        spread = _spread(_headline(group, found), found.overall, compared)
        return f"{SAID[found.overall].format(**names)} over all budgets{spread}, {_each(found.runs)}{price}"
    known = sorted(budget for run in found.runs for budget in run.budgets)
    rest = [f", {run.verdict} {_beside(run.budgets, main.budgets, known)}" for run in found.runs if run is not main]
    where, spread = _where(main.verdict, main.budgets, known), _spread(main.difference, main.verdict, compared)
    return f"{SAID[main.verdict].format(**names)} {where}{spread}{''.join(rest)}{price}"


def _main(found: Verdict) -> Run | None:
    """The run that a sentence begins with; None where the headline is decided and no single budget is."""
    order = (BETTER, WORSE, EQUIVALENT, UNDECIDED, NOT_ENOUGH)
    first = min(found.runs, key=lambda run: (order.index(run.verdict), -len(run.budgets), -run.budgets[-1]))
    return None if first.verdict not in DECIDED and found.overall in DECIDED else first


def _each(runs: Sequence[Run]) -> str:
    """What is said at single budgets where none decides."""
    if all(run.verdict == UNDECIDED for run in runs):
        return "undecided at each of them"
    return ", ".join(f"{run.verdict} at {', '.join(map(str, run.budgets))}" for run in runs)


def _headline(group: Group, found: Verdict) -> Interval:
    return group.headline.tasks.at(group.ranked.index(found.first), group.ranked.index(found.second))


def _where(said: str, budgets: Sequence[int], known: Sequence[int]) -> str:
    """Such as "from 10 labels a class on"."""
    if len(budgets) == 1:
        return f"at {_labels(budgets[0])}"
    if len(budgets) == len(known):
        return "at any budget" if said == UNDECIDED else "at every budget"
    if not _in_a_row(budgets, known):
        return f"at {', '.join(map(str, budgets[:-1]))} and {_labels(budgets[-1])}"
    if budgets[-1] == known[-1]:
        return f"from {_labels(budgets[0])} on"
    return f"up to {_labels(budgets[-1])}" if budgets[0] == known[0] else f"from {budgets[0]} to {_labels(budgets[-1])}"


def _beside(budgets: Sequence[int], main: Sequence[int], known: Sequence[int]) -> str:
    """Where another verdict holds: "below" or "above" where that is all that is there, its budgets otherwise."""
    if list(budgets) == [budget for budget in known if budget < main[0]]:
        return "below"
    if list(budgets) == [budget for budget in known if budget > main[-1]]:
        return "above"
    return f"at {', '.join(map(str, budgets))}"


def _in_a_row(budgets: Sequence[int], known: Sequence[int]) -> bool:
    return known.index(budgets[-1]) - known.index(budgets[0]) == len(budgets) - 1


def _labels(budget: int) -> str:
    return f"{budget} label{'' if budget == 1 else 's'} a class"


def _spread(difference: Interval, said: str, compared: int) -> str:
    """The tasks interval of a difference; nothing where there is none.

    It knows of one pair only: where it leaves out 0 and the verdict is undecided, that is due to the number of pairs.
    """
    if np.isnan(difference.low):
        return ""
    alone = said == UNDECIDED and not difference.holds_zero and compared > 1
    number = f"; too little for one of {compared} pairs" if alone else ""
    return f" (interval {points(float(difference.low))} to {points(float(difference.high))} points{number})"


def _price(ratio: float) -> str:
    if np.isnan(ratio):
        return ""
    if 1 / SAME < ratio < SAME:
        return "; the same cost"
    if not ratio:
        return "; at no cost"
    return f"; {_times(ratio)} times the cost" if ratio > 1 else f"; {_times(1 / ratio)} times cheaper"


def _times(ratio: float) -> str:
    """Two digits: 2.3, 35, 120,000."""
    rounded = float(f"{ratio:.2g}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:g}"
