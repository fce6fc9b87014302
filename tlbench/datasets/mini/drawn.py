"""How are the pool and the test set of a drawn dataset made from one drawing function?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from tlbench.types import Arrays

POOL_PER_CLASS = 120
TEST = 500
DRAWN_BY_US = "drawn by tlbench; the licence of tlbench"

Draw = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def drawn(
    name: str, class_names: Sequence[str], draw: Draw, *, draw_test: Draw | None = None, per_class: int = POOL_PER_CLASS
) -> Arrays:
    """Arrays of pictures that `draw(labels [n], rng)` returns as uint8 [n, 32, 32, 3].

    Pool and test come from two streams of their own: PCG64 seeded with sha256("name/part").
    """
    pool_y = np.repeat(np.arange(len(class_names)), per_class)
    test_y = np.arange(TEST) % len(class_names)
    pool_x = draw(pool_y, stream(name, "pool"))
    test_x = (draw_test or draw)(test_y, stream(name, "test"))
    return Arrays(pool_x, pool_y, test_x, test_y, tuple(class_names))


def stream(name: str, part: str) -> np.random.Generator:
    """The random numbers of one part of one dataset."""
    seed = int.from_bytes(hashlib.sha256(f"{name}/{part}".encode()).digest()[:16], "big")
    return np.random.Generator(np.random.PCG64(seed))
