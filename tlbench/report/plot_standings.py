"""How far can ranks be told apart, and what share of runs reaches a score? Rank intervals and performance profiles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from tlbench.report.analysis import Analysis
from tlbench.report.numbers import percent
from tlbench.report.plot_ink import SOFT, Look, name_of
from tlbench.report.stats.robust import TAUS

LABEL_POINTS = 7.5
ROW_INCHES = 0.2


def rank_intervals(analysis: Analysis, looks: dict[int, Look]) -> Figure | None:
    """A dot at the rank of each ranked row of the main group, a bar over its interval, and how likely it is first."""
    if analysis.main is None or len(analysis.main.ranked) < 2:
        return None
    standing, rows = analysis.standings[0], analysis.main.ranked
    bounds = standing.rank_low, standing.rank_high
    if np.isnan(bounds).any():
        return None
    longest = max(len(name_of(analysis.grid, row)) for row in rows)
    figure = Figure(figsize=(4.4 + 0.075 * longest, 1.1 + ROW_INCHES * len(rows)), layout=_layout())
    axes = figure.subplots()
    for place, (row, low, high) in enumerate(zip(rows, *bounds, strict=True)):
        look = looks[row]
        axes.plot([low, high], [place, place], color=look.color, linewidth=2.2, alpha=0.55)
        axes.plot(place + 1, place, color=look.color, marker=look.marker, markersize=6)
    axes.set_yticks(range(len(rows)), [name_of(analysis.grid, row) for row in rows], fontsize=LABEL_POINTS)
    axes.set(xlim=(0.5, len(rows) + 0.5), ylim=(len(rows) - 0.4, -0.6), xlabel="rank")
    axes.set_xticks(_ticks(len(rows)))
    axes.grid(False, axis="y")
    axes.set_title("bars: 95 % tasks interval of the rank", loc="left", color=SOFT, fontsize=LABEL_POINTS)
    axes.set_title("chance of rank 1", loc="right", color=SOFT, fontsize=LABEL_POINTS)
    _beside(axes, [percent(float(chance)) for chance in standing.first], [looks[row].color for row in rows])
    return figure


def performance_profiles(analysis: Analysis, looks: dict[int, Look]) -> Figure | None:
    """Share of the runs (dataset x seed) of each ranked row whose score is above a threshold; bands are suite ones."""
    if analysis.main is None:
        return None
    rows, shares = analysis.main.ranked, analysis.standings[0].profile
    figure = Figure(figsize=(6.2, 3.8), layout=_layout())
    axes = figure.subplots()
    grey = next((row for row in rows if not looks[row].prominent), None)
    for place, row in sorted(enumerate(rows), key=lambda placed: not looks[placed[1]].prominent):
        look = looks[row]
        label = name_of(analysis.grid, row) if look.prominent else "all others" if row == grey else None
        width, order = (1.5, 3) if look.prominent else (0.8, 2)
        axes.plot(
            100 * TAUS, 100 * shares.mean[place], color=look.color, dashes=look.dashes, linewidth=width, zorder=order,
            label=label,
        )  # fmt: skip
        if look.prominent:
            band = 100 * shares.low[place], 100 * shares.high[place]
            axes.fill_between(100 * TAUS, *band, color=look.color, alpha=0.14, linewidth=0, zorder=1)
    reached = 100 * TAUS[(shares.mean > 0).any(0)].max(initial=0.1)
    axes.set(xlabel="score, points", ylabel="share of runs above it, %", xlim=(0, min(reached + 4, 100)), ylim=(0, 101))
    several = not np.isnan(shares.low).any()
    said = "bands: 95 % suite interval" if several else "one split seed: no interval"
    axes.set_title(said, loc="left", color=SOFT, fontsize=LABEL_POINTS)
    figure.legend(loc="outside right upper", frameon=False, fontsize=LABEL_POINTS, handlelength=3)
    return figure


def _layout() -> ConstrainedLayoutEngine:
    """With a margin: letters are wider in the file than where they are measured."""
    return ConstrainedLayoutEngine(w_pad=0.12)


def _ticks(count: int) -> list[int]:
    """Ranks to name: all of a few, else the first and every fifth."""
    return list(range(1, count + 1)) if count <= 12 else [1, *range(5, count + 1, 5)]


def _beside(axes: Axes, texts: Sequence[str], colors: Sequence[str]) -> None:
    """Writes one text at the right of each line."""
    right = axes.twinx()
    right.set(ylim=axes.get_ylim())
    right.set_yticks(range(len(texts)), list(texts), fontsize=LABEL_POINTS)
    right.tick_params(length=0)
    right.grid(False)
    for label, color in zip(right.get_yticklabels(), colors, strict=True):
        label.set_color(color)
