"""How are simple shapes drawn? Ink float32 [n, 32, 32] from signed distances in pixels, positive inside."""

from __future__ import annotations

import numpy as np

from tlbench.datasets.raster import SIZE, grid, turned, uniform

Turn = tuple[np.ndarray, np.ndarray]  # cosine and sine [n, 1, 1]

SHAPES = ("disc", "square", "triangle", "ring", "cross", "crescent", "half disc", "frame")


def shape(kind: np.ndarray, centre: np.ndarray, radius: np.ndarray, turn: Turn) -> np.ndarray:
    """Ink of shapes by their place [n] in SHAPES, at centres [n, 2] (y, x), of radii [n, 1, 1]."""
    v, u = _local(centre, turn)
    distance = np.sqrt(u * u + v * v)
    middle, thick = radius * np.float32(0.7), radius * np.float32(0.3)
    shifted = np.sqrt((u - radius * 0.55) * (u - radius * 0.55) + v * v)
    box = radius * np.float32(0.85) - np.maximum(np.abs(u), np.abs(v))
    sides = np.maximum(-v, np.maximum(0.5 * v + 0.866 * u, 0.5 * v - 0.866 * u))
    upright, level = np.abs(u) - thick, np.abs(v) - thick
    inside = (
        radius - distance,
        box,
        radius * np.float32(0.6) - sides,
        np.minimum(radius - distance, distance - middle * np.float32(0.8)),
        np.minimum(-np.minimum(upright, level), radius - np.maximum(np.abs(u), np.abs(v))),
        np.minimum(radius - distance, shifted - radius * np.float32(0.8)),
        np.minimum(radius - distance, v + radius * np.float32(0.1)),
        np.minimum(box, thick * np.float32(1.2) - box),
    )
    return _inked(np.choose(kind[:, None, None], inside))


def disc(centre: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Ink of discs at centres [n, 2] (y, x), of radii [n, 1, 1]."""
    y, x = grid()
    dy, dx = y - centre[:, 0, None, None], x - centre[:, 1, None, None]
    return _inked(radius - np.sqrt(dy * dy + dx * dx))


def bar(centre: np.ndarray, length: np.ndarray, ratio: np.ndarray, turn: Turn) -> list[np.ndarray]:
    """Long things of half-length [n, 1, 1]: a bar, an ellipse, a dashed bar and a striped disc."""
    v, u = _local(centre, turn)
    width = np.maximum(length * ratio, 1)
    solid = np.minimum(length - np.abs(u), width - np.abs(v))
    across = np.sqrt(u * u / (length * length) + v * v / (width * width))
    dashes = np.abs(np.mod(u, 5) - np.float32(2.5)) - np.float32(0.8)
    lines = np.abs(np.mod(v, 4) - 2) - 1
    disc_of_lines = np.minimum(length * np.float32(0.8) - np.sqrt(u * u + v * v), lines)
    return [_inked(d) for d in (solid, (1 - across) * width, np.minimum(solid, dashes), disc_of_lines)]


def strokes(n: int, rng: np.random.Generator, number: int) -> np.ndarray:
    """Ink of straight strokes that cross the picture anywhere."""
    y, x = grid()
    ink = np.zeros((n, SIZE, SIZE), np.float32)
    for _ in range(number):
        cos, sin = turned(rng, n)
        width = uniform(rng, (n, 1, 1), 0.3, 1.2)
        ink = np.maximum(ink, _inked(width - np.abs(cos * y + sin * x - uniform(rng, (n, 1, 1), -18, 18))))
    return ink


def _local(centre: np.ndarray, turn: Turn) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates v (across) and u (along) [n, 32, 32] of a shape's own frame; u points up and right."""
    y, x = grid()
    dy, dx = y - centre[:, 0, None, None], x - centre[:, 1, None, None]
    cos, sin = turn
    return cos * dy + sin * dx, cos * dx - sin * dy


def _inked(inside: np.ndarray) -> np.ndarray:
    return np.clip(inside + np.float32(0.5), 0, 1).astype(np.float32)
