"""Budgets are nested, folds are disjoint and stratified, groups never cross, seeds ignore the strategy."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlbench.datasets.splits import folds, nested_budgets, seed
from tlbench.types import TlbenchError

labels = st.lists(st.integers(1, 12), min_size=2, max_size=9).flatmap(
    lambda counts: st.permutations([label for label, count in enumerate(counts) for _ in range(count)])
)
budgets = st.sampled_from([2, 3, 5, 9, 10, 20, 50])
rules = st.sampled_from(["standard", "lite"])
seeds = st.integers(0, 2**63 - 1)
quick = settings(max_examples=60, deadline=None)


@quick
@given(labels, seeds)
def test_a_smaller_budget_lies_inside_a_larger_one(y: list[int], s: int) -> None:
    drawn = nested_budgets(np.array(y), [1, 2, 5, 10], split_seed=s)
    sizes = sorted(drawn)
    for small, large in zip(sizes, sizes[1:], strict=False):
        assert set(drawn[small].rows) <= set(drawn[large].rows)


@quick
@given(labels, seeds, st.integers(1, 14))
def test_a_class_gives_the_budget_or_all_it_has(y: list[int], s: int, k: int) -> None:
    rows, short = nested_budgets(np.array(y), [k], split_seed=s)[k]
    counts = np.bincount(y)
    assert np.bincount(np.array(y)[rows]).tolist() == np.minimum(counts, k).tolist()
    assert short == np.sum(counts < k)
    assert len(set(rows)) == len(rows)


@quick
@given(labels, budgets, rules, seeds)
def test_folds_are_disjoint_and_train_on_equally_many_rows(y: list[int], k: int, rule: str, s: int) -> None:
    made = folds(np.array(y), k, rule=rule, fold_seed=s)
    assert all(not set(train) & set(val) for train, val in made)
    assert len({len(train) for train, _ in made}) <= 1


@quick
@given(labels, budgets, rules, seeds)
def test_every_class_trains_and_every_class_of_two_validates(y: list[int], k: int, rule: str, s: int) -> None:
    y = np.array(y)
    counts = np.bincount(y)
    for train, val in folds(y, k, rule=rule, fold_seed=s):
        assert set(y[train]) == set(range(len(counts)))
        assert set(y[val]) == set(np.flatnonzero(counts >= 2))


@quick
@given(labels, seeds)
def test_halves_are_complementary_and_even(y: list[int], s: int) -> None:
    y = np.array(y)
    (train_a, val_a), (train_b, val_b) = folds(y, 5, rule="lite", fold_seed=s) or [((), ()), ((), ())]
    assert not set(val_a) & set(val_b)
    several = set(np.flatnonzero(np.bincount(y)[y] >= 2))
    assert set(val_a) | set(val_b) == several
    assert set(train_a) - several == set(train_b) - several
    for label in set(y[list(several)]):
        assert abs(np.sum(y[train_a] == label) - np.sum(y[train_b] == label)) <= 1


@pytest.mark.parametrize(
    ("k", "rule", "number", "validated"),
    [(1, "standard", 0, 0), (2, "standard", 4, 1), (4, "standard", 4, 2), (2, "lite", 2, 1), (10, "lite", 3, 2)]
    + [(10, "standard", 3, 2), (20, "standard", 3, 4), (50, "standard", 1, 10), (100, "lite", 1, 20)],
)
def test_the_number_and_size_of_folds_follow_the_protocol(k: int, rule: str, number: int, validated: int) -> None:
    y = np.repeat(np.arange(4), k)
    made = folds(y, k, rule=rule, fold_seed=7)
    assert len(made) == number
    for _, val in made:
        assert np.bincount(y[val], minlength=4).tolist() == [validated] * 4


def test_the_three_fifths_validate_different_rows() -> None:
    y = np.repeat(np.arange(3), 10)
    validated = np.concatenate([val for _, val in folds(y, 10, fold_seed=1)])
    assert len(set(validated)) == len(validated)


@quick
@given(labels, st.integers(1, 6), budgets, rules, seeds)
def test_a_group_never_stands_on_both_sides(y: list[int], number: int, k: int, rule: str, s: int) -> None:
    y = np.array(y)
    groups = np.arange(len(y)) % (number * 3)
    for train, val in folds(y, k, rule=rule, fold_seed=s, groups=groups):
        assert not set(groups[train]) & set(groups[val])
        assert set(y[train]) == set(y)
        assert len(val)


def test_groups_that_hold_one_class_each_split_it_in_halves() -> None:
    y = np.repeat(np.arange(3), 8)
    groups = np.arange(24) // 2
    for train, val in folds(y, 8, fold_seed=3, groups=groups):
        assert np.bincount(y[train]).tolist() == [4, 4, 4] == np.bincount(y[val]).tolist()


def test_two_groups_a_class_are_enough_to_validate() -> None:
    y = np.repeat(np.arange(2), 10)
    made = folds(y, 10, fold_seed=3, groups=np.arange(20) // 5)
    assert made
    assert all(set(y[val]) == {0, 1} == set(y[train]) for train, val in made)


def test_few_labels_come_from_many_groups() -> None:
    y, groups = np.zeros(40, np.int64), np.repeat(np.arange(4), 10)
    rows = nested_budgets(y, [4], split_seed=5, groups=groups)[4].rows
    assert set(groups[rows]) == {0, 1, 2, 3}


def test_seeds_differ_by_role_and_name_and_never_name_a_strategy() -> None:
    assert seed("split", dataset="digits", s=0) == seed("split", s=0, dataset="digits")
    several = [
        seed("split", dataset="digits", s=0),
        seed("split", dataset="digits", s=1),
        seed("folds", dataset="digits", s=0),
    ]
    assert len(set(several)) == 3
    assert all(0 <= number < 2**63 for number in several)
    for draws in (nested_budgets, folds):
        assert not any("strategy" in name for name in inspect.signature(draws).parameters)


def test_equal_seeds_draw_equally_and_others_do_not() -> None:
    y = np.repeat(np.arange(5), 30)
    first, again, other = (nested_budgets(y, [5], split_seed=s)[5].rows.tolist() for s in (1, 1, 2))
    assert first == again != other


def test_an_empty_class_and_a_budget_of_nothing_are_refused() -> None:
    with pytest.raises(TlbenchError, match="class 1 has no example"):
        nested_budgets(np.array([0, 0, 2]), [1], split_seed=0)
    with pytest.raises(TlbenchError, match="budget of 0"):
        nested_budgets(np.array([0, 1]), [0], split_seed=0)
    with pytest.raises(TlbenchError, match="unknown rule of folds 'light'"):
        folds(np.array([0, 1]), 2, rule="light", fold_seed=0)  # type: ignore[arg-type]
