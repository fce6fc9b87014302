"""How does a figure look, and how does it become the same bytes every time?

Colours are those of Okabe and Ito (2008) that show on light and dark paper; a marker repeats what a colour says.
"""

from __future__ import annotations

import re
from io import BytesIO
from typing import NamedTuple

import matplotlib
import numpy as np
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tlbench.report.meta import Meta
from tlbench.report.ranking import Ranking
from tlbench.report.scores import Grid

PANEL = "panel-"  # starts the name of axes that show one dataset: its place in the grid follows
INK, SOFT, GRID, PAPER = "#1a1c1e", "#74797e", "#dcdfe3", "#ffffff"
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
LONGEST = 48  # letters of a name
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES: tuple[tuple[float, ...], ...] = ((), (4, 1.5), (1, 1.2), (6, 1.5, 1, 1.5))  # by backbone
STYLE = {
    **sns.axes_style("whitegrid"),
    **sns.plotting_context("paper", font_scale=0.95),
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "font.family": ["DejaVu Sans"],
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "svg.fonttype": "none",  # letters stay letters: searchable, and in the page's own font
    "svg.hashsalt": "tlbench",
    "text.color": INK,
    "text.parse_math": False,  # a name with two dollar signs is a name
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.bottom": True,
}


class Look(NamedTuple):
    color: str
    marker: str
    dashes: tuple[float, ...]
    prominent: bool  # coloured, drawn with its interval, named in every legend


def looks(ranking: Ranking, meta: Meta) -> dict[int, Look]:
    """Every row's look, the same in all figures: the best strategies in colour, the baseline in ink, others grey."""
    grid = ranking.grid
    strategies = list(dict.fromkeys(grid.rows[row][0] for row in ranking.order))
    transferred = [name for name in strategies if name not in meta.without_pretraining]
    floors = [name for name in strategies if name in meta.without_pretraining and name != meta.baseline]
    coloured = [*transferred, *floors][: len(COLORS)]
    backbones = sorted({backbone for _, backbone in grid.rows})
    made = {}
    for row, (strategy, backbone) in enumerate(grid.rows):
        dashes = DASHES[backbones.index(backbone) % len(DASHES)]
        if strategy in coloured:
            place = coloured.index(strategy)
            made[row] = Look(COLORS[place], MARKERS[place], dashes, True)
        elif strategy == meta.baseline:
            made[row] = Look(INK, "X", dashes, True)
        else:
            made[row] = Look(SOFT, ".", dashes, False)
    return made


def name_of(grid: Grid, row: int) -> str:
    """A row's name in a figure; the backbone only where there are several."""
    strategy, backbone = grid.rows[row]
    several = len({b for _, b in grid.rows}) > 1
    return short(f"{strategy} · {backbone}" if several else strategy)


def short(name: str, limit: int = LONGEST) -> str:
    """A name that has room in a figure: a longer one keeps its start and its end."""
    return name if len(name) <= limit else f"{name[: limit - 13]}…{name[-12:]}"


def budget_axis(axes: Axes, budgets: tuple[int, ...]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(budgets, [str(budget) for budget in budgets])
    axes.minorticks_off()


def belongs(artist: Artist, *, dataset: int | None = None, backbone: int | None = None, veil: bool = False) -> None:
    """Marks what is drawn for one `dataset` or one `backbone`, so that the page can fade what a reader leaves out.

    Places are those of the grid's datasets, and of the backbones in alphabetical order. A `veil` appears instead.
    """
    owners = {"of-dataset": dataset, "of-backbone": backbone}
    names = [f"{owner}-{place}" for owner, place in owners.items() if place is not None]
    artist.set_gid(" ".join([*names, "veil"] if veil else names))


def backbone_of(grid: Grid, row: int) -> int:
    return sorted({backbone for _, backbone in grid.rows}).index(grid.rows[row][1])


def to_svg(figure: Figure, name: str) -> bytes:
    """`name` keeps the ids of several drawings on one page apart."""
    svg = _saved(figure, "svg", {"svg.hashsalt": f"tlbench {name}"}, {"Date": None, "Creator": None})
    return re.sub(rb'id="(of-[^"]*)"', rb'class="\1"', svg)  # several things may belong to one dataset


def panels(figure: Figure) -> dict[str, tuple[float, ...]]:
    """The axes and legends with a name of their own: left, top, width and height of each in points.

    Axes are cut with all their text and the same margins, so that they stay alike side by side.
    """
    axes = [one for one in figure.axes if one.get_gid()]
    named = [*axes, *figure.legends] if axes else []
    if not named:
        return {}
    inner = np.array([one.get_window_extent().extents for one in named])  # [parts, (left, bottom, right, top)]
    outer = np.array([box.extents for box in (one.get_tightbbox() for one in axes) if box is not None])
    within = inner[: len(axes)] - outer
    inner[: len(axes)] += np.concatenate([-within[:, :2].max(0), -within[:, 2:].min(0)])
    left, bottom, right, top = inner.T * 72 / figure.dpi
    boxes = np.stack([left, 72 * figure.get_figheight() - top, right - left, top - bottom], axis=1).round(2)
    return {str(part.get_gid()): tuple(box) for part, box in zip(named, boxes.tolist(), strict=True)}


def to_png(figure: Figure) -> bytes:
    return _saved(figure, "png", {"savefig.dpi": 160}, {"Software": None})


def _saved(figure: Figure, kind: str, style: dict, metadata: dict) -> bytes:
    with matplotlib.rc_context({**STYLE, **style}):
        stream = BytesIO()
        figure.savefig(stream, format=kind, metadata=metadata)
        return stream.getvalue()
