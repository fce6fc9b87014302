"""How does a figure look, and how does it become the same bytes every time?

Colours are those of Okabe and Ito (2008) that show on light and dark paper; a marker repeats what a colour says.
"""

from __future__ import annotations

from io import BytesIO
from typing import NamedTuple

import matplotlib
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tlbench.report.meta import Meta
from tlbench.report.ranking import Ranking
from tlbench.report.scores import Grid

INK, SOFT, GRID, PAPER = "#1a1c1e", "#74797e", "#dcdfe3", "#ffffff"
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
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
    return f"{strategy} · {backbone}" if several else strategy


def budget_axis(axes: Axes, budgets: tuple[int, ...]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(budgets, [str(budget) for budget in budgets])
    axes.minorticks_off()


def to_svg(figure: Figure, name: str) -> bytes:
    """`name` keeps the ids of several drawings on one page apart."""
    return _saved(figure, "svg", {"svg.hashsalt": f"tlbench {name}"}, {"Date": None, "Creator": None})


def to_png(figure: Figure) -> bytes:
    return _saved(figure, "png", {"savefig.dpi": 160}, {"Software": None})


def _saved(figure: Figure, kind: str, style: dict, metadata: dict) -> bytes:
    with matplotlib.rc_context({**STYLE, **style}):
        stream = BytesIO()
        figure.savefig(stream, format=kind, metadata=metadata)
        return stream.getvalue()
