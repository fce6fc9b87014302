"""Random changes of training images, drawn by key, for strategies that train from the input."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tlbench import rng

TURN = 0.17  # radians, about 10 degrees
STRETCH = 0.1
SHIFT = 0.125  # of the half-width: 2 pixels of 32


def shifted_and_turned(x: Tensor, key: Tensor, *, flips: bool) -> Tensor:
    """Images [b, c, h, w] each shifted, turned and stretched a little; mirrored too where `flips`."""
    draw = 2 * rng.uniform(key, (5, x.shape[0])) - 1
    angle, across, down = draw[0] * TURN, draw[1] * SHIFT, draw[2] * SHIFT
    scale = 1 + STRETCH * draw[3]
    mirror = torch.where(draw[4] < 0, -1.0, 1.0) if flips else torch.ones_like(scale)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = [torch.stack([cos * mirror, -sin, across], dim=1), torch.stack([sin * mirror, cos, down], dim=1)]
    grid = F.affine_grid(torch.stack(rows, dim=1), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)
