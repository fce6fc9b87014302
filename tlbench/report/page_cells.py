"""What became of every cell? Coverage, holes with their reasons and the way out, labels used, the cells themselves."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd

from tlbench.report.meta import Meta
from tlbench.report.page_tables import Field, Table
from tlbench.report.plot_heat import columns_by_group
from tlbench.report.ranking import Ranking
from tlbench.report.scores import ABSENT, IMPUTED, NOT_RUN, STATUSES, Grid

HOLES_SHOWN = 300
SIGNS = {"done": "✓", "skipped": "–", NOT_RUN: "?", **dict.fromkeys(IMPUTED, "✗")}
LEVELS = ("metric", "reason")  # columns that repeat few values


class Hole(NamedTuple):
    """Cells of one strategy on one dataset that are missing for one reason."""

    strategy: str
    backbone: str
    dataset: str
    budgets: str
    seeds: str
    status: str
    reason: str
    cells: int
    command: str  # what to type to run them again; "" for a declared skip


def coverage(ranking: Ranking, groups: dict[str, str]) -> Table:
    """Row x dataset: how many cells are in which state."""
    grid = ranking.grid
    order = columns_by_group(grid.datasets, groups)
    flat = grid.status.reshape(*grid.status.shape[:2], -1)
    counts = np.stack([(flat == code).sum(-1) for code in range(len(STATUSES))], axis=-1)  # [R, D, statuses]
    rows = [
        [Field(grid.rows[row][0]), Field(grid.rows[row][1]), *(_covered(counts[row, d]) for d in order)]
        for row in ranking.order
    ]
    return Table(["strategy", "backbone", *(grid.datasets[d] for d in order)], rows)


def holes(grid: Grid, meta: Meta) -> tuple[list[Hole], int]:
    """What is not done, grouped by reason, the first HOLES_SHOWN groups; and how many groups there are."""
    missing = grid.frame[grid.frame.status.ne("done")]
    keys = ["status", "strategy", "backbone", "dataset", "reason"]
    groups = missing.groupby(keys, sort=True)
    first = groups.agg(budgets=("budget", _listed), seeds=("seed", _listed), cells=("seed", "size")).reset_index()
    found = [
        Hole(
            row.strategy, row.backbone, row.dataset, row.budgets, row.seeds, row.status.replace("_", " "), row.reason,
            int(row.cells), again(row, meta),
        )
        for row in first.sort_values(keys).head(HOLES_SHOWN).itertuples(index=False)
    ]  # fmt: skip
    return found, len(first)


def again(row: object, meta: Meta) -> str:
    """The command that runs the cells of one hole; nothing for a skip, which would be skipped again, or a table."""
    status, strategy, backbone, dataset = (getattr(row, part) for part in ("status", "strategy", "backbone", "dataset"))
    if status == "skipped" or meta.foreign:
        return ""
    verb = "run" if status == NOT_RUN else "retry"
    only = [f"strategy={strategy}", f"backbone={backbone}", f"dataset={dataset}"]
    return " ".join([command(meta, verb), *(f"--only {shlex.quote(one)}" for one in only)])


def command(meta: Meta, verb: str) -> str:
    """The suite's own command with another verb, so that plug-ins and the results folder stay what they are."""
    start = "tlbench run "
    rest = meta.command.removeprefix(start)
    if not meta.command.startswith(start):
        rest = shlex.join([meta.name, "--preset", meta.preset])
    return f"tlbench {verb} {rest}"


def labels_by_dataset(grid: Grid) -> Table:
    """Dataset x budget: labels that a cell used, over seeds and strategies, and where classes were short of labels."""
    done = grid.frame[grid.frame.status.eq("done")]
    if "labels" not in done or done.empty:
        return Table([], [])
    used = done.groupby(["dataset", "budget"])
    low, high = used.labels.min().unstack("budget"), used.labels.max().unstack("budget")
    short = used.short_classes.max().unstack("budget") if "short_classes" in done else low * 0
    rows = [
        [Field(name), *(_labels(low.at[name, b], high.at[name, b], short.at[name, b]) for b in low.columns)]
        for name in low.index
    ]
    return Table(["dataset", *(f"{budget} a class" for budget in low.columns)], rows)


def packed(grid: Grid) -> dict:
    """What the page's script lists of each cell beside its score and status: columns of codes and numbers, kept small.

    `at` is the place of each cell in the flat [R, D, B, S] arrays of `page_selection`; null when they are all there.
    """
    frame = grid.frame
    levels, columns = {}, {}
    for name in LEVELS:
        codes, values = pd.factorize(frame[name] if name in frame else pd.Series("", index=frame.index), sort=True)
        levels[name], columns[name] = [str(value) for value in values], codes.tolist()
    columns["labels"] = frame.labels.tolist() if "labels" in frame else [None] * len(frame)
    for name in ("default_score", "peek_gap"):
        columns[name] = _rounded(frame[name]) if name in frame else [None] * len(frame)
    columns["key"] = frame.key.str.slice(0, 12).tolist()
    columns["hyperparameters"] = [_chosen(values) for values in frame.get("hyperparameters", [None] * len(frame))]
    at = None if len(frame) == grid.z.size else np.ravel_multi_index(grid.place, grid.z.shape).tolist()
    uncounted = np.flatnonzero(frame.status.eq("done") & np.isnan(grid.z[grid.place]))  # skipped on another seed
    return {
        "levels": levels, "columns": columns, "at": at,
        "uncounted": {int(i): round(float(frame.score.iat[i]), 4) for i in uncounted},
    }  # fmt: skip


def _covered(counts: np.ndarray) -> Field:
    by_status = {status: int(n) for status, n in zip(STATUSES, counts, strict=True) if n and status != ABSENT}
    if not by_status:
        return Field("", 0.0, ABSENT)
    failed = sum(n for status, n in by_status.items() if status in IMPUTED)
    merged = {SIGNS[status]: n for status, n in by_status.items() if status not in IMPUTED}
    if failed:
        merged["✗"] = failed
    worst = "failed" if failed else NOT_RUN if NOT_RUN in by_status else "skipped" if "skipped" in by_status else "done"
    return Field(" ".join(f"{n}{sign}" for sign, n in merged.items()), float(by_status.get("done", 0)), worst)


def _labels(low: float, high: float, short: float) -> Field:
    if np.isnan(low):
        return Field("–")
    text = f"{low:.0f}" if low == high else f"{low:.0f} to {high:.0f}"
    return Field(f"{text}, {short:.0f} classes short" if short else text, float(high), "short" if short else "")


def _listed(values: Iterable[int]) -> str:
    return ", ".join(str(value) for value in sorted(set(values)))


def _rounded(values: pd.Series) -> list[float | None]:
    numbers = values.to_numpy(float, na_value=np.nan).round(4)
    return [None if number != number else number for number in numbers.tolist()]


def _chosen(values: object) -> str:
    """Hyperparameters in a few characters; what is no mapping (a cell without any) is empty."""
    if not isinstance(values, dict):
        return ""
    return ", ".join(f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={v}" for k, v in sorted(values.items()))
