"""Up to how many labels is the pretrained network worth having? Each row against learning from raw inputs alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from tlbench.report.analysis import Analysis
from tlbench.report.label_questions import Labels
from tlbench.report.label_words import interval_text, labels_text
from tlbench.report.numbers import NO_INTERVAL, NONE, signed
from tlbench.report.page_tables import Field, Table
from tlbench.report.plot_ink import name_of
from tlbench.report.transfer import HELPS, HURTS, UNDECIDED, UNKNOWN, Transfer, transfer, verdict

SAID = {HELPS: "better", HURTS: "worse", UNDECIDED: "cannot be told apart", UNKNOWN: "no interval"}
NAMED = 8  # rows that one sentence names


class Floor(NamedTuple):
    """What the page says of one floor."""

    name: str
    table: Table  # gains over it at each budget
    sentences: list[tuple[str, str]]  # names of rows; up to when they are ahead, and where they are better or worse


def floors(analysis: Analysis) -> list[Floor]:
    """One for each raw-input floor that was run, with every row that starts from pretrained weights."""
    compared = [transfer(analysis.grid, analysis.meta, name) for name in analysis.meta.raw_floors]
    return [_floor(analysis, against) for against in compared if against.rows]


def _floor(analysis: Analysis, against: Transfer) -> Floor:
    grid, order = analysis.grid, analysis.ranking.order
    places = sorted(range(len(against.rows)), key=lambda t: order.index(against.rows[t]))
    columns = ["strategy", "backbone", *(f"at {budget} labels" for budget in grid.budgets), "worth having up to"]
    rows, sentences = [], []
    for t in places:
        row = against.rows[t]
        up_to = _up_to(analysis.labels, row, grid.rows.index((against.baseline, grid.rows[row][1])))
        rows.append([*(Field(part) for part in grid.rows[row]), *_gains(against, t), Field(up_to or NONE)])
        verdicts = _verdicts(grid.budgets, against, t)
        sentences.append((name_of(grid, row), f"up to {up_to}; {verdicts}" if up_to else verdicts))
    return Floor(against.baseline, Table(columns, rows), alike(sentences))


def alike(sentences: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those of whom the same is said are named together; of many, the first, and how many more."""
    names: dict[str, list[str]] = {}
    for name, said in sentences:
        names.setdefault(said, []).append(name)
    shown = {
        said: [*who[:NAMED], *([f"{len(who) - NAMED} more"] if len(who) > NAMED else [])] for said, who in names.items()
    }
    return [(", ".join(who), said) for said, who in shown.items()]


def _up_to(asked: Labels | None, row: int, floor: int) -> str:
    """Until when the floor is behind for good, such as "6.3 labels a class (4.1 to more than 10)"; empty if unasked."""
    if asked is None or row not in asked.rows or floor not in asked.rows:
        return ""
    place, pair = asked.said[0].ahead, (asked.rows.index(floor), asked.rows.index(row))
    labels = float(place.labels[pair])
    if labels == 0:
        return "no number of labels"
    said = f"{labels_text(labels, asked.budgets)} labels a class"
    between = interval_text(place, asked.budgets, *pair)
    return said if between in (NO_INTERVAL, labels_text(labels, asked.budgets)) else f"{said} ({between})"


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


def _verdicts(budgets: tuple[int, ...], against: Transfer, t: int) -> str:
    """Such as "better at 2 and 10 labels a class, cannot be told apart at 50, worse at 200"."""
    runs: list[tuple[str, list[str]]] = []
    for b, budget in enumerate(budgets):
        said = SAID[verdict(against.splits, t, b)]
        if not runs or runs[-1][0] != said:
            runs.append((said, []))
        runs[-1][1].append(str(budget))
    texts = [f"{said} at {_listed(at)}" for said, at in runs]
    return ", ".join([f"{texts[0]} labels a class", *texts[1:]])


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
