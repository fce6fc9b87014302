"""Random changes of training images, drawn by key, for strategies that train from the input."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tlbench import rng

TURN = 0.17  # radians, about 10 degrees
STRETCH = 0.1
SHIFT = 0.125  # of the half-width: 2 pixels of 32


def shifted_and_turned(x: Tensor, keys: Tensor, *, flips: bool) -> Tensor:
    """Images [b, c, h, w], each shifted, turned and stretched a little by its own key [b]; mirrored where `flips`.

    Tokens, which are whole numbers, are returned as they are.
    """
    if not x.is_floating_point():
        return x
    draw = (2 * rng.uniform(keys, (5,)) - 1).unbind(1)
    angle, across, down = draw[0] * TURN, draw[1] * SHIFT, draw[2] * SHIFT
    scale = 1 + STRETCH * draw[3]
    mirror = torch.where(draw[4] < 0, -1.0, 1.0) if flips else torch.ones_like(scale)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    grid = torch.stack([_spread(x, cos * mirror, -sin, across), _spread(x, sin * mirror, cos, down)], dim=-1)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def _spread(x: Tensor, by_column: Tensor, by_row: Tensor, shift: Tensor) -> Tensor:
    """One coordinate of where each pixel's centre is read, -1 to 1, an affine map of it for each image; [b, h, w]."""
    rows, columns = ((2 * torch.arange(size, device=x.device) + 1) / size - 1 for size in x.shape[2:])
    return (by_row[:, None] * rows + shift[:, None])[:, :, None] + (by_column[:, None] * columns)[:, None]
