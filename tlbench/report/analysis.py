"""What do the results say? Every part of the report's reasoning, made when it is first asked for and then kept."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pandas as pd

from tlbench.report.calibration import Calibration, calibration
from tlbench.report.cost_questions import Costs, costs
from tlbench.report.label_questions import Labels, labels
from tlbench.report.meta import Meta
from tlbench.report.ranking import Group, Ranking, ranking
from tlbench.report.scores import Grid, grid
from tlbench.report.sensitivity import Sensitivity, sensitivity
from tlbench.report.standings import Standing, standings
from tlbench.report.stats.resampling import Resamples, resamples
from tlbench.report.transfer import Transfer, transfer
from tlbench.report.tuning import Tuning, tuning
from tlbench.report.verdicts import Verdicts, verdicts


class Analysis:
    """Tables, figures, page and documents all read from one of these. Raises TlbenchError for a bad frame."""

    def __init__(self, frame: pd.DataFrame, meta: Meta) -> None:
        self.grid: Grid = grid(frame)
        self.meta = meta

    @cached_property
    def ranking(self) -> Ranking:
        return ranking(self.grid)

    @property
    def main(self) -> Group | None:
        """The group that most rows belong to: pairs, label and cost questions are answered within it."""
        return self.ranking.groups[0] if self.ranking.groups and self.ranking.groups[0].ranked else None

    @cached_property
    def resamples(self) -> tuple[Resamples, ...]:
        """Bootstrap weights of each group, on the datasets of that group: see `datasets_of`."""
        return tuple(self._resamples(group) for group in self.ranking.groups)

    def datasets_of(self, group: Group) -> list[int]:
        """Places of the datasets that apply to the group's rows; the D axis of its resamples."""
        rows = [*group.ranked, *(row for row, _ in group.unranked)]
        return np.flatnonzero(self.grid.applicable[rows[0]].any(-1)).tolist()

    @cached_property
    def transfer(self) -> Transfer:
        return transfer(self.grid, self.meta, self.meta.baseline)

    @cached_property
    def labels(self) -> Labels | None:
        return labels(self)

    @cached_property
    def calibration(self) -> Calibration | None:
        return calibration(self)

    @cached_property
    def costs(self) -> tuple[Costs, ...]:
        return costs(self)

    @cached_property
    def tuning(self) -> Tuning:
        return tuning(self.grid, self.meta.sampler)

    @cached_property
    def standings(self) -> tuple[Standing, ...]:
        """Rank intervals and the like of each group."""
        return standings(self)

    @cached_property
    def sensitivity(self) -> Sensitivity | None:
        """Ranks by other choices within the main group."""
        return sensitivity(self)

    @cached_property
    def verdicts(self) -> tuple[Verdicts, ...]:
        """Who is better than whom, within each group."""
        return verdicts(self)

    def _resamples(self, group: Group) -> Resamples:
        datasets = self.datasets_of(group)
        rows = [*group.ranked, *(row for row, _ in group.unranked)]
        present = ~np.isnan(self.grid.z[rows][:, datasets]).all((0, 2))  # [D, S]
        return resamples([self.grid.datasets[d] for d in datasets], present)
