"""What does leaderboard.json say of costs and of tuning? Nothing that depends on the machine."""

from __future__ import annotations

from typing import Any

import pandas as pd

from tlbench.report.analysis import Analysis
from tlbench.report.cost_questions import Cheapest, Costs
from tlbench.report.scores import Grid
from tlbench.report.stats import Interval
from tlbench.report.tables import edge_share


def costs(analysis: Analysis) -> list[dict[str, Any]]:
    """Fronts, and the cheapest rows within one standard error of the best, for kinds that every machine tells alike."""
    return [_costs(analysis.grid, asked) for asked in analysis.costs if asked.repeatable]


def tuning(analysis: Analysis) -> list[dict[str, Any]]:
    """One entry for each row, in the leaderboard's order. A curve has one value for each number of trials from 1 on."""
    edge = edge_share(analysis.grid)
    return [_tuning(analysis, row, edge.iloc[row]) for row in analysis.ranking.order]


def _tuning(analysis: Analysis, row: int, edge: pd.Series) -> dict[str, Any]:
    found = analysis.tuning
    curves = [
        Interval(*(bound[row, : max(1, found.trials[row])] for bound in side))  # the row's own, whatever others had
        for side in (found.curves.validation, found.curves.test)
    ]
    return {
        **analysis.grid.named(row),
        "default": found.default.spelled("suite", row),
        "gain": [found.suite.spelled("suite", row), found.tasks.spelled("tasks", row)],
        "peek_gap": found.peek.spelled("suite", row),
        "trials": found.trials[row],
        "scored_on_test": found.refitted[row],
        "on_the_edge": {"hyperparameter": edge["value"], "share": edge["share"]},
        "expected_validation": curves[0].spelled("suite"),
        "expected_test": curves[1].spelled("suite"),
        "trials_within_1_point": found.curves.enough[row],
        "why_no_curve": found.curves.why[row],
    }


def _costs(grid: Grid, asked: Costs) -> dict[str, Any]:
    return {
        "cost": asked.column,
        "label": asked.label,
        "rows": [
            {
                **grid.named(row),
                "cost": asked.cost[row],
                "on_front": asked.front[row],
                "p_on_front": asked.chance[row],
            }
            for row in asked.rows
        ],
        "cheapest_within_one_standard_error": [_cheapest(grid, each) for each in asked.cheapest],
    }


def _cheapest(grid: Grid, found: Cheapest) -> dict[str, Any]:
    return {
        "budget": found.budget,
        "best": {**grid.named(found.best), "cost": found.costs[0]},
        "cheapest": {**grid.named(found.row), "cost": found.costs[1], "behind": found.behind},
    }
