"""Which of two rows is better? Every pair of a family: difference, tests, probabilities and the verdict.

A family is all pairs of A rows by one score (the headline, or the score at one budget). Arrays are [A, A]: the first
row minus, or against, the second.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tlbench.report.stats import intervals, resampling
from tlbench.report.stats.intervals import Interval
from tlbench.report.stats.signed_rank import ALPHA, DIGITS, holm, needed_datasets, posterior, wilcoxon

BETTER, WORSE, EQUIVALENT, UNDECIDED = "better", "worse", "equivalent", "undecided"
NOT_ENOUGH = "not enough datasets"
BEATS = 0.6  # the smallest probability of winning that is called better
WITHIN = 0.95  # the smallest probability of a difference within 1 point that is called equivalent


class Pairs(NamedTuple):
    """The diagonal holds what a row against itself must give; all is NaN where no dataset applies."""

    datasets: int
    suite: Interval  # of the mean difference
    tasks: Interval
    p: np.ndarray  # Wilcoxon signed-rank over dataset means, two-sided
    holm: np.ndarray  # the same, corrected for the family
    posterior: np.ndarray  # [A, A, 3]: the first is worse by more than 1 point, within 1 point, better by more
    beats: np.ndarray  # probability that the first wins on a dataset and seed, ties count half
    verdict: np.ndarray  # words, about the first: BETTER, WORSE, ...; "" on the diagonal

    @property
    def needed(self) -> int:
        """The fewest datasets at which a pair of these rows can be told apart."""
        return needed_datasets(len(self.p))

    @property
    def enough(self) -> bool:
        return self.datasets >= self.needed


def compare(values: np.ndarray, *, equivalence: bool = True) -> Pairs:
    """Every pair of A rows that saw the same datasets and splits. [A, D, S]; NaN where a dataset does not apply.

    A verdict, by PROTOCOL section 6: `better` when p after Holm is below 0.05, the tasks interval is above 0 and the
    first wins at least 60 % of the runs; `equivalent`, where that is asked, when the difference is within 1 point with
    a probability of at least 95 %; `not enough datasets` when Holm could find nothing whatever the scores.
    """
    rows = len(values)
    values = values[:, ~np.isnan(values).all((0, 2))]
    datasets = values.shape[1]
    differences = values[_upper(rows)[0]] - values[_upper(rows)[1]]  # [P, D, S]
    if not datasets:
        return _nothing(rows)
    means = intervals.cell(differences).mean  # [P, D]
    p = wilcoxon(means)
    asked = equivalence and datasets > 1  # one dataset says nothing of others
    likely = posterior(means) if asked else np.full((len(p), 3), np.nan)
    tasks = _signed(intervals.tasks(differences), rows)
    corrected = _filled(holm(p), rows, 1.0)
    within = _filled(likely, rows, (0.0, 1.0, 0.0), likely[:, ::-1])
    beats = _share(intervals.tasks(_wins(differences)).mean, rows)
    return Pairs(
        datasets=datasets,
        suite=_signed(intervals.suite(differences), rows),
        tasks=tasks,
        p=_filled(p, rows, 1.0),
        holm=corrected,
        posterior=within,
        beats=beats,
        verdict=_verdicts(datasets, tasks, corrected, within, beats),
    )


def beats_interval(values: np.ndarray, weights: np.ndarray) -> Interval:
    """How sure is the probability of winning? [A, D, S] scores, [n, D, S] tasks resamples -> [A, A].

    Bouthillier et al. (2021), section 5: the share of paired runs that the first wins, ties half, every dataset alike.
    Resamples of tasks keep the seeds of a dataset, so that its share of wins is all that they need.
    """
    rows = len(values)
    shares = intervals.cell(_wins(values[_upper(rows)[0]] - values[_upper(rows)[1]])).mean  # [P, D]
    if not shares.size:
        return Interval(*np.full((3, rows, rows), np.nan if rows > 1 else 0.5))
    drawn = resampling.means(weights.sum(-1, keepdims=True), shares[..., None])  # [n, P]
    found = resampling.interval(np.clip(drawn, 0.0, 1.0), shares.mean(-1))
    return Interval(
        _share(found.mean, rows), _filled(found.low, rows, 0.5, 1 - found.high),
        _filled(found.high, rows, 0.5, 1 - found.low),
    )  # fmt: skip


def _verdicts(
    datasets: int, tasks: Interval, corrected: np.ndarray, within: np.ndarray, beats: np.ndarray
) -> np.ndarray:
    apart = corrected < ALPHA
    said = np.select(
        [
            np.full(beats.shape, datasets < needed_datasets(len(beats))),
            apart & tasks.above_zero & (beats >= BEATS),
            apart & tasks.below_zero & (beats <= 1 - BEATS),
            within[..., 1] >= WITHIN,
        ],
        [NOT_ENOUGH, BETTER, WORSE, EQUIVALENT],
        UNDECIDED,
    )
    np.fill_diagonal(said, "")
    return said


def _wins(differences: np.ndarray) -> np.ndarray:
    """1 where the first is above, 0 where it is below, half where the two tie; NaN stays."""
    return np.heaviside(np.round(differences, DIGITS), 0.5)


def _upper(rows: int) -> tuple[np.ndarray, np.ndarray]:
    return np.triu_indices(rows, 1)


def _filled(
    values: np.ndarray, rows: int, diagonal: float | tuple[float, ...], mirrored: np.ndarray | None = None
) -> np.ndarray:
    """[P, ...] of the pairs (first < second) -> [A, A, ...]; `mirrored` for the pairs the other way round."""
    first, second = _upper(rows)
    square = np.empty((rows, rows, *values.shape[1:]))
    square[range(rows), range(rows)] = diagonal
    square[first, second] = values
    square[second, first] = values if mirrored is None else mirrored
    return square


def _signed(interval: Interval, rows: int) -> Interval:
    mean, low, high = interval
    return Interval(_filled(mean, rows, 0, -mean), _filled(low, rows, 0, -high), _filled(high, rows, 0, -low))


def _share(values: np.ndarray, rows: int) -> np.ndarray:
    return _filled(values, rows, 0.5, 1 - values)


def _nothing(rows: int) -> Pairs:
    blank = np.full((rows, rows), np.nan)
    unknown = Interval(blank, blank, blank)
    said = np.full((rows, rows), NOT_ENOUGH)
    np.fill_diagonal(said, "")
    return Pairs(0, unknown, unknown, blank, blank, np.full((rows, rows, 3), np.nan), blank, said)
