"""How does one self-contained page tell it all? No request leaves it, names are escaped, and the answer comes first."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tlbench.report import (
    page_calibration,
    page_cells,
    page_costs,
    page_headline,
    page_labels,
    page_pairs,
    page_selection,
    page_sensitivity,
    page_tables,
    page_transfer,
    page_tuning,
    tables,
)
from tlbench.report.analysis import Analysis
from tlbench.report.plot_ink import COLORS, GRID, INK, PANEL, PAPER, SOFT
from tlbench.report.plots import Picture

# What the template templates/sections/NAME.html finds as `sections.NAME`; None leaves the section out.
SECTIONS: dict[str, Callable[[Analysis], Any]] = {
    "calibration": page_calibration.section,
    "cost": page_costs.section,
    "tuning": page_tuning.section,
    "label_questions": page_labels.section,
    "pairs": page_pairs.section,
    "transfer": page_transfer.section,
    "sensitivity": page_sensitivity.section,
}
TEMPLATES = Path(__file__).parent / "templates"
SMALLEST, LARGEST = 1.2, 1.75  # pixels that a point of a figure may take: legible on a phone, not huge on a desk
PAINTS = {INK: "var(--ink)", SOFT: "var(--soft)", GRID: "var(--line)", PAPER: "var(--paper)", COLORS[0]: "var(--blue)"}


class Panels(NamedTuple):
    each: list[tuple[str, Markup]]  # a dataset and its drawing
    legend: Markup
    shared: Markup  # what all of them point to; nothing to be seen


def page(table: pd.DataFrame, analysis: Analysis, drawn: Sequence[Picture]) -> str:
    """The whole page. `table` is the leaderboard of these results, `drawn` its figures."""
    meta, ranking = analysis.meta, analysis.ranking
    groups = meta.groups
    grid = ranking.grid
    shown, number = page_cells.holes(grid, meta)
    return _environment().get_template("page.html").render(
        meta=meta,
        without=page_tables.without,
        backbones=sorted({backbone for _, backbone in grid.rows}),
        counts=sorted(grid.frame.status.value_counts().items()),
        seeds=len(grid.seeds),
        cautions=tables.cautions(ranking, meta),
        datasets=len(grid.datasets),
        answers=page_headline.answers(analysis),
        headlines=page_headline.headlines(analysis),
        boards=page_tables.boards(table, ranking),
        by_dataset=page_tables.scores_by_dataset(ranking, groups),
        metrics=page_tables.metrics(ranking),
        coverage=page_cells.coverage(ranking, groups),
        holes=shown,
        hole_groups=number,
        labels=page_cells.labels_by_dataset(grid),
        cards=[meta.cards[name] for name in grid.datasets if name in meta.cards],
        kinds=page_selection.kinds(analysis),
        data={
            "commands": None if meta.foreign else {verb: page_cells.command(meta, verb) for verb in ("run", "retry")},
            "grid": page_selection.numbers(analysis),
            "cells": page_cells.packed(grid),
        },
        cells=len(grid.frame),
        places=page_costs.places(grid.frame),
        figures={picture.name: inline(picture) for picture in drawn if not picture.panels},
        panels={picture.name: panels(picture, grid.datasets) for picture in drawn if picture.panels},
        sections={name: made for name, make in SECTIONS.items() if (made := make(analysis)) is not None},
    )  # fmt: skip


def inline(picture: Picture) -> Markup:
    """A figure that is part of the page: no prologue, no metadata, its size the page's, its ink the page's ink.

    The text inside was escaped by the drawer; only our own drawings come here.
    """
    svg = _painted(picture)
    width = float(svg.partition('viewBox="0 0 ')[2].split()[0])
    size = f' style="min-width: {SMALLEST * width:.0f}px; max-width: {LARGEST * width:.0f}px"'
    svg = re.sub(r'(<svg [^>]*?) width="[^"]*" height="[^"]*"', rf"\1{size}", svg, count=1)
    return Markup(svg.replace("<svg ", '<svg role="img" ', 1).strip())  # noqa: S704


def panels(picture: Picture, datasets: Sequence[str]) -> Panels:
    """A figure taken apart: a drawing for each dataset, so that a reader may choose among them."""
    rest, cut = _painted(picture), {}
    for name, box in picture.panels.items():
        found = re.search(rf'\n  <g id="{name}">.*?\n  </g>', rest, re.DOTALL)
        assert found, name
        rest = rest.replace(found[0], "")
        view = " ".join(f"{edge:g}" for edge in box)
        cut[name] = Markup(  # noqa: S704
            f'<svg role="img" viewBox="{view}" style="max-width: {LARGEST * box[2]:.0f}px">{found[0]}\n</svg>'
        )
    each = [(datasets[int(name.removeprefix(PANEL))], svg) for name, svg in cut.items() if name.startswith(PANEL)]
    return Panels(each, cut["legend"], Markup(rest.strip()))  # noqa: S704


def _painted(picture: Picture) -> str:
    svg = picture.svg.decode()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    return re.sub("|".join(PAINTS), lambda found: PAINTS[found[0]], svg)


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    made.policies["json.dumps_kwargs"] = {"sort_keys": True, "separators": (",", ":")}
    return made
