"""What does leaderboard.json say of the leaderboard itself? Rows with every score and interval, groups, choices."""

from __future__ import annotations

from typing import Any

import numpy as np

from tlbench.report.analysis import Analysis
from tlbench.report.ranking import headline_of
from tlbench.report.scores import ABSENT, STATUSES
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
        "rows": [grid.named(row) for row in analysis.ranking.order],
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
                {**grid.named(row), "rank": place, "tier": tier or None}
                for place, (row, tier) in enumerate(zip(group.ranked, group.tiers, strict=True), 1)
            ],
            "not_ranked": [{**grid.named(row), "why": why} for row, why in group.unranked],
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
            **grid.named(row),
            "score": [ranking.suite.spelled("suite", row), ranking.tasks.spelled("tasks", row)],
            "at": [
                {
                    "budget": budget,
                    "score": [
                        ranking.budget_suite.spelled("suite", row, b),
                        ranking.budget_tasks.spelled("tasks", row, b),
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
            "best": grid.named(choice.best),
            "score": choice.mean.spelled("suite", choice.best),
            "as_good": [grid.named(row) for row in choice.tied] if choice.sure else None,
        }
        for choice in analysis.ranking.choices
    ]


def _on(analysis: Analysis, at: Interval, row: int, d: int) -> dict[str, Any]:
    """One dataset: the area under its curve and the mean score at each budget, over seeds."""
    grid = analysis.grid
    counts = np.bincount(grid.status[row, d].ravel(), minlength=len(STATUSES))
    return {
        "dataset": grid.datasets[d],
        "score": analysis.ranking.datasets.spelled("cell", row, d),
        "at": [
            {"budget": budget, **at.spelled("cell", row, d, b)}
            for b, budget in enumerate(grid.budgets)
            if not np.isnan(at.mean[row, d, b])
        ],
        "cells": {name: int(count) for name, count in zip(STATUSES, counts, strict=True) if count and name != ABSENT},
    }
