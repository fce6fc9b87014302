"""Which results stand on the page? The tables of scores, gains and metrics, ready to print and to sort."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from tlbench.metrics import LOWER_IS_BETTER, METRICS
from tlbench.report.numbers import NONE, percent, with_interval
from tlbench.report.plot_heat import columns_by_group
from tlbench.report.ranking import Ranking
from tlbench.report.tables import printed


class Field(NamedTuple):
    """One field of a table: its text, the number it is sorted by (None: by its text), and how it is marked."""

    text: str
    value: float | None = None
    mark: str = ""


class Table(NamedTuple):
    columns: Sequence[str]
    rows: Sequence[Sequence[Field]]


def without(table: Table, column: str) -> Table:
    """The same table without one column."""
    keep = [i for i, name in enumerate(table.columns) if name != column]
    return Table([table.columns[i] for i in keep], [[row[i] for i in keep] for row in table.rows])


def boards(table: pd.DataFrame, ranking: Ranking) -> list[tuple[str, Table]]:
    """The leaderboard, one table for each group of rows that are ranked together."""
    made = []
    for number, group in enumerate(ranking.groups):
        part = table[table.group.eq(number)]
        shown = printed(part, ranking.grid.budgets)
        rows = [
            [Field(text, _sort_key(part.iloc[i], column, ranking)) for column, text in row.items()]
            for i, row in enumerate(shown.to_dict("records"))
        ]
        made.append((group.title, Table([str(column) for column in shown.columns], rows)))
    return made


def scores_by_dataset(ranking: Ranking, groups: dict[str, str]) -> Table:
    """Area under the label curve of each row on each dataset, with `cell` intervals."""
    order = columns_by_group(ranking.grid.datasets, groups)
    rows = [
        [
            *names(ranking, row),
            *(Field(with_interval(ranking.datasets, row, d), known(ranking.datasets.mean[row, d])) for d in order),
        ]
        for row in ranking.order
    ]
    return Table(["strategy", "backbone", *(ranking.grid.datasets[d] for d in order)], rows)


def metrics(ranking: Ranking) -> Table:
    """Means of every metric over the done cells of a row; the arrow says where better lies."""
    grid = ranking.grid
    recorded = [name for name in METRICS if name in grid.frame]
    done = grid.frame[grid.frame.status.eq("done")]
    means = done.groupby(["strategy", "backbone"])[recorded].mean()
    cells = done.groupby(["strategy", "backbone"]).size()
    rows = [
        [
            *names(ranking, row),
            *(Field(f"{x:.3f}" if x == x else NONE, known(x)) for x in means.loc[grid.rows[row]]),
            Field(str(cells[grid.rows[row]]), float(cells[grid.rows[row]])),
        ]
        for row in ranking.order
        if grid.rows[row] in cells.index
    ]
    arrows = [f"{name.replace('_', ' ')} {'↓' if name in LOWER_IS_BETTER else '↑'}" for name in recorded]
    return Table(["strategy", "backbone", *arrows, "cells"], rows)


def names(ranking: Ranking, row: int) -> list[Field]:
    strategy, backbone = ranking.grid.rows[row]
    share = ranking.grid.imputed[row]
    return [Field(strategy + (f" ({percent(share)} imputed)" if share > 0 else "")), Field(backbone)]


SORTED_BY = {
    "rank": "rank", "tier": "tier", "score": "score", "default": "default_score", "peek gap": "peek_gap",
    "trains": "trainable_parameters", "training FLOP": "train_flops",
}  # fmt: skip


def _sort_key(row: pd.Series, column: str, ranking: Ranking) -> float | None:
    if column in SORTED_BY:
        return known(row[SORTED_BY[column]]) if column not in ("rank", "tier") or row["rank"] else 1e9
    if column in ("± suite", "± tasks"):
        kind = column[2:]
        return known(row[f"score_{kind}_high"] - row[f"score_{kind}_low"])
    if column == "tuning":
        return known(row["score"] - row["default_score"])
    if column == "labels used":
        return known(row[f"labels_at_{ranking.grid.budgets[-1]}"])
    if column.startswith("at ") and column.endswith(" labels"):
        return known(row[f"score_at_{column.split()[1]}"])
    return None


def known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
