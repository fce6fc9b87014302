"""Which numbers count? From one row per cell to dense arrays of scores, by the rules of PROTOCOL section 7.

Axes: R rows (strategy x backbone), D datasets, B budgets, S seeds; each sorted, so that the order of the frame's rows
changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from tlbench.types import TlbenchError

ABSENT = "absent"  # not asked for: nobody ran such a cell, or the frame has none of this row on this dataset
NOT_RUN = "not_run"  # asked for, not in the store
STATUSES = ("done", "skipped", "diverged", "out_of_memory", "timed_out", "failed", NOT_RUN, ABSENT)
IMPUTED = ("diverged", "out_of_memory", "timed_out", "failed")  # scored as the floor
NEEDED = ("key", "dataset", "backbone", "strategy", "budget", "seed", "status", "reason", "score")
CELL = ["strategy", "backbone", "dataset", "budget", "seed"]


@dataclass(frozen=True)
class Grid:
    """The result array. `z` is NaN where nothing may be counted; failures are already 0 in it."""

    frame: pd.DataFrame  # the cells, sorted by name
    rows: tuple[tuple[str, str], ...]  # (strategy, backbone)
    datasets: tuple[str, ...]
    budgets: tuple[int, ...]
    seeds: tuple[int, ...]
    place: tuple[np.ndarray, ...]  # where each cell of the frame stands on the four axes
    status: np.ndarray  # [R, D, B, S], indices into STATUSES
    z: np.ndarray  # [R, D, B, S]

    @cached_property
    def applicable(self) -> np.ndarray:
        """[R, D, B]: what was asked for and not skipped on any seed."""
        skipped = (self.status == STATUSES.index("skipped")).any(axis=-1)
        return ~skipped & self.asked.any(axis=-1)

    @property
    def asked(self) -> np.ndarray:
        """[R, D, B, S]: the cells that this row should have; the others nobody missed."""
        return self.status != STATUSES.index(ABSENT)

    @property
    def imputed(self) -> np.ndarray:
        """[R]: the share of a row's applicable cells that failed and count as 0."""
        asked = self.applicable[..., None] & self.asked
        failed = np.isin(self.status, _codes(*IMPUTED)) & asked
        return failed.sum((1, 2, 3)) / np.maximum(asked.sum((1, 2, 3)), 1)

    @cached_property
    def incomplete(self) -> np.ndarray:
        """[R, D]: is a cell missing that the suite asks for? Such a row has no aggregate."""
        return np.any(self.status == STATUSES.index(NOT_RUN), axis=(2, 3))

    @cached_property
    def area(self) -> np.ndarray:
        """[R, D, S]: the area under each label curve, on the scale of z; NaN where a cell of the curve is not run."""
        return np.where(self.incomplete[..., None], np.nan, area(self.z, self.budgets))

    def named(self, row: int) -> dict[str, str]:
        """A row as leaderboard.json names it."""
        return dict(zip(("strategy", "backbone"), self.rows[row], strict=True))

    def values(self, column: str) -> np.ndarray:
        """[R, D, B, S]: another column on the same axes, NaN where it is unknown or the cell does not count.

        A cell that failed has the 0 of its score here too, so that the column may be compared with `z`.
        """
        if column not in self.frame:
            return np.full(self.z.shape, np.nan)
        known = _dense(self.frame[column].to_numpy(float, na_value=np.nan), self.place, self.z.shape)
        failed = np.isin(self.status, _codes(*IMPUTED))
        return np.where(np.isnan(self.z), np.nan, np.where(failed, 0.0, known))


def grid(frame: pd.DataFrame) -> Grid:
    """Dense arrays of the frame's cells. Raises TlbenchError for a frame that cannot be one suite's results."""
    frame = _checked(frame)
    pairs = pd.MultiIndex.from_frame(frame[["strategy", "backbone"]])
    rows = pairs.unique().sort_values()
    datasets, budgets, seeds = (pd.Index(frame[name]).unique().sort_values() for name in CELL[2:])
    axes = (rows, pairs), (datasets, frame.dataset), (budgets, frame.budget), (seeds, frame.seed)
    place = tuple(labels.get_indexer(values) for labels, values in axes)
    shape = (len(rows), len(datasets), len(budgets), len(seeds))
    status, holes = _statuses(frame, place, shape)
    if holes.any():
        return grid(_filled(frame, holes, (rows, datasets, budgets, seeds)))
    score = _dense(frame.score.to_numpy(float, na_value=np.nan), place, shape)
    z = np.where(status == STATUSES.index("done"), score, np.nan)
    z = np.where(np.isin(status, _codes(*IMPUTED)), 0.0, z)
    names = tuple(rows), tuple(datasets), tuple(map(int, budgets)), tuple(map(int, seeds))
    made = Grid(frame, *names, place, status, z)
    z[~made.applicable] = np.nan
    return made


