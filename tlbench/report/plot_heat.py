"""Which strategy is good where? Strategy x dataset: scores, and gains over training from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tlbench.report.numbers import points, signed
from tlbench.report.plot_ink import INK, PAPER, SOFT, backbone_of, belongs, name_of, short
from tlbench.report.ranking import Ranking
from tlbench.report.scores import ABSENT, IMPUTED, NOT_RUN, STATUSES
from tlbench.report.stats import Interval
from tlbench.report.transfer import HELPS, HURTS, UNKNOWN, Transfer, verdict

CELL_INCHES = 0.58, 0.25  # width and height of one field
HEADING = 0.057  # inches of one letter
COLUMN = 30  # letters of a name above or below the map
EDGE_INCHES = 2.3, 1.5  # room for the names at the left and the top
DARK, LIGHT = "#101010", "#fefefe"  # letters on colours, which are the same on light and dark paper
HOLLOW = "#eceef0"


class Sheet(NamedTuple):
    """What a heat map shows: values in points, the text of each field, and the names along both sides."""

    values: np.ndarray  # [rows, columns]
    texts: Sequence[Sequence[str]]
    rows: Sequence[str]
    columns: Sequence[str]
    groups: Sequence[str]  # the heading of each column
    datasets: Sequence[int]  # places of the columns but the first, which is the mean of all
    backbones: Sequence[int]  # place of each row's


def score_map(ranking: Ranking, groups: dict[str, str]) -> Figure:
    """Area under the label curve of every row on every dataset; holes say what they are."""
    grid = ranking.grid
    order = columns_by_group(grid.datasets, groups)
    rows = ranking.order
    means = np.column_stack([ranking.suite.mean, ranking.datasets.mean[:, order]])[list(rows)]
    texts = [
        [points(means[i, 0]), *(_field(ranking, row, d) for d in order)] for i, row in enumerate(rows)
    ]  # fmt: skip
    names, headings = _columns([grid.datasets[d] for d in order], groups)
    owners = [backbone_of(grid, row) for row in rows]
    sheet = Sheet(100 * means, texts, [name_of(grid, row) for row in rows], names, headings, order, owners)
    low = min(0.0, float(np.nanmin(sheet.values, initial=0.0)))
    return _drawn(sheet, cmap=sns.color_palette("YlGnBu", as_cmap=True), span=(low, 100.0))


def gain_map(ranking: Ranking, transfer: Transfer, groups: dict[str, str]) -> Figure | None:
    """Paired gain over the baseline; brackets mark what an interval cannot tell from zero. None without a baseline."""
    if not transfer.rows:
        return None
    grid = ranking.grid
    order = columns_by_group(grid.datasets, groups)
    places = sorted(range(len(transfer.rows)), key=lambda t: ranking.order.index(transfer.rows[t]))
    means = np.column_stack([transfer.tasks.mean, transfer.datasets.mean[:, order]])[places]
    texts = [
        [gain_text(transfer.tasks, t), *(gain_text(transfer.datasets, t, d) for d in order)] for t in places
    ]  # fmt: skip
    names, headings = _columns([grid.datasets[d] for d in order], groups)
    rows = [name_of(grid, transfer.rows[t]) for t in places]
    owners = [backbone_of(grid, transfer.rows[t]) for t in places]
    reach = float(np.nanmax(np.abs(means), initial=0.01)) * 100
    return _drawn(
        Sheet(100 * means, texts, rows, names, headings, order, owners), cmap=sns.color_palette("PuOr", as_cmap=True),
        span=(-reach, reach),
    )  # fmt: skip


def columns_by_group(datasets: Sequence[str], groups: dict[str, str]) -> list[int]:
    return sorted(range(len(datasets)), key=lambda d: (groups.get(datasets[d], ""), datasets[d]))


def _columns(datasets: Sequence[str], groups: dict[str, str]) -> tuple[list[str], list[str]]:
    """The names above the map and the headings below it; the first column is the mean of all."""
    headings = [short(groups.get(name, ""), COLUMN) for name in datasets]
    return ["all", *(short(name, COLUMN) for name in datasets)], ["", *headings]


def gain_text(interval: Interval, *index: int) -> str:
    """`+12.3` when the interval excludes zero, `(+1.2)` when it does not, `+1.2?` without an interval."""
    said = verdict(interval, *index)
    text = signed(float(interval.mean[index]))
    if np.isnan(interval.mean[index]) or said in (HELPS, HURTS):
        return text
    return f"{text}?" if said == UNKNOWN else f"({text})"


def _field(ranking: Ranking, row: int, d: int) -> str:
    """A score with a star when failures count in it as 0, or the reason why there is none."""
    grid = ranking.grid
    found = set(np.take(STATUSES, np.unique(grid.status[row, d])).tolist())
    if NOT_RUN in found:
        return "not run"
    if np.isnan(ranking.datasets.mean[row, d]):
        return "" if ABSENT in found else "skipped"
    if found <= set(IMPUTED):
        return "failed"
    return points(float(ranking.datasets.mean[row, d])) + ("*" if found & set(IMPUTED) else "")


def _drawn(sheet: Sheet, *, cmap: object, span: tuple[float, float]) -> Figure:
    height, width = sheet.values.shape
    left = max(EDGE_INCHES[0], 0.2 + 0.065 * max(map(len, sheet.rows), default=0))
    size = width * CELL_INCHES[0] + left, height * CELL_INCHES[1] + EDGE_INCHES[1]
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    sns.heatmap(
        sheet.values, ax=axes, cmap=cmap, vmin=span[0], vmax=span[1], annot=np.array(sheet.texts, dtype=object), fmt="",
        annot_kws={"fontsize": 7.5}, linewidths=0.6, cbar=False, xticklabels=list(sheet.columns),
        yticklabels=list(sheet.rows),
    )  # fmt: skip
    axes.set_facecolor("none")
    axes.grid(False)
    names_above(axes, sheet.columns)
    contrast(axes, sheet.values)
    _holes(axes, sheet)
    group_lines(axes, sheet.groups, inches=CELL_INCHES[0])
    _veil(axes, sheet)
    return figure


def contrast(axes: Axes, values: np.ndarray) -> None:
    """Dark or light letters, whichever stands out more: the two are equal at a relative luminance of 0.179 (WCAG 2)."""
    mesh = axes.collections[0]
    mesh.update_scalarmappable()
    colours = np.asarray(mesh.get_facecolor(), float)[~np.isnan(values).ravel()]
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)[:, :3]
    for text, luminance in zip(axes.texts, linear @ np.array([0.2126, 0.7152, 0.0722]), strict=True):
        text.set_color(DARK if luminance > 0.179 else LIGHT)


def _holes(axes: Axes, sheet: Sheet) -> None:
    """seaborn leaves fields without a value blank; here they are hatched and carry their reason."""
    for i, j in np.argwhere(np.isnan(sheet.values)):
        axes.add_patch(Rectangle((j, i), 1, 1, facecolor=HOLLOW, edgecolor=SOFT, hatch="////", linewidth=0, alpha=0.5))
        axes.text(j + 0.5, i + 0.5, sheet.texts[i][j], ha="center", va="center", fontsize=6.5, color=INK)


def names_above(axes: Axes, names: Sequence[str]) -> None:
    axes.tick_params(length=0, labelsize=8)
    axes.tick_params(axis="y", rotation=0)
    axes.set_xticks(np.arange(len(names)) + 0.5, list(names))
    axes.tick_params(axis="x", top=False, bottom=False, labeltop=True, labelbottom=False, rotation=40)
    for label in axes.get_xticklabels():
        label.set(ha="left", rotation_mode="anchor")


def group_lines(axes: Axes, groups: Sequence[str], *, inches: float) -> None:
    """Names each group of columns, `inches` wide each, below the map; in two lines where one has no room."""
    bottom = axes.get_ylim()[0]
    starts = [j for j in range(len(groups)) if j == 0 or groups[j] != groups[j - 1]]
    ends = [*starts[1:], len(groups)]
    narrow = any(HEADING * len(groups[i]) > (j - i) * inches for i, j in zip(starts, ends, strict=True))
    for place, (start, end) in enumerate(zip(starts, ends, strict=True)):
        points = 3 + (9 * (place % 2) if narrow else 0)
        axes.annotate(
            groups[start], ((start + end) / 2, bottom), (0, -points), textcoords="offset points", ha="center", va="top",
            fontsize=7, color=SOFT, annotation_clip=False,
        )  # fmt: skip
        if start:
            axes.axvline(start, color=INK, linewidth=1.0)


def _veil(axes: Axes, sheet: Sheet) -> None:
    """What nobody sees until a reader of the page leaves a column or a row out."""
    height, width = sheet.values.shape
    hidden: dict = {"facecolor": PAPER, "alpha": 0, "zorder": 9, "linewidth": 0}
    for j, dataset in enumerate(sheet.datasets, 1):
        belongs(axes.add_patch(Rectangle((j, 0), 1, height, **hidden)), dataset=dataset, veil=True)
    for i, backbone in enumerate(sheet.backbones):
        belongs(axes.add_patch(Rectangle((0, i), width, 1, **hidden)), backbone=backbone, veil=True)
