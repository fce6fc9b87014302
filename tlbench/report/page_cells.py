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
SCALES = {"labels": 1, "default_score": 10_000, "peek_gap": 10_000}  # columns of numbers, as parts of one
SEPARATOR = "\n"  # between hyperparameters


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
    """What the page's script lists of each cell beside its score and status: codes and whole numbers, kept small.

    `at` is the place of each cell in the flat [R, D, B, S] arrays of `page_selection`; null when they are all there.
    A column that is the same in all cells is null where its level tells it all.
    """
    frame = grid.frame
    chosen = frame.get("hyperparameters", pd.Series([None] * len(frame), index=frame.index))
    repeated = {name: frame.get(name, pd.Series("", index=frame.index)).astype(str) for name in LEVELS}
    repeated["names"] = chosen.map(_names)
    levels, columns = {}, {}
    for name, values in repeated.items():
        codes, found = pd.factorize(values, sort=True)
        levels[name], columns[name] = found.tolist(), codes.tolist() if len(found) > 1 else None
    for name, scale in SCALES.items():
        columns[name] = _whole(scale * frame[name]) if name in frame else None
    columns["key"] = frame.key.str.slice(0, 12).tolist()
    columns["values"] = chosen.map(_values).tolist()
    at = None if len(frame) == grid.z.size else np.ravel_multi_index(grid.place, grid.z.shape).tolist()
    uncounted = np.flatnonzero(frame.status.eq("done") & np.isnan(grid.z[grid.place]))  # skipped on another seed
    scores = {int(i): round(float(frame.score.iat[i]), 4) for i in uncounted}
    return {"levels": levels, "columns": columns, "scales": SCALES, "at": at, "uncounted": scores}


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


def _whole(values: pd.Series) -> list[int | None]:
    numbers = values.to_numpy(float, na_value=np.nan)
    return [None if number != number else round(number) for number in numbers.tolist()]


def _names(chosen: object) -> str:
    """Which hyperparameters a cell has: one of few texts. What is no mapping (a cell without any) is empty."""
    return SEPARATOR.join(sorted(chosen)) if isinstance(chosen, dict) else ""


def _values(chosen: object) -> str:
    if not isinstance(chosen, dict):
        return ""
    values = [value for _, value in sorted(chosen.items())]
    return SEPARATOR.join(f"{value:.3g}" if isinstance(value, float) else str(value) for value in values)