def area(z: np.ndarray, budgets: tuple[int, ...]) -> np.ndarray:
    """Trapezoid of z over log2(budget), divided by the range: the area under the label curve on the scale of z.

    [..., D, B, S] -> [..., D, S].
    A curve reaches over the budgets that it has; one budget alone is its own area. NaN where a seed lacks a value that
    another seed of the same curve has, or where there is none at all.
    """
    present = ~np.isnan(z).all(-1)  # [..., D, B]
    flat = present.reshape(-1, present.shape[-1])
    patterns, which = np.unique(flat, axis=0, return_inverse=True)
    each = np.reshape([_trapezoid(np.log2(budgets), pattern) for pattern in patterns], patterns.shape)
    weights = each[which].reshape(present.shape)
    weighed = np.where(present[..., None], weights[..., None] * z, 0.0).sum(-2)
    return np.where(present.any(-1)[..., None], weighed, np.nan)


def _trapezoid(x: np.ndarray, present: np.ndarray) -> np.ndarray:
    """[B] weights that sum to 1: their inner product with a curve is its mean height over the present part of x."""
    weights = np.zeros(len(x))
    known = np.flatnonzero(present)
    if len(known) < 2:
        weights[known] = 1.0
        return weights
    gaps = np.diff(x[known])
    weights[known[:-1]] += gaps / 2
    weights[known[1:]] += gaps / 2
    return weights / gaps.sum()


def _statuses(
    frame: pd.DataFrame, place: tuple[np.ndarray, ...], shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """[R, D, B, S] codes, and which of them are holes: a cell that the frame lacks is not run, if another row has it.

    It is absent, that is not asked for, when its row lacks the whole dataset, or when nobody ran it: datasets may have
    budgets and seeds of their own.
    """
    status = _dense(pd.Index(STATUSES).get_indexer(frame.status), place, shape)
    lacking = np.isnan(status)
    status = np.where(lacking, STATUSES.index(NOT_RUN), status)
    nobody = (status == STATUSES.index(NOT_RUN)).all(0)
    unasked = lacking & (nobody | lacking.all((2, 3), keepdims=True))
    return np.where(unasked, STATUSES.index(ABSENT), status).astype(np.int8), lacking & ~unasked


def _filled(frame: pd.DataFrame, holes: np.ndarray, labels: tuple[pd.Index, ...]) -> pd.DataFrame:
    """The frame with a row for each hole, so that every list of cells holds it."""
    rows, *others = (names[where] for names, where in zip(labels, np.nonzero(holes), strict=True))
    added = rows.to_frame(index=False, name=CELL[:2]).assign(**dict(zip(CELL[2:], others, strict=True)))
    if "metric" in frame:
        added["metric"] = added.dataset.map(frame.groupby("dataset").metric.first())
    return pd.concat([frame, added.assign(status=NOT_RUN, reason="", key="")], ignore_index=True)


def _dense(values: np.ndarray, place: tuple[np.ndarray, ...], shape: tuple[int, ...]) -> np.ndarray:
    """[R, D, B, S] from one value a cell, NaN where there is no cell."""
    dense = np.full(shape, np.nan)
    dense[place] = values
    return dense


def _checked(frame: pd.DataFrame) -> pd.DataFrame:
    absent = [name for name in NEEDED if name not in frame]
    if absent:
        raise TlbenchError(f"a report needs the columns {', '.join(absent)}; make the frame with Store.frame()")
    if frame.empty:
        raise TlbenchError("there are 0 cells, and a report needs at least 1; see: tlbench run SUITE")
    frame = frame.sort_values([*CELL, "key"], ignore_index=True)
    _refuse(frame, ~frame.status.isin(STATUSES[:-1]), f"has a status that is none of {', '.join(STATUSES[:-1])}")
    _refuse(frame, frame.duplicated(CELL), "is there twice; give the report the cells of one suite: Store.frame(cells)")
    _refuse(frame, frame.status.eq("done") & frame.score.isna(), "is done and has no score; see: tlbench retry SUITE")
    return frame


def _refuse(frame: pd.DataFrame, wrong: pd.Series, what: str) -> None:
    if wrong.any():
        first = frame[wrong].iloc[0]
        name = "/".join(str(first[part]) for part in CELL)
        raise TlbenchError(f"cell {name} ({first.status}) {what}")


def _codes(*names: str) -> list[int]:
    return [STATUSES.index(name) for name in names]
