"""Up to how many labels is the pretrained network worth having? Each row against learning from raw inputs alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tlbench.report.meta import Meta
from tlbench.report.numbers import NONE, signed
from tlbench.report.page_tables import Field, Table
from tlbench.report.plot_ink import name_of
from tlbench.report.ranking import Ranking
from tlbench.report.transfer import HELPS, HURTS, UNDECIDED, UNKNOWN, Transfer, transfer, verdict

SAID = {HELPS: "better", HURTS: "worse", UNDECIDED: "cannot be told apart", UNKNOWN: "no interval"}


class Floor(NamedTuple):
    """What the page says of one floor."""

    name: str
    table: Table  # gains over it at each budget
    sentences: list[tuple[str, str]]  # a row's name, and where it is better, equal, worse


def floors(ranking: Ranking, meta: Meta) -> list[Floor]:
    """One for each raw-input floor that was run, with every row that starts from pretrained weights."""
    compared = [transfer(ranking.grid, meta, name) for name in meta.raw_floors]
    return [_floor(ranking, against) for against in compared if against.rows]


def _floor(ranking: Ranking, against: Transfer) -> Floor:
    places = sorted(range(len(against.rows)), key=lambda t: ranking.order.index(against.rows[t]))
    columns = ["strategy", "backbone", *(f"at {budget} labels" for budget in ranking.grid.budgets)]
    table = Table(columns, [[*_names(ranking, against, t), *_gains(against, t)] for t in places])
    sentences = [(name_of(ranking.grid, against.rows[t]), _sentence(ranking, against, t)) for t in places]
    return Floor(against.baseline, table, sentences)


def _names(ranking: Ranking, against: Transfer, t: int) -> list[Field]:
    return [Field(part) for part in ranking.grid.rows[against.rows[t]]]


def _gains(against: Transfer, t: int) -> list[Field]:
    means, halves = against.splits.mean[t], against.splits.half[t]
    return [
        Field(
            NONE if np.isnan(mean) else f"{signed(float(mean))} ± {'?' if np.isnan(half) else f'{100 * half:.1f}'}",
            None if np.isnan(mean) else float(mean),
            verdict(against.splits, t, b),
        )
        for b, (mean, half) in enumerate(zip(means, halves, strict=True))
    ]


def _sentence(ranking: Ranking, against: Transfer, t: int) -> str:
    """Such as "better at 2 and 10 labels a class, cannot be told apart at 50, worse at 200"."""
    runs: list[tuple[str, list[str]]] = []
    for b, budget in enumerate(ranking.grid.budgets):
        said = SAID[verdict(against.splits, t, b)]
        if not runs or runs[-1][0] != said:
            runs.append((said, []))
        runs[-1][1].append(str(budget))
    texts = [f"{said} at {_listed(budgets)}" for said, budgets in runs]
    return ", ".join([f"{texts[0]} labels a class", *texts[1:]])


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
