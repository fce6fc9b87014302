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
    shift = torch.complex(draw[1], draw[2]) * SHIFT
    turn = torch.polar(1 + STRETCH * draw[3], draw[0] * TURN)
    mirror = torch.where(draw[4] < 0, -1.0, 1.0) if flips else torch.ones_like(draw[4])
    rows, columns = ((2 * torch.arange(size, device=x.device) + 1) / size - 1 for size in x.shape[2:])
    by_row = (1j * turn)[:, None] * rows + shift[:, None]
    by_column = (mirror * turn)[:, None] * columns
    # Where each pixel's centre is read, -1 to 1, as column + 1j * row: turning and stretching are one product
    places = by_row[:, :, None] + by_column[:, None]
    return F.grid_sample(x, torch.view_as_real(places), padding_mode="border", align_corners=False)
