"""What does the page say of pairs: who is better than whom, and what would decide the rest?"""

from __future__ import annotations

from typing import Any

import numpy as np

from tlbench.report.analysis import Analysis
from tlbench.report.numbers import NONE, half_width, percent, signed
from tlbench.report.page_tables import Field, Table, known, names
from tlbench.report.plot_ink import name_of
from tlbench.report.ranking import Ranking
from tlbench.report.scores import Grid
from tlbench.report.stats.more_seeds import DATASETS, LIKELY, SEEDS, SIMULATIONS, Outlook
from tlbench.report.stats.pairs import BETTER, UNDECIDED, WORSE, Pairs
from tlbench.report.transfer import HELPS, HURTS
from tlbench.report.verdicts import Verdict, Verdicts

SENTENCES = 8  # shown at once; the others open on demand
PAIRS_SHOWN = 300
MARKED = {BETTER: HELPS, WORSE: HURTS}


def section(analysis: Analysis) -> list[dict[str, Any]] | None:
    """One part for each group in which there are two ranked rows to compare."""
    parts = [_part(analysis, found) for found in analysis.verdicts if len(found.group.ranked) > 1]
    return parts or None


def _part(analysis: Analysis, found: Verdicts) -> dict[str, Any]:
    group, pairs = found.group, found.group.headline
    best, neighbours, baseline = _against_best(found), _neighbours(found), _against_baseline(analysis, found)
    return {
        "title": group.title,
        "rows": len(group.ranked),
        "compared": len(found.pairs),
        "datasets": pairs.datasets,
        "needed": pairs.needed,
        "enough": pairs.enough,
        "counts": _counts(found),
        "best": [one.words for one in best[:SENTENCES]],
        "more": [one.words for one in best[SENTENCES:]],
        "neighbours": [one.words for one in neighbours],
        "baseline": [one.words for one in baseline],
        "cost": found.cost,
        "outlooks": [outlook_words(analysis.grid, found, one) for one in found.outlooks],
        "noise_unknown": len(analysis.grid.seeds) < 2 and any(one.overall == UNDECIDED for one in found.pairs),
        "table": _table(analysis.grid, found),
        "left_out": max(len(found.pairs) - PAIRS_SHOWN, 0),
        "ratings": _ratings(analysis.ranking, found),
        "wins": _wins(analysis.ranking, found),
    }


def _against_best(found: Verdicts) -> list[Verdict]:
    return [one for one in found.pairs if one.first == found.group.ranked[0]]


def _neighbours(found: Verdicts) -> list[Verdict]:
    """Each row and the next one; the first pair is among those of the best."""
    rows = found.group.ranked
    return [found.of(first, second) for first, second in zip(rows[1:], rows[2:], strict=False)]


def _against_baseline(analysis: Analysis, found: Verdicts) -> list[Verdict]:
    """Each row and the baseline on the same network."""
    grid, ranked = analysis.grid, found.group.ranked
    bases = {grid.rows[row][1]: row for row in ranked if grid.rows[row][0] == analysis.meta.baseline}
    pairs = [(row, bases.get(grid.rows[row][1], row)) for row in ranked]
    return [found.of(row, base) for row, base in pairs if row != base]


def _counts(found: Verdicts) -> str:
    """Such as "31 better, 2 equivalent, 12 undecided"."""
    said = [one.overall for one in found.pairs]
    return ", ".join(f"{said.count(word)} {word}" for word in sorted(set(said)))


def outlook_words(grid: Grid, found: Verdicts, one: Outlook) -> str:
    """What would decide an undecided pair."""
    pair = " and ".join(name_of(grid, found.group.ranked[place]) for place in (one.first, one.second))
    if one.seeds is not None:
        start = f"{one.seeds} more seed{'' if one.seeds == 1 else 's'} would likely decide {pair}"
    elif one.chance >= LIKELY:
        start = f"More than {SEEDS[-1]} more seeds would decide {pair}"
    else:
        verb, chance = "might" if one.chance >= 0.5 else "would probably not", max(one.chance, 1 / SIMULATIONS)
        start = f"More seeds {verb} decide {pair} ({percent(chance)} chance, however many)"
    number = (
        f"about {one.datasets}" if one.datasets else f"more than {DATASETS[-1] * found.group.headline.datasets:.0f}"
    )
    return f"{start}; with more datasets like these it would take {number} in all."


def _table(grid: Grid, found: Verdicts) -> Table:
    budgets = [f"at {budget} labels" for budget in grid.budgets]
    columns = ["first", "second", "verdict", "difference", "± suite", "± tasks", "p", "p, Holm"]
    columns += ["worse / within 1 point / better", "first wins", *budgets]
    return Table(columns, [_row(grid, found, one) for one in found.pairs[:PAIRS_SHOWN]])


def _row(grid: Grid, found: Verdicts, one: Verdict) -> list[Field]:
    pairs = found.group.headline
    place = found.group.ranked.index(one.first), found.group.ranked.index(one.second)
    return [
        Field(name_of(grid, one.first)),
        Field(name_of(grid, one.second)),
        _verdict(one.overall),
        Field(signed(float(pairs.tasks.mean[place])), known(pairs.tasks.mean[place])),
        Field(half_width(pairs.suite, *place), known(pairs.suite.half[place])),
        Field(half_width(pairs.tasks, *place), known(pairs.tasks.half[place])),
        _p(pairs.p[place]),
        _p(pairs.holm[place]),
        _likely(pairs, place),
        _won(found, place),
        *(_verdict(str(at.verdict[place])) for at in found.group.budgets),
    ]


def _verdict(said: str) -> Field:
    return Field(said, None, MARKED.get(said, ""))


def _p(p: float) -> Field:
    return Field(NONE if np.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}", known(p))


def _likely(pairs: Pairs, place: tuple[int, int]) -> Field:
    shares = pairs.posterior[place]
    return Field(NONE if np.isnan(shares[0]) else " / ".join(percent(float(x)) for x in shares), known(shares[2]))


def _won(found: Verdicts, place: tuple[int, int]) -> Field:
    mean, low, high = (float(bound[place]) for bound in found.beats)
    text = percent(mean) if np.isnan(low) else f"{percent(mean)} ({percent(low)} to {percent(high)})"
    return Field(text, known(mean))


def _ratings(ranking: Ranking, found: Verdicts) -> Table:
    """Bradley-Terry ratings, best first."""
    order = np.argsort(-found.ratings.mean, kind="stable")
    rows = []
    for place in order:
        mean, low, high = (float(bound[place]) for bound in found.ratings)
        spread = NONE if np.isnan(low) else f"{low:+.0f} to {high:+.0f}"
        rows.append([*names(ranking, found.group.ranked[place]), Field(f"{mean:+.0f}", mean), Field(spread)])
    return Table(["strategy", "backbone", "rating", "interval (tasks)"], rows)


def _wins(ranking: Ranking, found: Verdicts) -> Table:
    """Row against column: the share of runs that the row wins."""
    ranked = found.group.ranked
    rows = [
        [*names(ranking, row), *(_share(found.beats.mean[i, j]) if i != j else Field("") for j in range(len(ranked)))]
        for i, row in enumerate(ranked)
    ]  # fmt: skip
    return Table(["strategy", "backbone", *(name_of(ranking.grid, row) for row in ranked)], rows)


def _share(share: float) -> Field:
    return Field(percent(float(share)), known(share))
