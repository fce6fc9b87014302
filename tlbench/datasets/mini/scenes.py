"""Which datasets ask about things in a cluttered scene: how many, which way, how far apart, how large, what shape?"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tlbench.datasets.glyphs import Style, painted
from tlbench.datasets.mini.drawn import DRAWN_BY_US, drawn
from tlbench.datasets.mini.shapes import SHAPES, bar, disc, shape, strokes
from tlbench.datasets.raster import SIZE, chosen, smooth, turned, uniform
from tlbench.registry import register
from tlbench.types import Arrays

COUNTS = (1, 2, 3, 4, 5, 6)
DIRECTIONS = 8
DISTANCES = (5.0, 8.0, 11.0, 14.0, 17.0, 20.0, 23.0)  # edges of the classes, in pixels
RADII = (1.6, 2.6, 3.8, 5.2, 6.8, 8.6, 10.6)
ANY_COLOURS = Style(contrast=0.4, noise=0.08, gradient=0.2)
DARK_THINGS = Style(contrast=0.45, noise=0.06, gradient=0.15, light_ink=0.0)
LIGHT_THINGS = DARK_THINGS._replace(light_ink=1.0)


@register.dataset(
    "count",
    modality="image",
    classes=len(COUNTS),
    summary="How many things are there, one to six? Discs, squares, triangles and rings of any size and place, dark "
    "on a shaded ground crossed by faint strokes.",
    kind="procedural",
    group="structured",
    source="drawn from formulas",
    licence=DRAWN_BY_US,
    horizontal_flip=True,
)
def count(root: Path) -> Arrays:
    return drawn("count", [str(number) for number in COUNTS], _count)


@register.dataset(
    "orientation",
    modality="image",
    classes=DIRECTIONS,
    summary="Which way does the long thing point, in eight steps of 22.5 degrees? A bar, an ellipse, a dashed bar or a "
    "striped patch of any size and place among blots.",
    kind="procedural",
    group="structured",
    source="drawn from formulas",
    licence=DRAWN_BY_US,
)
def orientation(root: Path) -> Arrays:
    return drawn("orientation", [f"{22.5 * step:g} degrees" for step in range(DIRECTIONS)], _orientation)


@register.dataset(
    "distance",
    modality="image",
    classes=len(DISTANCES) - 1,
    summary="How far apart are the two discs, in six steps from 5 to 23 pixels? Any direction, place and "
    "size, light on a shaded ground crossed by faint strokes.",
    kind="procedural",
    group="structured",
    source="drawn from formulas",
    licence=DRAWN_BY_US,
    horizontal_flip=True,
)
def distance(root: Path) -> Arrays:
    names = [f"{low:g} to {high:g} pixels" for low, high in zip(DISTANCES, DISTANCES[1:], strict=False)]
    return drawn("distance", names, _distance)


@register.dataset(
    "dev_size",
    modality="image",
    classes=len(RADII) - 1,
    summary="How large is the thing, in six steps? A disc, square, triangle or ring at any place; for "
    "development only.",
    kind="procedural",
    group="development",
    source="drawn from formulas",
    licence=DRAWN_BY_US,
    horizontal_flip=True,
)
def dev_size(root: Path) -> Arrays:
    names = [f"radius {low:g} to {high:g} pixels" for low, high in zip(RADII, RADII[1:], strict=False)]
    return drawn("dev_size", names, _size)


@register.dataset(
    "dev_shape",
    modality="image",
    classes=len(SHAPES),
    summary="What shape is the thing: disc, ring, square, triangle, cross, crescent, half disc or frame? Any size, "
    "angle and place among blots and strokes; for development only.",
    kind="procedural",
    group="development",
    source="drawn from formulas",
    licence=DRAWN_BY_US,
    horizontal_flip=True,
)
def dev_shape(root: Path) -> Arrays:
    return drawn("dev_shape", tuple(SHAPES), _shape)


def _count(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Things stand in different cells of a jittered 3 x 3 grid, so that they never touch."""
    n, wanted = len(labels), np.array(COUNTS)[labels]
    order = np.argsort(rng.random((n, 9)), axis=1, kind="stable")
    base = uniform(rng, (n, 1, 1), 2.6, 4.0)
    drift = uniform(rng, (n, 2), -2, 2)
    ink = np.zeros((n, SIZE, SIZE), np.float32)
    for slot in range(max(COUNTS)):
        row, column = order[:, slot] // 3 - 1, order[:, slot] % 3 - 1
        cell = np.stack([row, column], 1) * np.float32(9.5)
        centre = cell + drift + uniform(rng, (n, 2), -0.6, 0.6)
        thing = shape(chosen(rng, n, 4), centre, base * uniform(rng, (n, 1, 1), 0.8, 1.1), turned(rng, n))
        ink = np.where((wanted > slot)[:, None, None], np.maximum(ink, thing), ink)
    return _scene(ink, rng, DARK_THINGS)


