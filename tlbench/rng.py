"""Randomness as a function of data: counters hashed by key. The same bits alone or fused, on any device.

A key is a 0-d int64 tensor; functions take a tensor of keys [...] as well and draw for each. The hash is splitmix64
(Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators", figure 14), in wrapping int64 arithmetic,
so it runs under vmap.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
_MIX_1 = 0xBF58476D1CE4E5B9 - (1 << 64)
_MIX_2 = 0x94D049BB133111EB - (1 << 64)


def key(seed: int) -> Tensor:
    """The key of an integer seed of any size; 0-d int64."""
    return torch.tensor((seed + (1 << 63)) % (1 << 64) - (1 << 63), dtype=torch.int64)


def fold_in(key: Tensor, data: Tensor | int) -> Tensor:
    """A new key for each value of `data`, unrelated to `key` itself."""
    return _mix(key ^ _mix(torch.as_tensor(data, dtype=torch.int64, device=key.device) + _GOLDEN))


def bits(key: Tensor, shape: tuple[int, ...]) -> Tensor:
    """63 random bits in each element of an int64 tensor [..., *shape]; element i depends on (its key, i) only."""
    counter = torch.arange(1, math.prod(shape) + 1, device=key.device).reshape(shape)
    return _mix(key.reshape(key.shape + (1,) * len(shape)) + counter * _GOLDEN) & 0x7FFFFFFFFFFFFFFF


def uniform(key: Tensor, shape: tuple[int, ...]) -> Tensor:
    """float32 [..., *shape] in (0, 1), both ends excluded."""
    return ((bits(key, shape) >> 40).to(torch.float32) + 0.5) * 2.0**-23


def normal(key: Tensor, shape: tuple[int, ...]) -> Tensor:
    """float32 [..., *shape], standard normal (Box and Muller 1958)."""
    radius = torch.sqrt(-2 * torch.log(uniform(fold_in(key, 0), shape)))
    return radius * torch.cos(2 * math.pi * uniform(fold_in(key, 1), shape))


@contextmanager
def ambient(seed: int) -> Iterator[None]:
    """Seeds torch's own generator for foreign code that knows no keys, and puts it back afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def _mix(z: Tensor) -> Tensor:
    z = (z ^ _shifted(z, 30)) * _MIX_1
    z = (z ^ _shifted(z, 27)) * _MIX_2
    return z ^ _shifted(z, 31)


def _shifted(z: Tensor, by: int) -> Tensor:
    """Logical right shift; torch's own keeps the sign."""
    return (z >> by) & ((1 << (64 - by)) - 1)
