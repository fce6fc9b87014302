"""What does the page say about labels: label more or change the strategy, where curves cross, what a label is worth?"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tlbench.report.analysis import Analysis
from tlbench.report.label_questions import Answers, Labels, Step, unasked
from tlbench.report.label_words import interval_text, labels_span, labels_text, times_span
from tlbench.report.numbers import NO_INTERVAL, half_width, percent, signed
from tlbench.report.page_floor import alike, floors
from tlbench.report.page_tables import Field, Table, known
from tlbench.report.plot_ink import name_of
from tlbench.report.stats import Interval
from tlbench.report.transfer import HELPS, HURTS

SHOWN = 8  # crossovers in words; the table has all


class Advice(NamedTuple):
    """The answer at one budget: its heading and why."""

    budget: int
    head: str
    why: str


def section(analysis: Analysis) -> dict[str, Any]:
    asked = analysis.labels
    made: dict[str, Any] = {"why": unasked(analysis), "floors": floors(analysis)}
    if asked is None:
        return made
    names = [name_of(asked.grid, row) for row in asked.rows]
    strategies = [asked.grid.rows[row][0] for row in asked.rows]  # those that advice names are on one network
    pairs = _pairs(asked)
    placed = sorted((pair for pair in pairs if _placed(asked, pair)), key=lambda pair: (sum(pair), pair))
    return {
        **made,
        "covers": asked.said[1],
        "points_cover": asked.steps[0].covers,
        "few": len(asked.datasets) < len(asked.grid.datasets) and [asked.grid.datasets[d] for d in asked.datasets],
        "range": f"{asked.budgets[0]} to {asked.budgets[-1]}",
        "reference": asked.counted_in,
        "stand_in": analysis.meta.reference not in strategies,
        "network": names[0] != strategies[0] and asked.grid.rows[asked.rows[asked.references[0]]][1],
        "advice": [_advice(asked, step, strategies) for step in asked.steps],
        "times": _times(asked),
        "crossed": sum(asked.said[0].ahead.labels[pair] > 0 for pair in pairs),
        "pairs": len(pairs),
        "placed": len(placed),
        "crossings": [_crossing(asked, pair, names) for pair in placed[:SHOWN]],
        "crossovers": _crossovers(asked, names),
        "worth": _worth(asked, analysis, names),
    }


def _advice(asked: Labels, step: Step, names: list[str]) -> Advice:
    """Labelling up to the next budget against the best row at this one."""
    reference, b = asked.references[0], asked.budgets.index(step.budget)
    place = labels_span(asked.said[0].needed, asked.budgets, step.best, reference, b)
    switch = (
        f"{names[step.best]} instead of {names[reference]} gives {_points(step.switch)}; "
        f"{names[reference]} needs {place} labels to match it"
    )
    if step.best == reference:
        switch = f"nothing here does better than {names[reference]}"
    if step.more is None or step.rather is None:
        return Advice(step.budget, "No larger budget was run", f"{switch}.")
    following = asked.budgets[b + 1]
    more = f"Labelling up to {following} gives {names[reference]} {_points(step.more)}"
    return Advice(step.budget, _head(step, following, names[step.best]), f"{more}; {switch}.")


def _points(gain: Interval) -> str:
    return f"{signed(float(gain.mean))} {half_width(gain)} points"


def _head(step: Step, following: int, best: str) -> str:
    """What the paired intervals allow to advise; a switch gives 0 where the reference is the best itself."""
    assert step.more is not None and step.rather is not None
    if step.rather.above_zero and step.more.above_zero:
        return f"Label more: up to {following}"
    if step.rather.below_zero and step.switch.above_zero:
        return f"Use {best}"
    unknown = np.isnan(step.rather.low)
    if step.switch.mean > 0:
        return f"Label up to {following} or use {best}: {NO_INTERVAL if unknown else 'cannot be told apart'}"
    return f"Label up to {following}: {NO_INTERVAL if unknown else 'it cannot be told whether that helps'}"


def _times(asked: Labels) -> Table:
    """How many times the labels each row's reference needs to match it."""
    columns = ["strategy", "backbone", *(f"at {budget} labels" for budget in asked.budgets), "overtakes it at"]
    rows = []
    for i, j in enumerate(asked.references):
        if i != j:
            needed = [
                Field(
                    times_span(asked.said[0].needed, asked.budgets, budget, i, j, b),
                    _sortable(asked, i, j, b),
                    _mark(asked, (i, j, b)),
                )
                for b, budget in enumerate(asked.budgets)
            ]
            rows.append([*_row(asked, i), *needed, Field(_overtakes(asked, i, j))])
    return Table(columns, rows)


def _mark(asked: Labels, place: tuple[int, int, int]) -> str:
    """Does the interval say that labels are saved, or lost?"""
    needed, budget = asked.said[0].needed, asked.budgets[place[-1]]
    return HELPS if needed.low[place] > budget else HURTS if needed.high[place] < budget else ""


