"""How is a glyph drawn anew at each step of pretraining? Bent, thickened, blurred, coloured and cluttered."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

SIZE = 32
KNOTS = 5  # a side of the coarse grids that smooth fields are interpolated from
GRAINS = (6, 8, 10, 12, 16, 20, 32)  # resolutions that pictures pass through


class Drawing(NamedTuple):
    pictures: Tensor  # uint8 [b, 32, 32, 3]
    placing: Tensor  # float32 [b, 7]: how each glyph was turned, scaled, sheared, moved and thickened; unit scale


def scribble(distance: Tensor, rng: np.random.Generator) -> Drawing:
    """Pictures of glyphs given as signed distances [b, s, s] (pixels of s, positive inside)."""
    matrix, placing = _affine(len(distance), rng)
    thickness = _normal(rng, len(distance), 1) * 0.7 + 0.2
    ink = _ink(distance, matrix, thickness, rng)
    pictures = _painted(_grained(ink, rng), rng)
    return Drawing(_quantised(pictures), torch.cat([placing, thickness], 1))


def _affine(b: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Matrices [b, 2, 3] from the picture to the glyph, and the placing [b, 6] behind them."""
    wide = (_uniform(rng, b, 1) < 0.3).float()  # most are written neatly, some are not
    angle = _normal(rng, b, 1) * (0.15 + 0.25 * wide)
    size = _normal(rng, b, 1) * (0.12 + 0.13 * wide) + 0.12 + 0.3 * wide
    aspect = _normal(rng, b, 1) * 0.15
    shear = _normal(rng, b, 1) * 0.2
    move = _normal(rng, b, 2) * (0.08 + 0.17 * wide)
    cos, sin = torch.cos(angle), torch.sin(angle)
    x, y = torch.exp(size + aspect), torch.exp(size - aspect)
    rows = torch.cat([x * cos, x * (sin + shear * cos), -y * sin, y * (cos - shear * sin)], 1).view(b, 2, 2)
    offset = -(rows @ move.unsqueeze(-1))
    placing = torch.cat([angle * 4, size * 4, aspect * 6, shear * 5, move * 6], 1)
    return torch.cat([rows, offset], 2), placing


def _ink(distance: Tensor, matrix: Tensor, thickness: Tensor, rng: np.random.Generator) -> Tensor:
    """How much ink [b, 32, 32] in 0..1: the distance map, bent and cut at a level that makes strokes thick or thin."""
    b = len(distance)
    grid = F.affine_grid(matrix, [b, 1, SIZE, SIZE], align_corners=False)
    bend = _smooth(_normal(rng, b, 2, KNOTS, KNOTS) * 0.09 * _uniform(rng, b, 1, 1, 1))
    sampled = F.grid_sample(
        distance.unsqueeze(1), grid + bend.movedim(1, -1), padding_mode="border", align_corners=False
    ).squeeze(1)
    outline = (_uniform(rng, b, 1, 1) < 0.06).float()
    level = sampled + thickness.unsqueeze(-1)
    level = outline * (1.2 - level.abs()) + (1 - outline) * level
    softness = torch.exp(_uniform(rng, b, 1, 1) * 1.6 - 0.9)
    return torch.sigmoid(2 * level / softness)


def _grained(ink: Tensor, rng: np.random.Generator) -> Tensor:
    """Half of the pictures pass through a coarser grid; contrast is bent by a gamma curve."""
    coarse = np.where(rng.random(len(ink)) < 0.55, rng.integers(0, len(GRAINS), len(ink)), len(GRAINS) - 1)
    through = _grains()[torch.from_numpy(coarse)]
    ink = (through @ ink @ through.transpose(1, 2)).clamp(1e-4, 1)
    return ink ** torch.exp(_normal(rng, len(ink), 1, 1) * 0.3)


