"""Which rank may a row have, how likely is it the first, and does its typical run say the same as its mean?"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.stats import rankdata

from tlbench.report import stats
from tlbench.report.stats import robust
from tlbench.report.stats.intervals import LEVEL, Interval
from tlbench.report.stats.resampling import means

if TYPE_CHECKING:
    from tlbench.report.analysis import Analysis


class Ranks(NamedTuple):
    """Of resampled headlines [G]; NaN where nothing can be said."""

    low: np.ndarray  # the 95 % interval of the rank; rows that are equal may have each other's rank
    high: np.ndarray
    first: np.ndarray  # the share of resamples in which the row is first, shared by rows that are equal


class Standing(NamedTuple):
    """What is known of the order of one group's ranked rows, best first; [G] each."""

    rank_low: np.ndarray  # of new datasets like these
    rank_high: np.ndarray
    first: np.ndarray
    splits: Ranks  # the same of new splits of the same datasets
    iqm: Interval  # `suite`
    iqm_tasks: Interval
    mean_rank: np.ndarray  # over datasets, 1 is the best
    profile: Interval  # [G, T] share of runs above each of robust.TAUS, `suite`


def standings(analysis: Analysis) -> tuple[Standing, ...]:
    """One for each group, its arrays in the order of `group.ranked`."""
    return tuple(_standing(analysis, number) for number in range(len(analysis.ranking.groups)))


def ranks(draws: np.ndarray) -> Ranks:
    """[n, G] resampled headlines -> the ranks they give."""
    if not draws.size or np.isnan(draws).any():
        return Ranks(*np.full((3, draws.shape[1]), np.nan))
    best, worst = (np.empty(draws.shape, np.int32) for _ in range(2))
    for row in range(draws.shape[1]):
        best[:, row] = 1 + (draws > draws[:, [row]]).sum(1)
        worst[:, row] = (draws >= draws[:, [row]]).sum(1)
    leads = best == 1
    tail = (1 - LEVEL) / 2
    return Ranks(
        low=np.quantile(best, tail, axis=0, method="inverted_cdf").astype(float),
        high=np.quantile(worst, 1 - tail, axis=0, method="inverted_cdf").astype(float),
        first=np.mean(leads / leads.sum(1, keepdims=True), axis=0),
    )


def mean_ranks(values: np.ndarray) -> np.ndarray:
    """[G, D, S] -> [G]: the mean over datasets of each row's rank among the G; 1 is the best, equal rows share."""
    on_dataset = np.round(stats.cell(values).mean, 12)  # [G, D]
    return rankdata(-on_dataset, axis=0).mean(1) if on_dataset.size else np.full(len(values), np.nan)


def document(analysis: Analysis) -> list[dict]:
    """leaderboard.json: the standings of each group."""
    return [
        {"title": group.title, "thresholds": robust.TAUS, "rows": _rows(analysis, group.ranked, standing)}
        for group, standing in zip(analysis.ranking.groups, analysis.standings, strict=True)
    ]


def _standing(analysis: Analysis, number: int) -> Standing:
    group = analysis.ranking.groups[number]
    values = analysis.grid.area[list(group.ranked)][:, analysis.datasets_of(group)]  # [G, D, S]
    weights = analysis.resamples[number]
    tasks, splits = (ranks(means(kind, values)) for kind in (weights.tasks, weights.suite))
    return Standing(
        rank_low=tasks.low,
        rank_high=tasks.high,
        first=tasks.first,
        splits=splits,
        iqm=robust.iqm_interval(weights.suite, values),
        iqm_tasks=robust.iqm_interval(weights.tasks, values),
        mean_rank=mean_ranks(values),
        profile=robust.profile(weights.suite, values),
    )


def _rows(analysis: Analysis, ranked: tuple[int, ...], standing: Standing) -> list[dict]:
    return [
        {
            **analysis.grid.named(row),
            "rank": place + 1,
            "rank_interval": {
                "tasks": [standing.rank_low[place], standing.rank_high[place]],
                "suite": [standing.splits.low[place], standing.splits.high[place]],
            },
            "probability_first": {"tasks": standing.first[place], "suite": standing.splits.first[place]},
            "mean_rank": standing.mean_rank[place],
            "iqm": {
                "suite": standing.iqm.spelled("suite", place),
                "tasks": standing.iqm_tasks.spelled("tasks", place),
            },
            "profile": standing.profile.spelled("suite", place),
        }
        for place, row in enumerate(ranked)
    ]
