"""Which pool rows are the labelled ones, and which of them validate? Seeds, nested budgets and folds (PROTOCOL 1-3)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from tlbench.types import PROTOCOL, TlbenchError, canonical

Fold = tuple[np.ndarray, np.ndarray]  # places of the training rows and of the validation rows, ascending

HALVES_FROM, FIFTHS_FROM, SINGLE_FROM = 2, 10, 50  # labels a class at which the rule of folds changes


class Budget(NamedTuple):
    """The labelled rows of one budget."""

    rows: np.ndarray  # places in the pool, ascending
    short_classes: int  # classes that had fewer examples than the budget and gave all


def seed(role: str, **names: Any) -> int:
    """A number of 63 bits that depends on the protocol, the role and the names alone (PROTOCOL 2)."""
    digest = hashlib.sha256(canonical([PROTOCOL, role, names]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def nested_budgets(
    y: np.ndarray, budgets: Sequence[int], *, split_seed: int, groups: np.ndarray | None = None
) -> dict[int, Budget]:
    """Rows of each budget, the smaller inside the larger (PROTOCOL 1.3).

    y [n] are the pool's labels 0 .. C-1. One random order of each class is drawn; a budget of k takes its first k. With
    groups [n] the order goes round the groups, so that few labels come from many groups and folds can part them.
    Raises TlbenchError when a budget is below 1 or a class is empty.
    """
    for k in budgets:
        if k < 1:
            raise TlbenchError(f"a budget of {k} labels a class cannot be drawn; give whole numbers from 1 up")
    counts = np.bincount(y)
    if len(y) == 0 or counts.min() == 0:
        empty = "every class" if len(y) == 0 else f"class {int(np.argmin(counts))}"
        raise TlbenchError(
            f"{empty} has no example in the pool, so no budget can be drawn; remove the class or add some"
        )
    rng = np.random.Generator(np.random.PCG64(split_seed))
    chances = rng.random(len(y))
    orders = [_order(np.flatnonzero(y == label), chances, groups) for label in range(len(counts))]
    return {
        k: Budget(np.sort(np.concatenate([order[:k] for order in orders])), int(np.sum(counts < k))) for k in budgets
    }


def folds(
    y: np.ndarray,
    budget: int,
    *,
    fold_seed: int,
    rule: Literal["standard", "lite"] = "standard",
    groups: np.ndarray | None = None,
) -> list[Fold]:
    """Training and validation places among the labelled rows, for choosing hyperparameters (PROTOCOL 3).

    y [n] are the labels of the budget's rows; groups [n] never stand on both sides. `budget` is the nominal number of
    labels a class: 1 gives no fold; 2 to 9 four stratified halves (two in `lite`), each pair complementary; 10 to 49
    three 80/20; from 50 on a single 80/20. A class with one example (or one group) always trains.
    Without groups all folds train on equally many rows: when a pair of halves is uneven by one row, the odd row is
    validated but trains in neither.
    """
    if rule not in ("standard", "lite"):
        raise TlbenchError(f"unknown rule of folds {rule!r}; allowed: 'standard', 'lite'")
    rng = np.random.Generator(np.random.PCG64(fold_seed))
    if budget < HALVES_FROM:
        return []
    if budget < FIFTHS_FROM:
        pairs = 1 if rule == "lite" else 2
        parts = [fold for _ in range(pairs) for fold in _halves(y, rng, groups)]
    else:
        parts = _fifths(y, rng, 3 if budget < SINGLE_FROM else 1, groups)
    return [(train, val) for train, val in parts if len(val)]


def _order(rows: np.ndarray, chances: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """Rows of one class in random order; with groups, the first of every group, then the second of every group, ..."""
    shuffled = rows[np.argsort(chances[rows], kind="stable")]
    if groups is None:
        return shuffled
    turn: dict[Any, int] = {}
    turns = []
    for group in groups[shuffled].tolist():
        turns.append(turn.get(group, 0))
        turn[group] = turns[-1] + 1
    return shuffled[np.argsort(turns, kind="stable")]


def _halves(y: np.ndarray, rng: np.random.Generator, groups: np.ndarray | None) -> list[Fold]:
    """Two folds, each training on the rows that the other validates."""
    if groups is not None:
        side = _parted(y, groups, rng, 0.5)
        fixed = _unparted(y, groups, side)
        return [_fold((side == 0) | fixed, (side == 1) & ~fixed), _fold((side == 1) | fixed, (side == 0) & ~fixed)]
    side, single, spare = np.zeros(len(y), np.int64), np.zeros(len(y), bool), -1
    odd = 0  # how many odd rows have been dealt: they go to the two sides in turn
    for label in _shuffled(np.unique(y), rng):
        rows = _shuffled(np.flatnonzero(y == label), rng)
        if len(rows) == 1:
            single[rows] = True
            continue
        side[rows[1::2]] = 1
        if len(rows) % 2:
            spare, odd = int(rows[-1]), odd + 1
            side[spare] = odd % 2
    first, second = (side == 0) | single, (side == 1) | single
    validates = [(side == 1) & ~single, (side == 0) & ~single]
    if odd % 2:  # the last odd row stands on side 1 and would make its half larger
        second[spare] = False
    return [_fold(first, validates[0]), _fold(second, validates[1])]


def _fifths(y: np.ndarray, rng: np.random.Generator, number: int, groups: np.ndarray | None) -> list[Fold]:
    """Folds that validate a fifth of every class, disjoint fifths where the class is large enough."""
    if groups is not None:
        sides = [_parted(y, groups, rng, 0.2) for _ in range(number)]
        return [_fold(side == 0, side == 1) for side in sides]
    validates = np.zeros((number, len(y)), bool)
    for label in np.unique(y):
        rows = _shuffled(np.flatnonzero(y == label), rng)
        if len(rows) == 1:
            continue
        size = max(1, (len(rows) + 2) // 5)
        for part in range(number):
            validates[part, rows[(part * size + np.arange(size)) % len(rows)]] = True
    return [_fold(~validate, validate) for validate in validates]


def _parted(y: np.ndarray, groups: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    """Side [n] of every row, 0 to train and 1 to validate: whole groups, about `share` of each class on side 1.

    Groups are tried from large to small and cross when that brings the class counts nearer to their aim; then every
    class without a validation row sends its smallest group that may cross.
    """
    names, members = np.unique(groups, return_inverse=True)
    table = np.zeros((len(names), int(y.max()) + 1), np.int64)  # rows of each class in each group
    np.add.at(table, (members, y), 1)
    aim, side = share * table.sum(0), np.zeros(len(names), np.int64)

    def may_cross(group: int) -> bool:  # does every class of the group keep a training row?
        left = table[side == 0].sum(0) - table[group]
        return bool(side[group] == 0 and (left[table[group] > 0] > 0).all())

    order = _shuffled(np.arange(len(names)), rng)
    order = order[np.argsort(-table[order].sum(1), kind="stable")]
    for group in order:
        placed = table[side == 1].sum(0)
        nearer = np.abs(placed + table[group] - aim).sum() < np.abs(placed - aim).sum()
        side[group] = int(nearer and may_cross(group))
    for label in np.flatnonzero(aim > 0):
        if not table[side == 1, label].any():
            side[[group for group in order[::-1] if table[group, label] and may_cross(group)][:1]] = 1
    return side[members]


def _unparted(y: np.ndarray, groups: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Rows [n] of groups that must train in both halves, since a class would have no other example on side 1."""
    stay = np.zeros(len(y), bool)
    for label in np.unique(y):
        rows = np.flatnonzero((y == label) & ~stay)
        if len(rows) and not ((side == 1) & (y == label)).any() and not (stay & (y == label)).any():
            stay |= groups == groups[rows[0]]
    return stay


def _fold(train: np.ndarray, val: np.ndarray) -> Fold:
    return np.flatnonzero(train), np.flatnonzero(val)


def _shuffled(items: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return items[np.argsort(rng.random(len(items)), kind="stable")]
