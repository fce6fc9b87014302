"""What does the page say of transfer: on which datasets it helps, and on which it hurts?"""

from __future__ import annotations

from typing import Any

import numpy as np

from tlbench.report.analysis import Analysis
from tlbench.report.numbers import half_width, signed
from tlbench.report.page_tables import Field, Table, known, names
from tlbench.report.plot_heat import gain_text
from tlbench.report.plot_ink import name_of
from tlbench.report.ranking import Ranking
from tlbench.report.transfer import HURTS, Transfer, verdict

COUNTS = ("helps on", "corrected", "hurts on", "corrected", "undecided on")  # numbers of datasets


def section(analysis: Analysis) -> dict[str, Any]:
    ranking, found = analysis.ranking, analysis.transfer
    hurts = found.datasets.below_zero
    return {
        "gains": gains(ranking, found),
        "summary": _summary(found),
        "harmed": harmed(ranking, found),
        "comparisons": found.comparisons,
        "below": int(hurts.sum()),
        "stand": _standing(ranking, found),
        "partial": [name_of(ranking.grid, row) for row, some in zip(found.rows, found.partial, strict=True) if some],
        "unfinished": [
            name_of(ranking.grid, row)
            for row, mean in zip(found.rows, found.tasks.mean, strict=True)
            if np.isnan(mean) and ranking.grid.applicable[row].any()
        ],
    }


def gains(ranking: Ranking, transfer: Transfer) -> Table:
    """Each row against the baseline: over all datasets, at each budget, and on how many datasets it helps or hurts."""
    budgets = [f"at {budget} labels" for budget in ranking.grid.budgets]
    columns = ["strategy", "backbone", "gain", "± suite", "± tasks", *budgets, *COUNTS]
    places = sorted(range(len(transfer.rows)), key=lambda t: ranking.order.index(transfer.rows[t]))
    return Table(columns, [_gain(ranking, transfer, t) for t in places])


def harmed(ranking: Ranking, transfer: Transfer) -> list[tuple[str, list[str]]]:
    """Negative transfer: for each row the datasets where its gain's interval lies below zero, with the gain.

    Where cells failed, and so count as 0, it says so.
    """
    found = []
    for t, row in enumerate(transfer.rows):
        datasets = [
            f"{name} ({gain_text(transfer.datasets, t, d)}{', cells failed' if transfer.failed[t, d] else ''})"
            for d, name in enumerate(ranking.grid.datasets)
            if verdict(transfer.datasets, t, d) == HURTS
        ]
        found += [(name_of(ranking.grid, row), datasets)] if datasets else []
    return found


def _standing(ranking: Ranking, transfer: Transfer) -> list[str]:
    """Where transfer hurts even after the correction for all comparisons."""
    return [
        f"{name_of(ranking.grid, transfer.rows[t])} on {ranking.grid.datasets[d]}"
        for t, d in np.argwhere(transfer.stands & transfer.datasets.below_zero)
    ]


def _summary(transfer: Transfer) -> str:
    """Over all datasets: how many rows gain and how many lose, before and after the correction."""
    compared = int((~np.isnan(transfer.tasks.low)).sum())
    if not compared:
        return ""
    said = []
    for verb, apart in (("gain", transfer.tasks.above_zero), ("lose", transfer.tasks.below_zero)):
        stand = int((apart & transfer.stands_overall).sum())
        corrected = f" ({stand} after Holm's correction for {compared} comparisons)" if apart.any() else ""
        said.append(f"{int(apart.sum())} {verb}{corrected}")
    rest = compared - int(transfer.tasks.above_zero.sum() + transfer.tasks.below_zero.sum())
    return f"{', '.join(said)}, and of {rest} it cannot be said"


def _gain(ranking: Ranking, transfer: Transfer, t: int) -> list[Field]:
    better, worse = transfer.datasets.above_zero[t], transfer.datasets.below_zero[t]
    helps, hurts = (int(apart.sum()) for apart in (better, worse))
    rest = int((~np.isnan(transfer.datasets.mean[t])).sum()) - helps - hurts
    stands = transfer.stands[t]
    at = [
        Field(gain_text(transfer.budgets, t, b), known(transfer.budgets.mean[t, b]), verdict(transfer.budgets, t, b))
        for b in range(len(ranking.grid.budgets))
    ]
    return [
        *names(ranking, transfer.rows[t]),
        Field(signed(float(transfer.tasks.mean[t])), known(transfer.tasks.mean[t]), verdict(transfer.tasks, t)),
        Field(half_width(transfer.suite, t), known(transfer.suite.half[t])),
        Field(half_width(transfer.tasks, t), known(transfer.tasks.half[t])),
        *at,
        Field(str(helps), helps),
        Field(str(int((better & stands).sum())), int((better & stands).sum())),
        Field(str(hurts), hurts, HURTS if hurts else ""),
        Field(str(int((worse & stands).sum())), int((worse & stands).sum())),
        Field(str(rest), rest),
    ]
