"""Which rows change places when the order is made otherwise? Their ranks, one column a choice."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from tlbench.report.analysis import Analysis
from tlbench.report.plot_ink import SOFT, Look, name_of, short
from tlbench.report.sensitivity import Sensitivity

LABEL_POINTS = 7.5
ROW_INCHES, COLUMN_INCHES = 0.2, 0.36


def ranks_by_variant(analysis: Analysis, looks: dict[int, Look]) -> Figure | None:
    """One line a ranked row of the main group; None where there is no order."""
    found, main = analysis.sensitivity, analysis.main
    if found is None or main is None:
        return None
    rows = main.ranked
    variants = [found.headline, *found.variants]
    longest = max(len(name_of(analysis.grid, row)) for row in rows)
    size = 0.9 + 2 * 0.075 * longest + COLUMN_INCHES * len(variants), 1.4 + ROW_INCHES * len(rows)
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12))
    axes = figure.subplots()
    for place, row in enumerate(rows):
        look = looks[row]
        axes.plot(
            range(len(variants)), [variant.rank[place] for variant in variants], color=look.color, marker=look.marker,
            dashes=look.dashes, markersize=4.5 if look.prominent else 3, linewidth=1.5 if look.prominent else 0.8,
            zorder=4 if look.prominent else 2,
        )  # fmt: skip
    axes.set_yticks(found.headline.rank, [name_of(analysis.grid, row) for row in rows], fontsize=LABEL_POINTS)
    axes.set(ylim=(len(rows) + 0.6, 0.4), xlim=(-0.4, len(variants) - 0.6))
    axes.grid(False)
    _ends(axes, variants[-1].rank, [name_of(analysis.grid, row) for row in rows])
    _columns(axes, found, [short(variant.name, 30) for variant in variants])
    return figure


def _ends(axes: Axes, ranks: np.ndarray, names: list[str]) -> None:
    """Names the rows again where their lines end, so that one can be followed from either side."""
    right = axes.twinx()
    there = sorted(set(ranks.tolist()))
    texts = [", ".join(name for rank, name in zip(ranks, names, strict=True) if rank == place) for place in there]
    right.set_yticks(there, texts, fontsize=LABEL_POINTS)
    right.set(ylim=axes.get_ylim())
    right.tick_params(length=0)
    right.grid(False)


def _columns(axes: Axes, found: Sensitivity, names: list[str]) -> None:
    """Names above, and a line between the kinds of choices."""
    axes.tick_params(axis="x", top=False, bottom=False, labeltop=True, labelbottom=False)
    axes.set_xticks(range(len(names)), names, rotation=40, ha="left", rotation_mode="anchor", fontsize=LABEL_POINTS)
    for column in (0.5, len(found.statistics) + 0.5, len(found.statistics) + len(found.left_out) + 0.5):
        if column < len(names) - 1:
            axes.axvline(column, color=SOFT, linewidth=0.6)
