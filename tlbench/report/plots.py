"""Which figures does a report hold? All of them, each as SVG and as PNG."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import NamedTuple

import matplotlib
from matplotlib.figure import Figure

from tlbench.report.analysis import Analysis
from tlbench.report.plot_calibration import reliability
from tlbench.report.plot_cost import cost_figure, score_against_cost
from tlbench.report.plot_coverage import coverage_map
from tlbench.report.plot_curves import label_curves, label_curves_by_dataset
from tlbench.report.plot_heat import gain_map, score_map
from tlbench.report.plot_ink import STYLE, looks, panels, to_png, to_svg
from tlbench.report.plot_labels import crossovers, label_equivalence
from tlbench.report.plot_pairs import critical_differences, pair_matrix
from tlbench.report.plot_sensitivity import ranks_by_variant
from tlbench.report.plot_standings import performance_profiles, rank_intervals
from tlbench.report.plot_tuning import score_against_trials, tuning_gain


class Picture(NamedTuple):
    name: str
    svg: bytes
    png: bytes
    panels: dict[str, tuple[float, ...]]  # parts that the page may show one by one: see plot_ink.panels


def pictures(analysis: Analysis) -> list[Picture]:
    """Every figure for which there are numbers; the same numbers give the same bytes."""
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # SVG and page have more letters than PNG
        return [_picture(name, figure) for name, figure in _figures(analysis) if figure is not None]


def _picture(name: str, figure: Figure) -> Picture:
    figure.draw_without_rendering()
    figure.set_layout_engine(None)  # laid out once: both files keep it, and neither draws to lay out again
    return Picture(name, to_svg(figure, name), to_png(figure), panels(figure))


def _figures(analysis: Analysis) -> Iterator[tuple[str, Figure | None]]:
    """A part of the analysis that has something to draw adds its line; None stands for nothing to draw."""
    ranking, meta = analysis.ranking, analysis.meta
    look = looks(ranking, meta)
    groups = meta.groups
    yield "label_curves", label_curves(ranking, look)
    yield "label_curves_by_dataset", label_curves_by_dataset(ranking, look, groups)
    yield "scores", score_map(ranking, groups)
    yield "coverage", coverage_map(ranking, groups)
    yield "transfer_gain", gain_map(ranking, analysis.transfer, groups)
    for number, asked in enumerate(analysis.costs):
        yield cost_figure(number), score_against_cost(ranking, asked, look)
    yield "pair_matrix", pair_matrix(analysis)
    yield "critical_differences", critical_differences(analysis, look)
    yield "tuning_gain", tuning_gain(analysis, look)
    yield "score_against_trials", score_against_trials(analysis, look)
    yield "reliability", reliability(analysis)
    yield "rank_intervals", rank_intervals(analysis, look)
    yield "performance_profiles", performance_profiles(analysis, look)
    yield "ranks_by_variant", ranks_by_variant(analysis, look)
    yield "label_equivalence", label_equivalence(analysis, look)
    yield "crossovers", crossovers(analysis, look)
