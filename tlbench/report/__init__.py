"""What does a finished, or half finished, suite say? Tables, figures and one page, from a frame of cells. No torch."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from tlbench.report import document, html, plots, tables
from tlbench.report.analysis import Analysis
from tlbench.report.meta import Meta
from tlbench.report.tables_latex import to_latex
from tlbench.report.tables_markdown import to_markdown

__all__ = ["Meta", "write"]


def write(frame: pd.DataFrame, meta: Meta, out: Path) -> list[Path]:
    """Writes the report of one suite's cells into `out` and returns the files.

    The same cells give the same bytes, in whatever order they come. `frame` is one row a cell, as `Store.frame(cells)`
    makes it. Raises TlbenchError for a frame that is not one suite's results.
    """
    files = _files(Analysis(frame, meta))
    (out / "figures").mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (out / name).write_bytes(content)
    return [out / name for name in files]


def _files(analysis: Analysis) -> dict[str, bytes]:
    """Every file's name and content."""
    table = tables.leaderboard(analysis.ranking, analysis.standings)
    drawn = plots.pictures(analysis)
    texts = {
        "leaderboard.md": to_markdown(table, analysis.ranking, analysis.meta, _against_the_best(analysis)),
        "leaderboard.tex": to_latex(table, analysis.ranking, analysis.meta),
        "leaderboard.csv": tables.to_csv(table),
        "leaderboard.json": document.to_json(analysis),
        "costs.csv": tables.costs_csv(analysis.grid),
        "report.html": html.page(table, analysis, drawn),
    }
    files = {name: text.encode() for name, text in texts.items()}
    files |= {f"figures/{picture.name}.svg": picture.svg for picture in drawn}
    files |= {f"figures/{picture.name}.png": picture.png for picture in drawn}
    return files


def _against_the_best(analysis: Analysis) -> list[list[str]]:
    """For each group the verdicts on its best row and each other, in words."""
    return [[one.words for one in found.pairs if one.first == found.group.ranked[0]] for found in analysis.verdicts]

