"""How are numbers written? The same way in every table, with nothing where nothing is known."""

from __future__ import annotations

import math

import numpy as np

from tlbench.report.stats import Interval

NONE = "–"
NO_INTERVAL = "no interval"
PREFIXES = ("", "k", "M", "G", "T", "P", "E")


def points(z: float) -> str:
    """A score as printed: 100 z, one decimal."""
    return NONE if math.isnan(z) else _zero(f"{100 * z:.1f}")


def signed(z: float) -> str:
    return NONE if math.isnan(z) else _zero(f"{100 * z:+.1f}")


def half_width(interval: Interval, *index: int) -> str:
    """`± 2.3`, or the words that none can be given."""
    one = interval.at(*index)
    if np.isnan(one.mean):
        return NONE
    return NO_INTERVAL if np.isnan(one.low) else f"± {points(float(one.half))}"


def with_interval(interval: Interval, *index: int) -> str:
    one = interval.at(*index)
    if np.isnan(one.mean):
        return NONE
    half = half_width(interval, *index)
    return f"{points(float(one.mean))} ({half})" if half == NO_INTERVAL else f"{points(float(one.mean))} {half}"


def percent(share: float) -> str:
    """A share above 0 is never printed as 0 %."""
    if math.isnan(share):
        return NONE
    return "< 1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"


def amount(value: float, unit: str = "") -> str:
    """Three digits and a prefix: 1.23 M, 45.6 G."""
    if math.isnan(value):
        return NONE
    steps = 0
    while abs(value) >= 999.5 and steps < len(PREFIXES) - 1:
        value, steps = value / 1000, steps + 1
    text = f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}"
    return f"{text} {PREFIXES[steps]}{unit}".rstrip()


def seconds(value: float) -> str:
    if math.isnan(value):
        return NONE
    if value < 60:
        return f"{value:.3g} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _zero(text: str) -> str:
    """Rounding may leave `-0.0`, which is not a number that anyone measured."""
    return "0.0" if float(text) == 0 else text
