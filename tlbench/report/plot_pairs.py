"""Which pairs can the data tell apart? The matrix of verdicts, and the ranks that no test separates."""

from __future__ import annotations

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tlbench.report.analysis import Analysis
from tlbench.report.numbers import signed
from tlbench.report.plot_heat import contrast
from tlbench.report.plot_ink import INK, PAPER, SOFT, Look, name_of
from tlbench.report.stats.pairs import BETTER, EQUIVALENT, WORSE
from tlbench.report.stats.ratings import alike

MARKS = {BETTER: "▲", WORSE: "▼", EQUIVALENT: "="}
WITH_NUMBERS = 12  # with more rows a field holds the mark alone
LEGEND = "▲ row better than column, ▼ worse, = equivalent (within 1 point), no mark: undecided"


def pair_matrix(analysis: Analysis) -> Figure | None:
    """Row minus column of the headline in points, with the verdict's mark; None below two ranked rows."""
    main = analysis.main
    if main is None or len(main.ranked) < 2:
        return None
    pairs, count = main.headline, len(main.ranked)
    gaps = 100 * pairs.tasks.mean
    numbered = count <= WITH_NUMBERS
    names = [name_of(analysis.grid, row) for row in main.ranked]
    marks = [[_text(pairs.verdict[i, j], gaps[i, j], numbered and i != j) for j in range(count)] for i in range(count)]
    side = 0.62 if numbered else 0.27
    edge = 0.075 * max(map(len, names)) + 0.4
    figure = Figure(figsize=(max(count * side + edge, 6.4), count * 0.27 + 0.75 * edge + 0.5), layout="constrained")
    axes = figure.subplots()
    reach = float(np.nanmax(np.abs(gaps), initial=1.0))
    sns.heatmap(
        np.where(np.eye(count, dtype=bool), np.nan, gaps), ax=axes, cmap=sns.color_palette("PuOr", as_cmap=True),
        vmin=-reach, vmax=reach, annot=np.array(marks, dtype=object), fmt="", annot_kws={"fontsize": 7.5},
        linewidths=0.6, cbar=False, xticklabels=names, yticklabels=names,
    )  # fmt: skip
    _top_names(axes)
    contrast(axes, np.where(np.eye(count, dtype=bool), np.nan, gaps))
    axes.set_xlabel(LEGEND if pairs.enough else "too few datasets for a verdict", fontsize=7.5, color=SOFT)
    return figure


def critical_differences(analysis: Analysis, looks: dict[int, Look]) -> Figure | None:
    """Mean ranks over datasets, and bars that join rows no test tells apart; None where no test can speak."""
    main = analysis.main
    if main is None or len(main.ranked) < 3 or not main.headline.enough:
        return None
    ranks = analysis.standings[0].mean_rank
    order = np.argsort(ranks, kind="stable")
    bars = alike(main.headline.holm[np.ix_(order, order)])
    names = [name_of(analysis.grid, main.ranked[place]) for place in order]
    left, right = 3.2, max(0.16 * len(bars), 1.0)  # inches
    size = left + right + 0.075 * max(map(len, names)), 0.21 * len(names) + 0.85
    figure = Figure(figsize=size, layout="constrained")
    axes, joined = figure.subplots(1, 2, sharey=True, width_ratios=[left, right])
    for y, place in enumerate(order):
        look = looks[main.ranked[place]]
        axes.plot(ranks[place], y, color=look.color, marker=look.marker, markersize=5.5)
    axes.set_yticks(range(len(names)), names)
    axes.set(ylim=(len(names) - 0.5, -0.5), xlabel="mean rank over datasets (1 is best)")
    for x, members in enumerate(bars):
        joined.plot([x, x], [members[0], members[-1]], color=INK, linewidth=1.0)
        joined.plot([x] * len(members), members, ".", color=INK, markersize=5)
    joined.set(xlim=(-0.5, right / 0.16 - 0.5), xticks=[])
    joined.set_title("not told apart", fontsize=7.5, color=SOFT)
    joined.spines[:].set_visible(False)
    joined.tick_params(left=False, labelleft=False)
    return figure


def _text(verdict: str, gap: float, numbered: bool) -> str:
    mark = MARKS.get(str(verdict), "")
    return f"{mark} {signed(gap / 100)}".strip() if numbered else mark


def _top_names(axes: Axes) -> None:
    axes.set_facecolor(PAPER)
    axes.grid(False)
    axes.tick_params(length=0, labelsize=8)
    axes.tick_params(axis="y", rotation=0)
    axes.tick_params(axis="x", top=False, bottom=False, labeltop=True, labelbottom=False, rotation=40)
    for label in axes.get_xticklabels():
        label.set(ha="left", rotation_mode="anchor")