def _orientation(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    n = len(labels)
    angle = (22.5 * labels + (rng.random(n) - 0.5) * 12) * (np.pi / 180)
    cos, sin = (part.astype(np.float32)[:, None, None] for part in (np.cos(angle), np.sin(angle)))
    centre = uniform(rng, (n, 2), -5, 5)
    length, ratio = uniform(rng, (n, 1, 1), 6, 11), uniform(rng, (n, 1, 1), 0.15, 0.4)
    things = bar(centre, length, ratio, (cos, sin))
    ink = np.choose(chosen(rng, n, len(things))[:, None, None], things)
    blots = [disc(uniform(rng, (n, 2), -15, 15), uniform(rng, (n, 1, 1), 0.8, 2.2)) for _ in range(4)]
    return _scene(ink, rng, ANY_COLOURS, np.maximum.reduce(blots) * uniform(rng, (n, 1, 1), 0.3, 1))


def _distance(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    n, edges = len(labels), np.array(DISTANCES)
    low, high = edges[labels], edges[labels + 1]
    apart = low + (high - low) * (0.1 + 0.8 * rng.random(n))
    cos, sin = turned(rng, n)
    half = np.stack([sin[:, 0, 0], cos[:, 0, 0]], 1) * (apart / 2).astype(np.float32)[:, None]
    free = 13 - np.abs(half)
    middle = (2 * rng.random((n, 2)) - 1).astype(np.float32) * np.minimum(free, 6)
    radius = uniform(rng, (n, 1, 1), 1.6, 2.6)
    return _scene(np.maximum(disc(middle + half, radius), disc(middle - half, radius)), rng, LIGHT_THINGS)


def _size(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    n, edges = len(labels), np.array(RADII)
    low, high = edges[labels], edges[labels + 1]
    radius = (low + (high - low) * (0.1 + 0.8 * rng.random(n))).astype(np.float32)
    centre = (2 * rng.random((n, 2)) - 1).astype(np.float32) * np.minimum(15 - radius, 8)[:, None]
    return _scene(shape(chosen(rng, n, 4), centre, radius[:, None, None], turned(rng, n)), rng, LIGHT_THINGS)


def _shape(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    n = len(labels)
    radius = uniform(rng, (n, 1, 1), 5, 9)
    ink = shape(labels, uniform(rng, (n, 2), -5, 5), radius, turned(rng, n))
    blots = [disc(uniform(rng, (n, 2), -15, 15), uniform(rng, (n, 1, 1), 0.8, 1.8)) for _ in range(3)]
    return _scene(ink, rng, ANY_COLOURS, np.maximum.reduce(blots) * uniform(rng, (n, 1, 1), 0.3, 0.9))


def _scene(ink: np.ndarray, rng: np.random.Generator, style: Style, clutter: np.ndarray | float = 0.0) -> np.ndarray:
    """Pictures uint8 of things [n, 32, 32] over clutter, faint strokes and an uneven ground."""
    n = len(ink)
    faint = strokes(n, rng, 3) * uniform(rng, (n, 1, 1), 0.1, 0.35)
    ground = np.maximum(np.maximum(faint, clutter), smooth(n, rng, 0.25, 5))
    return painted(np.clip(np.maximum(ink, ground), 0, 1), rng, style)
