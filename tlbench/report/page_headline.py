"""What should I use, and who leads? The answers and the few columns of the leaderboard that a reader needs first."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tlbench.report.analysis import Analysis
from tlbench.report.numbers import NONE, amount, half_width, percent, points, with_interval
from tlbench.report.page_tables import Field, Table, known, names
from tlbench.report.plot_ink import name_of
from tlbench.report.ranking import Choice, Group
from tlbench.report.standings import Standing
from tlbench.report.tables import cost_medians, without_tiers

LEADING = 2  # tiers that stand out
LAST = 1e9  # what has no rank is sorted behind what has one


class Answer(NamedTuple):
    """What to use with a number of labels, in words."""

    budget: int
    best: str
    score: str
    tied: tuple[str, ...]
    cheapest: str
    sure: bool


def answers(analysis: Analysis) -> list[Answer]:
    """For each budget the best row, those that cannot be told from it, and the cheapest of them all."""
    return [_answer(analysis, choice, _flops(analysis)) for choice in analysis.ranking.choices]


class Board(NamedTuple):
    """The leaderboard of one group of rows, and what cannot be said of them."""

    title: str
    table: Table
    notes: list[str]


def headlines(analysis: Analysis) -> list[Board]:
    """Tier, rank and how sure it is, score with both intervals, score at each budget, and cost: one table a group."""
    budgets = [f"at {budget} labels" for budget in analysis.grid.budgets]
    columns = ["tier", "rank", "strategy", "backbone", "score", "± suite", "± tasks", "rank 95 %", "P(first)", *budgets]
    flops = _flops(analysis)
    if not np.isnan(flops).all():
        columns.append("training FLOP")
    made = []
    for group, standing in zip(analysis.ranking.groups, analysis.standings, strict=True):
        compared = len(group.ranked) > 1  # who is alone leads nobody
        leads = [_place(group, standing, place) if compared else _no_place() for place in range(len(group.ranked))]
        leads += [_no_place() for _ in group.unranked]
        rows = (*group.ranked, *(row for row, _ in group.unranked))
        lines = [_line(analysis, row, lead, flops[row]) for row, lead in zip(rows, leads, strict=True)]
        table = Table(columns, [line[: len(columns)] for line in lines])
        made.append(Board(group.title, table, _notes(analysis, group)))
    return made


def _notes(analysis: Analysis, group: Group) -> list[str]:
    """Why there are no tiers, and why a row has no rank."""
    said = [without_tiers(group)] if len(group.ranked) > 1 and not group.headline.enough else []
    without = [f"{name_of(analysis.grid, row)} ({why})" for row, why in group.unranked]
    return [*said, *([f"not ranked: {'; '.join(without)}"] if without else [])]


class Lead(NamedTuple):
    """What a row's place says: fields of the leaderboard."""

    tier: Field
    rank: Field
    between: Field
    first: Field


def _place(group: Group, standing: Standing, place: int) -> Lead:
    tier = group.tiers[place]
    low, high, first = (float(bound[place]) for bound in standing[:3])
    ends = f"{low:.0f}" if low == high else f"{low:.0f} to {high:.0f}"
    return Lead(
        Field(str(tier), tier, f"tier-{tier}" if tier <= LEADING else "") if tier else Field(NONE, LAST),
        Field(str(place + 1), place + 1),
        Field(NONE if np.isnan(low) else ends, known(low)),
        Field(percent(first), known(first)),
    )


def _no_place() -> Lead:
    return Lead(*(Field(NONE, LAST) for _ in range(2)), *(Field(NONE) for _ in range(2)))


def _line(analysis: Analysis, row: int, lead: Lead, flops: float) -> list[Field]:
    ranking = analysis.ranking
    suite, tasks, at = ranking.suite, ranking.tasks, ranking.budget_suite
    strategy, backbone = names(ranking, row)
    return [
        lead.tier, lead.rank, strategy._replace(mark="name"), backbone,
        Field(points(float(suite.mean[row])), known(suite.mean[row])),
        Field(half_width(suite, row), known(suite.half[row])),
        Field(half_width(tasks, row), known(tasks.half[row])),
        lead.between, lead.first,
        *(Field(with_interval(at, row, b), known(at.mean[row, b])) for b in range(len(analysis.grid.budgets))),
        Field(amount(float(flops)), known(flops)),
    ]  # fmt: skip


def _answer(analysis: Analysis, choice: Choice, flops: np.ndarray) -> Answer:
    grid = analysis.grid
    priced = [row for row in (choice.best, *choice.tied) if not np.isnan(flops[row])]
    cheapest = min(priced, key=lambda row: (flops[row], grid.rows[row]), default=None)
    price = "" if cheapest is None else f"{name_of(grid, cheapest)} ({amount(float(flops[cheapest]))} FLOP a fit)"
    return Answer(
        choice.budget, name_of(grid, choice.best), with_interval(choice.mean, choice.best),
        tuple(name_of(grid, row) for row in choice.tied), price, choice.sure,
    )  # fmt: skip


def _flops(analysis: Analysis) -> np.ndarray:
    """[R]: of the final fit, median over cells; NaN where nobody counted."""
    costs = cost_medians(analysis.grid)
    return costs.train_flops.to_numpy() if "train_flops" in costs else np.full(len(costs), np.nan)
