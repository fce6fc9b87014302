"""What does leaderboard.json say of labels and of transfer? Every crossing, every equivalence, every paired gain.

A number of labels outside the budgets is written as what is known of it: "at most 2", "more than 50".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tlbench.report.analysis import Analysis
from tlbench.report.label_questions import Answers, Labels, unasked
from tlbench.report.label_words import coded
from tlbench.report.transfer import transfer as compared
from tlbench.report.transfer import verdict


def label_questions(analysis: Analysis) -> dict[str, Any]:
    asked = analysis.labels
    if asked is None:
        return {"cannot": unasked(analysis)}
    places = range(len(asked.rows))
    return {
        "datasets": [asked.grid.datasets[d] for d in asked.datasets],
        "budgets": asked.budgets,
        "counted_in": [
            {**asked.grid.named(asked.rows[i]), "reference": asked.grid.named(asked.rows[j])}
            for i, j in enumerate(asked.references)
        ],
        "label_more_or_switch": [
            {
                "budget": step.budget,
                "best": asked.grid.named(asked.rows[step.best]),
                "reference": asked.grid.named(asked.rows[asked.references[0]]),
                "switch": step.switch.spelled(step.covers),
                "more": step.more.spelled(step.covers) if step.more else None,
                "more_less_switch": step.rather.spelled(step.covers) if step.rather else None,
            }
            for step in asked.steps
        ],
        "crossovers": [_crossover(asked, i, j) for i in places for j in places if np.isfinite(_from(asked)[i, j])],
        "labels_needed": [_needed(asked, i, j) for i in places for j in places if i != j],
    }


def transfer(analysis: Analysis) -> list[dict[str, Any]]:
    """Against the network from scratch and each raw-input floor: all rows that start from pretrained weights."""
    grid, meta = analysis.grid, analysis.meta
    made = []
    for baseline in (meta.baseline, *meta.raw_floors):
        found = analysis.transfer if baseline == meta.baseline else compared(grid, meta, baseline)
        rows = [
            {
                **grid.named(row),
                "gain": [found.suite.spelled("suite", t), found.tasks.spelled("tasks", t)],
                "verdict": verdict(found.tasks, t),
                "stands_after_correction": bool(found.stands_overall[t]),
                "partly_compared": bool(found.partial[t]),
                "at": [
                    {"budget": k, "gain": [found.splits.spelled("suite", t, b), found.budgets.spelled("tasks", t, b)]}
                    for b, k in enumerate(grid.budgets)
                ],
                "on": [
                    {
                        "dataset": name,
                        "gain": found.datasets.spelled("cell", t, d),
                        "verdict": verdict(found.datasets, t, d),
                        "stands_after_correction": bool(found.stands[t, d]),
                        "cells_failed": bool(found.failed[t, d]),
                    }
                    for d, name in enumerate(grid.datasets)
                    if not np.isnan(found.datasets.mean[t, d])
                ],
            }
            for t, row in enumerate(found.rows)
        ]
        if rows:
            made.append({"baseline": baseline, "comparisons_on_datasets": found.comparisons, "rows": rows})
    return made


def _crossover(asked: Labels, i: int, j: int) -> dict[str, Any]:
    """From when on the first is ahead to the last budget; below the first budget, it is ahead throughout."""
    labels = _from(asked)[i, j]
    return {
        "ahead": asked.grid.named(asked.rows[i]),
        "behind": asked.grid.named(asked.rows[j]),
        "crossings": asked.times[i, j],
        "labels": labels if labels > 0 else "none in range",
        "ahead_from": [
            {**_bounds(asked, kind.ahead.low[i, j], kind.ahead.high[i, j]), "covers": covers, "share_that_cross": share}
            for kind, covers in _kinds(asked)
            for share in (kind.crossed[i, j],)
        ],
    }


def _needed(asked: Labels, i: int, j: int) -> dict[str, Any]:
    """Labels with which the second is as good as the first at each budget."""
    return {
        "row": asked.grid.named(asked.rows[i]),
        "against": asked.grid.named(asked.rows[j]),
        "labels": coded(asked.tasks.needed.labels[i, j], asked.budgets),
        "intervals": [
            {
                "low": coded(kind.needed.low[i, j], asked.budgets),
                "high": coded(kind.needed.high[i, j], asked.budgets),
                "covers": covers,
            }
            for kind, covers in _kinds(asked)
        ],
    }


def _from(asked: Labels) -> np.ndarray:
    return asked.tasks.ahead.labels


def _kinds(asked: Labels) -> tuple[tuple[Answers, str], ...]:
    return (asked.suite, "suite"), (asked.tasks, "tasks")


def _bounds(asked: Labels, low: np.ndarray, high: np.ndarray) -> dict[str, Any]:
    return {"low": coded(low, asked.budgets)[0], "high": coded(high, asked.budgets)[0]}
