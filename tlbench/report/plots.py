"""Which figures does a report hold? All of them, each as SVG and as PNG."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import matplotlib
from matplotlib.figure import Figure

from tlbench.report.meta import Meta
from tlbench.report.plot_cost import score_against_cost
from tlbench.report.plot_curves import label_curves, label_curves_by_dataset
from tlbench.report.plot_heat import gain_map, score_map
from tlbench.report.plot_ink import STYLE, looks, to_png, to_svg
from tlbench.report.ranking import Ranking
from tlbench.report.tables import cost_medians
from tlbench.report.transfer import Transfer


class Picture(NamedTuple):
    name: str
    svg: bytes
    png: bytes


def pictures(ranking: Ranking, transfer: Transfer, meta: Meta) -> list[Picture]:
    """Every figure for which there are numbers; the same numbers give the same bytes."""
    with matplotlib.rc_context(STYLE):
        return [_picture(name, figure) for name, figure in _figures(ranking, transfer, meta)]


def _picture(name: str, figure: Figure) -> Picture:
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once; both files keep it
    return Picture(name, to_svg(figure, name), to_png(figure))


def _figures(ranking: Ranking, transfer: Transfer, meta: Meta) -> Iterator[tuple[str, Figure]]:
    look = looks(ranking, meta)
    groups = {name: card.group for name, card in meta.cards.items()}
    yield "label_curves", label_curves(ranking, look)
    yield "label_curves_by_dataset", label_curves_by_dataset(ranking, look, groups)
    yield "scores", score_map(ranking, groups)
    gains = gain_map(ranking, transfer, groups)
    if gains is not None:
        yield "transfer_gain", gains
    costs = cost_medians(ranking.grid)
    if "train_flops" in costs and costs.train_flops.notna().any():
        yield "score_against_cost", score_against_cost(ranking, costs.train_flops.to_numpy(), look)
