"""Which part of a table with holes would rank more rows? A small part that all have, or a large one that few have."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from itertools import combinations, product
from typing import NamedTuple

import numpy as np

from tlbench.report.ranking import Ranking
from tlbench.report.scores import IMPUTED, STATUSES, Grid

SETS = 12  # of one axis that are tried
SHOWN = 4


class Part(NamedTuple):
    """A block of the grid that `rows` rows have whole."""

    rows: int
    cells: int  # of one row
    datasets: tuple[int, ...]
    budgets: tuple[int, ...]
    seeds: tuple[int, ...]


def hints(ranking: Ranking) -> list[str]:
    """Sentences with the `--only` that ranks more rows together; none where all are, or where no name can be typed."""
    best = max((len(group.ranked) for group in ranking.groups), default=0)
    if best == len(ranking.grid.rows):
        return []
    typed = ((part, only(ranking.grid, part)) for part in parts(ranking.grid) if part.rows > max(best, 1))
    return [
        f"with {words}, {part.rows} of {len(ranking.grid.rows)} rows can be ranked together, on {_cells(part)}"
        for part, words in [(part, words) for part, words in typed if words][:SHOWN]
    ]


def parts(grid: Grid) -> list[Part]:
    """For each number of rows the largest block that so many have whole; most rows first."""
    has = np.isin(grid.status, [STATUSES.index(status) for status in ("done", *IMPUTED)])
    ran = np.any(has, axis=0)  # [D, B, S]
    lacks = np.logical_and(ran, ~has)
    largest: dict[int, Part] = {}
    for block in product(*(_sets(has, axis) for axis in (1, 2, 3))):
        whole = ~np.any(_within(lacks, block), axis=(1, 2, 3)) & np.any(_within(has, block), axis=(1, 2, 3))
        rows = int(whole.sum())
        found = Part(rows, int(_within(ran[None], block).sum()), *block)
        if rows not in largest or _size(found) > _size(largest[rows]):
            largest[rows] = found
    return [part for part in sorted(largest.values(), reverse=True) if not _beaten(part, largest.values())]


def only(grid: Grid, part: Part) -> str:
    """What to type; "" where a name holds a comma, which `--only` takes to part names."""
    words = []
    for name, known, kept in (
        ("dataset", grid.datasets, part.datasets),
        ("budget", grid.budgets, part.budgets),
        ("seed", grid.seeds, part.seeds),
    ):
        names = [str(known[i]) for i in kept]
        if any("," in name for name in names):
            return ""
        if len(names) < len(known):
            words.append("--only " + shlex.quote(f"{name}={','.join(names)}"))
    return " ".join(words)


def _sets(has: np.ndarray, axis: int) -> list[tuple[int, ...]]:
    """What each row has along one axis, what two rows share, and everything; the largest ones."""
    others = tuple(i for i in (1, 2, 3) if i != axis)
    of_rows = [frozenset(np.flatnonzero(row).tolist()) for row in np.unique(has.any(others), axis=0)]
    every = {*of_rows, *(a & b for a, b in combinations(of_rows, 2)), frozenset(range(has.shape[axis]))} - {frozenset()}
    singles: Iterable[frozenset[int]] = (frozenset([i]) for i in range(has.shape[axis]))
    kept = sorted(every, key=lambda found: (-len(found), sorted(found)))[:SETS]
    return [tuple(sorted(found)) for found in dict.fromkeys([*kept, *(singles if axis == 2 else ())])]


def _within(values: np.ndarray, block: tuple[tuple[int, ...], ...]) -> np.ndarray:
    """[R, D, B, S] -> the part of it that the block keeps."""
    datasets, budgets, seeds = map(list, block)
    return values[:, datasets][:, :, budgets][..., seeds]


def _size(part: Part) -> tuple[int, int, int]:
    """Of equal blocks the one that is least restricted."""
    return part.cells, len(part.datasets) * len(part.budgets), len(part.seeds)


def _beaten(part: Part, others: Iterable[Part]) -> bool:
    return any(other.rows > part.rows and other.cells >= part.cells for other in others)


def _cells(part: Part) -> str:
    return ", ".join(
        f"{len(found)} {noun}{'' if len(found) == 1 else 's'}"
        for noun, found in (("dataset", part.datasets), ("budget", part.budgets), ("seed", part.seeds))
    )
