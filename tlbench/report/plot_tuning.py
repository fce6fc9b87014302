"""What did tuning buy, and how many trials does it take? Pictures of both."""

from __future__ import annotations

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from tlbench.report.analysis import Analysis
from tlbench.report.numbers import half_width, signed
from tlbench.report.plot_curves import drawn, handles
from tlbench.report.plot_ink import INK, PAPER, SOFT, Look, backbone_of, belongs, name_of
from tlbench.report.stats import Interval

TITLE_POINTS = 7.5
ROW_INCHES = 0.23


def score_against_trials(analysis: Analysis, looks: dict[int, Look]) -> Figure | None:
    """Expected score of the chosen trial against the number of trials; the test panel only where it can be said."""
    curves, trials = analysis.tuning.curves, analysis.tuning.trials
    rows = [row for row in _tuned(analysis) if not np.isnan(curves.validation.mean[row, 0])]
    if not rows:
        return None
    panels = {"on the validation folds, as the search sees it": curves.validation}
    if any(not np.isnan(curves.test.mean[row, 0]) for row in rows):
        panels["on the test set, which the search does not see"] = curves.test
    figure = Figure(figsize=(1.2 + 3.6 * len(panels), 4.6), layout="constrained")
    for axes, (title, scores) in zip(_panels(figure, len(panels)), panels.items(), strict=True):
        for row in rows:
            for part in _curve(axes, scores.at(row), int(trials[row]), looks[row]):
                belongs(part, backbone=backbone_of(analysis.grid, row))
        axes.set_title(title, loc="left", color=SOFT, fontsize=TITLE_POINTS)
        axes.set_xlabel("trials, the default first")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    means = 100 * np.concatenate([scores.mean[rows].ravel() for scores in panels.values()])
    low, high = float(np.nanmin(means)), float(np.nanmax(means))
    margin = 0.06 * max(high - low, 1.0)
    axes.set_ylim(low - margin, high + margin)  # of the lines: few seeds have bands that would flatten them
    figure.supylabel("expected score, points", fontsize=9)
    shown = {row: looks[row] for row in rows}
    lines = handles(analysis.ranking, shown)
    figure.legend(
        handles=lines, loc="outside lower center", ncols=min(len(lines), 2 * len(panels)), frameon=False, fontsize=8,
        handlelength=3,
    )  # fmt: skip
    return figure


def tuning_gain(analysis: Analysis, looks: dict[int, Look]) -> Figure | None:
    """Each row from its default (0) to what tuning chose, and on to what choosing on the test set would have given."""
    found, grid = analysis.tuning, analysis.grid
    rows = [row for row in _tuned(analysis) if not np.isnan(found.suite.mean[row])]
    if not rows:
        return None
    names = [name_of(grid, row) for row in rows]
    figure = Figure(figsize=(4.7 + 0.075 * max(map(len, names)), 1.3 + ROW_INCHES * len(rows)))
    figure.set_layout_engine(ConstrainedLayoutEngine(rect=(0, 0, 0.98, 1)))
    axes = figure.subplots()
    for place, row in enumerate(rows):
        parts = _dumbbell(axes, place, found.suite.at(row), float(found.peek.mean[row]), looks[row])
        said = axes.annotate(
            f"{signed(float(found.suite.mean[row]))} {half_width(found.suite, row)}", (1.02, place),
            xycoords=("axes fraction", "data"), va="center", fontsize=TITLE_POINTS, annotation_clip=False, color=INK,
        )  # fmt: skip
        for part in (*parts, said):
            belongs(part, backbone=backbone_of(grid, row))
    axes.axvline(0, color=SOFT, linewidth=1.0, zorder=1)
    axes.set_yticks(range(len(rows)), names, fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("points above the row's own default hyperparameters")
    bars = "bars: 95 % suite interval" if len(grid.seeds) > 1 else "one split seed: no interval"
    axes.set_title(
        f"filled: tuned; hollow: best on the test set; {bars}", loc="left", color=SOFT, fontsize=TITLE_POINTS
    )
    return figure


def _tuned(analysis: Analysis) -> list[int]:
    """Rows of the main group that had anything to tune, best first."""
    return [row for row in drawn(analysis.ranking) if analysis.tuning.tuned[row]]


def _panels(figure: Figure, count: int) -> list[Axes]:
    """Side by side on one scale, so that what the folds promise can be held against what the test set gives."""
    found: list[Axes] = list(figure.subplots(1, count, sharey=True, squeeze=False)[0])
    for axes in found:
        axes.tick_params(labelleft=True)
    return found


def _curve(axes: Axes, scores: Interval, trials: int, look: Look) -> list[Artist]:
    x, y = np.arange(1, trials + 1), Interval(*(100 * bound[:trials] for bound in scores))
    made: list[Artist] = [
        *axes.plot(
            x, y.mean, color=look.color, dashes=look.dashes, marker=look.marker if look.prominent else None,
            markersize=3, markevery=[0, trials - 1], linewidth=1.5 if look.prominent else 0.8,
            zorder=3 if look.prominent else 2,
        )
    ]  # fmt: skip
    if look.prominent:
        made.append(axes.fill_between(x, y.low, y.high, color=look.color, alpha=0.1, linewidth=0, zorder=1))
    return made


def _dumbbell(axes: Axes, place: int, gain: Interval, peek: float, look: Look) -> list[Artist]:
    mean, half = 100 * float(gain.mean), float(np.nan_to_num(100 * gain.half))
    ends, line = [0, mean], [place, place]
    made: list[Artist] = [
        *axes.plot(ends, line, color=look.color, linewidth=5, alpha=0.3, solid_capstyle="butt", zorder=2),
        *axes.errorbar(mean, place, xerr=half, fmt="o", color=look.color, markersize=5, elinewidth=1.1).get_children(),
    ]
    if not np.isnan(peek):
        best = mean + 100 * peek
        made += axes.plot([mean, best], line, color=SOFT, linewidth=0.9, linestyle=(0, (2, 2)), zorder=2)
        made += axes.plot(best, place, "o", color=SOFT, markerfacecolor=PAPER, markersize=5, zorder=3)
    return made
