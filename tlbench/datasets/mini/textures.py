"""Which dataset asks for the kind of a texture?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from tlbench.datasets.glyphs import Style, painted
from tlbench.datasets.mini.drawn import DRAWN_BY_US, drawn
from tlbench.datasets.raster import SIZE, binomial, grid, smooth, turned, uniform
from tlbench.registry import register
from tlbench.types import Arrays

PAINT = Style(contrast=0.25, noise=0.12, gradient=0.25)


def stripes(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return wave(u)


def checks(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (parity(u) + parity(v)) % 2


def dots(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    radius = uniform(rng, (len(u), 1, 1), 0.22, 0.36)
    return edge(radius - np.sqrt(offset(u) * offset(u) + offset(v) * offset(v)))


def net(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return edge(np.maximum(np.abs(offset(u)), np.abs(offset(v))) - uniform(rng, (len(u), 1, 1), 0.3, 0.38))


def bricks(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    along = u / 2 + parity(v) / 2
    return edge(np.maximum(np.abs(offset(along)) * 2 - 0.5, np.abs(offset(v))) - 0.35)


def weave(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    across = (parity(u / 2) + parity(v / 2)) % 2
    return np.where(across > 0, wave(u * 1.5), wave(v * 1.5))


def zigzag(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return wave(v + uniform(rng, (len(u), 1, 1), 0.8, 1.4) * np.abs(offset(u / 2)) * 2)


def rings(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    centre = uniform(rng, (2, len(u), 1, 1), -1.2, 1.2)
    du, dv = u - centre[0] - _middle(u), v - centre[1] - _middle(v)
    return wave(np.sqrt(du * du + dv * dv))


def cells(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Borders between the nearest of jittered points (a Voronoi diagram)."""
    jitter = uniform(rng, (2, len(u), 64), -0.45, 0.45)
    nearest = second = np.full(u.shape, 9, np.float32)
    for row in (-1, 0, 1):
        for column in (-1, 0, 1):
            cu, cv = np.floor(u) + column, np.floor(v) + row
            code = (np.mod(cu, 8) * 8 + np.mod(cv, 8)).astype(np.int64).reshape(len(u), -1)
            ju, jv = (np.take_along_axis(part, code, 1).reshape(u.shape) for part in jitter)
            du, dv = u - cu - 0.5 - ju, v - cv - 0.5 - jv
            distance = np.sqrt(du * du + dv * dv)
            second = np.minimum(second, np.maximum(nearest, distance))
            nearest = np.minimum(nearest, distance)
    return edge(0.16 - (second - nearest))


def clouds(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.clip(0.5 + smooth(len(u), rng, 1.6, 4) + smooth(len(u), rng, 0.8, 9), 0, 1)


def grain(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    speckle = uniform(rng, (len(u), SIZE, SIZE), -1, 1)
    return np.clip(0.5 + 1.6 * binomial(speckle), 0, 1)


def scratches(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    y, x = grid()
    ink = np.zeros((len(u), SIZE, SIZE), np.float32)
    for _ in range(9):
        cos, sin = turned(rng, len(u))
        place = uniform(rng, (len(u), 1, 1), -16, 16)
        ink = np.maximum(ink, np.clip(1.2 - np.abs(cos * y + sin * x - place), 0, 1))
    return ink


FAMILIES: dict[str, Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]] = {
    maker.__name__: maker
    for maker in (stripes, checks, dots, net, bricks, weave, zigzag, rings, cells, clouds, grain, scratches)
}


@register.dataset(
    "texture",
    modality="image",
    classes=len(FAMILIES),
    summary="What kind of texture is this? Twelve procedural families (stripes, bricks, cells, clouds, ...) of any "
    "scale, angle and phase, gently warped, in any two colours.",
    kind="procedural",
    group="textures",
    source="drawn from formulas",
    licence=DRAWN_BY_US,
    horizontal_flip=True,
)
def texture(root: Path) -> Arrays:
    return drawn("texture", tuple(FAMILIES), _draw)


def _draw(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    ink = np.zeros((len(labels), SIZE, SIZE), np.float32)
    for label, family in enumerate(FAMILIES.values()):
        rows = np.flatnonzero(labels == label)
        u, v = _coordinates(len(rows), rng)
        ink[rows] = family(u, v, rng)
    share = uniform(rng, (len(ink), 1, 1), 0, 0.7)
    return painted(ink + share * (binomial(ink) - ink), rng, PAINT)


def _coordinates(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Turned, scaled, shifted and warped coordinates u, v [n, 32, 32], in periods of the texture."""
    y, x = grid()
    y, x = y + smooth(n, rng, 1.6), x + smooth(n, rng, 1.6)
    cos, sin = turned(rng, n)
    period = uniform(rng, (n, 1, 1), 5, 11)
    phase = uniform(rng, (2, n, 1, 1), 0, 1)
    return (cos * x + sin * y) / period + phase[0], (cos * y - sin * x) / period + phase[1]


def wave(t: np.ndarray) -> np.ndarray:
    """A smooth wave in 0..1 of period 1, made of parabolas."""
    fold = 1 - 2 * np.abs(offset(t)) * 2
    return 0.5 + fold * (1 - np.abs(fold) / 2)


def parity(t: np.ndarray) -> np.ndarray:
    return np.mod(np.floor(t), 2)


def offset(t: np.ndarray) -> np.ndarray:
    """Distance from the middle of the cell of side 1, in -0.5 .. 0.5."""
    return t - np.floor(t) - np.float32(0.5)


def edge(inside: np.ndarray) -> np.ndarray:
    """Ink of a region given by how far inside it a point lies, in periods."""
    return np.clip(inside * 6 + 0.5, 0, 1)


def _middle(t: np.ndarray) -> np.ndarray:
    return t[:, SIZE // 2, SIZE // 2][:, None, None]
