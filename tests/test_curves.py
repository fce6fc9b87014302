"""Do crossings and reaches of label curves lie where they lie, and is what is outside the budgets said to be?"""

from __future__ import annotations

import numpy as np
import pytest

from tlbench.report.stats.curves import bounds, meeting, reach

BUDGETS = (1, 2, 4, 8)
FINE = np.geomspace(1, 8, 30_001)


def curves(seed: int, *shape: int, rising: bool = False) -> np.ndarray:
    values = np.random.Generator(np.random.PCG64(seed)).uniform(0, 1, (len(BUDGETS), *shape))
    return np.sort(values, axis=0) if rising else values


def fine(curve: np.ndarray) -> np.ndarray:
    return np.interp(np.log2(FINE), np.log2(BUDGETS), curve)


def test_two_straight_curves_cross_where_algebra_says() -> None:
    steep, flat = np.array([0.0, 0.2, 0.4, 0.6]), np.array([0.25, 0.3, 0.35, 0.4])
    met = meeting(steep - flat, BUDGETS)
    assert met.ahead == pytest.approx(2 ** (0.25 / 0.15)) and met.behind == np.inf and met.times == 1


@pytest.mark.parametrize(
    ("difference", "ahead", "behind", "times"),
    [
        ([1, 1, 1, 1], 0, np.inf, 0),  # ahead throughout
        ([-1, -1, -1, -1], np.inf, 0, 0),
        ([0, 0, 0, 0], np.inf, np.inf, 0),  # nobody is ahead
        ([-1, 1, -1, 1], 2**2.5, np.inf, 3),  # of three crossings the last counts
        ([1, 1, -1, -1], np.inf, 2**1.5, 1),
        ([1, 0, 1, 1], 0, np.inf, 0),  # a touch is no crossing
        ([-1, 0, 0, 1], 4, np.inf, 1),  # together until 4, then ahead
        ([0, 0, 1, 1], 0, np.inf, 0),  # never behind
        ([-1, 1, 0, 0], 2**0.5, np.inf, 1),  # caught up with, not overtaken
    ],
)
def test_a_crossing_is_a_change_of_who_is_ahead(difference: list, ahead: float, behind: float, times: int) -> None:
    met = meeting(np.array(difference, float), BUDGETS)
    assert (met.ahead, met.behind) == (pytest.approx(ahead), pytest.approx(behind))
    assert met.times == times


def test_crossings_agree_with_a_fine_search() -> None:
    many = curves(1, 200) - curves(2, 200)
    met = meeting(many, BUDGETS)
    for k in range(200):
        sign = np.sign(fine(many[:, k]))
        flips = np.flatnonzero(np.diff(sign))
        assert met.times[k] == len(flips)
        last = FINE[flips[-1]] if len(flips) else 0.0
        assert min(met.ahead[k], met.behind[k]) == pytest.approx(last, rel=1e-3)
        assert max(met.ahead[k], met.behind[k]) == np.inf


@pytest.mark.parametrize("rising", [True, False])
def test_reach_agrees_with_a_fine_search(rising: bool) -> None:
    many, values = curves(3, 200, rising=rising), curves(4, 200)[0]
    found = reach(many, values, BUDGETS)
    for k in range(200):
        high = np.flatnonzero(fine(many[:, k]) >= values[k])
        if not len(high):
            assert found[k] == np.inf
        elif high[0] == 0:
            assert found[k] == 0
        else:
            assert found[k] == pytest.approx(FINE[high[0]], rel=1e-3)


def test_a_curve_reaches_its_own_values_at_its_own_budgets() -> None:
    rising = curves(5, 50, rising=True)
    for b, budget in enumerate(BUDGETS):
        assert reach(rising, rising[b], BUDGETS) == pytest.approx(budget)


def test_a_shift_by_one_doubling_is_worth_twice_the_labels() -> None:
    slow = np.array([0.1, 0.3, 0.4, 0.45])
    quick = np.array([*slow[1:], 0.47])
    assert reach(slow, quick, BUDGETS) == pytest.approx([2, 4, 8, np.inf])
    assert reach(quick, slow, BUDGETS) == pytest.approx([0, 1, 2, 4])


def test_level_stretches_and_single_budgets_need_no_care() -> None:
    assert reach(np.array([0.1, 0.1, 0.1, 0.5]), np.array([0.1]), BUDGETS) == 1
    assert reach(np.array([0.1, 0.1, 0.1, 0.5]), np.array([0.3]), BUDGETS) == pytest.approx(2**2.5)
    assert reach(np.array([0.5]), np.array([0.4, 0.5, 0.6]), (4,)) == pytest.approx([0, 4, np.inf])
    assert meeting(np.array([0.1]), (4,)).ahead == 0


def test_bounds_are_draws_and_may_be_open() -> None:
    draws = np.concatenate([np.full(50, 0.0), np.linspace(2, 4, 900), np.full(50, np.inf)])
    assert bounds(draws) == (0, np.inf)
    low, high = bounds(draws[50:-50])
    assert low in draws and high in draws and 2 < low < 2.1 and 3.9 < high < 4
