"""Would another reader's choices change the order? One dataset left out, another mean, without what was seen before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tlbench.report import stats
from tlbench.report.ranking import tiers
from tlbench.report.standings import mean_ranks
from tlbench.report.stats import robust
from tlbench.report.stats.pairs import compare

if TYPE_CHECKING:
    from tlbench.report.analysis import Analysis

DIGITS = 12


class Variant(NamedTuple):
    """The main group's ranked rows in another order; arrays [G] are in the order of the headline."""

    name: str
    datasets: int
    value: np.ndarray  # what the rows are ordered by
    rank: np.ndarray  # 1 is the best; equal rows have the same
    tier: np.ndarray  # 0 where nothing can be said, or where rows are not ordered by a mean score


class Seen(NamedTuple):
    """What pretraining saw of a dataset."""

    backbone: str
    dataset: str
    what: str


class Sensitivity(NamedTuple):
    headline: Variant
    statistics: tuple[Variant, ...]  # the same datasets, ordered by something else than the mean
    left_out: tuple[Variant, ...]  # one dataset each; none where there is only one
    clean: Variant | None  # without every dataset of which a network of these rows has seen something
    seen: tuple[Seen, ...]

    @property
    def variants(self) -> tuple[Variant, ...]:
        return (*self.statistics, *self.left_out, *((self.clean,) if self.clean else ()))


def sensitivity(analysis: Analysis) -> Sensitivity | None:
    """None where fewer than two rows are ranked."""
    if analysis.main is None or len(analysis.main.ranked) < 2:
        return None
    datasets = analysis.datasets_of(analysis.main)
    values = analysis.grid.area[list(analysis.main.ranked)][:, datasets]  # [G, D, S]
    names = [analysis.grid.datasets[d] for d in datasets]
    seen = tuple(_seen(analysis, names))
    keep = [d for d, name in enumerate(names) if name not in {one.dataset for one in seen}]
    return Sensitivity(
        headline=_by_mean("mean score", values),
        statistics=tuple(_statistics(values)),
        left_out=tuple(_left_out(names, values)),
        clean=_by_mean("without seen datasets", values[:, keep]) if 0 < len(keep) < len(names) else None,
        seen=seen,
    )


def document(analysis: Analysis) -> dict | None:
    """leaderboard.json: rank and tier of each row in each variant."""
    found = analysis.sensitivity
    if found is None or analysis.main is None:
        return None
    rows = [analysis.grid.named(row) for row in analysis.main.ranked]
    return {
        "rows": rows,
        "variants": [variant._asdict() for variant in (found.headline, *found.variants)],
        "seen_in_pretraining": [one._asdict() for one in found.seen],
    }


def _statistics(values: np.ndarray) -> Iterator[Variant]:
    none = np.zeros(len(values), int)
    iqm = robust.iqm(values)
    yield Variant("IQM", values.shape[1], iqm, _ranked(iqm), none)
    places = mean_ranks(values)
    yield Variant("mean rank", values.shape[1], places, _ranked(-places), none)


def _left_out(names: Sequence[str], values: np.ndarray) -> Iterator[Variant]:
    if len(names) > 1:
        for d, name in enumerate(names):
            yield _by_mean(f"without {name}", np.delete(values, d, axis=1))


def _by_mean(name: str, values: np.ndarray) -> Variant:
    """[G, D, S] -> ordered by the mean score, with the tiers that these datasets give."""
    mean = stats.suite(values).mean
    order = np.argsort(-np.round(mean, DIGITS), kind="stable")
    tier = np.empty(len(values), int)
    tier[order] = tiers(compare(values[order], equivalence=False))
    return Variant(name, values.shape[1], mean, _ranked(mean), tier)


def _ranked(value: np.ndarray) -> np.ndarray:
    """[G] ranks, 1 for the largest; equal rows share the better one."""
    rounded = np.round(value, DIGITS)
    return 1 + (rounded[:, None] < rounded).sum(1)


def _seen(analysis: Analysis, names: Sequence[str]) -> Iterator[Seen]:
    assert analysis.main is not None
    backbones = {analysis.grid.rows[row][1] for row in analysis.main.ranked}
    for (backbone, dataset), what in sorted(analysis.meta.contaminated.items()):
        if backbone in backbones and dataset in names:
            yield Seen(backbone, dataset, what)
