"""What became of the cells? One tile for each row and dataset, filled by what its cells came to."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from tlbench.report.plot_heat import COLUMN, DARK, columns_by_group, group_lines, names_above
from tlbench.report.plot_ink import INK, SOFT, backbone_of, belongs, name_of, short
from tlbench.report.ranking import Ranking
from tlbench.report.scores import IMPUTED, NOT_RUN, STATUSES

TILE_INCHES = 0.34, 0.2
EDGE_INCHES = 1.9, 2.0  # room for names, headings and the key
GAP = 0.08  # of a tile, on each side


class State(NamedTuple):
    """How cells of one kind look: the colour repeats in the key, and whatever is not done carries its number."""

    name: str
    statuses: tuple[str, ...]
    color: str


STATES = (
    State("done", ("done",), "#7cc4ae"),
    State("failed, counts as 0", IMPUTED, "#d55e00"),
    State("not run", (NOT_RUN,), "#f0c419"),
    State("skipped for a reason", ("skipped",), "#b9bec4"),
)


def coverage_map(ranking: Ranking, groups: dict[str, str]) -> Figure:
    """Shares of done, failed, not run and skipped cells, from left to right; the number says how many are not done."""
    grid = ranking.grid
    order, rows = columns_by_group(grid.datasets, groups), ranking.order
    counts = _counts(ranking)  # [R, D, states]
    wide = max((len(name_of(grid, row)) for row in rows), default=0)
    size = TILE_INCHES[0] * len(order) + EDGE_INCHES[0] + 0.06 * wide, TILE_INCHES[1] * len(rows) + EDGE_INCHES[1]
    figure = Figure(figsize=(max(size[0], 4.6), size[1]), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(0, len(order)), ylim=(len(rows), 0))
    axes.grid(False)
    axes.spines[:].set_visible(False)
    for x, d in enumerate(order):
        for y, row in enumerate(rows):
            for part in _tile(axes, (x, y), counts[row, d]):
                belongs(part, dataset=d, backbone=backbone_of(grid, row))
    axes.set_yticks(np.arange(len(rows)) + 0.5, [name_of(grid, row) for row in rows], fontsize=7.5)
    names_above(axes, [short(grid.datasets[d], COLUMN) for d in order])
    group_lines(axes, [short(groups.get(grid.datasets[d], ""), COLUMN) for d in order], inches=TILE_INCHES[0])
    _key(figure, counts)
    return figure


def _counts(ranking: Ranking) -> np.ndarray:
    flat = ranking.grid.status.reshape(*ranking.grid.status.shape[:2], -1)
    codes = [[STATUSES.index(status) for status in state.statuses] for state in STATES]
    return np.stack([np.isin(flat, some).sum(-1) for some in codes], axis=-1)


def _tile(axes: Axes, at: tuple[int, int], counts: np.ndarray) -> list[Artist]:
    """What is drawn for one row on one dataset; nothing where nothing was asked for."""
    if not counts.sum():
        return []
    ends = np.concatenate([[0.0], np.cumsum(counts) / counts.sum()]) * (1 - 2 * GAP) + GAP + at[0]
    kept = np.flatnonzero(counts)
    parts = [Rectangle((ends[i], at[1] + GAP), ends[i + 1] - ends[i], 1 - 2 * GAP) for i in kept]
    tile = PatchCollection(parts, facecolors=[STATES[i].color for i in kept], linewidths=0)
    missing = str(counts[1:].sum() or "")
    middle: dict = {"ha": "center", "va": "center", "fontsize": 6.5, "color": DARK}
    return [axes.add_collection(tile, autolim=False), axes.text(at[0] + 0.5, at[1] + 0.52, missing, **middle)]


def _key(figure: Figure, counts: np.ndarray) -> None:
    totals = counts.sum((0, 1))
    handles = [
        Patch(facecolor=state.color, label=f"{state.name}: {total}")
        for state, total in zip(STATES, totals, strict=True)
        if total
    ]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=2 if figure.get_figwidth() < 7 else 4, frameon=False,
        fontsize=8, labelcolor=INK, edgecolor=SOFT,
    )  # fmt: skip
