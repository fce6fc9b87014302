"""What is timed to know a machine? Work like that of its workers, in a process that began as they do.

Times are of this process alone (`time.process_time`), the best of several, taken in turns: what else runs on the
machine then counts for little.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

SHAPES = ((8, 256, 64, 192), (8, 256, 64, 64), (8, 64, 128, 128))  # of stacked products: lanes, rows, columns in, out
FEATURES = (64, 128, 256, 512)
ROWS, STACKED = 256, 8  # of the layers that are timed: rows of a lane, and lanes
ROUNDS = 5


class Trial(NamedTuple):
    """What one process found."""

    products: Mapping[str, float]  # GFLOP/s of stacked products, by library
    layers: Mapping[str, float]  # how many times faster a linear layer is stacked than in a loop, by its features


def numpy_rate() -> float:
    """GFLOP/s of stacked products, forward and both gradients, as numpy does them; torch is not loaded."""
    return _rates({"numpy": np.matmul})["numpy"]


def trial() -> Trial:
    """All that is timed in one process with torch; takes about a second."""
    import torch

    torch.set_num_threads(1)
    rates = _rates({"numpy": np.matmul, "torch": lambda a, b: torch.from_numpy(a) @ torch.from_numpy(b)})
    return Trial(rates, {str(size): _layer_gain(size) for size in FEATURES})


def _rates(libraries: Mapping[str, Callable]) -> dict[str, float]:
    work, seconds = 0, dict.fromkeys(libraries, 0.0)
    for lanes, rows, inner, out in SHAPES:
        x, w, g = (np.ones((lanes, *size), np.float32) for size in ((rows, inner), (out, inner), (rows, out)))
        pairs = (x, w.swapaxes(1, 2)), (g, w), (g.swapaxes(1, 2), x)
        work += 6 * lanes * rows * inner * out
        found = _times({name: partial(_multiplied, product, pairs) for name, product in libraries.items()}, 4 * ROUNDS)
        seconds = {name: total + found[name] for name, total in seconds.items()}
    return {name: round(work / total / 1e9, 1) for name, total in seconds.items()}


def _multiplied(product: Callable, pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
    for a, b in pairs:
        product(a, b)


def _layer_gain(size: int) -> float:
    """A layer as networks have it: wide ones are done by oneDNN."""
    import torch
    from torch import nn

    from tlbench.backbones.linear import hastened
    from tlbench.engine import fused

    layer = nn.Sequential(nn.Linear(size, size))
    hastened(layer)
    names = [name for name, _ in layer.named_parameters()]
    given = [torch.ones(STACKED, *shape) for shape in ((size, size), (size,), (ROWS, size))]

    def forward(*tensors: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, dict(zip(names, tensors, strict=False)), tensors[-1:])

    def both_ways(call: Callable, *stacks: Sequence[torch.Tensor]) -> None:
        for tensors in stacks:
            leaves = [each.detach().requires_grad_() for each in tensors]
            torch.autograd.grad(call(*leaves).sum(), leaves)

    lanes = list(zip(*given, strict=True))
    works = {"loop": partial(both_ways, forward, *lanes), "stacked": partial(both_ways, fused(forward), given)}
    found = _times(works, ROUNDS)
    return round(found["loop"] / found["stacked"], 2)


def _times(works: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds of each, the best round; the first, which finds nothing ready, is not counted."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(1 + rounds):
        for name, work in works.items():
            before = time.process_time()
            work()
            found[name].append(time.process_time() - before)
    return {name: min(times[1:]) for name, times in found.items()}