def _overtakes(asked: Labels, i: int, j: int) -> str:
    """From when on row i is ahead of row j."""
    ahead = asked.said[0].ahead
    if ahead.labels[i, j] == 0:
        return "ahead throughout"
    return "not in range" if np.isinf(ahead.labels[i, j]) else labels_span(ahead, asked.budgets, i, j)


def _pairs(asked: Labels) -> list[tuple[int, int]]:
    """Pairs of places, the one that is ahead at the last budget first: crossing ones, the best placed first; others."""
    ahead = asked.said[0].ahead
    reach = asked.budgets[0] / 2, asked.budgets[-1] * 2
    width = np.log2(np.clip(ahead.high, *reach)) - np.log2(np.clip(ahead.low, *reach))
    order = np.where(ahead.labels > 0, np.nan_to_num(width, nan=1e3), 1e4)
    found = np.argwhere(np.isfinite(ahead.labels)).tolist()
    return sorted(((i, j) for i, j in found), key=lambda pair: (order[pair], pair))


def _placed(asked: Labels, pair: tuple[int, int]) -> Answers | None:
    """If they cross: the answers, for new datasets or else for new splits, whose interval leaves out some budgets."""
    kinds = [
        kind
        for kind in (asked.tasks, asked.suite)
        if kind.ahead.labels[pair] > 0 and (kind.ahead.low[pair] > 0 or np.isfinite(kind.ahead.high[pair]))
    ]
    return kinds[0] if kinds else None


def _crossing(asked: Labels, pair: tuple[int, int], names: list[str]) -> tuple[str, str]:
    """Such as "full_finetune", "overtakes linear_probe at 6.3 labels a class (4.1 to more than 10)"."""
    kind, times = _placed(asked, pair), int(asked.times[pair])
    assert kind is not None
    said = f"overtakes {names[pair[1]]} at {labels_span(kind.ahead, asked.budgets, *pair)} labels a class"
    if kind is asked.suite and kind is not asked.said[0]:
        said += " on these datasets, anywhere on others"
    return names[pair[0]], said + (f"; the curves cross {times} times, here for the last time" if times > 1 else "")


def _crossovers(asked: Labels, names: list[str]) -> Table:
    columns = [
        "ahead at the end",
        "behind",
        "crossover",
        "ahead from, tasks",
        "ahead from, suite",
        "share that cross",
    ]
    rows = []
    for pair in _pairs(asked):
        labels = float(asked.tasks.ahead.labels[pair])
        share = float(asked.said[0].crossed[pair])
        rows.append(
            [
                *(Field(names[i]) for i in pair),
                Field(labels_text(labels, asked.budgets) if labels > 0 else "none in range", labels or 1e9),
                *(Field(interval_text(kind.ahead, asked.budgets, *pair)) for kind in (asked.tasks, asked.suite)),
                Field(percent(share), known(share)),
            ]
        )
    return Table(columns, rows)


def _worth(asked: Labels, analysis: Analysis, names: list[str]) -> dict[str, Any] | None:
    """Labels that transfer is worth: how many the same network needs from scratch. None without such pairs."""
    meta, place = analysis.meta, {asked.grid.rows[row]: i for i, row in enumerate(asked.rows)}
    pairs = []
    for i, row in enumerate(asked.rows):
        strategy, backbone = asked.grid.rows[row]
        if strategy not in meta.without_pretraining and (meta.baseline, backbone) in place:
            pairs.append((i, place[meta.baseline, backbone]))
    if not pairs:
        return None
    columns = ["strategy", "backbone", *(f"at {budget} labels" for budget in asked.budgets)]
    needed = asked.said[0].needed
    rows = [
        [
            *_row(asked, i),
            *(
                Field(labels_span(needed, asked.budgets, i, j, b), _sortable(asked, i, j, b))
                for b in range(len(asked.budgets))
            ),
        ]
        for i, j in pairs
    ]
    return {
        "table": Table(columns, rows),
        "sentences": alike((names[i], _worth_words(asked, i, j)) for i, j in pairs),
    }


def _worth_words(asked: Labels, i: int, j: int) -> str:
    """Such as "2 labels a class are worth 6.1 (3.4 to more than 10), 5 or more are worth more than 10"."""
    needed = asked.said[0].needed
    said: list[str] = []
    for b, budget in enumerate(asked.budgets):
        beyond = np.isinf(needed.labels[i, j, b:]).all() and not np.isfinite(needed.low[i, j, b:]).any()
        rest = b + 1 < len(asked.budgets)
        unit = "" if said else " labels a class"
        said.append(
            f"{budget}{unit}{' or more' if beyond and rest else ''} are worth "
            f"{labels_span(needed, asked.budgets, i, j, b)}"
        )
        if beyond:
            break
    return ", ".join(said)


def _row(asked: Labels, i: int) -> list[Field]:
    return [Field(part) for part in asked.grid.rows[asked.rows[i]]]


def _sortable(asked: Labels, i: int, j: int, b: int) -> float:
    return float(min(asked.said[0].needed.labels[i, j, b], 1e9))
