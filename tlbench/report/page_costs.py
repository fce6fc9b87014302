"""What does a score cost, how long did it take, and where did it run?

What differs between two machines stands here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from tlbench.report.analysis import Analysis
from tlbench.report.cost_questions import Cheapest, Costs, enough_datasets
from tlbench.report.numbers import NONE, amount, percent, points, seconds, with_interval
from tlbench.report.page_tables import Field, Table
from tlbench.report.plot_cost import WORTH_SAYING, cost_figure
from tlbench.report.plot_ink import name_of
from tlbench.report.ranking import Ranking
from tlbench.report.scores import Grid
from tlbench.types import COSTS

SUMS = {
    "tuning, all cells": "tune_seconds", "final fits, all cells": "fit_seconds", "other finalists": "peek_seconds",
}  # fmt: skip
SPARED = "tuning steps spared"  # of those that every trial to the end would have taken
MEDIANS = {
    "one tuning": "tune_seconds", "one fit": "fit_seconds", "predict 1": "predict_ms_1", "p95 of 1": "predict_ms_1_p95",
    "predict 64": "predict_ms_64", "p95 of 64": "predict_ms_64_p95", "memory": "peak_memory_mb",
    "total parameters": "total_parameters", "stored a task": "stored_parameters", "tuning FLOP": "tune_flops",
}  # fmt: skip
PLACE = ("commit", "dirty", "device", "determinism", "width")


class Places(NamedTuple):
    """Where the cells came from."""

    table: Table
    first: str
    last: str
    packages: list[str]  # "name version", several versions where the cells disagree


class Price(NamedTuple):
    """What the page says of one kind of cost."""

    label: str
    figure: str  # the name of its figure
    repeatable: bool
    sentences: list[tuple[str, str, str]]  # where, the cheapest row within one standard error, how it compares
    table: Table  # the front


class Bill(NamedTuple):
    """The section on costs: the first kind is shown, the others may be opened."""

    prices: list[Price]
    enough: bool  # are there enough datasets to say who is nearly as good as the best?
    measured: Table | None


def section(analysis: Analysis) -> Bill:
    prices = [_price(analysis, asked, cost_figure(number)) for number, asked in enumerate(analysis.costs)]
    told = any(name in analysis.grid.frame and analysis.grid.frame[name].notna().any() for name in COSTS)
    return Bill(prices, enough_datasets(analysis), costs(analysis.ranking) if told else None)


def costs(ranking: Ranking) -> Table:
    """Sums and medians of time, memory and the rest over the done cells of each row."""
    frame = ranking.grid.frame
    done = frame[frame.status.eq("done")].reindex(columns=["strategy", "backbone", *COSTS])
    grouped = done.groupby(["strategy", "backbone"])
    sums, medians = grouped.sum(min_count=1), grouped.median()
    rows = []
    for row in ranking.order:
        name = ranking.grid.rows[row]
        if name not in medians.index:
            continue
        fields = [_field(sums.at[name, column], column) for column in SUMS.values()]
        fields += [_spared(float(sums.at[name, "tune_steps"]), float(sums.at[name, "tune_steps_whole"]))]
        fields += [_field(medians.at[name, column], column) for column in MEDIANS.values()]
        rows.append([Field(name[0]), Field(name[1]), *fields])
    return Table(["strategy", "backbone", *SUMS, SPARED, *MEDIANS], rows)


def places(frame: pd.DataFrame) -> Places:
    """Code, devices, packages and times of the cells that were run."""
    ran = frame[frame.status.ne("not_run")]
    known = [name for name in PLACE if name in ran]
    counts = ran.groupby(known).size().reset_index(name="cells") if known else pd.DataFrame()
    rows = [[_place(name, value) for name, value in row.items()] for row in counts.to_dict("records")]
    times = [ran[name][ran[name].ne("")] if name in ran else ran.key[:0] for name in ("started", "finished")]
    first, last = (min(times[0], default=NONE), max(times[1], default=NONE))
    return Places(Table([*known, "cells"], rows), str(first), str(last), _packages(ran))


def _price(analysis: Analysis, asked: Costs, figure: str) -> Price:
    grid = analysis.grid
    front = sorted((row for row in asked.rows if asked.front[row]), key=lambda row: (asked.cost[row], grid.rows[row]))
    near = [row for row in asked.rows if row not in front and asked.chance[row] >= WORTH_SAYING]
    score = analysis.ranking.suite
    rows = [
        [
            *map(Field, grid.rows[row]),
            Field(with_interval(score, row), float(score.mean[row])),
            Field(amount(float(asked.cost[row])), float(asked.cost[row])),
            Field("yes" if row in front else "no"),
            Field(percent(float(asked.chance[row])), float(np.nan_to_num(asked.chance[row], nan=-1.0))),
        ]
        for row in (*front, *near)
    ]
    table = Table(["strategy", "backbone", "score", asked.label, "on the front", "in resampled datasets"], rows)
    return Price(asked.label, figure, asked.repeatable, _sentences(grid, asked.cheapest), table)


def _sentences(grid: Grid, found: Sequence[Cheapest]) -> list[tuple[str, str, str]]:
    """One for each answer, with all the places where it holds."""
    places: dict[tuple[str, str], list[Cheapest]] = {}
    for each in found:
        places.setdefault(_compared(grid, each), []).append(each)
    return [(_where([each.budget for each in alike]), *said) for said, alike in places.items()]


def _where(budgets: Sequence[int | None]) -> str:
    """Such as "over all budgets, and at 2, 5 labels a class"; None is all of them."""
    at = [str(budget) for budget in budgets if budget is not None]
    single = f"at {', '.join(at)} labels a class" if at else ""
    return ", and ".join(part for part in ("over all budgets" if None in budgets else "", single) if part)


def _compared(grid: Grid, found: Cheapest) -> tuple[str, str]:
    """Such as ("linear_probe", "1/60 of what the best, lora, costs; 0.4 points behind it")."""
    best, row = name_of(grid, found.best), name_of(grid, found.row)
    if found.row == found.best:
        return row, "the best itself; nothing cheaper comes within one standard error"
    return row, f"{ratio(*found.costs)} the best, {best}, costs; {points(found.behind)} points behind it"


def ratio(best: float, cheapest: float) -> str:
    """What the cheapest costs, in parts of what the best costs."""
    if np.isnan(best):
        return f"{amount(cheapest)}; it is not known what"
    if cheapest == 0:
        return "nothing of what"
    times = best / cheapest
    return f"1/{times:.0f} of what" if times >= 1.95 else f"{percent(cheapest / best)} of what"


def _packages(ran: pd.DataFrame) -> list[str]:
    if "packages" not in ran:
        return []
    pairs = {
        pair for pairs in {tuple(sorted(p.items())) for p in ran.packages if isinstance(p, dict)} for pair in pairs
    }
    return [f"{name} {version}" for name, version in sorted(pairs)]


def _place(name: str, value: object) -> Field:
    if name == "dirty":
        return Field("uncommitted changes" if value else "clean")
    if isinstance(value, int | float | np.number):
        return Field(f"{value}", float(value))
    return Field(str(value)[:12] if name == "commit" else str(value))


def _spared(taken: float, whole: float) -> Field:
    share = 1 - taken / whole if whole > 0 else np.nan
    return Field(percent(share), float(np.nan_to_num(share, nan=-1.0)))


def _field(value: float, column: str) -> Field:
    if np.isnan(value):
        return Field(NONE)
    if column.endswith("_seconds"):
        return Field(seconds(float(value)), float(value))
    if column.startswith("predict_ms"):
        return Field(f"{value:.3g} ms", float(value))
    return Field(f"{value:.0f} MiB" if column.endswith("_mb") else amount(float(value)), float(value))
