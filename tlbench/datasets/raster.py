"""Which operations on pictures give the same bits on every machine?

Elementwise + - * / and square roots, which IEEE 754 fixes to the last bit, and PCG64's raw uniform numbers. Not exp,
sin or pow (their SIMD versions differ from one processor to the next) and no sum whose order a library chooses.
Pictures are float32 [n, 32, 32] in 0..1 until `quantised`.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

SIZE = 32  # side of every embedded picture


def uniform(rng: np.random.Generator, shape: tuple[int, ...], low: float, high: float) -> np.ndarray:
    """Float32 numbers between low and high; exact because only `Generator.random` is drawn from."""
    return (low + (high - low) * rng.random(shape)).astype(np.float32)


def chosen(rng: np.random.Generator, n: int, options: int) -> np.ndarray:
    """n whole numbers [n] in 0 .. options - 1."""
    return np.floor(rng.random(n) * options).astype(np.int64)


def grid() -> tuple[np.ndarray, np.ndarray]:
    """Pixel centres y [1, 32, 1] and x [1, 1, 32], measured from the middle of the picture."""
    side = np.arange(SIZE, dtype=np.float32) - np.float32((SIZE - 1) / 2)
    return side[None, :, None], side[None, None, :]


def turned(rng: np.random.Generator, n: int, largest: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine [n, 1, 1] of random angles; `largest` is tan(angle / 2), 1 for -90 to 90 degrees."""
    half_tangent = uniform(rng, (n, 1, 1), -largest, largest)
    square = half_tangent * half_tangent
    return (1 - square) / (1 + square), 2 * half_tangent / (1 + square)


def smooth(n: int, rng: np.random.Generator, amplitude: float, spans: int = 3) -> np.ndarray:
    """Smooth random fields [n, 32, 32] within +-amplitude: cubic B-splines of `spans` pieces a side."""
    basis = _spline_basis(spans)
    knots = uniform(rng, (n, spans + 3, spans + 3), -amplitude, amplitude)
    across = sum(knots[:, :, j, None] * basis[j] for j in range(spans + 3))
    return sum(across[:, i, None, :] * basis[i][None, :, None] for i in range(spans + 3))


def sampled(pictures: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Bilinear samples of pictures [n, s, s] at pixel positions y, x [n, h, w]; outside is 0."""
    n, size = pictures.shape[:2]
    width = size + 2
    framed = np.zeros((n, width, width), np.float32)
    framed[:, 1:-1, 1:-1] = pictures
    y, x = np.clip(y + 1, 0, size + 0.99), np.clip(x + 1, 0, size + 0.99)
    top, left = y.astype(np.int32), x.astype(np.int32)
    dy, dx = (y - top).astype(np.float32), (x - left).astype(np.float32)
    at = (np.arange(n, dtype=np.int64) * (width * width))[:, None, None] + top * width + left
    flat = framed.reshape(-1)
    upper = flat[at] * (1 - dx) + flat[at + 1] * dx
    lower = flat[at + width] * (1 - dx) + flat[at + (width + 1)] * dx
    return upper * (1 - dy) + lower * dy


def binomial(pictures: np.ndarray) -> np.ndarray:
    """Pictures [n, h, w] smoothed by (1, 2, 1) / 4 along both sides; edges are repeated."""
    framed = np.pad(pictures, ((0, 0), (1, 1), (1, 1)), mode="edge").astype(np.float32, copy=False)
    rows = framed[:, :-2] + 2 * framed[:, 1:-1] + framed[:, 2:]
    return (rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]) / np.float32(16)


def halved_and_enlarged(pictures: np.ndarray) -> np.ndarray:
    """Pictures [n, h, w] at half the resolution, brought back to h x w."""
    quarters = pictures[:, 0::2, 0::2] + pictures[:, 1::2, 0::2] + pictures[:, 0::2, 1::2] + pictures[:, 1::2, 1::2]
    return binomial(np.repeat(np.repeat(quarters / np.float32(4), 2, axis=1), 2, axis=2))


def quantised(pictures: np.ndarray) -> np.ndarray:
    """Uint8 of pictures in 0..1, of any shape."""
    return np.floor(np.clip(pictures, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)


@lru_cache(maxsize=16)
def _spline_basis(spans: int) -> np.ndarray:
    """Uniform cubic B-spline weights [spans + 3, 32] of the knots along a side."""
    position = (np.arange(SIZE) + 0.5) / SIZE * spans
    distance = np.abs(position[None, :] - (np.arange(spans + 3)[:, None] - 1))
    near = 2 / 3 - distance * distance + distance * distance * distance / 2
    far = (2 - distance) * (2 - distance) * (2 - distance) / 6
    return np.where(distance < 1, near, np.where(distance < 2, far, 0)).astype(np.float32)