def _painted(ink: Tensor, rng: np.random.Generator) -> Tensor:
    """Pictures [b, 3, 32, 32]: ink over paper with clutter, shading, stripes and noise."""
    b = len(ink)
    paper, pen = _colours(b, rng)
    busy = (_uniform(rng, b, 1, 1, 1) < 0.5).float()
    shade = _smooth(_normal(rng, b, 1, KNOTS, KNOTS)) * 0.12 * _uniform(rng, b, 1, 1, 1)
    paper = paper + busy * (shade + _stripes(b, rng) * 0.1 * _uniform(rng, b, 1, 1, 1))
    stray = ink.roll(1, 0).unsqueeze(1)  # a neighbour's strokes, moved aside and faint
    aside = int(rng.integers(6, 27))
    stray = stray.roll((aside, int(rng.integers(6, 27))), (2, 3)) * (0.6 * busy * _uniform(rng, b, 1, 1, 1))
    paper = paper + stray * (_uniform(rng, b, 3, 1, 1) - paper)
    cover = ink.unsqueeze(1)
    noise = _normal(rng, b, 1, SIZE, SIZE) * (0.08 * _uniform(rng, b, 1, 1, 1) ** 2)
    return paper + cover * (pen - paper) + noise


def _colours(b: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Paper and pen [b, 3, 1, 1], at least 0.3 apart in grey; a third are black and white, a third grey."""
    dark = _uniform(rng, b, 1) * 0.6
    light = dark + 0.3 + _uniform(rng, b, 1) * (0.7 - dark)
    kind = _uniform(rng, b, 1)
    dark, light = torch.where(kind < 0.35, dark * 0.1, dark), torch.where(kind < 0.35, 1 - (1 - light) * 0.1, light)
    swap = _uniform(rng, b, 1) < 0.5
    tint = (kind > 0.65).float().unsqueeze(-1) * 0.35 * _normal(rng, b, 2, 3)
    tint = tint - tint.mean(-1, keepdim=True)
    paper, pen = torch.where(swap, light, dark) + tint[:, 0], torch.where(swap, dark, light) + tint[:, 1]
    return paper.view(b, 3, 1, 1), pen.view(b, 3, 1, 1)


def _stripes(b: int, rng: np.random.Generator) -> Tensor:
    """Gratings [b, 1, 32, 32] of any direction, 1 to 8 waves a picture."""
    at = torch.linspace(-1, 1, SIZE)
    angle, waves = _uniform(rng, b, 1, 1, 1) * torch.pi, 3 + 22 * _uniform(rng, b, 1, 1, 1)
    along = torch.cos(angle) * at + torch.sin(angle) * at.unsqueeze(-1)
    return torch.sin(waves * along + 6.28 * _uniform(rng, b, 1, 1, 1))


def _smooth(coarse: Tensor) -> Tensor:
    """Fields [..., 32, 32] through a grid of knots [..., k, k]."""
    up = _interpolation(coarse.shape[-1], SIZE)
    return up @ coarse @ up.T


def _quantised(pictures: Tensor) -> Tensor:
    return (pictures.clamp(0, 1) * 255).round().to(torch.uint8).movedim(1, -1)


@lru_cache(maxsize=8)
def _interpolation(a: int, b: int) -> Tensor:
    """The matrix [b, a] that takes a signal of `a` samples to `b` samples; averages where it shrinks."""
    rows = torch.eye(a).unsqueeze(0)  # [1, a, a]
    if b < a:
        return F.interpolate(rows, size=b, mode="area").squeeze(0).T.contiguous()
    bicubic = F.interpolate(rows.unsqueeze(1), size=(a, b), mode="bicubic", align_corners=False)
    return bicubic.squeeze().T.contiguous()


@lru_cache(maxsize=1)
def _grains() -> Tensor:
    """[r, 32, 32]: to each resolution and back; the last is the identity."""
    through = [_interpolation(grain, SIZE) @ _interpolation(SIZE, grain) for grain in GRAINS[:-1]]
    return torch.stack([*through, torch.eye(SIZE)])


def _uniform(rng: np.random.Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.random(shape, dtype=np.float32))


def _normal(rng: np.random.Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))
