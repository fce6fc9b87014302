"""What does a score cost? Score against one kind of cost, and the rows that nothing cheaper beats."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.ticker import LogLocator

from tlbench.report.cost_questions import Costs
from tlbench.report.numbers import amount, percent
from tlbench.report.plot_curves import drawn
from tlbench.report.plot_ink import INK, PAPER, SOFT, Look, backbone_of, belongs, name_of, short
from tlbench.report.ranking import Ranking

LABEL_POINTS = 7.5
LINE = 1.25 * LABEL_POINTS
REACH = 8.0  # points from a mark to its name
LETTER = {True: 0.64, False: 0.6}  # mean width of a letter in its height, bold or not
FREE = 8.0  # a row that costs nothing stands this factor to the left of the cheapest that costs something
LOG_FROM = 30.0  # costs that span less stand on a linear axis
LONGEST_LABEL = 60  # letters of a kind of cost, which a foreign table may call as it likes
WORTH_SAYING = 0.05  # a smaller chance to be on the front is not written beside a name
LINES_UP = sorted(range(-7, 8), key=lambda up: (abs(up), -up))
PLACES = [(side, up) for up in LINES_UP for side in (1, -1)]  # of a name beside its mark, tried in this order


def score_against_cost(ranking: Ranking, asked: Costs, looks: dict[int, Look]) -> Figure:
    """Headline of the main group's rows against a cost; bars are suite intervals, the line is the Pareto front.

    Filled marks stand on the front; a percentage beside a name says how surely.
    """
    rows = [row for row in drawn(ranking) if not np.isnan(asked.cost[row])]
    names = [_named(name_of(ranking.grid, row), asked.chance[row]) for row in rows]
    longest = max(map(len, names), default=0)
    figure = Figure(figsize=(6.2 + 0.075 * longest, max(4.4, 2.6 + 0.13 * len(rows))), layout="constrained")
    axes = figure.subplots()
    x, free = _placed(asked.cost[rows])
    y, half = 100 * ranking.suite.mean[rows], np.nan_to_num(100 * ranking.suite.half[rows])
    front = np.flatnonzero(asked.front[rows])
    front = front[np.lexsort((y[front], x[front]))]
    axes.step(x[front], y[front], where="post", color=SOFT, linewidth=1.0, linestyle=(0, (4, 2)), zorder=1)
    for i, row in enumerate(rows):
        look, fill = looks[row], None if asked.front[row] else PAPER
        size = 6 if look.prominent else 4
        marker = look.marker if look.prominent else "o"
        point = axes.errorbar(
            x[i], y[i], yerr=half[i], color=look.color, marker=marker, markersize=size, elinewidth=1.1,
            markerfacecolor=fill,
        )  # fmt: skip
        for part in point.get_children():
            belongs(part, backbone=backbone_of(ranking.grid, row))
    _scaled(axes, x, free)
    axes.set(xlabel=f"{short(asked.label, LONGEST_LABEL)} (median over cells)", ylabel="score, points")
    axes.set_title(_reading(ranking, asked), loc="left", color=SOFT, fontsize=LABEL_POINTS)
    texts = _name(axes, x, y, [(name, looks[row]) for name, row in zip(names, rows, strict=True)])
    for text, row in zip(texts, rows, strict=True):
        belongs(text, backbone=backbone_of(ranking.grid, row))
    return figure


def cost_figure(number: int) -> str:
    """The name of the figure of the kind of cost that stands in this place."""
    return f"score_against_cost_{number + 1}" if number else "score_against_cost"


def _named(name: str, chance: float) -> str:
    return f"{name} {percent(chance)}" if chance >= WORTH_SAYING else name


def _reading(ranking: Ranking, asked: Costs) -> str:
    bars = "bars: 95 % suite interval" if len(ranking.grid.seeds) > 1 else "one split seed: no interval"
    line = f"{bars}; filled and dashed: nothing as cheap is as good"
    known = not np.isnan(asked.chance[list(asked.rows)]).any()
    sure = "percentage: how often so when the datasets are drawn anew" if known else "one dataset: no saying how surely"
    return f"{line}\n{sure}"


def _placed(costs: np.ndarray) -> tuple[np.ndarray, float | None]:
    """Positions on the axis, and where on a log axis "nothing at all" stands."""
    paid = costs[costs > 0]
    if not len(paid) or paid.max() < LOG_FROM * paid.min():
        return costs, None
    if len(paid) == len(costs):
        return costs, None
    free = float(paid.min()) / FREE
    return np.where(costs > 0, costs, free), free


def _scaled(axes: Axes, x: np.ndarray, free: float | None) -> None:
    """A log axis where costs span an order of magnitude, and a linear one from zero where they do not."""
    paid = x[x > 0]
    if len(paid) and paid.max() >= LOG_FROM * paid.min():
        axes.set_xscale("log", subs=[])
        if paid.max() < 100 * paid.min():
            axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        axes.margins(x=0.12, y=0.08)
    else:
        axes.margins(x=0.12, y=0.08)
        axes.set_xlim(left=min(0.0, -0.05 * x.max(initial=0.0)))
    axes.xaxis.set_major_formatter(lambda value, _: "none" if value == free else amount(value))
    axes.minorticks_off()
    if free is not None:
        axes.set_xticks([free, *(tick for tick in axes.get_xticks() if free * FREE / 2 < tick <= axes.get_xlim()[1])])


def _name(axes: Axes, x: np.ndarray, y: np.ndarray, names: Sequence[tuple[str, Look]]) -> list[Annotation]:
    """Writes each name beside its point, where it covers no point and no other name."""
    made = []
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # settles the layout, so that places in pixels are true
    scale = figure.dpi / 72
    points = axes.transData.transform(np.column_stack([x, y])) / scale
    widths = [LETTER[look.prominent] * LABEL_POINTS * len(name) for name, look in names]
    frame = axes.get_window_extent()
    places = _places(points, widths, tuple(edge / scale for edge in frame.extents))
    for (name, look), (side, up), px, py in zip(names, places, x, y, strict=True):
        text = axes.annotate(
            name, (px, py), (side * REACH, up * LINE), textcoords="offset points", va="center",
            ha="left" if side > 0 else "right", fontsize=LABEL_POINTS, color=look.color if look.prominent else INK,
            fontweight="bold" if look.prominent else "normal", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": look.color, "lw": 0.5, "shrinkB": 3} if up else None,
        )  # fmt: skip
        text.set_bbox({"facecolor": PAPER, "edgecolor": "none", "alpha": 0.75, "pad": 0.6})
        text.set_in_layout(False)  # or the axes would shrink, and the places with them
        made.append(text)
    return made


def _places(points: np.ndarray, widths: Sequence[float], frame: tuple[float, ...]) -> list[tuple[int, int]]:
    """For each point its name's side (1 right, -1 left) and how many lines up, the highest points choosing first."""
    taken = [(px - 4, py - 4, px + 4, py + 4) for px, py in points]
    chosen = [PLACES[0]] * len(points)
    for i in np.lexsort((points[:, 0], -points[:, 1])):
        boxes = [_box(points[i], widths[i], place) for place in PLACES]
        inside = [k for k, box in enumerate(boxes) if _within(box, frame)]
        best = min(inside or [0], key=lambda k: sum(_overlap(boxes[k], other) for other in taken))  # noqa: B023
        chosen[i] = PLACES[best]
        taken.append(boxes[best])
    return chosen


def _box(point: np.ndarray, width: float, place: tuple[int, int]) -> tuple[float, float, float, float]:
    side, up = place
    left = point[0] + REACH if side > 0 else point[0] - REACH - width
    return left, point[1] + (up - 0.5) * LINE, left + width, point[1] + (up + 0.5) * LINE


def _within(box: tuple[float, ...], frame: tuple[float, ...]) -> bool:
    return frame[0] <= box[0] and frame[1] <= box[1] and box[2] <= frame[2] and box[3] <= frame[3]


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """The area that two boxes share."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
