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
    rows = [torch.stack([cos * mirror, -sin, across], dim=1), torch.stack([sin * mirror, cos, down], dim=1)]
    grid = _centres(x) @ torch.stack(rows, dim=1).transpose(1, 2)
    return F.grid_sample(x, grid.unflatten(1, x.shape[2:]), padding_mode="border", align_corners=False)


def _centres(x: Tensor) -> Tensor:
    """Homogeneous coordinates [h * w, 3] of the pixels' centres, from -1 to 1 (what `affine_grid` does, under vmap)."""
    down, across = ((2 * torch.arange(size, device=x.device) + 1) / size - 1 for size in x.shape[2:])
    ones = torch.ones(len(down), len(across), device=x.device)
    return torch.stack([across.expand_as(ones), down[:, None].expand_as(ones), ones], dim=-1).flatten(0, 1)
