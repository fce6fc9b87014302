"""How are numbers of labels written? What lies outside the budgets is said to do so, and never extrapolated."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tlbench.report.numbers import NO_INTERVAL, NONE
from tlbench.report.stats.curves import Place


def labels_text(labels: float, budgets: Sequence[int]) -> str:
    """`6.3`, `at most 2` or `more than 50`: labels a class."""
    return _text(labels, budgets, 1, "")


def times_text(labels: float, budgets: Sequence[int], of: int) -> str:
    """The same as a multiple of a budget: `2.1×`, `at most 0.4×`, `more than 5×`."""
    return _text(labels, budgets, of, "×")


def labels_span(place: Place, budgets: Sequence[int], *index: int) -> str:
    """`6.3 (4.1 to more than 50)`."""
    return _span(place, lambda labels: labels_text(labels, budgets), *index)


def times_span(place: Place, budgets: Sequence[int], of: int, *index: int) -> str:
    return _span(place, lambda labels: times_text(labels, budgets, of), *index)


def interval_text(place: Place, budgets: Sequence[int], *index: int) -> str:
    """`4.1 to more than 50`, or what can be said where both bounds are the same."""
    low, high = (float(bound[index]) for bound in place[1:])
    if np.isnan(low):
        return NO_INTERVAL
    texts = labels_text(low, budgets), labels_text(high, budgets)
    return texts[0] if texts[0] == texts[1] else " to ".join(texts)


def coded(labels: np.ndarray, budgets: Sequence[int]) -> list[float | str]:
    """For programs: the number itself, or the same words."""
    return [
        float(x) if np.isnan(x) or 0 < x < np.inf else labels_text(float(x), budgets) for x in np.atleast_1d(labels)
    ]


def _text(labels: float, budgets: Sequence[int], of: int, unit: str) -> str:
    if np.isnan(labels):
        return NONE
    if labels == 0:
        return f"at most {_number(budgets[0] / of)}{unit}"
    if np.isinf(labels):
        return f"more than {_number(budgets[-1] / of)}{unit}"
    return f"{_number(labels / of)}{unit}"


def _number(value: float) -> str:
    """Two digits, and whole numbers whole."""
    if abs(value - round(value)) < 1e-9 * value:
        return f"{round(value)}"
    return f"{float(f'{value:.2g}'):g}"


def _span(place: Place, text: Callable[[float], str], *index: int) -> str:
    labels, low, high = (float(values[index]) for values in place)
    said = text(labels)
    if np.isnan(labels) or np.isnan(low):
        return said
    if text(low) == text(high) == said:
        return said
    return f"{said} ({text(low)} to {text(high)})"
