"""Which dataset asks for the symmetry of a pattern?"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tlbench.datasets.glyphs import Style, painted
from tlbench.datasets.mini.drawn import DRAWN_BY_US, drawn
from tlbench.datasets.raster import SIZE, grid, sampled, uniform
from tlbench.registry import register
from tlbench.types import Arrays

SYMMETRIES = ("none", "left-right mirror", "up-down mirror", "diagonal mirror", "half turn", "quarter turns")
PAINT = Style(contrast=0.4, noise=0.06)
CELLS = 8  # random values along a side of a pattern


@register.dataset(
    "symmetry",
    modality="image",
    classes=len(SYMMETRIES),
    summary="How is this random pattern symmetric: not at all, mirrored (left-right, up-down, along a diagonal) or "
    "turned (half, quarter)? Its middle is off centre and its colours are random.",
    kind="procedural",
    group="structured",
    source="drawn from formulas",
    licence=DRAWN_BY_US,
    horizontal_flip=True,
)
def symmetry(root: Path) -> Arrays:
    return drawn("symmetry", SYMMETRIES, _draw)


def _draw(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    n = len(labels)
    pattern = uniform(rng, (n, CELLS, CELLS), -1, 1)
    other = uniform(rng, (n, CELLS, CELLS), -1, 1)
    diagonal = np.where((rng.random(n) < 0.5)[:, None, None], _transposed(pattern), _transposed(pattern[:, ::-1, ::-1]))
    quarter = _turned(pattern)
    images = (other, pattern[:, :, ::-1], pattern[:, ::-1], diagonal, pattern[:, ::-1, ::-1])
    made = [(pattern + image) * np.float32(0.7) for image in images]
    made.append((pattern + quarter + _turned(quarter) + _turned(_turned(quarter))) / 2)
    cells = np.choose(labels[:, None, None], made)
    return painted(_enlarged(cells, rng), rng, PAINT)


def _enlarged(cells: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Soft two-level ink [n, 32, 32] of cells [n, c, c] seen off centre and at any scale."""
    y, x = grid()
    pitch = uniform(rng, (len(cells), 1, 1), 3.8, 4.4)
    middle = uniform(rng, (2, len(cells), 1, 1), -1, 1)
    y = np.broadcast_to((y - middle[0]) / pitch, (len(cells), SIZE, SIZE)) + np.float32((CELLS - 1) / 2)
    x = np.broadcast_to((x - middle[1]) / pitch, (len(cells), SIZE, SIZE)) + np.float32((CELLS - 1) / 2)
    return np.clip(0.5 + 2.5 * sampled(cells, y, x), 0, 1)


def _transposed(cells: np.ndarray) -> np.ndarray:
    return cells.transpose(0, 2, 1)


def _turned(cells: np.ndarray) -> np.ndarray:
    return _transposed(cells)[:, :, ::-1]
