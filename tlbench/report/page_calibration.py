"""What does the page say of probabilities and of hard classes?"""

from __future__ import annotations

from typing import Any

import numpy as np

from tlbench.report.analysis import Analysis
from tlbench.report.calibration import OVER, Calibration
from tlbench.report.numbers import NO_INTERVAL, NONE, percent, points, signed
from tlbench.report.page_cells import command
from tlbench.report.page_tables import Field, Table
from tlbench.report.plot_ink import name_of


def section(analysis: Analysis) -> dict[str, Any] | None:
    found = analysis.calibration
    if found is None:
        return None
    return {
        "table": _table(analysis, found),
        "hard": _hard(analysis, found),
        "unbinned": found.done - found.binned if "reliability" in analysis.grid.frame else 0,
        "again": f"{command(analysis.meta, 'retry')} --all",
        "budget": max(analysis.grid.budgets),
    }


def _table(analysis: Analysis, found: Calibration) -> Table:
    heads = {"nll": "NLL ↓", "brier": "Brier ↓", "ece": "calibration error ↓", OVER: "over-confidence → 0"}
    rows = []
    for row in analysis.ranking.order:
        if found.cells[row]:
            names = [Field(part) for part in analysis.grid.rows[row]]
            rows.append(
                [*names, *(_fields(found, name, row) for name in heads), Field(str(found.cells[row]), found.cells[row])]
            )
    return Table(["strategy", "backbone", *heads.values(), "cells"], rows)


def _fields(found: Calibration, name: str, row: int) -> Field:
    interval = found.suite[name].at(row)
    mean, half = float(interval.mean), float(interval.half)
    if np.isnan(mean):
        return Field(NONE)
    if name in ("nll", "brier"):
        text, wide = f"{mean:.3f}", f"{half:.3f}"
    else:
        text, wide = (signed if name == OVER else points)(mean), points(half)
    return Field(f"{text} ± {wide}" if not np.isnan(half) else f"{text} ({NO_INTERVAL})", mean)


def _hard(analysis: Analysis, found: Calibration) -> Table:
    rows = [
        [
            Field(each.dataset), Field(each.name), Field(str(each.examples), each.examples),
            Field(percent(each.recall), each.recall), Field(name_of(analysis.grid, each.best)),
            Field(percent(each.best_recall), each.best_recall),
        ]
        for each in found.hard
    ]  # fmt: skip
    return Table(["dataset", "class", "test examples", "found on average", "found most by", "who finds"], rows)
