"""How does a score grow with the number of labels? Over all datasets, and on each."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from scipy.optimize import isotonic_regression

from tlbench.report import stats
from tlbench.report.plot_ink import INK, PANEL, SOFT, Look, backbone_of, belongs, budget_axis, name_of, short
from tlbench.report.ranking import Ranking
from tlbench.report.scores import Grid

COLUMNS = 4  # panels side by side
LABEL_POINTS = 7.5
PANEL_LETTERS = 28  # above one panel
LEADER = {"arrowstyle": "-", "lw": 0.5, "shrinkA": 1, "shrinkB": 6, "relpos": (0, 0.5)}


def label_curves(ranking: Ranking, looks: dict[int, Look]) -> Figure:
    """Mean over the datasets of the main group against the budget; bars are suite intervals."""
    grid = ranking.grid
    rows = drawn(ranking)
    height = max(4.2, 0.9 + len(rows) * LABEL_POINTS * 1.3 / 72)
    longest = max((len(name_of(grid, row)) for row in rows), default=0)
    figure = Figure(figsize=(6.2 + 0.075 * longest, height), layout=ConstrainedLayoutEngine(rect=(0, 0, 0.97, 1)))
    axes = figure.subplots()
    steps = np.linspace(-0.04, 0.04, max(len(rows), 2))  # bars stand side by side
    for step, row in zip(steps, rows, strict=False):
        look = looks[row]
        x = np.array(grid.budgets) * 2.0**step
        mean, half = 100 * ranking.budget_suite.mean[row], 100 * ranking.budget_suite.half[row]
        drawing: list[Artist] = [*axes.plot(x, mean, **_line(look))]
        if look.prominent:
            bars = axes.errorbar(
                x, mean, yerr=np.nan_to_num(half), fmt="none", ecolor=look.color, elinewidth=1.1, zorder=3
            )
            drawing += bars.get_children()
        for part in drawing:
            belongs(part, backbone=backbone_of(grid, row))
    budget_axis(axes, grid.budgets)
    axes.set_xlim(*_reach(grid.budgets))
    axes.set(xlabel="labels a class", ylabel="score, points (mean over datasets)")
    axes.set_title(_bars("suite", len(grid.seeds) > 1), loc="left", color=SOFT, fontsize=LABEL_POINTS)
    _name_ends(axes, ranking, looks, inches=height - 0.8)
    return figure


def label_curves_by_dataset(ranking: Ranking, looks: dict[int, Look], groups: dict[str, str]) -> Figure:
    """One panel a dataset, the same axes in all; bands are `cell` intervals. `groups` maps datasets to headings."""
    grid = ranking.grid
    order = sorted(range(len(grid.datasets)), key=lambda d: (groups.get(grid.datasets[d], ""), grid.datasets[d]))
    columns = min(COLUMNS, len(order))
    lines = math.ceil(len(order) / columns)
    figure = Figure(figsize=(max(2.15 * columns, 4.3), 1.75 * lines + 0.8), layout="constrained")
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    cells = stats.cell(np.where(grid.incomplete[..., None, None], np.nan, grid.z))  # [R, D, B]
    for axes, d in zip(panels, order, strict=False):
        axes.set_gid(f"{PANEL}{d}")
        _panel(axes, grid, stats.Interval(*(100 * bound[:, d] for bound in cells)), looks)
        budget_axis(axes, grid.budgets)
        name = short(grid.datasets[d], PANEL_LETTERS)
        axes.set_title(name, loc="left", fontsize=8.5, color=INK)
        room = PANEL_LETTERS - len(name)
        heading = groups.get(grid.datasets[d], "")
        axes.set_title(heading if len(heading) <= room else "", loc="right", fontsize=6.5, color=SOFT)
    panels[0].set_xlim(*_reach(grid.budgets))
    panels[0].set_ylim(*_span(100 * cells.mean))
    for axes in panels[len(order) :]:
        axes.set_visible(False)
    for axes in panels[: len(order)]:
        axes.tick_params(labelbottom=True, labelleft=True, labelsize=7)  # a panel may stand alone
    figure.supylabel("score, points, against labels a class", fontsize=9)  # a label below would meet the legend
    entries = handles(ranking, looks)
    entry = 0.75 + 0.075 * max(len(str(handle.get_label())) for handle in entries)  # inches of one name with its line
    fitting = max(1, int(figure.get_figwidth() / entry))
    figure.legend(
        handles=entries, loc="outside lower center", ncols=min(4, fitting, len(entries)), frameon=False, fontsize=8,
        handlelength=3,
    ).set_gid("legend")  # fmt: skip
    return figure


def drawn(ranking: Ranking) -> tuple[int, ...]:
    """Rows of the main group that have an aggregate, ranked or not: others cover other datasets."""
    if not ranking.groups:
        return ()
    main = ranking.groups[0]
    rows = (*main.ranked, *(row for row, _ in main.unranked))
    return tuple(row for row in rows if not np.isnan(ranking.suite.mean[row]))


def _panel(axes: Axes, grid: Grid, points: stats.Interval, looks: dict[int, Look]) -> None:
    """The curves [R, B] of one dataset; a band that leaves the axes is cut, so that few seeds flatten no curve."""
    axes.set_autoscale_on(False)
    budgets = grid.budgets
    _grey(axes, grid, points.mean, [row for row, look in looks.items() if not look.prominent])
    for row, look in looks.items():
        if look.prominent:
            (line,) = axes.plot(budgets, points.mean[row], **{**_line(look), "markersize": 3})
            band = axes.fill_between(
                budgets, points.low[row], points.high[row], color=look.color, alpha=0.12, linewidth=0, zorder=1
            )
            belongs(line, backbone=backbone_of(grid, row))
            belongs(band, backbone=backbone_of(grid, row))


def _grey(axes: Axes, grid: Grid, means: np.ndarray, rows: list[int]) -> None:
    """One line with gaps for each backbone: hundreds of rows stay quick to draw. Points that stand alone are dots."""
    places = np.array([backbone_of(grid, row) for row in rows], int)
    for place in np.unique(places):
        alike = [row for row, its in zip(rows, places, strict=True) if its == place]
        gapped = np.pad(means[alike], ((0, 0), (0, 1)), constant_values=np.nan).ravel()
        x = np.tile([*grid.budgets, np.nan], len(alike))
        known = np.pad(~np.isnan(gapped), 1)
        alone = known[1:-1] & ~known[:-2] & ~known[2:]
        drawing = axes.plot(x, gapped, color=SOFT, linewidth=0.6, alpha=0.7, zorder=2)
        drawing += axes.plot(x[alone], gapped[alone], color=SOFT, linestyle="none", marker=".", markersize=3, zorder=2)
        for line in drawing:
            belongs(line, backbone=int(place))


def _reach(budgets: tuple[int, ...]) -> tuple[float, float]:
    """The budgets with a margin on both sides."""
    margin = 1.12 * (budgets[-1] / budgets[0]) ** 0.03
    return budgets[0] / margin, budgets[-1] * margin


def _span(values: np.ndarray) -> tuple[float, float]:
    low, high = float(np.nanmin(values, initial=0.0)), float(np.nanmax(values, initial=0.0))
    margin = 0.06 * max(high - low, 1.0)
    return low - margin, high + margin


def _line(look: Look) -> dict:
    return {
        "color": look.color,
        "marker": look.marker,
        "markersize": 4.5 if look.prominent else 3,
        "linewidth": 1.5 if look.prominent else 0.8,
        "dashes": look.dashes,
        "zorder": 4 if look.prominent else 2,
    }


def _name_ends(axes: Axes, ranking: Ranking, looks: dict[int, Look], *, inches: float) -> None:
    """Writes each row's name at the end of its curve; names are moved apart as little as it takes to be legible."""
    ends = {row: _last(100 * ranking.budget_suite.mean[row]) for row in drawn(ranking)}
    rows = tuple(sorted(ends, key=lambda row: ends[row]))
    if not rows:
        return
    low, high = axes.get_ylim()
    gap = LABEL_POINTS * 1.25 / 72 / inches * (high - low)
    ladder = gap * np.arange(len(rows))
    places = isotonic_regression(np.array([ends[row] for row in rows]) - ladder).x + ladder
    axes.set_ylim(min(low, places.min() - gap), max(high, places.max() + gap))
    last = ranking.grid.budgets[-1]
    for row, y in zip(rows, places, strict=True):
        look = looks[row]
        name = axes.annotate(
            name_of(ranking.grid, row), (last, ends[row]), (1.04, y), color=look.color, va="center",
            fontsize=LABEL_POINTS, fontweight="bold" if look.prominent else "normal", annotation_clip=False,
            textcoords=("axes fraction", "data"), arrowprops={**LEADER, "color": look.color},
        )  # fmt: skip
        for part in filter(None, (name, name.arrow_patch)):
            belongs(part, backbone=backbone_of(ranking.grid, row))


def _last(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known[-1]) if len(known) else 0.0


def handles(ranking: Ranking, looks: dict[int, Look]) -> list[Line2D]:
    """What a legend shows of the rows that have a look: each that is prominent, then one for all others."""
    made = [
        Line2D([], [], **_line(looks[row]), label=name_of(ranking.grid, row))
        for row in ranking.order
        if row in looks and looks[row].prominent
    ]
    grey = [looks[row] for row in ranking.order if row in looks and not looks[row].prominent]
    return [*made, *_others(grey)]


def _others(grey: Iterable[Look]) -> list[Line2D]:
    first = next(iter(grey), None)
    return [Line2D([], [], **{**_line(first), "dashes": ()}, label="all others")] if first else []


def _bars(kind: str, several: bool) -> str:
    return f"bars: 95 % {kind} interval" if several else "one split seed: no interval"
