"""On which data are faults planted? Small tasks of the embedded digits, and copies of test examples in pools."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tlbench.datasets.mini.drawn import stream
from tlbench.datasets.mini.photographs import digits
from tlbench.registry import DATASETS, Dataset
from tlbench.types import Arrays, Card, Modality

TASKS = tuple(f"canary_task_{number}" for number in range(6))
SHUFFLED = tuple(f"canary_shuffled_{number}" for number in range(4))
CLASSES = ((0, 1, 2, 3), (4, 5, 6, 7), (0, 5, 8, 9), (1, 3, 6, 8), (2, 4, 7, 9), (1, 4, 5, 9))
COPIES = 4  # of each way of copying
POOL = 60  # examples of a planted pool that are no copies


class Planted(NamedTuple):
    """A dataset with copies of test examples in its pool."""

    arrays: Arrays
    copies: int


def registered() -> None:
    """Makes the tasks known by name; a second call changes nothing."""
    for name, chosen in zip(TASKS, CLASSES, strict=True):
        DATASETS.add(name, Dataset(_card(name), _Part(chosen)))
    for name in SHUFFLED:
        DATASETS.add(name, Dataset(_card(name), _Part(tuple(range(10)), shuffled=name)))


def planted() -> dict[Modality, Planted]:
    """Pictures and texts."""
    return {"image": planted_pictures(), "text": planted_texts()}


def planted_pictures() -> Planted:
    """Copies as they are, brighter, with more contrast, and with noise of two grey levels."""
    arrays = digits(Path())
    test = arrays.test_x[:COPIES].astype(np.int64)
    noise = stream("canary", "noise").integers(-2, 3, test.shape)
    ways = (test, test + 12, test * 11 // 10, test + noise)
    return _planted(arrays, np.concatenate([way.clip(0, 255).astype(np.uint8) for way in ways]))


def planted_texts() -> Planted:
    """Copies as they are, in capitals, with other spacing, and with other punctuation."""
    pool, test = (np.array([f"{part} sentence number {i}, of no meaning" for i in range(80)]) for part in ("A", "One"))
    labels = np.arange(80) % 2
    ways: tuple[Callable[[str], str], ...] = (str, str.upper, lambda t: f"  {t} ", lambda t: t.replace(",", " -") + "!")
    copies = np.array([way(text) for way in ways for text in test[:COPIES]])
    return _planted(Arrays(pool, labels, test, labels, ("even", "odd")), copies)


def card(modality: Modality) -> Card:
    """Of a planted dataset."""
    return _card(f"canary_planted_{modality}", modality)


class _Part:
    """Makes the arrays of some digits; with a name, the labels of the pool are shuffled by it."""

    def __init__(self, chosen: tuple[int, ...], shuffled: str = "") -> None:
        self.chosen, self.shuffled = chosen, shuffled
        self.__module__, self.__qualname__ = __name__, f"_Part({chosen}, {shuffled!r})"

    def __call__(self, root: Path) -> Arrays:
        arrays = digits(root)
        pool, test = np.isin(arrays.pool_y, self.chosen), np.isin(arrays.test_y, self.chosen)
        pool_y, test_y = (np.searchsorted(self.chosen, y) for y in (arrays.pool_y[pool], arrays.test_y[test]))
        if self.shuffled:
            pool_y = stream(self.shuffled, "labels").permutation(pool_y)
        return Arrays(arrays.pool_x[pool], pool_y, arrays.test_x[test], test_y, tuple(map(str, self.chosen)))


def _planted(arrays: Arrays, copies: np.ndarray) -> Planted:
    labels = np.resize(arrays.test_y[:COPIES], len(copies))
    pool_x, pool_y = np.concatenate([arrays.pool_x[:POOL], copies]), np.concatenate([arrays.pool_y[:POOL], labels])
    return Planted(arrays._replace(pool_x=pool_x, pool_y=pool_y), len(copies))


def _card(name: str, modality: Modality = "image") -> Card:
    return Card(
        name=name, modality=modality, classes=None, summary="For canaries.", kind="procedural", group="canaries",
        source="made of the embedded digits", licence="as those",
    )  # fmt: skip
