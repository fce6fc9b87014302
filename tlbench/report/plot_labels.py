"""What are labels worth, at a glance? Label equivalence of each strategy, and where strategies overtake one another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from tlbench.report.analysis import Analysis
from tlbench.report.label_questions import Labels
from tlbench.report.plot_ink import GRID, INK, SOFT, Look, backbone_of, belongs, name_of
from tlbench.report.stats.curves import Place, reach

COLUMNS, PANELS = 4, 12  # panels side by side, and panels: the best rows; the page's table has all
LABEL_POINTS = 7.5
ROW_INCHES = 0.2
FINE = 60  # points of a line
LONGEST, TITLE, PART = 32, 26, 18  # letters of a name beside a line, above a panel, and within a title


def label_equivalence(analysis: Analysis, looks: dict[int, Look]) -> Figure | None:
    """One panel a row: the labels that its reference needs to score what the row scores with the labels below."""
    asked = analysis.labels
    if asked is None:
        return None
    places = [i for i in _pretrained(asked, analysis) if i != asked.references[i]][:PANELS]
    if not places:
        return None
    columns = min(COLUMNS, len(places))
    lines = math.ceil(len(places) / columns)
    layout = ConstrainedLayoutEngine(w_pad=0.1)
    figure = Figure(figsize=(max(2.0 * columns, 4.2), 1.85 * lines + 0.6), layout=layout)
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, i in zip(panels, places, strict=False):
        _equivalence(axes, asked, i, looks[asked.rows[i]])
        axes.set_title(_short(name_of(asked.grid, asked.rows[i]), TITLE), loc="left", fontsize=8, color=INK)
    for axes in panels[len(places) :]:
        axes.set_visible(False)
    for axes in panels[max(len(places) - columns, 0) : len(places)]:
        axes.set_xlabel("labels a class", fontsize=8)
        axes.xaxis.set_tick_params(labelbottom=True)
    words = "labels that", _short(asked.counted_in), "needs"
    figure.supylabel((" " if lines > 1 else "\n").join(words), fontsize=8.5, multialignment="center")
    return figure


class Contest(NamedTuple):
    """One column of the chart of crossovers: pairs (ahead, behind) of places, or None, for each row."""

    title: str
    pairs: Sequence[tuple[int, int] | None]


def crossovers(analysis: Analysis, looks: dict[int, Look]) -> Figure | None:
    """For each row, from when on it is ahead of the reference, and when the floors overtake it."""
    asked = analysis.labels
    if asked is None:
        return None
    contests = _contests(asked, analysis)
    rows = [i for i in _pretrained(asked, analysis) if any(contest.pairs[i] for contest in contests)]
    if not rows:
        return None
    longest = max(len(_short(name_of(asked.grid, asked.rows[i]))) for i in rows)
    size = 0.6 + 0.07 * longest + 2.3 * len(contests), 1.0 + ROW_INCHES * len(rows)
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.13))
    for axes, contest in zip(figure.subplots(1, len(contests), sharey=True, squeeze=False)[0], contests, strict=True):
        _chart(axes, asked, [(contest.pairs[i], looks[asked.rows[i]], asked.rows[i]) for i in rows])
        axes.set_title(contest.title, loc="left", fontsize=8, color=INK)
    axes = figure.axes[0]
    axes.set_yticks(range(len(rows)), [_short(name_of(asked.grid, asked.rows[i])) for i in rows], fontsize=LABEL_POINTS)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    return figure


def _pretrained(asked: Labels, analysis: Analysis) -> list[int]:
    """Places of the rows that transfer something: the others are what they are compared with."""
    others = analysis.meta.without_pretraining
    return [i for i, row in enumerate(asked.rows) if asked.grid.rows[row][0] not in others]


def _contests(asked: Labels, analysis: Analysis) -> list[Contest]:
    """Against the reference, the network from scratch and the raw-input floors, as far as they are there."""
    meta, names = analysis.meta, [asked.grid.rows[row] for row in asked.rows]
    place = {name: i for i, name in enumerate(names)}
    overtakes = [None if i == j else (i, j) for i, j in enumerate(asked.references)]
    strategies = {names[j][0] for j in asked.references}
    reference = _short(strategies.pop(), PART) if len(strategies) == 1 else "the reference"
    made = [Contest(f"ahead of {reference} from", overtakes)]
    for floor in (meta.baseline, *meta.raw_floors):
        pairs = [
            None if name in meta.without_pretraining or (floor, backbone) not in place else (place[floor, backbone], i)
            for i, (name, backbone) in enumerate(names)
        ]
        made.append(Contest(f"ahead of {_short(floor, PART)} up to", pairs))
    return [contest for contest in made if any(contest.pairs)]


def _chart(axes: Axes, asked: Labels, lines: list[tuple[tuple[int, int] | None, Look, int]]) -> None:
    ahead, edges = asked.said[0].ahead, _frame(axes, asked.budgets, "x")
    for y, (pair, look, row) in enumerate(lines):
        if pair is not None:
            x, low, high = (_inside(values[pair], asked.budgets, edges) for values in ahead)
            drawn: list[Artist] = [*axes.plot([low, high], [y, y], color=look.color, linewidth=2.2, alpha=0.5)]
            drawn += axes.plot(x, y, color=look.color, marker=_marker(ahead.labels[pair], "<", ">"), ms=5)
            for artist in drawn:
                belongs(artist, backbone=backbone_of(asked.grid, row))
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("labels a class", fontsize=8)


def _marker(labels: float, below: str, above: str) -> str:
    """An arrow where the place lies outside the budgets."""
    return below if labels == 0 else above if np.isinf(labels) else "o"


def _equivalence(axes: Axes, asked: Labels, i: int, look: Look) -> None:
    j, budgets = asked.references[i], asked.budgets
    axes.set_xscale("log", base=2)
    axes.set_xlim(budgets[0] / 1.15, budgets[-1] * 1.15)
    _ticks(axes, budgets, "x")
    edges = _frame(axes, budgets, "y")
    axes.plot(edges, edges, color=SOFT, linewidth=0.8, dashes=(3, 2), zorder=1)
    x = np.geomspace(budgets[0], budgets[-1], FINE)
    value = np.interp(np.log2(x), np.log2(budgets), asked.curves[:, i])
    needed = reach(asked.curves[:, j, None], value, budgets)
    known, heights = (needed > 0) & np.isfinite(needed), _inside(needed, budgets, edges)
    drawn: list[Artist] = []
    for part, dashes in ((known, ()), (~known, (1, 1.2))):
        y = np.where(part, heights, np.nan)
        drawn += axes.plot(x, y, color=look.color, linewidth=1.3, dashes=dashes, zorder=3)
    place = Place(*(_inside(values[i, j], budgets, edges) for values in asked.said[0].needed))
    drawn.append(axes.vlines(budgets, place.low, place.high, color=look.color, linewidth=2.2, alpha=0.5, zorder=2))
    for budget, y, labels in zip(budgets, place.labels, asked.said[0].needed.labels[i, j], strict=True):
        drawn += axes.plot(budget, y, color=look.color, marker=_marker(labels, "v", "^"), ms=4, zorder=4)
    for artist in drawn:
        belongs(artist, backbone=backbone_of(asked.grid, asked.rows[i]))


def _frame(axes: Axes, budgets: Sequence[int], axis: str) -> tuple[float, float]:
    """A logarithmic axis of labels whose ends, hatched, stand for all that lies outside the budgets."""
    margin = max(1.35, (budgets[-1] / budgets[0]) ** 0.14)
    edges = budgets[0] / margin, budgets[-1] * margin
    getattr(axes, f"set_{axis}scale")("log", base=2)
    getattr(axes, f"set_{axis}lim")(*edges)
    span = axes.axvspan if axis == "x" else axes.axhspan
    for one, other in ((edges[0], budgets[0]), (budgets[-1], edges[1])):
        span(one, other, facecolor="none", edgecolor=GRID, hatch="/////", linewidth=0, zorder=0)
    _ticks(axes, budgets, axis)
    return edges


def _ticks(axes: Axes, budgets: Sequence[int], axis: str) -> None:
    """Names the first and the last budget and those between that have room."""
    apart = np.log2(budgets[-1] / budgets[0]) / 5
    shown = [budgets[0]]
    for budget in budgets[1:-1]:
        if min(np.log2(budget / shown[-1]), np.log2(budgets[-1] / budget)) >= apart:
            shown.append(budget)
    shown.append(budgets[-1])
    getattr(axes, f"set_{axis}ticks")(shown, [str(budget) for budget in shown], fontsize=LABEL_POINTS)
    axes.minorticks_off()


def _inside(labels: np.ndarray, budgets: Sequence[int], edges: tuple[float, float]) -> np.ndarray:
    """What lies outside the budgets is drawn in the middle of the hatched end."""
    below, above = math.sqrt(edges[0] * budgets[0]), math.sqrt(edges[1] * budgets[-1])
    return np.where(labels == 0, below, np.where(np.isinf(labels), above, labels))


def _short(name: str, longest: int = LONGEST) -> str:
    """A name that fits where it is written."""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"
