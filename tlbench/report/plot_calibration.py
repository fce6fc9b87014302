"""Is a strategy as often right as it says? One small reliability diagram for each."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tlbench.report.analysis import Analysis
from tlbench.report.calibration import Diagram
from tlbench.report.plot_ink import COLORS, GRID, INK, SOFT, name_of

COLUMNS = 6  # panels side by side
MOST = 36  # panels; the first rows of the leaderboard
PANEL_INCHES = 1.25, 1.42  # width and height of one panel
NAME_POINTS, LETTERS = 7.0, 21  # of a panel's name


def reliability(analysis: Analysis) -> Figure | None:
    """Accuracy against confidence, a panel a row, the same square axes in all; None where no cell has bins."""
    found = analysis.calibration
    if found is None:
        return None
    drawn = [(row, diagram) for row in analysis.ranking.order if (diagram := found.diagrams[row]) is not None][:MOST]
    if not drawn:
        return None
    columns = min(COLUMNS, len(drawn))
    lines = math.ceil(len(drawn) / columns)
    size = max(PANEL_INCHES[0] * columns + 0.55, 2.6), PANEL_INCHES[1] * lines + 0.45
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, (row, diagram) in zip(panels, drawn, strict=False):
        _panel(axes, diagram, name_of(analysis.grid, row))
    for axes in panels[len(drawn) :]:
        axes.set_visible(False)
    for axes in panels[max(len(drawn) - columns, 0) : len(drawn)]:
        axes.xaxis.set_tick_params(labelbottom=True)
    figure.supxlabel("confidence, %", fontsize=8)
    figure.supylabel("predicted rightly, %", fontsize=8)
    return figure


def _panel(axes: Axes, diagram: Diagram, name: str) -> None:
    confidence, accuracy = 100 * diagram.confidence, 100 * diagram.accuracy
    axes.plot([0, 100], [0, 100], color=SOFT, linewidth=0.8, dashes=(3, 2), zorder=1)
    axes.vlines(confidence, accuracy, confidence, color=GRID, linewidth=2.2, zorder=2)
    axes.plot(confidence, accuracy, color=COLORS[0], marker="o", markersize=2.6, linewidth=1.1, zorder=3)
    axes.set(xlim=(-3, 103), ylim=(-3, 103), xticks=(0, 50, 100), yticks=(0, 50, 100), aspect="equal")
    axes.tick_params(labelsize=6.5, length=2)
    short = name if len(name) <= LETTERS else name[: LETTERS - 1] + "…"
    axes.set_title(short, loc="left", fontsize=NAME_POINTS, color=INK)
