"""What does leaderboard.json say of the leaderboard itself? Rows with every score and interval, groups, choices."""

from __future__ import annotations

from typing import Any

import numpy as np

from tlbench.report.analysis import Analysis
from tlbench.report.ranking import headline_of
from tlbench.report.scores import ABSENT, STATUSES, Grid
from tlbench.report.stats import LEVEL, Interval, cell
from tlbench.report.tables import REPEATABLE, cost_medians, edge_share, labels_consumed, statements


def scale(analysis: Analysis) -> dict[str, Any]:
    """What a score is: everything else in the document is on this scale."""
    meta = analysis.meta
    return {
        "score": f"points / 100; in points {meta.scale}",
        "headline": "area under the label curve: mean height of the score over log2(labels a class)",
        "level": LEVEL,
        "covers": {
            "cell": "another split of the same dataset",
            "suite": "new splits of the same datasets",
            "tasks": "new datasets like these",
        },
        "said": statements(analysis.ranking, meta),
    }


def axes(analysis: Analysis) -> dict[str, Any]:
    grid = analysis.grid
    metric = {} if "metric" not in grid.frame else dict(zip(grid.frame.dataset, grid.frame.metric, strict=True))
    groups = analysis.meta.groups
    return {
        "rows": [_name(grid, row) for row in analysis.ranking.order],
        "datasets": [
            {"dataset": name, "group": groups.get(name, ""), "metric": metric.get(name, "")} for name in grid.datasets
        ],
        "budgets": grid.budgets,
        "seeds": grid.seeds,
        "cells": {status: int(count) for status, count in sorted(grid.frame.status.value_counts().items())},
    }


def groups(analysis: Analysis) -> list[dict[str, Any]]:
    """Rows that may be ranked together; only the tier is theirs, all other numbers of a row are its own."""
    grid = analysis.grid
    return [
        {
            "title": group.title,
            "datasets": [grid.datasets[d] for d in analysis.datasets_of(group)],
            "ranked": [
                {**_name(grid, row), "rank": place, "tier": tier or None}
                for place, (row, tier) in enumerate(zip(group.ranked, group.tiers, strict=True), 1)
            ],
            "not_ranked": [{**_name(grid, row), "why": why} for row, why in group.unranked],
        }
        for group in analysis.ranking.groups
    ]


def rows(analysis: Analysis) -> list[dict[str, Any]]:
    """Each row's own numbers, which no other row changes."""
    grid, ranking = analysis.grid, analysis.ranking
    default, peek = (headline_of(grid, name) for name in ("default_score", "peek_gap"))
    labels, costs, edge = labels_consumed(grid), cost_medians(grid), edge_share(grid)
    at = cell(grid.z)  # [R, D, B]
    return [
        {
            **_name(grid, row),
            "score": [spelled(ranking.suite, "suite", row), spelled(ranking.tasks, "tasks", row)],
            "at": [
                {
                    "budget": budget,
                    "score": [
                        spelled(ranking.budget_suite, "suite", row, b),
                        spelled(ranking.budget_tasks, "tasks", row, b),
                    ],
                    "labels": labels[row, b],
                }
                for b, budget in enumerate(grid.budgets)
            ],
            "on": [_on(analysis, at, row, d) for d in np.flatnonzero(grid.asked[row].any((1, 2))).tolist()],
            "default_score": default[row],
            "peek_gap": peek[row],
            "costs": {name: costs[name].iloc[row] for name in REPEATABLE if name in costs},
            "imputed": grid.imputed[row],
            "at_edge": {"hyperparameter": edge.value.iloc[row], "share": edge.share.iloc[row]},
        }
        for row in ranking.order
    ]


def choices(analysis: Analysis) -> list[dict[str, Any]]:
    """What to use with a number of labels; `as_good` is null where there are too few datasets to say."""
    grid = analysis.grid
    return [
        {
            "budget": choice.budget,
            "best": _name(grid, choice.best),
            "score": spelled(choice.mean, "suite", choice.best),
            "as_good": [_name(grid, row) for row in choice.tied] if choice.sure else None,
        }
        for choice in analysis.ranking.choices
    ]


def spelled(interval: Interval, covers: str, *index: int) -> dict[str, Any]:
    return {**interval.at(*index)._asdict(), "covers": covers}


def _name(grid: Grid, row: int) -> dict[str, str]:
    return dict(zip(("strategy", "backbone"), grid.rows[row], strict=True))


def _on(analysis: Analysis, at: Interval, row: int, d: int) -> dict[str, Any]:
    """One dataset: the area under its curve and the mean score at each budget, over seeds."""
    grid = analysis.grid
    counts = np.bincount(grid.status[row, d].ravel(), minlength=len(STATUSES))
    return {
        "dataset": grid.datasets[d],
        "score": spelled(analysis.ranking.datasets, "cell", row, d),
        "at": [
            {"budget": budget, **spelled(at, "cell", row, d, b)}
            for b, budget in enumerate(grid.budgets)
            if not np.isnan(at.mean[row, d, b])
        ],
        "cells": {name: int(count) for name, count in zip(STATUSES, counts, strict=True) if count and name != ABSENT},
    }
