"""Search spaces: what a hyperparameter may be. No torch.

`Float` is dynamic: it reaches a strategy as a 0-d tensor, and lanes with different values run fused.
`Int` and `Choice` are static: Python values that may change shapes; lanes with equal static values are packed together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tlbench.types import TlbenchError

LARGE = 5_000_000  # parameters of a network


@dataclass(frozen=True)
class Float:
    """A real number in [low, high], searched on a log scale where `log`.

    `large` stands in its place on networks of LARGE parameters and more, which bear smaller learning rates.
    """

    low: float
    high: float
    default: float
    log: bool = False
    large: Float | None = None

    def __contains__(self, value: object) -> bool:
        return isinstance(value, (int, float)) and self.low <= value <= self.high

    def at_edge(self, value: float) -> bool:
        """Within 5 % of an end of the range, on the scale it is searched on."""
        low, high, value = map(math.log, (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        return not 0.05 <= (value - low) / (high - low) <= 0.95


@dataclass(frozen=True)
class Int:
    """An integer in [low, high]."""

    low: int
    high: int
    default: int
    log: bool = False

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int) and self.low <= value <= self.high

    def at_edge(self, value: int) -> bool:
        return value in (self.low, self.high) and self.high - self.low > 1


@dataclass(frozen=True, init=False)
class Choice:
    """One of the values given."""

    values: tuple[Any, ...]
    default: Any

    def __init__(self, *values: Any, default: Any) -> None:
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "default", default)

    def __contains__(self, value: object) -> bool:
        return value in self.values

    def at_edge(self, value: Any) -> bool:
        return False


Parameter = Float | Int | Choice
Space = Mapping[str, Parameter]
Hyperparameters = Mapping[str, Any]


def defaults(space: Space) -> dict[str, Any]:
    return {name: parameter.default for name, parameter in space.items()}


def on(parameters: int, space: Space) -> Space:
    """The space for a network of so many parameters: the same names and kinds, some ranges and defaults its own."""
    if parameters < LARGE:
        return space
    return {name: p.large if isinstance(p, Float) and p.large else p for name, p in space.items()}


def static(space: Space, values: Hyperparameters) -> dict[str, Any]:
    """The values that may change shapes."""
    return {name: values[name] for name, p in space.items() if not isinstance(p, Float)}


def dynamic(space: Space, values: Hyperparameters) -> dict[str, float]:
    """The values that travel as tensors."""
    return {name: float(values[name]) for name, p in space.items() if isinstance(p, Float)}


def at_edge(space: Space, values: Hyperparameters) -> tuple[str, ...]:
    """Names of the values that sit on the edge of their range (PROTOCOL 3)."""
    return tuple(name for name, p in space.items() if p.at_edge(values[name]))


def validated(space: Space, *, owner: str) -> Space:
    """The space itself. Raises TlbenchError, with every problem, where a range or default makes no sense."""
    problems = [f"{name}: {problem}" for name, p in space.items() for problem in _problems(p)]
    if problems:
        raise TlbenchError(f"the search space of {owner!r} is wrong: " + "; ".join(problems))
    return space


def _problems(p: Parameter) -> list[str]:
    if not isinstance(p, (Float, Int, Choice)):
        return [f"{p!r} is not a Float, Int or Choice"]
    found = [] if p.default in p else [f"its default {p.default!r} is outside {p}"]
    if isinstance(p, Choice):
        return found
    if isinstance(p, Float) and p.large is not None:
        found += [f"for large networks: {problem}" for problem in _problems(p.large)]
    if not p.low < p.high:
        found.append(f"low {p.low} is not below high {p.high}")
    if p.log and p.low <= 0:
        found.append(f"a log scale needs low above 0, not {p.low}")
    return found
