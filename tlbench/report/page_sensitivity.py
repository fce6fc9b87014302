"""What does the page say of how sure the order is? Rank intervals, other means, and one dataset left out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tlbench.report.analysis import Analysis
from tlbench.report.numbers import NONE, half_width, percent, points
from tlbench.report.page_tables import Field, Table
from tlbench.report.plot_ink import name_of
from tlbench.report.sensitivity import Seen, Sensitivity, Variant
from tlbench.report.stats import Interval


class Panel(NamedTuple):
    """What the section reads."""

    sentences: list[str]
    table: Table
    seen: list[Seen]
    clean: str  # who is first without those datasets; "" where none is left, or none was seen
    datasets: int


def section(analysis: Analysis) -> Panel | None:
    """None where fewer than two rows are ranked: there is no order."""
    found = analysis.sensitivity
    if found is None:
        return None
    firsts = [_others_first(analysis, found, kind) for kind in (found.statistics, found.left_out)]
    sentences = [*_left_out(analysis, found, firsts[1]), *_statistics(analysis, found, firsts[0])]
    return Panel(
        sentences=sentences,
        table=_table(analysis, found),
        seen=list(found.seen),
        clean=_first(analysis, found.clean) if found.clean else "",
        datasets=found.headline.datasets,
    )


def _left_out(analysis: Analysis, found: Sensitivity, others: list[str]) -> list[str]:
    if not found.left_out:
        return ["One dataset: none can be left out, and nothing is known of the order on others."]
    count, same = len(found.left_out), len(found.left_out) - len(others)
    said = [
        f"{_first(analysis, found.headline)} is first whichever of the {count} datasets is left out."
        if not others
        else f"{_first(analysis, found.headline)} stays first in {same} of {count} cases when one dataset is left out; "
        f"not {'; '.join(others)}."
    ]
    if not found.headline.tier.any():
        return said
    changed = [v.name.removeprefix("without ") for v in found.left_out if (v.tier != found.headline.tier).any()]
    return [*said, f"The tiers change without any one of: {', '.join(changed)}." if changed else "No tier changes."]


def _statistics(analysis: Analysis, found: Sensitivity, others: list[str]) -> list[str]:
    if others:
        return [f"Ordered otherwise than by the mean score, another row is first: {'; '.join(others)}."]
    return ["It is first by the IQM and by the mean rank too."]


def _others_first(analysis: Analysis, found: Sensitivity, variants: tuple[Variant, ...]) -> list[str]:
    """Such as "without digits: lora", for each variant that another row leads."""
    leader = _first(analysis, found.headline)
    firsts = [(variant.name, _first(analysis, variant)) for variant in variants]
    return [f"{name}: {first}" for name, first in firsts if first != leader]


def _first(analysis: Analysis, variant: Variant) -> str:
    assert analysis.main is not None
    leaders = np.flatnonzero(variant.rank == 1)
    return " and ".join(name_of(analysis.grid, analysis.main.ranked[place]) for place in leaders)


def _table(analysis: Analysis, found: Sensitivity) -> Table:
    assert analysis.main is not None
    columns = ["strategy", "backbone", "rank", "95 % interval", "first", "IQM", "± suite", "± tasks", "by IQM"]
    columns += [
        "mean rank",
        "by mean rank",
        *(["one dataset left out", "moves most without"] if found.left_out else []),
    ]
    columns += ["without seen datasets"] if found.clean else []
    return Table(columns, [_row(analysis, found, place) for place in range(len(analysis.main.ranked))])


def _row(analysis: Analysis, found: Sensitivity, place: int) -> list[Field]:
    assert analysis.main is not None
    standing, own = analysis.standings[0], int(found.headline.rank[place])
    iqm, by_mean_rank = (int(variant.rank[place]) for variant in found.statistics)
    chance = float(standing.first[place])
    fields = [
        *(Field(name) for name in analysis.grid.rows[analysis.main.ranked[place]]),
        Field(str(own), own),
        _span(standing.rank_low[place], standing.rank_high[place]),
        Field(percent(chance), None if np.isnan(chance) else chance),
        Field(points(float(standing.iqm.mean[place])), float(standing.iqm.mean[place])),
        *(_half(kind, place) for kind in (standing.iqm, standing.iqm_tasks)),
        Field(str(iqm), iqm),
        Field(f"{standing.mean_rank[place]:.1f}", float(standing.mean_rank[place])),
        Field(str(by_mean_rank), by_mean_rank),
    ]
    if found.left_out:
        fields += _when_left_out(found, place)
    if found.clean:
        fields.append(Field(str(found.clean.rank[place]), int(found.clean.rank[place])))
    return fields


def _when_left_out(found: Sensitivity, place: int) -> list[Field]:
    """The range of the row's ranks, and the datasets without which it is farthest from its own."""
    ranks = np.array([variant.rank[place] for variant in found.left_out])
    away = np.abs(ranks - found.headline.rank[place])
    which = [found.left_out[d].name.removeprefix("without ") for d in np.flatnonzero(away == away.max())]
    return [_span(ranks.min(), ranks.max()), Field(", ".join(which) if away.any() else NONE)]


def _span(low: float, high: float) -> Field:
    if np.isnan(low):
        return Field(NONE)
    return Field(f"{low:.0f}" if low == high else f"{low:.0f} to {high:.0f}", float(low))


def _half(interval: Interval, place: int) -> Field:
    half = float(interval.half[place])
    return Field(half_width(interval, place), None if np.isnan(half) else half)
