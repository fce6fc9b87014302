"""What does the page say of tuning? What it bought, what it cost to look for, and what peeking would have added."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from tlbench.report.analysis import Analysis
from tlbench.report.numbers import NONE, half_width, percent, points, signed
from tlbench.report.page_tables import Field, Table
from tlbench.report.plot_ink import name_of
from tlbench.report.stats import Interval
from tlbench.report.tables import EDGE_LIMIT, edge_share
from tlbench.report.transfer import HELPS, HURTS, UNDECIDED, UNKNOWN, holm, p_values, verdict

SAID = {
    HELPS: "Tuning helped",
    HURTS: "The defaults were better than what tuning chose",
    UNDECIDED: "Whether tuning helped cannot be told",
    UNKNOWN: "There is no interval, so that nothing can be said of",
}


class Tuned(NamedTuple):
    """What the section reads."""

    sentences: list[tuple[str, list[str]]]  # what is said, of whom
    table: Table
    untuned: list[str]  # rows that have nothing to tune
    no_curve: list[tuple[str, list[str]]]  # why, and whose
    halved: bool  # did a search score only some of its trials on the test set?


def section(analysis: Analysis) -> Tuned | None:
    """None where the results tell of no default, and so of no tuning."""
    found, grid = analysis.tuning, analysis.grid
    rows = [row for row in analysis.ranking.order if not np.isnan(found.suite.mean[row])]
    busy = [row for row in rows if found.tuned[row]]
    if not busy:
        return None
    said: dict[str, list[str]] = {}
    verdicts = _verdicts(analysis, busy)
    for row in busy:
        said.setdefault(verdicts[row], []).append(f"{name_of(grid, row)} ({signed(float(found.tasks.mean[row]))})")
    why: dict[str, list[str]] = {}
    for row in busy:
        if found.curves.why[row]:
            why.setdefault(found.curves.why[row], []).append(name_of(grid, row))
    return Tuned(
        sentences=[(SAID[word], said[word]) for word in SAID if word in said],
        table=_table(analysis, verdicts),
        untuned=[name_of(grid, row) for row in rows if not found.tuned[row]],
        no_curve=list(why.items()),
        halved=any(0 < found.refitted[row] < found.trials[row] for row in busy),
    )


def _verdicts(analysis: Analysis, rows: list[int]) -> dict[int, str]:
    """What the tasks interval of each row's gain allows to say after Holm's correction for all these rows."""
    gain, grid = analysis.tuning.tasks, analysis.grid
    datasets = (~np.isnan(grid.area[rows])).any(-1).sum(-1)
    stands = holm(p_values(Interval(*(bound[rows] for bound in gain)), datasets - 1))
    said = {row: verdict(gain, row) for row in rows}
    return {
        row: word if sure or word == UNKNOWN else UNDECIDED
        for (row, word), sure in zip(said.items(), stands, strict=True)
    }


def _table(analysis: Analysis, verdicts: dict[int, str]) -> Table:
    columns = [
        "strategy", "backbone", "default", "tuned", "tuning", "± suite", "± tasks", "peek gap", "± suite of the gap",
        "trials", "of them scored on test", "enough", "most often on the edge",
    ]  # fmt: skip
    edge = edge_share(analysis.grid)
    return Table(columns, [[*_row(analysis, row, said), _edge(edge.iloc[row])] for row, said in verdicts.items()])


def _row(analysis: Analysis, row: int, said: str) -> list[Field]:
    found, tuned_score = analysis.tuning, analysis.ranking.suite.mean[row]
    return [
        *map(Field, analysis.grid.rows[row]),
        _number(points(float(found.default.mean[row])), found.default.mean[row]),
        _number(points(float(tuned_score)), tuned_score),
        _number(signed(float(found.tasks.mean[row])), found.tasks.mean[row], said),
        *(_half(kind, row) for kind in (found.suite, found.tasks)),
        _number(signed(float(found.peek.mean[row])), found.peek.mean[row]),
        _half(found.peek, row),
        Field(str(found.trials[row]) if found.trials[row] else NONE, float(found.trials[row])),
        _number(f"{found.refitted[row]:.3g}" if found.trials[row] else NONE, found.refitted[row]),
        _number(f"{found.curves.enough[row]:.0f}", found.curves.enough[row]),
    ]


def _number(text: str, value: float, mark: str = "") -> Field:
    return Field(NONE) if np.isnan(value) else Field(text, float(value), mark)


def _half(interval: Interval, row: int) -> Field:
    return _number(half_width(interval, row), interval.half[row])


def _edge(found: pd.Series) -> Field:
    if not found["value"]:
        return _number("never", found.share)
    return Field(f"{found['value']}: {percent(found.share)}", found.share, "short" if found.share > EDGE_LIMIT else "")
