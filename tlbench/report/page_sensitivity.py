"""What does the page say of how sure the order is? Rank intervals, other means, and one dataset left out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tlbench.report.analysis import Analysis
from tlbench.report.numbers import NONE, half_width, percent, with_interval
from tlbench.report.page_tables import Field, Table, known
from tlbench.report.plot_ink import name_of
from tlbench.report.sensitivity import Seen, Sensitivity, Variant
from tlbench.report.stats.resampling import LEAST_DATASETS

LEFT_OUT = ("ranks, one left out", "tiers, one left out", "moves most without")


class Panel(NamedTuple):
    """What the section reads."""

    sentences: list[str]
    table: Table
    seen: list[Seen]
    clean: str  # who is first without those datasets; "" where none is left, or none was seen
    enough: bool  # are there enough datasets for intervals of ranks?
    least: int


def section(analysis: Analysis) -> Panel | None:
    """None where fewer than two rows are ranked: there is no order."""
    found = analysis.sensitivity
    if found is None:
        return None
    return Panel(
        sentences=[*_left_out(analysis, found), *_tiers(found), _statistics(analysis, found)],
        table=_table(analysis, found),
        seen=list(found.seen),
        clean=_first(analysis, found.clean) if found.clean else "",
        enough=not np.isnan(analysis.standings[0].rank_low).any(),
        least=LEAST_DATASETS,
    )


def _left_out(analysis: Analysis, found: Sensitivity) -> list[str]:
    if not found.left_out:
        return ["One dataset: none can be left out, and nothing is known of the order on others."]
    leader, count = _first(analysis, found.headline), len(found.left_out)
    firsts = [(variant.name, _first(analysis, variant)) for variant in found.left_out]
    others = [f"{name} the first is {first}" for name, first in firsts if first != leader]
    if not others:
        return [f"{leader} is first whichever of the {count} datasets is left out."]
    return [f"{leader} stays first in {count - len(others)} of {count} cases when one dataset is left out: "
            f"{', '.join(others)}."]  # fmt: skip


def _tiers(found: Sensitivity) -> list[str]:
    """Which datasets the tiers hang on; nothing where there are no tiers."""
    if not found.headline.tier.any() or not found.left_out:
        return []
    told = [variant for variant in found.left_out if variant.tier.any()]
    if not told:
        return ["With one dataset fewer there are not enough of them for tiers."]
    changed = [v.name.removeprefix("without ") for v in told if (v.tier != found.headline.tier).any()]
    return [f"The tiers change without any one of: {', '.join(changed)}." if changed else "Nor does any tier change."]


def _statistics(analysis: Analysis, found: Sensitivity) -> str:
    leader = _first(analysis, found.headline)
    others = [(variant.name, _first(analysis, variant)) for variant in found.statistics]
    told = [f"by the {name} it is {first}" for name, first in others if first != leader]
    return f"By the mean score {leader} is first; {', '.join(told) or 'by the IQM and by the mean rank too'}."


def _first(analysis: Analysis, variant: Variant) -> str:
    assert analysis.main is not None
    leaders = np.flatnonzero(variant.rank == 1)
    return " and ".join(name_of(analysis.grid, analysis.main.ranked[place]) for place in leaders)


def _table(analysis: Analysis, found: Sensitivity) -> Table:
    assert analysis.main is not None
    columns = ["strategy", "backbone", "rank", "95 % interval", "first", "IQM", "± tasks", "by IQM", "mean rank"]
    columns += ["by mean rank", *(LEFT_OUT if found.left_out else ()), *(["unseen datasets"] if found.clean else [])]
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
        Field(percent(chance), known(chance)),
        Field(with_interval(standing.iqm, place), float(standing.iqm.mean[place])),
        Field(half_width(standing.iqm_tasks, place), known(standing.iqm_tasks.half[place])),
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
    """The range of the row's ranks and tiers, and the datasets without which its rank is farthest from its own."""
    ranks = np.array([variant.rank[place] for variant in found.left_out])
    tiers = np.array([variant.tier[place] for variant in found.left_out])
    away = np.abs(ranks - found.headline.rank[place])
    which = [found.left_out[d].name.removeprefix("without ") for d in np.flatnonzero(away == away.max())]
    tier = _span(tiers.min(), tiers.max()) if tiers.all() else Field(NONE)
    return [_span(ranks.min(), ranks.max()), tier, Field(", ".join(which) if away.any() else NONE)]


def _span(low: float, high: float) -> Field:
    if np.isnan(low):
        return Field(NONE)
    return Field(f"{low:.0f}" if low == high else f"{low:.0f} to {high:.0f}", float(low))
